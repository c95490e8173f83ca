//! What is made of files that others may replace while the router runs: secrets that are rotated, certificates that are
//! renewed.
//!
//! A reload would build the destination anew, too, but not while the routing file cannot be used: a certificate runs out all
//! the same.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};

use super::Problem;

/// A value that follows its files. Looking whether one changed is a `stat`, made whenever the value is used.
pub(super) struct Live<T> {
    files: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T, Problem> + Send + Sync>,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// How the files were when `value` was made.
    stamps: Vec<Option<Stamp>>,
    value: Arc<T>,
}

/// Inode, size, and time of change in seconds and nanoseconds: another file, or other content.
type Stamp = (u64, u64, i64, i64);

impl<T> Live<T> {
    /// `files`: those that `make` reads.
    ///
    /// # Errors
    /// What `make` says now. Later a change that it cannot use is logged, and the value stays as it was.
    pub(super) fn new(
        files: impl IntoIterator<Item = PathBuf>,
        make: impl Fn() -> Result<T, Problem> + Send + Sync + 'static,
    ) -> Result<Self, Problem> {
        let files: Vec<_> = files.into_iter().collect();
        // Before the content, so that a change in between is seen at the next look.
        let stamps = stamps(&files);
        let value = Arc::new(make()?);
        Ok(Self { files, make: Box::new(make), state: Mutex::new(State { stamps, value }) })
    }

    pub(super) fn current(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if stamps != state.stamps {
            state.stamps = stamps;
            match (self.make)() {
                Ok(value) => {
                    state.value = Arc::new(value);
                    info!(files = ?self.files, "a secret or certificate changed, the new one is used");
                }
                Err(problem) => {
                    warn!(files = ?self.files, problem = problem.message, "a secret or certificate changed and cannot be used, the old one stays");
                }
            }
        }
        Arc::clone(&state.value)
    }
}

/// `None`: there is no such file now.
fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |data: Metadata| (data.ino(), data.size(), data.mtime(), data.mtime_nsec());
    files.iter().map(|file| std::fs::metadata(file).ok().map(stamp)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(file: PathBuf) -> Live<String> {
        let make = {
            let file = file.clone();
            move || std::fs::read_to_string(&file).map_err(|error| Problem::new(error.to_string()))
        };
        Live::new([file], make).unwrap()
    }

    #[test]
    fn a_file_that_is_replaced_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "old").unwrap();
        let live = text(file.clone());
        assert_eq!(*live.current(), "old");
        // As Kubernetes does it: another file takes the name.
        std::fs::write(folder.path().join("next"), "new").unwrap();
        std::fs::rename(folder.path().join("next"), &file).unwrap();
        assert_eq!(*live.current(), "new");
    }

    #[test]
    fn a_file_that_goes_leaves_what_was_read_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "old").unwrap();
        let live = text(file.clone());
        std::fs::remove_file(&file).unwrap();
        assert_eq!(*live.current(), "old");
        std::fs::write(&file, "back again").unwrap();
        assert_eq!(*live.current(), "back again");
    }

    #[test]
    fn what_cannot_be_made_at_the_start_is_an_error() {
        assert!(Live::new([], || Err::<(), _>(Problem::new("no"))).is_err());
    }
}
