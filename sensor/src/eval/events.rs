//! Lines of JSON → events.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read as _};

use serde::Deserialize;
use serde_json::Value as Json;

use crate::field_map::{self, FieldMap};

/// Bytes of one event.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Names of unknown fields that are kept to be told.
const UNKNOWN_NAMES_MAX: usize = 16;

/// Values that were left out because the sensor knows no field of the name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unknown {
    pub values: u64,
    /// Some of the names.
    pub names: BTreeSet<String>,
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
    unknown: Unknown,
}

impl<'a, R: BufRead> Events<'a, R> {
    /// `file` names the input in errors.
    pub(crate) fn new(input: R, file: &'a str) -> Self {
        Self { input, file, line: Vec::new(), number: 0, unknown: Unknown::default() }
    }

    /// The next event with its number, not yet completed; `None` at the end.
    ///
    /// # Errors
    ///
    /// The line is no event, or has a value that its field cannot have.
    pub(crate) fn next(&mut self) -> Result<Option<(i64, FieldMap)>, Error> {
        while self.read_line().map_err(|source| Error::Read { file: self.file.to_owned(), source })? {
            if !self.line.trim_ascii().is_empty() {
                return parse(&self.line, &mut self.unknown).map(Some).map_err(|message| Error::Event {
                    file: self.file.to_owned(),
                    line: self.number,
                    message,
                });
            }
        }
        Ok(None)
    }

    pub(crate) fn into_unknown(self) -> Unknown {
        self.unknown
    }

    /// `false`: the input is at its end. Of a line that is too long, one byte more than may be.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.number += 1;
        let bytes_max = LINE_BYTES_MAX as u64 + 1;
        Ok(self.input.by_ref().take(bytes_max).read_until(b'\n', &mut self.line)? > 0)
    }
}

impl Unknown {
    fn add(&mut self, name: &str) {
        self.values += 1;
        if self.names.len() < UNKNOWN_NAMES_MAX && !self.names.contains(name) {
            self.names.insert(name.to_owned());
        }
    }
}

fn parse(line: &[u8], unknown: &mut Unknown) -> Result<(i64, FieldMap), String> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("the line is longer than {LINE_BYTES_MAX} bytes"));
    }
    let line: Line = serde_json::from_slice(line).map_err(|error| json_message(&error))?;
    let mut event = FieldMap::default();
    event.set("evt.num", &line.num.into()).map_err(|error| error.to_string())?;
    for (name, value) in &line.fields {
        let put = match event.set(name, value) {
            Err(field_map::Error::UnknownField(_) | field_map::Error::Argument { .. }) => {
                unknown.add(name);
                Ok(())
            }
            Err(field_map::Error::UnknownEventType { .. }) => event.set_foreign_type(),
            other => other,
        };
        put.map_err(|error| error.to_string())?;
    }
    Ok((line.num, event))
}

/// Without serde's line, which is always the first.
fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    format!("not an event, column {}: {message}; expected {{\"num\":1,\"fields\":{{…}}}}", error.column())
}
