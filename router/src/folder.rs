//! Folders that are there after a power loss: a new name is on the disk when the folder that has it was synced.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// For folders that are nobody's secret.
pub(crate) const UMASK_DECIDES: u32 = 0o777;

/// Makes the folder and those above it, where they are missing, and syncs their names. `mode`: who may use new ones, less
/// what the process' umask takes away.
///
/// # Errors
/// The file system does not allow it, or something else has the name.
pub(crate) fn create(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create(parent, mode)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        // Another thread was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    sync_parent(path)
}

/// Syncs the names of all that lies below; what is in the files is their own business.
pub(crate) fn sync_below(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_below(&entry.path())?;
        }
    }
    File::open(path)?.sync_all()
}

/// Syncs the folder that has this name.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        None => Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn all_missing_folders_are_made_and_what_is_no_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        create(&deep, 0o700).unwrap();
        create(&deep, 0o700).unwrap();
        assert_eq!(std::fs::metadata(&deep).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(deep.join("file"), "x").unwrap();
        assert!(create(&deep.join("file"), 0o700).is_err());
        assert!(create(&deep.join("file/below"), 0o700).is_err());
        sync_below(folder.path()).unwrap();
    }
}
