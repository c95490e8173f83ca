//! Lines of JSON → events.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read as _};

use serde::Deserialize;
use serde_json::Value as Json;

use crate::field_map::{self, FieldMap};

/// Bytes of one event.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Some editors put it before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Names of unknown fields that are kept to be told.
const UNKNOWN_NAMES_MAX: usize = 16;

/// What of the events was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub unknown: Unknown,
    /// By field, without its argument.
    pub unfit: BTreeMap<String, Unfit>,
}

/// Values whose names the sensor knows no field of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unknown {
    pub values: u64,
    /// Some of the names.
    pub names: BTreeSet<String>,
}

/// Values that their field cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    pub values: u64,
    /// The line of the first of them, from 1.
    pub line: u64,
    /// What is wrong with the first of them.
    pub message: String,
}

/// The events cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {file}")]
    Read { file: String, source: io::Error },
    #[error("{file}:{line}: {message}")]
    Event { file: String, line: u64, message: String },
}

/// One line of the input. Other keys are left alone.
#[derive(Deserialize)]
struct Line {
    num: i64,
    fields: serde_json::Map<String, Json>,
}

/// Reads one event after the other, in bounded memory.
pub(crate) struct Events<'a, R> {
    input: R,
    file: &'a str,
    line: Vec<u8>,
    /// Of the line, from 1.
    number: u64,
    left_out: LeftOut,
    /// Whether a value that its field cannot have makes the line unreadable.
    is_strict: bool,
}

impl<'a, R: BufRead> Events<'a, R> {
    /// `file` names the input in errors.
    pub(crate) fn new(input: R, file: &'a str) -> Self {
        Self { input, file, line: Vec::new(), number: 0, left_out: LeftOut::default(), is_strict: false }
    }

    /// Refuses values that their fields cannot have, instead of leaving them out.
    pub(crate) fn strict(self) -> Self {
        Self { is_strict: true, ..self }
    }

    /// The next event with its number, not yet completed; `None` at the end.
    ///
    /// # Errors
    ///
    /// The line is no event.
    pub(crate) fn next(&mut self) -> Result<Option<(i64, FieldMap)>, Error> {
        while self.read_line().map_err(|source| Error::Read { file: self.file.to_owned(), source })? {
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.line.trim_ascii().is_empty() {
                return self.event().map(Some).map_err(|message| Error::Event {
                    file: self.file.to_owned(),
                    line: self.number,
                    message,
                });
            }
        }
        Ok(None)
    }

    pub(crate) fn into_left_out(self) -> LeftOut {
        self.left_out
    }

    /// The line's event.
    fn event(&mut self) -> Result<(i64, FieldMap), String> {
        let Line { num, fields } = parse(&self.line)?;
        let mut event = FieldMap::default();
        event.set("evt.num", &num.into()).map_err(|error| error.to_string())?;
        for (name, value) in &fields {
            match event.set(name, value) {
                Err(field_map::Error::UnknownField(_) | field_map::Error::Argument { .. }) => {
                    self.left_out.add_unknown(name);
                    Ok(())
                }
                Err(field_map::Error::UnknownEventType { .. }) => event.set_foreign_type(),
                Err(error @ field_map::Error::Value { .. }) if !self.is_strict => {
                    self.left_out.add_unfit(name, self.number, &error);
                    Ok(())
                }
                other => other,
            }
            .map_err(|error| error.to_string())?;
        }
        Ok((num, event))
    }

    /// `false`: the input is at its end. Of a line that is too long, one byte more than may be.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.number += 1;
        let bytes_max = LINE_BYTES_MAX as u64 + 1;
        Ok(self.input.by_ref().take(bytes_max).read_until(b'\n', &mut self.line)? > 0)
    }
}

impl LeftOut {
    fn add_unknown(&mut self, name: &str) {
        let Unknown { values, names } = &mut self.unknown;
        *values += 1;
        if names.len() < UNKNOWN_NAMES_MAX && !names.contains(name) {
            names.insert(name.to_owned());
        }
    }

    fn add_unfit(&mut self, name: &str, line: u64, error: &field_map::Error) {
        let field = name.split('[').next().unwrap_or_default();
        if let Some(known) = self.unfit.get_mut(field) {
            known.values += 1;
            return;
        }
        let first = Unfit { values: 1, line, message: error.to_string() };
        self.unfit.insert(field.to_owned(), first);
    }
}

fn parse(line: &[u8]) -> Result<Line, String> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("the line is longer than {LINE_BYTES_MAX} bytes"));
    }
    serde_json::from_slice(line).map_err(|error| json_message(&error))
}

/// Without serde's line, which is always the first.
fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    format!("not an event, column {}: {message}; expected {{\"num\":1,\"fields\":{{…}}}}", error.column())
}
