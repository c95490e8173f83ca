//! One process at a time.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::StoreError;
use super::error::io_error;

/// A process that is being started holds copies of its parent's files until it is another program.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Held until dropped, and at the latest until the process ends, however it ends.
pub(super) struct Lock {
    /// The lock belongs to the open file.
    _file: File,
}

impl Lock {
    /// Takes the lock and leaves the process id in the file for the next one to name.
    ///
    /// # Errors
    /// Another process has it, or the file cannot be written.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let fail = |source| io_error(path, "lock the store", source);
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
        let since = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if since.elapsed() < WAIT_MAX => std::thread::sleep(WAIT_MAX / 20),
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::InUse { path: path.to_owned(), owner: owner(&mut file) });
                }
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(Self { _file: file })
    }
}

fn owner(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(32).read_to_string(&mut text).map(|_| text.trim().parse::<u32>()) {
        Ok(Ok(id)) => format!("process {id}"),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_hears_who_the_first_is_and_gets_it_when_that_one_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::take(&path).unwrap();
        let error = Lock::take(&path).err().unwrap().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        assert!(error.contains("--state"), "{error}");
        drop(first);
        assert!(Lock::take(&path).is_ok());
    }
}
