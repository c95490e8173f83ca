//! Console: one line per notification on standard output.

use std::io::{self, IsTerminal, Write};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Deserialize;
use tercel_alert::Priority;

use super::service::Service;
use super::settings::{Folders, Settings};
use super::terms::Habit;
use super::write::Writes;
use super::{Notification, Problem, Reason, Retry, SendError};
use crate::render::{alert_text, headline, truncate, visible};

/// The longest text that a line shows; the archive keeps all of it.
const TEXT_CHARS_MAX: usize = 2_000;

const RESET: &str = "\x1b[0m";

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsoleConfig {
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// For people: time in UTC, priority, rule, output.
    #[default]
    Text,
    /// For programs: the alert's JSON.
    Json,
}

struct Console {
    format: Format,
    is_coloured: bool,
    writes: Writes,
}

impl Settings for ConsoleConfig {
    fn build(&self, _folders: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_coloured = !no_color && io::stdout().is_terminal();
        Ok(Box::new(Console { format: self.format, is_coloured, writes: Writes::default() }))
    }

    fn habit(&self) -> Habit {
        Habit::OneByOne
    }

    fn withhold_secrets(&mut self) {}
}

impl Service for Console {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>> {
        async {
            let line = self.line(notification, self.is_coloured);
            let written = self.writes.write(notification.id, move || print(&line)).await;
            written.map_err(|error| console_error(&error))
        }
        .boxed()
    }

    fn preview(&self, notification: &Notification) -> Result<String, SendError> {
        Ok(self.line(notification, false))
    }
}

impl Console {
    fn line(&self, notification: &Notification, is_coloured: bool) -> String {
        match self.format {
            Format::Text => line(notification, is_coloured),
            Format::Json => format!("{}\n", alert_text(notification)),
        }
    }
}

fn print(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()
}

/// A reader that is gone does not come back, all else may pass.
fn console_error(error: &io::Error) -> SendError {
    let retry = if error.kind() == io::ErrorKind::BrokenPipe { Retry::Never } else { Retry::Backoff };
    SendError::new(Reason::Io, retry, format!("cannot write to standard output: {error}"))
}

/// `2026-11-23T16:38:40.618Z Warning       Rule: output`, with what would move a cursor or change
/// a colour written out.
pub(super) fn line(notification: &Notification, is_coloured: bool) -> String {
    let alert = &notification.alert;
    let (start, end) = if is_coloured { (colour(alert.priority), RESET) } else { ("", "") };
    let said = truncate(&visible(&headline(notification)), TEXT_CHARS_MAX);
    format!("{:.3} {start}{:<13}{end} {said}\n", alert.time, alert.priority)
}

fn colour(priority: Priority) -> &'static str {
    match priority {
        Priority::Emergency | Priority::Alert | Priority::Critical => "\x1b[1;31m",
        Priority::Error => "\x1b[31m",
        Priority::Warning => "\x1b[33m",
        Priority::Notice => "\x1b[36m",
        Priority::Informational | Priority::Debug => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_standard_output_is_not_tried_again() {
        assert_eq!(console_error(&io::ErrorKind::BrokenPipe.into()).retry, Retry::Never);
        assert_eq!(console_error(&io::ErrorKind::Interrupted.into()).retry, Retry::Backoff);
    }
}
