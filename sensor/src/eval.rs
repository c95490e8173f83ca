//! Conditions asked about recorded events: which of them hold for which?
//!
//! Events come as lines of JSON, `{"num":1,"fields":{"evt.type":"openat","proc.aname":["bash","sshd"]}}`; what the fields
//! may be says [`crate::field_map`]. As in a running sensor, a condition is only asked about events of the types that it
//! can be true for.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read as _};

use serde::Deserialize;
use serde_json::Value as Json;
use tercel_filter::{EnumSet, Fields as _, Filter, Scratch, Value};

use crate::field_map::{self, FieldMap};
use crate::fields::event_type_field;

/// Bytes of one event.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Names of unknown fields that are kept to be told.
const UNKNOWN_NAMES_MAX: usize = 16;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// By filter, the `num` of each event that it matches, in the order of the events.
    pub matches: Vec<Vec<i64>>,
    /// Fields that were left out because the sensor knows none of the name.
    pub unknown_fields: u64,
    /// Some of their names.
    pub unknown_names: BTreeSet<String>,
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

/// Asks every filter about every event. Memory is bounded but for the result. `file` names the input in errors.
///
/// # Errors
///
/// The first line that is no event, or has a value that its field cannot have.
pub fn evaluate(mut input: impl BufRead, file: &str, filters: &[&Filter]) -> Result<Evaluation, Error> {
    let questions: Vec<_> = filters.iter().map(|filter| Question::new(filter)).collect();
    let mut result = Evaluation { matches: vec![Vec::new(); filters.len()], ..Evaluation::default() };
    let (mut line, mut number, mut scratch) = (Vec::new(), 0, Scratch::new());
    while read_line(&mut input, &mut line).map_err(|source| Error::Read { file: file.to_owned(), source })? {
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let (num, event) = parse(&line, &mut result).map_err(|message| Error::Event {
            file: file.to_owned(),
            line: number,
            message,
        })?;
        for (question, matches) in questions.iter().zip(&mut result.matches) {
            if question.holds_for(&event, &mut scratch) {
                matches.push(num);
            }
        }
    }
    Ok(result)
}

/// `false`: the input is at its end. Of a line that is too long, one byte more than may be.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let bytes_max = LINE_BYTES_MAX as u64 + 1;
    Ok(input.by_ref().take(bytes_max).read_until(b'\n', line)? > 0)
}

fn parse(line: &[u8], result: &mut Evaluation) -> Result<(i64, FieldMap), String> {
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
                result.skip(name);
                Ok(())
            }
            Err(field_map::Error::UnknownEventType { .. }) => event.set_foreign_type(),
            other => other,
        };
        put.map_err(|error| error.to_string())?;
    }
    Ok((line.num, event.complete()))
}

/// Without serde's line, which is always the first.
fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    format!("not an event, column {}: {message}; expected {{\"num\":1,\"fields\":{{…}}}}", error.column())
}

/// A filter with the types of the events that it is asked about.
pub(crate) struct Question<'f> {
    filter: &'f Filter,
    types: EnumSet,
}

impl<'f> Question<'f> {
    pub(crate) fn new(filter: &'f Filter) -> Self {
        Self { filter, types: filter.possible_enum_values(event_type_field()) }
    }

    /// An event without a type is asked about by all.
    pub(crate) fn holds_for(&self, event: &FieldMap, scratch: &mut Scratch) -> bool {
        let is_asked = match event.value(event_type_field(), None) {
            Some(Value::Enum(index)) => self.types.contains(index),
            _ => true,
        };
        is_asked && self.filter.matches(event, scratch)
    }
}

impl Evaluation {
    fn skip(&mut self, name: &str) {
        self.unknown_fields += 1;
        if self.unknown_names.len() < UNKNOWN_NAMES_MAX && !self.unknown_names.contains(name) {
            self.unknown_names.insert(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use tercel_filter::Scope;

    use super::*;
    use crate::fields::SensorCatalog;

    const EVENTS: &str = r#"{"num":1,"fields":{"evt.type":"openat","fd.num":3,"fd.name":"/etc/shadow","proc.name":"cat"}}
{"num":2,"fields":{"evt.type":"execve","proc.name":"bash","proc.aname":["sshd"]}}

{"num":5,"fields":{"evt.type":"asyncevent","proc.name":"cat","no.such":1,"proc.name[1]":2,"evt.type.was":null},"at":"x"}
{"num":7,"fields":{"proc.name":"cat"}}
"#;

    fn ask(events: &str, conditions: &[&str]) -> Result<Evaluation, Error> {
        let parse = |condition: &&str| Filter::parse(condition, &Scope::default(), &SensorCatalog).unwrap();
        let filters: Vec<_> = conditions.iter().map(parse).collect();
        evaluate(events.as_bytes(), "events", &filters.iter().collect::<Vec<_>>())
    }

    #[test]
    fn each_condition_gets_the_numbers_of_its_events() {
        let rows: &[(&str, &[i64])] = &[
            ("proc.name = cat", &[1, 5, 7]),
            ("evt.type = openat", &[1]),
            ("evt.type != openat", &[2, 5]),
            ("evt.num > 4", &[5, 7]),
            ("not fd.name exists", &[2, 5, 7]),
            ("evt.type = execve or fd.num = 3", &[1, 2]),
            ("proc.aname = sshd", &[2]),
            ("proc.name = nobody", &[]),
        ];
        let conditions: Vec<_> = rows.iter().map(|(condition, _)| *condition).collect();
        let found = ask(EVENTS, &conditions).unwrap();
        for ((condition, expected), nums) in rows.iter().zip(&found.matches) {
            assert_eq!(nums, expected, "{condition}");
        }
    }

    #[test]
    fn unknown_fields_are_left_out_and_counted() {
        let found = ask(EVENTS, &[]).unwrap();
        let names: Vec<_> = found.unknown_names.iter().map(String::as_str).collect();
        assert_eq!((found.unknown_fields, names), (3, vec!["evt.type.was", "no.such", "proc.name[1]"]));
    }

    #[test]
    fn what_is_no_event_is_told_with_its_line() {
        let check = |second_line: &str, message: &str| {
            let error = ask(&format!("{{\"num\":1,\"fields\":{{}}}}\n{second_line}\n"), &[]).unwrap_err().to_string();
            assert!(error.starts_with("events:2: ") && error.contains(message), "{error}");
        };
        check("{\"fields\":{}}", "missing field `num`");
        check("{\"num\":1}", "missing field `fields`");
        check("nonsense", "column 2: expected ident");
        check("[1]", "column");
        check(r#"{"num":2,"fields":{"proc.pid":"x"}}"#, "field `proc.pid`: expected a whole number, found \"x\"");
        check(&"x".repeat(LINE_BYTES_MAX + 1), "longer than 1048576 bytes");
        check(&format!("{{\"num\":1,\"fields\":{{\"proc.name\":{}", "[".repeat(10_000)), "recursion limit");
    }

    #[test]
    fn the_longest_line_is_taken_and_the_last_needs_no_end() {
        let frame = r#"{"num":3,"fields":{"fd.name":""}}"#;
        let line = frame.replace("\"\"", &format!("\"{}\"", "x".repeat(LINE_BYTES_MAX - frame.len())));
        assert_eq!(line.len(), LINE_BYTES_MAX);
        for end in ["", "\n"] {
            assert_eq!(ask(&format!("{line}{end}"), &["fd.name startswith x"]).unwrap().matches, [[3]]);
        }
    }
}
