//! The audit trail: one line of JSON for everything that is decided about an alert and everything that becomes of it, under
//! its id. It is written by a thread of its own, after the commit; where that thread cannot keep up, lines are left out
//! and counted.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus::IntCounter;
use serde::Serialize;
use tercel_alert::Priority;
use tracing::warn;
use uuid::Uuid;

use crate::config::AuditTo;
use crate::metrics::Suppressed;
use crate::rotate::RotatingFile;

/// Lines that wait for the writer; each takes some 200 bytes.
const LINES_MAX: usize = 16_384;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 64 * 1024;

/// The file below the state folder; rotation at 100 MiB and five older files: at most 600 MiB.
const FILE: &str = "audit/audit.ndjson";
const ROTATE_BYTES: u64 = 100 * 1024 * 1024;
const KEEP: u32 = 5;

/// Between two complaints that the trail cannot be written.
const COMPLAINT_PERIOD: Duration = Duration::from_mins(1);

/// Where lines are handed in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Audit {
    /// `None`: it is off.
    lines: Option<SyncSender<Line>>,
    missed: IntCounter,
}

/// One thing that happened to one alert, or to a notification of the router's own.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    /// Of the alert, or of the summary or digest.
    pub(crate) uuid: Uuid,
    #[serde(flatten)]
    pub(crate) event: Event,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// It is acknowledged.
    Accepted {
        rule: String,
        priority: Priority,
    },
    /// It is to go to this destination.
    Queued {
        destination: Arc<str>,
        route: Arc<str>,
    },
    /// It is held back: `inhibit`, `silence`, `mute`, `dedup` or `limit`.
    Suppressed {
        destination: Arc<str>,
        route: Arc<str>,
        reason: &'static str,
    },
    /// A try to deliver that failed.
    AttemptFailed {
        destination: Arc<str>,
        attempt: u32,
        reason: &'static str,
    },
    Delivered {
        destination: Arc<str>,
        attempts: u32,
    },
    /// It is a dead letter now.
    Dead {
        destination: Arc<str>,
        reason: &'static str,
    },
    /// It goes on to the fallback.
    Moved {
        destination: Arc<str>,
        to: Arc<str>,
        reason: &'static str,
    },
    /// A dead letter is sent again.
    Replayed {
        destination: Arc<str>,
    },
}

/// Where lines go.
enum Output {
    File(RotatingFile),
    Stdout,
}

/// The writer's thread.
struct Writer {
    output: Output,
    missed: IntCounter,
    complained: Option<Instant>,
}

impl Event {
    pub(crate) fn suppressed(destination: &Arc<str>, route: &Arc<str>, reason: Suppressed) -> Self {
        let (destination, route) = (Arc::clone(destination), Arc::clone(route));
        Self::Suppressed { destination, route, reason: reason.name() }
    }
}

impl Audit {
    /// `missed`: counts lines that are left out. The thread ends when all that hand in are gone.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(to: AuditTo, state: &Path, missed: &IntCounter) -> io::Result<(Self, Option<JoinHandle<()>>)> {
        let output = match to {
            AuditTo::Off => return Ok((Self::off(missed), None)),
            AuditTo::File => Output::File(RotatingFile::new(state.join(FILE), ROTATE_BYTES, KEEP)),
            AuditTo::Stdout => Output::Stdout,
        };
        let (sender, lines) = sync_channel(LINES_MAX);
        let writer = Writer { output, missed: missed.clone(), complained: None };
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&lines))?;
        Ok((Self { lines: Some(sender), missed: missed.clone() }, Some(thread)))
    }

    pub(crate) fn off(missed: &IntCounter) -> Self {
        Self { lines: None, missed: missed.clone() }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Never waits.
    pub(crate) fn write(&self, line: Line) {
        if let Some(lines) = &self.lines
            && lines.try_send(line).is_err()
        {
            self.missed.inc();
        }
    }
}

impl Writer {
    fn run(mut self, lines: &Receiver<Line>) {
        while let Ok(first) = lines.recv() {
            let (mut bytes, mut count) = (Vec::new(), 0);
            let mut next = Some(first);
            while let Some(line) = next {
                bytes.extend(crate::record::to_json(&line));
                bytes.push(b'\n');
                count += 1;
                next = if bytes.len() < WRITE_BYTES { lines.try_recv().ok() } else { None };
            }
            if let Err(error) = self.output.write(&bytes) {
                self.missed.inc_by(count);
                self.complain(&error);
            }
        }
    }

    fn complain(&mut self, error: &io::Error) {
        if self.complained.is_none_or(|complained| complained.elapsed() >= COMPLAINT_PERIOD) {
            self.complained = Some(Instant::now());
            warn!(%error, "the audit trail cannot be written; what is left out is counted");
        }
    }
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.append(bytes),
            Self::Stdout => io::stdout().write_all(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u128) -> Line {
        let event = Event::Delivered { destination: "hook".into(), attempts: 1 };
        Line { at: Timestamp::UNIX_EPOCH, uuid: Uuid::from_u128(number), event }
    }

    #[test]
    fn lines_are_in_the_file_in_order_when_the_writer_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let missed = IntCounter::new("m", "m").unwrap();
        let (audit, thread) = Audit::start(AuditTo::File, folder.path(), &missed).unwrap();
        (0..100).for_each(|number| audit.clone().write(line(number)));
        drop(audit);
        thread.unwrap().join().unwrap();
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), missed.get()), (100, 0));
        let expected = serde_json::json!({"at": "1970-01-01T00:00:00Z", "uuid": "00000000-0000-0000-0000-000000000063",
                                          "event": "delivered", "destination": "hook", "attempts": 1});
        assert_eq!(lines[99], expected);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        // Where the folder should be there is a file.
        std::fs::write(folder.path().join("audit"), "").unwrap();
        let missed = IntCounter::new("m", "m").unwrap();
        let (audit, thread) = Audit::start(AuditTo::File, folder.path(), &missed).unwrap();
        audit.write(line(1));
        audit.write(line(2));
        drop(audit);
        thread.unwrap().join().unwrap();
        assert_eq!(missed.get(), 2);
    }
}
