//! What the files of a configuration held when they were read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// More than any file that a configuration may name is read of.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The hash of each file's content; `None`: it could not be read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Seen(BTreeMap<PathBuf, Option<Hash>>);

pub(super) type Hash = [u8; 32];

impl Seen {
    /// What this file holds now.
    pub(super) fn note(&mut self, path: &Path) {
        self.0.insert(path.to_owned(), hash(path));
    }

    /// Besides the one at `path`, which stays as it was noted, these are of interest from now on, with what they hold now.
    pub(super) fn keep_only(&mut self, path: &Path, others: impl Iterator<Item = PathBuf>) {
        self.0.retain(|known, _| known == path);
        for other in others {
            self.0.entry(other).or_insert_with_key(|other| hash(other));
        }
    }

    /// The same files, as they are now.
    pub(super) fn look_again(&self) -> Self {
        Self(self.0.keys().map(|path| (path.clone(), hash(path))).collect())
    }

    pub(super) fn hash_of(&self, path: &Path) -> Option<&Hash> {
        self.0.get(path)?.as_ref()
    }
}

fn hash(path: &Path) -> Option<Hash> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).ok()?.take(FILE_BYTES_MAX);
    let mut buffer = [0; 16 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Some(hash.finalize().into()),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_swapped_by_a_symbolic_link_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            std::fs::create_dir(folder.path().join(version)).unwrap();
            std::fs::write(folder.path().join(version).join("routing.toml"), text).unwrap();
        }
        let link = |to| std::os::unix::fs::symlink(to, folder.path().join("..new")).unwrap();
        let swap = || std::fs::rename(folder.path().join("..new"), folder.path().join("..data")).unwrap();
        link("..1");
        swap();
        let routing = folder.path().join("routing.toml");
        std::os::unix::fs::symlink("..data/routing.toml", &routing).unwrap();
        let mut seen = Seen::default();
        seen.note(&routing);
        seen.keep_only(&routing, std::iter::once(folder.path().join("missing")));
        assert_eq!(seen.look_again(), seen);
        link("..2");
        swap();
        assert_ne!(seen.look_again(), seen);
    }
}
