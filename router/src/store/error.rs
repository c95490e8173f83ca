//! Why the store cannot do what it is asked.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: the store is in use by {owner}; stop that one or choose another folder with --state", path = path.display())]
    InUse {
        path: PathBuf,
        /// `process 42`, or words for one that did not say.
        owner: String,
    },
    #[error("{path}: {available} bytes are free and {needed} must stay so; free some or choose another folder with --state", path = path.display())]
    NoSpace { path: PathBuf, available: u64, needed: u64 },
    #[error("{path}: cannot {deed}: {source}; {remedy}", path = path.display())]
    Io {
        path: PathBuf,
        deed: &'static str,
        #[source]
        source: io::Error,
        /// What would do.
        remedy: &'static str,
    },
    /// The engine gave up. What it had committed is there when it is opened anew.
    #[error("{path}: cannot {deed}: {cause}; the next try opens the store anew", path = path.display())]
    Engine { path: PathBuf, deed: &'static str, cause: String },
}

/// An error of the operating system with what would do.
pub(super) fn io_error(path: &Path, deed: &'static str, source: io::Error) -> StoreError {
    let remedy = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space there",
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "let the process write there or choose another folder with --state"
        }
        _ => "choose another folder with --state if it stays so",
    };
    StoreError::Io { path: path.to_owned(), deed, source, remedy }
}

/// Whether the fault is the machine's rather than the data's: then nothing is wrong with the store itself.
pub(super) fn is_environment(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::ReadOnlyFilesystem
            | Kind::PermissionDenied
            | Kind::OutOfMemory
            | Kind::Interrupted
            | Kind::ResourceBusy
    ) || matches!(error.raw_os_error(), Some(5 | 23 | 24)) // EIO, ENFILE, EMFILE
}
