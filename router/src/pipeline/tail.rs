//! What is decided about alerts, told to those who watch while it happens. Nobody waits for them: who reads too slowly
//! misses some, and is told how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use jiff::Timestamp;
use serde::Serialize;
use tercel_alert::Alert;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use crate::metrics::{Metrics, Suppressed};

/// Decisions that the slowest reader may be behind.
const DECISIONS_MAX: usize = 4_096;

/// Memory of the alerts in them; what would go beyond is missed by all.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Who may read at the same time.
const READERS_MAX: usize = 16;

/// Where decisions are told.
#[derive(Clone)]
pub(super) struct Tail {
    sender: broadcast::Sender<Arc<Told>>,
    /// Of the next decision.
    sequence: Arc<AtomicU64>,
    bytes: Arc<AtomicUsize>,
    slots: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// One alert and what was decided about it.
#[derive(Debug, Serialize)]
pub(crate) struct Decided {
    pub(crate) at: Timestamp,
    pub(crate) alert: Arc<Alert>,
    /// One for every destination that it was meant for.
    pub(crate) deliveries: Vec<Fate>,
    /// Bytes of memory.
    #[serde(skip)]
    pub(super) weight: usize,
}

/// What was decided for one destination.
#[derive(Debug, Serialize)]
pub(crate) struct Fate {
    pub(crate) destination: Arc<str>,
    pub(crate) route: Arc<str>,
    /// `queued`, or the reason why it is held back.
    pub(crate) decision: &'static str,
}

/// A decision on its way to the readers.
struct Told {
    sequence: u64,
    decided: Decided,
    bytes: Arc<AtomicUsize>,
}

/// One who reads along.
pub(crate) struct Reader {
    receiver: broadcast::Receiver<Arc<Told>>,
    /// Of the decision that comes next.
    expected: u64,
    metrics: Arc<Metrics>,
    _slot: OwnedSemaphorePermit,
}

/// What a reader gets.
pub(crate) struct Read {
    /// Decisions before this one that it missed.
    pub(crate) missed: u64,
    told: Arc<Told>,
}

impl Fate {
    pub(super) fn new(destination: &Arc<str>, route: &Arc<str>, suppressed: Option<Suppressed>) -> Self {
        let decision = suppressed.map_or("queued", Suppressed::name);
        Self { destination: Arc::clone(destination), route: Arc::clone(route), decision }
    }
}

impl Tail {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        Self {
            sender: broadcast::Sender::new(DECISIONS_MAX),
            sequence: Arc::default(),
            bytes: Arc::default(),
            slots: Arc::new(Semaphore::new(READERS_MAX)),
            metrics: Arc::clone(metrics),
        }
    }

    /// `None`: there are as many readers as there may be.
    pub(super) fn reader(&self) -> Option<Reader> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        self.metrics.tail_readers.inc();
        let (receiver, metrics) = (self.sender.subscribe(), Arc::clone(&self.metrics));
        // What is told in between is received and not missed.
        let expected = self.sequence.load(Ordering::Relaxed);
        Some(Reader { receiver, expected, metrics, _slot: slot })
    }

    pub(super) fn is_read(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// After the commit.
    pub(super) fn tell(&self, decided: Decided) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let bytes = Arc::clone(&self.bytes);
        if bytes.fetch_add(decided.weight, Ordering::Relaxed) + decided.weight > BYTES_MAX {
            // The gap in the sequence tells.
            bytes.fetch_sub(decided.weight, Ordering::Relaxed);
            return;
        }
        // Whoever read along may be gone.
        drop(self.sender.send(Arc::new(Told { sequence, decided, bytes })));
    }
}

impl Reader {
    /// `None`: there will be no more.
    pub(crate) async fn next(&mut self) -> Option<Read> {
        loop {
            match self.receiver.recv().await {
                Ok(told) => {
                    let missed = told.sequence.saturating_sub(self.expected);
                    self.expected = told.sequence + 1;
                    self.metrics.tail_missed.inc_by(missed);
                    return Some(Read { missed, told });
                }
                // The sequence tells how many.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Read {
    pub(crate) fn decided(&self) -> &Decided {
        &self.told.decided
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.decided.weight, Ordering::Relaxed);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.metrics.tail_readers.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail() -> Tail {
        Tail::new(&Arc::new(Metrics::new()))
    }

    fn decided(rule: usize, weight: usize) -> Decided {
        let alert = serde_json::json!({"time": "2026-01-01T00:00:00Z", "rule": rule.to_string(), "priority": "error"});
        Decided {
            at: Timestamp::UNIX_EPOCH,
            alert: serde_json::from_value(alert).unwrap(),
            deliveries: Vec::new(),
            weight,
        }
    }

    /// Rule and how many were missed before it.
    async fn next(reader: &mut Reader) -> (String, u64) {
        let read = reader.next().await.unwrap();
        (read.decided().alert.rule.clone(), read.missed)
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_how_many_it_missed() {
        let tail = tail();
        let (mut slow, mut fast) = (tail.reader().unwrap(), tail.reader().unwrap());
        for number in 0..DECISIONS_MAX + 10 {
            tail.tell(decided(number, 1));
            assert_eq!(next(&mut fast).await, (number.to_string(), 0));
        }
        assert_eq!(next(&mut slow).await, ("10".to_owned(), 10));
        assert_eq!(next(&mut slow).await, ("11".to_owned(), 0));
        assert_eq!(tail.metrics.tail_missed.get(), 10);
    }

    #[tokio::test]
    async fn large_alerts_take_no_more_memory_than_the_bound_and_give_it_back() {
        let tail = tail();
        let mut reader = tail.reader().unwrap();
        for number in 0..6 {
            tail.tell(decided(number, BYTES_MAX / 3));
        }
        for number in 0..3 {
            assert_eq!(next(&mut reader).await, (number.to_string(), 0));
        }
        tail.tell(decided(6, BYTES_MAX / 3));
        assert_eq!(next(&mut reader).await, ("6".to_owned(), 3));
        assert_eq!(tail.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_number_of_readers_is_bounded_and_who_goes_makes_room() {
        let tail = tail();
        let readers: Vec<_> = (0..READERS_MAX).map(|_| tail.reader().unwrap()).collect();
        assert!(tail.reader().is_none());
        assert_eq!(tail.metrics.tail_readers.get(), 16);
        drop(readers);
        assert!(tail.reader().is_some() && !tail.is_read());
    }
}
