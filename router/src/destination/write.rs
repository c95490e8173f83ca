//! Writing on a thread of its own, one write at a time.
//!
//! A terminal may be stopped, a pipe full, a disk gone. An attempt that is given up then leaves its thread behind, and
//! what it was to write still comes when the obstacle goes. The next attempt waits for it instead of adding another.

use std::io;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The write that one destination has under way.
#[derive(Default)]
pub(super) struct Writes(Mutex<Option<Write>>);

struct Write {
    /// Of the notification.
    id: Uuid,
    ended: JoinHandle<io::Result<()>>,
}

impl Writes {
    /// Runs `write`, unless a write for the same notification is under way: then that one's result is the result. May be
    /// given up at any point.
    ///
    /// # Errors
    /// What the write says, or that it panicked.
    pub(super) async fn write(
        &self,
        id: Uuid,
        write: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let mut under_way = self.0.lock().await;
        if let Some(earlier) = &mut *under_way {
            let (of, result) = (earlier.id, earlier.end().await);
            *under_way = None;
            if of == id {
                return result;
            }
        }
        let result = under_way.insert(Write { id, ended: tokio::task::spawn_blocking(write) }).end().await;
        *under_way = None;
        result
    }
}

impl Write {
    /// Once only.
    async fn end(&mut self) -> io::Result<()> {
        (&mut self.ended).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    /// A write that notes its number once it is let through.
    fn note(
        number: u32,
        notes: &Arc<Mutex<Vec<u32>>>,
    ) -> (SyncSender<()>, impl FnOnce() -> io::Result<()> + Send + 'static) {
        let (let_through, obstacle) = sync_channel(0);
        let notes = Arc::clone(notes);
        let write = move || {
            assert!(obstacle.recv().is_err(), "let through by dropping the other end");
            notes.lock().unwrap().push(number);
            if number == 13 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        };
        (let_through, write)
    }

    async fn give_up(writes: &Writes, id: Uuid, write: impl FnOnce() -> io::Result<()> + Send + 'static) {
        assert!(tokio::time::timeout(Duration::from_millis(20), writes.write(id, write)).await.is_err());
    }

    #[tokio::test]
    async fn a_write_that_was_given_up_ends_once_and_its_result_is_that_of_the_next_attempt() {
        let (writes, notes, id) = (Writes::default(), Arc::default(), Uuid::now_v7());
        let (let_through, first) = note(13, &notes);
        give_up(&writes, id, first).await;
        give_up(&writes, id, || Ok(())).await;
        drop(let_through);
        assert_eq!(writes.write(id, || Ok(())).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(writes.write(id, || Ok(())).await.is_ok(), "a failed write is tried anew");
        assert_eq!(*notes.lock().unwrap(), [13]);
    }

    #[tokio::test]
    async fn another_notification_waits_for_the_one_before() {
        let (writes, notes) = (Writes::default(), Arc::default());
        let (let_through, first) = note(1, &notes);
        give_up(&writes, Uuid::now_v7(), first).await;
        let (second_passes, second) = note(2, &notes);
        drop((let_through, second_passes));
        writes.write(Uuid::now_v7(), second).await.unwrap();
        assert_eq!(*notes.lock().unwrap(), [1, 2]);
    }
}
