//! A file of lines that rotates by size: alerts in the archive, decisions in the audit trail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::folder;

/// It holds command lines: it is the router's user's business alone.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Older files that may be kept: renaming more takes seconds.
pub(crate) const KEEP_MAX: u32 = 1_000;

/// Opened when it is first written to.
pub(crate) struct RotatingFile {
    path: PathBuf,
    /// What would grow beyond this many bytes is renamed to `….1`, and a new file begins.
    rotate_bytes: u64,
    /// How many older files are kept.
    keep: u32,
    file: Option<File>,
}

impl RotatingFile {
    pub(crate) fn new(path: PathBuf, rotate_bytes: u64, keep: u32) -> Self {
        Self { path, rotate_bytes, keep, file: None }
    }

    /// Appends whole lines, or nothing.
    ///
    /// # Errors
    /// The disk does not take them, or the file system does not allow it.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let (mut file, mut length) = self.open()?;
        if length > 0 && length + lines.len() as u64 > self.rotate_bytes {
            self.rotate()?;
            (file, length) = self.open()?;
        }
        match file.write(lines) {
            Ok(written) if written == lines.len() => {
                self.file = Some(file);
                Ok(())
            }
            Ok(_) => {
                file.set_len(length)?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Appends whole lines, which are on the disk then, or nothing.
    ///
    /// # Errors
    /// As [`RotatingFile::append`]. Where the sync fails nobody knows what the disk has: if they are appended once more, they
    /// may be there twice.
    pub(crate) fn append_durably(&mut self, lines: &[u8]) -> io::Result<()> {
        self.append(lines)?;
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_data);
        if synced.is_err() {
            self.file = None;
        }
        synced
    }

    /// The open file and its length; opened anew where somebody deleted it.
    fn open(&mut self) -> io::Result<(File, u64)> {
        if let Some(file) = self.file.take() {
            let metadata = file.metadata()?;
            if metadata.nlink() > 0 {
                return Ok((file, metadata.len()));
            }
        }
        if let Some(folder) = self.path.parent() {
            folder::create(folder, FOLDER_MODE)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).read(true).mode(FILE_MODE).open(&self.path)?;
        folder::sync_parent(&self.path)?;
        end_last_line(&mut file)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    /// `alerts.ndjson` becomes `.1`, `.1` becomes `.2`, and the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.keep).rev() {
            rename_if_there(&older(&self.path, number), &older(&self.path, number + 1))?;
        }
        tracing::info!(path = %self.path.display(), keep = self.keep, "a file was rotated, the oldest beyond `keep` is gone");
        rename_if_there(&self.path, &older(&self.path, 1))
    }
}

/// The file that was `path` so many rotations ago.
pub(crate) fn older(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{number}"));
    name.into()
}

/// A line that a crash cut in half is ended, so that it spoils no other.
fn end_last_line(file: &mut File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(folder: &Path, rotate_bytes: u64, keep: u32) -> RotatingFile {
        RotatingFile::new(folder.join("sub/a.ndjson"), rotate_bytes, keep)
    }

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join("sub").join(name)).unwrap_or_default()
    }

    #[test]
    fn lines_are_appended_to_a_file_that_only_its_user_reads() {
        let folder = tempfile::tempdir().unwrap();
        for line in [b"one\n", b"two\n"] {
            writer(folder.path(), 100, 5).append(line).unwrap();
        }
        assert_eq!(read(folder.path(), "a.ndjson"), "one\ntwo\n");
        let mode = fs::metadata(folder.path().join("sub/a.ndjson")).unwrap().mode() & 0o777;
        assert_eq!(mode, FILE_MODE);
    }

    #[test]
    fn a_full_file_moves_on_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path(), 4, 2);
        for line in [b"one\n", b"two\n", b"3rd\n", b"4th\n"] {
            writer.append(line).unwrap();
        }
        assert_eq!(read(folder.path(), "a.ndjson"), "4th\n");
        assert_eq!(read(folder.path(), "a.ndjson.1"), "3rd\n");
        assert_eq!(read(folder.path(), "a.ndjson.2"), "two\n");
        assert_eq!(fs::read_dir(folder.path().join("sub")).unwrap().count(), 3);
    }

    #[test]
    fn a_half_written_last_line_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/a.ndjson"), "{\"half").unwrap();
        writer(folder.path(), 100, 5).append(b"one\n").unwrap();
        assert_eq!(read(folder.path(), "a.ndjson"), "{\"half\none\n");
    }

    #[test]
    fn a_file_that_was_deleted_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path(), 100, 5);
        writer.append(b"one\n").unwrap();
        fs::remove_file(folder.path().join("sub/a.ndjson")).unwrap();
        writer.append(b"two\n").unwrap();
        assert_eq!(read(folder.path(), "a.ndjson"), "two\n");
    }
}
