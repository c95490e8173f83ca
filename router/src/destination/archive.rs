//! Archive: a file of alerts, one JSON object per line, that rotates by size.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::write::Writes;
use super::{MaxAge, Notification, Problem, Reason, Receive, Retry, SendError};
use crate::render::alert_text;

/// Where the archive lies within the router's state folder.
const DEFAULT_PATH: &str = "archive/alerts.ndjson";

/// Rotation at 100 MiB and five older files: at most 600 MiB.
const DEFAULT_ROTATE_BYTES: u64 = 100 * 1024 * 1024;
const DEFAULT_KEEP: u32 = 5;

/// Bounds on the settings: below the first a single alert fills a file, beyond the second renaming takes seconds.
const ROTATE_BYTES_MIN: u64 = 1024 * 1024;
const KEEP_MAX: u32 = 1_000;

/// The archive holds command lines: it is the router's user's business alone.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveConfig {
    pub receive: Option<Receive>,
    /// The destination that takes over what this one does not take.
    pub fallback: Option<String>,
    /// How long a delivery is tried.
    pub max_age: Option<MaxAge>,
    /// The file; a relative path starts at the state folder. Absent: `archive/alerts.ndjson` there.
    pub path: Option<PathBuf>,
    /// A file that would grow beyond this many bytes is renamed to `….1`, and a new one begins.
    #[serde(default = "default_rotate_bytes")]
    pub rotate_bytes: u64,
    /// How many older files are kept.
    #[serde(default = "default_keep")]
    pub keep: u32,
}

fn default_rotate_bytes() -> u64 {
    DEFAULT_ROTATE_BYTES
}

fn default_keep() -> u32 {
    DEFAULT_KEEP
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self {
            receive: None,
            fallback: None,
            max_age: None,
            path: None,
            rotate_bytes: DEFAULT_ROTATE_BYTES,
            keep: DEFAULT_KEEP,
        }
    }
}

pub(super) struct Archive {
    writer: Arc<Mutex<Writer>>,
    writes: Writes,
}

struct Writer {
    path: PathBuf,
    rotate_bytes: u64,
    keep: u32,
    file: Option<File>,
}

impl ArchiveConfig {
    pub(super) fn build(&self, state: &Path) -> Result<Archive, Problem> {
        if self.rotate_bytes < ROTATE_BYTES_MIN {
            return Err(Problem::new(format!(
                "`rotate_bytes` is {}, at least {ROTATE_BYTES_MIN} is needed",
                self.rotate_bytes
            )));
        }
        if self.keep > KEEP_MAX {
            return Err(Problem::new(format!("`keep` is {}, at most {KEEP_MAX} is possible", self.keep)));
        }
        let path = state.join(self.path.as_deref().unwrap_or(Path::new(DEFAULT_PATH)));
        if path.file_name().is_none() {
            return Err(Problem::new("`path` names no file".to_owned()));
        }
        let writer = Writer { path, rotate_bytes: self.rotate_bytes, keep: self.keep, file: None };
        Ok(Archive { writer: Arc::new(Mutex::new(writer)), writes: Writes::default() })
    }
}

impl Archive {
    pub(super) async fn send(&self, notification: &Notification) -> Result<(), SendError> {
        let line = format!("{}\n", alert_text(notification));
        let writer = Arc::clone(&self.writer);
        let append = move || {
            // A panic while the lock was held left at most a file to be opened again.
            writer.lock().unwrap_or_else(PoisonError::into_inner).append(line.as_bytes())
        };
        self.writes
            .write(notification.id, append)
            .await
            .map_err(|error| SendError::new(Reason::Io, Retry::Backoff, format!("cannot write the archive: {error}")))
    }
}

impl Writer {
    /// Appends one line, or nothing.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let (mut file, mut length) = self.open()?;
        if length > 0 && length + line.len() as u64 > self.rotate_bytes {
            self.rotate()?;
            (file, length) = self.open()?;
        }
        match file.write(line) {
            Ok(written) if written == line.len() => {
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

    /// The open file and its length; opened anew where somebody deleted it.
    fn open(&mut self) -> io::Result<(File, u64)> {
        if let Some(file) = self.file.take() {
            let metadata = file.metadata()?;
            if metadata.nlink() > 0 {
                return Ok((file, metadata.len()));
            }
        }
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).read(true).mode(FILE_MODE).open(&self.path)?;
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
            rename_if_there(&self.older(number), &self.older(number + 1))?;
        }
        tracing::info!(path = %self.path.display(), keep = self.keep, "archive rotated, the oldest file beyond `keep` is gone");
        rename_if_there(&self.path, &self.older(1))
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
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

    fn writer(folder: &Path, rotate_bytes: u64, keep: u32) -> Writer {
        Writer { path: folder.join("sub/a.ndjson"), rotate_bytes, keep, file: None }
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

    #[tokio::test]
    #[expect(
        clippy::await_holding_lock,
        reason = "the held lock stands for a disk that hangs while attempts are given up"
    )]
    async fn an_attempt_that_was_given_up_is_waited_for_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let archive = ArchiveConfig::default().build(folder.path()).unwrap();
        let value = serde_json::json!({"time": "2026-01-01T00:00:00Z", "rule": "R", "priority": "error"});
        let alert = Arc::new(serde_json::from_value(value).unwrap());
        let kind = crate::destination::NotificationKind::Alert;
        let notification =
            Notification { id: uuid::Uuid::now_v7(), alert, route: "r".into(), dedup_key: None, kind, repeats: 0 };
        let writer = Arc::clone(&archive.writer);
        let disk_hangs = writer.lock().unwrap();
        for _ in 0..3 {
            let moment = std::time::Duration::from_millis(20);
            assert!(tokio::time::timeout(moment, archive.send(&notification)).await.is_err());
        }
        drop(disk_hangs);
        archive.send(&notification).await.unwrap();
        let text = fs::read_to_string(folder.path().join(DEFAULT_PATH)).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn settings_out_of_bounds_are_refused() {
        let small = ArchiveConfig { rotate_bytes: 1, ..ArchiveConfig::default() };
        let many = ArchiveConfig { keep: KEEP_MAX + 1, ..ArchiveConfig::default() };
        assert!(small.build(Path::new("/")).is_err() && many.build(Path::new("/")).is_err());
    }
}
