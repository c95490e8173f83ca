//! A file of lines that rotates by size: alerts in the archive, decisions in the audit trail.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::folder;

/// It holds command lines: it is the router's user's business alone.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Older files that may be kept: renaming more takes seconds.
pub(crate) const KEEP_MAX: u32 = 1_000;

/// How often older files are looked at for their age.
const AGE_PERIOD: Duration = Duration::from_hours(1);

/// Opened when it is first written to.
pub(crate) struct RotatingFile {
    path: PathBuf,
    /// What would grow beyond this many bytes is renamed to `….1`, and a new file begins.
    rotate_bytes: u64,
    /// How many older files are kept.
    keep: u32,
    /// For how long at most.
    keep_for: Option<Duration>,
    compresses: bool,
    file: Option<File>,
    /// Of the newest older file.
    compression: Option<JoinHandle<()>>,
    looked: Option<Instant>,
}

impl RotatingFile {
    pub(crate) fn new(path: PathBuf, rotate_bytes: u64, keep: u32) -> Self {
        let (keep_for, compresses, file, compression, looked) = (None, false, None, None, None);
        Self { path, rotate_bytes, keep, keep_for, compresses, file, compression, looked }
    }

    /// Older files are compressed, on a thread of their own.
    #[must_use]
    pub(crate) fn compressed(self, compresses: bool) -> Self {
        Self { compresses, ..self }
    }

    /// Older files whose last line is older go. They are looked at when something is written.
    #[must_use]
    pub(crate) fn kept_for(self, keep_for: Option<Duration>) -> Self {
        Self { keep_for, ..self }
    }

    /// Appends whole lines, or nothing.
    ///
    /// # Errors
    /// The disk does not take them, or the file system does not allow it.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.remove_old();
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
        self.wait_for_compression();
        for file in both_forms(&self.path, self.keep) {
            remove_if_there(&file)?;
        }
        for number in (1..self.keep).rev() {
            for (file, next) in both_forms(&self.path, number).iter().zip(both_forms(&self.path, number + 1)) {
                rename_if_there(file, &next)?;
            }
        }
        tracing::info!(path = %self.path.display(), keep = self.keep, "a file was rotated, the oldest beyond `keep` is gone");
        let newest = older(&self.path, 1);
        rename_if_there(&self.path, &newest)?;
        if self.compresses {
            self.compression = Some(thread::Builder::new().name("compress".to_owned()).spawn(move || {
                if let Err(error) = compress(&newest) {
                    tracing::warn!(path = %newest.display(), %error, "a file could not be compressed and stays as it is");
                }
            })?);
        }
        Ok(())
    }

    fn wait_for_compression(&mut self) {
        if let Some(compression) = self.compression.take()
            && compression.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "compressing a file made the router panic");
        }
    }

    /// What cannot be removed is so at the next look.
    fn remove_old(&mut self) {
        let Some(keep_for) = self.keep_for else { return };
        if self.looked.is_some_and(|looked| looked.elapsed() < AGE_PERIOD) {
            return;
        }
        self.looked = Some(Instant::now());
        for file in (1..=self.keep).flat_map(|number| both_forms(&self.path, number)) {
            let modified = fs::metadata(&file).and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > keep_for)) {
                match fs::remove_file(&file) {
                    Ok(()) => tracing::info!(path = %file.display(), "a file was older than it may be, it is gone"),
                    Err(error) => tracing::warn!(path = %file.display(), %error, "an old file cannot be removed"),
                }
            }
        }
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

/// The same, compressed.
pub(crate) fn compressed(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".gz");
    name.into()
}

fn both_forms(path: &Path, number: u32) -> [PathBuf; 2] {
    let plain = older(path, number);
    [compressed(&plain), plain]
}

/// Keeps the time of the last change, by which searches and retention go. At every moment there is one whole form of it.
fn compress(path: &Path) -> io::Result<()> {
    let (mut source, target) = (File::open(path)?, compressed(path));
    let modified = source.metadata()?.modified()?;
    let fresh = compressed(&target);
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&fresh)?;
    let mut encoder = GzEncoder::new(options, Compression::default());
    io::copy(&mut source, &mut encoder)?;
    let file = encoder.finish()?;
    file.set_times(FileTimes::new().set_modified(modified))?;
    file.sync_all()?;
    fs::rename(&fresh, &target)?;
    folder::sync_parent(&target)?;
    fs::remove_file(path)
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

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unzip(folder: &Path, name: &str) -> String {
        let mut text = String::new();
        let file = File::open(folder.join("sub").join(name)).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn older_files_are_compressed_and_move_on_beside_those_that_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for line in [b"one\n", b"two\n"] {
            writer(folder.path(), 4, 3).append(line).unwrap();
        }
        let mut writer = writer(folder.path(), 4, 3).compressed(true);
        for line in [b"3rd\n", b"4th\n"] {
            writer.append(line).unwrap();
        }
        writer.wait_for_compression();
        assert_eq!(read(folder.path(), "a.ndjson"), "4th\n");
        assert_eq!(unzip(folder.path(), "a.ndjson.1.gz"), "3rd\n");
        assert_eq!(unzip(folder.path(), "a.ndjson.2.gz"), "two\n");
        assert_eq!(read(folder.path(), "a.ndjson.3"), "one\n");
        assert_eq!(fs::read_dir(folder.path().join("sub")).unwrap().count(), 4);
        let mode = fs::metadata(folder.path().join("sub/a.ndjson.1.gz")).unwrap().mode() & 0o777;
        assert_eq!(mode, FILE_MODE);
        writer.append(b"5th\n").unwrap();
        writer.wait_for_compression();
        assert_eq!(
            fs::read_dir(folder.path().join("sub")).unwrap().count(),
            4,
            "the oldest went, whichever form it had"
        );
    }

    #[test]
    fn older_files_go_when_they_are_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = writer(folder.path(), 4, 5);
        for line in [b"one\n", b"two\n", b"3rd\n"] {
            first.append(line).unwrap();
        }
        let old = std::time::SystemTime::now() - Duration::from_hours(49);
        let file = OpenOptions::new().append(true).open(folder.path().join("sub/a.ndjson.2")).unwrap();
        file.set_times(FileTimes::new().set_modified(old)).unwrap();
        writer(folder.path(), 100, 5).kept_for(Some(Duration::from_hours(48))).append(b"4th\n").unwrap();
        assert!(!folder.path().join("sub/a.ndjson.2").exists());
        assert_eq!(read(folder.path(), "a.ndjson.1"), "two\n");
    }

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
