//! Archive: a file of alerts, one JSON object per line, that rotates by size.
//!
//! What it took is on the disk: the router owes it to nobody any more, so a power loss must not take it back.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use schemars::JsonSchema;
use serde::Deserialize;

use super::service::{Service, without_posts};
use super::settings::{Folders, Settings};
use super::terms::Habit;
use super::write::Writes;
use super::{Notification, Problem, Reason, Receipt, Receive, Retry, SendError};
use crate::duration;
use crate::record::derived_id;
use crate::render::alert_text;
use crate::rotate::{KEEP_MAX, RotatingFile};

/// Where the archive lies within the router's state folder.
const DEFAULT_PATH: &str = "archive/alerts.ndjson";

/// Rotation at 100 MiB and five older files: at most 600 MiB.
const DEFAULT_ROTATE_BYTES: u64 = 100 * 1024 * 1024;
const DEFAULT_KEEP: u32 = 5;

/// Bounds on `keep_for`: an hour is how often files are looked at.
const KEEP_FOR_LEAST: Duration = Duration::from_hours(1);
const KEEP_FOR_MOST: Duration = Duration::from_hours(10 * 365 * 24);

/// Below this a single alert fills a file.
const ROTATE_BYTES_MIN: u64 = 1024 * 1024;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchiveConfig {
    /// The file; a relative path starts at the state folder. Absent: `archive/alerts.ndjson` there.
    path: Option<PathBuf>,
    /// A file that would grow beyond this many bytes is renamed to `….1`, and a new one begins.
    #[serde(default = "default_rotate_bytes")]
    rotate_bytes: u64,
    /// How many older files are kept.
    #[serde(default = "default_keep")]
    keep: u32,
    /// For how long older files are kept at most; absent: as `keep` says alone.
    keep_for: Option<KeepFor>,
    /// Whether older files are compressed.
    #[serde(default = "yes")]
    compress: bool,
}

/// `keep_for`: the longest that a file lies there after its last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
struct KeepFor(Duration);

impl TryFrom<String> for KeepFor {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match duration::parse(&text) {
            Some(time) if (KEEP_FOR_LEAST..=KEEP_FOR_MOST).contains(&time) => Ok(Self(time)),
            Some(_) => Err(format!("keep_for = \"{text}\" is out of bounds: 1h at least, 10 years at most")),
            None => Err(format!("keep_for = \"{text}\" is no duration; write 30d")),
        }
    }
}

fn yes() -> bool {
    true
}

fn default_rotate_bytes() -> u64 {
    DEFAULT_ROTATE_BYTES
}

fn default_keep() -> u32 {
    DEFAULT_KEEP
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self { path: None, rotate_bytes: DEFAULT_ROTATE_BYTES, keep: DEFAULT_KEEP, keep_for: None, compress: true }
    }
}

struct Archive {
    writer: Arc<Mutex<RotatingFile>>,
    writes: Writes,
}

impl Settings for ArchiveConfig {
    fn build(&self, folders: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        Ok(Box::new(self.open(folders.state)?))
    }

    fn habit(&self) -> Habit {
        Habit::File
    }

    fn receive(&self) -> Receive {
        Receive::All
    }

    fn withhold_secrets(&mut self) {}
}

impl ArchiveConfig {
    pub(super) fn file(&self, state: &Path) -> PathBuf {
        state.join(self.path.as_deref().unwrap_or(Path::new(DEFAULT_PATH)))
    }

    fn open(&self, state: &Path) -> Result<Archive, Problem> {
        if self.rotate_bytes < ROTATE_BYTES_MIN {
            return Err(Problem::new(format!(
                "`rotate_bytes` is {}, at least {ROTATE_BYTES_MIN} is needed",
                self.rotate_bytes
            )));
        }
        if self.keep > KEEP_MAX {
            return Err(Problem::new(format!("`keep` is {}, at most {KEEP_MAX} is possible", self.keep)));
        }
        let path = self.file(state);
        if path.file_name().is_none() {
            return Err(Problem::new("`path` names no file".to_owned()));
        }
        let writer = RotatingFile::new(path, self.rotate_bytes, self.keep)
            .compressed(self.compress)
            .kept_for(self.keep_for.map(|KeepFor(time)| time));
        Ok(Archive { writer: Arc::new(Mutex::new(writer)), writes: Writes::default() })
    }
}

impl Service for Archive {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>> {
        self.append(std::slice::from_ref(notification)).boxed()
    }

    fn send_all<'a>(&'a self, notifications: &'a [Notification]) -> BoxFuture<'a, Vec<Result<Receipt, SendError>>> {
        self.append(notifications).map(|result| without_posts(vec![result; notifications.len()])).boxed()
    }

    fn preview(&self, notification: &Notification) -> Result<String, SendError> {
        Ok(alert_text(notification))
    }
}

impl Archive {
    /// All of them or none, by one write and one sync: that is what a disk can do only some hundred times a second.
    async fn append(&self, notifications: &[Notification]) -> Result<(), SendError> {
        let lines: String = notifications.iter().flat_map(|one| [alert_text(one), "\n".to_owned()]).collect();
        let ids: Vec<_> = notifications.iter().map(|one| one.id.into_bytes()).collect();
        let id = derived_id(&ids.iter().map(<[u8; 16]>::as_slice).collect::<Vec<_>>());
        let writer = Arc::clone(&self.writer);
        let append = move || {
            // A panic while the lock was held left at most a file to be opened again.
            writer.lock().unwrap_or_else(PoisonError::into_inner).append_durably(lines.as_bytes())
        };
        self.writes
            .write(id, append)
            .await
            .map_err(|error| SendError::new(Reason::Io, Retry::Backoff, format!("cannot write the archive: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[expect(
        clippy::await_holding_lock,
        reason = "the held lock stands for a disk that hangs while attempts are given up"
    )]
    async fn an_attempt_that_was_given_up_is_waited_for_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let archive = ArchiveConfig::default().open(folder.path()).unwrap();
        let notification = Notification::minimal();
        let notifications = [notification.clone(), Notification { id: uuid::Uuid::now_v7(), ..notification }];
        let writer = Arc::clone(&archive.writer);
        let disk_hangs = writer.lock().unwrap();
        for _ in 0..3 {
            let moment = std::time::Duration::from_millis(20);
            assert!(tokio::time::timeout(moment, archive.append(&notifications)).await.is_err());
        }
        drop(disk_hangs);
        archive.append(&notifications).await.unwrap();
        let text = std::fs::read_to_string(folder.path().join(DEFAULT_PATH)).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn settings_out_of_bounds_are_refused() {
        let small = ArchiveConfig { rotate_bytes: 1, ..ArchiveConfig::default() };
        let many = ArchiveConfig { keep: KEEP_MAX + 1, ..ArchiveConfig::default() };
        assert!(small.open(Path::new("/")).is_err() && many.open(Path::new("/")).is_err());
    }
}
