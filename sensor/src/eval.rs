//! Conditions asked about recorded events: which of them hold for which?
//!
//! Events come as lines of JSON, `{"num":1,"fields":{"evt.type":"openat","proc.aname":["bash","sshd"]}}`; what the fields
//! may be says [`crate::field_map`]. What was recorded elsewhere may have fields that are unknown here, and values of
//! another type: they are left out, and told. As in a running sensor, a condition is only asked about events of the
//! types that it can be true for.

mod events;

use std::io::BufRead;

use tercel_filter::{EnumSet, Fields as _, Filter, Scratch, Value};

use crate::field_map::FieldMap;
use crate::fields::event_type_field;

pub(crate) use events::Events;
pub use events::{Error, LINE_BYTES_MAX, LeftOut, Unfit, Unknown};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// By filter, the `num` of each event that it matches, in the order of the events.
    pub matches: Vec<Vec<i64>>,
    /// What of the events was left out.
    pub left_out: LeftOut,
}

/// Asks every filter about every event. Memory is bounded but for the result. `file` names the input in errors.
///
/// # Errors
///
/// The first line that is no event.
pub fn evaluate(input: impl BufRead, file: &str, filters: &[&Filter]) -> Result<Evaluation, Error> {
    let questions: Vec<_> = filters.iter().map(|filter| Question::new(filter)).collect();
    let mut matches = vec![Vec::new(); filters.len()];
    let (mut events, mut scratch) = (Events::new(input, file), Scratch::new());
    while let Some((num, event)) = events.next()? {
        let event = event.complete();
        for (question, matches) in questions.iter().zip(&mut matches) {
            if question.holds_for(&event, &mut scratch) {
                matches.push(num);
            }
        }
    }
    Ok(Evaluation { matches, left_out: events.into_left_out() })
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
        let unknown = found.left_out.unknown;
        let names: Vec<_> = unknown.names.iter().map(String::as_str).collect();
        assert_eq!((unknown.values, names), (3, vec!["evt.type.was", "no.such", "proc.name[1]"]));
    }

    #[test]
    fn what_a_field_cannot_have_is_left_out_and_the_rest_is_asked_about() {
        let event =
            r#"{"num":1,"fields":{"proc.pid":"x","fd.num":true,"fd.sip":"zz","fd.sport":"https","proc.name":7}}"#;
        let found = ask(&format!("\u{feff}{event}\n"), &["proc.name = 7", "fd.num exists", "not proc.pid exists"]);
        let found = found.unwrap();
        assert_eq!(found.matches, [vec![1], vec![], vec![1]]);
        let unfit = found.left_out.unfit;
        assert_eq!(unfit.keys().collect::<Vec<_>>(), ["fd.num", "fd.sip", "fd.sport", "proc.pid"]);
    }

    #[test]
    fn values_that_their_field_cannot_have_are_missing_and_counted_by_field() {
        let events = r#"{"num":1,"fields":{"fd.num":3.7,"proc.name":"cat"}}
{"num":2,"fields":{"fd.num":true,"fd.sip":"zz","fd.sport":"https","evt.is_open_read":1,"fd.net":"10.0.0.0/8"}}
{"num":3,"fields":{"fd.name":{},"proc.aname[1]":[],"proc.aname[2]":{},"proc.apid":[1,"x"],"evt.type":7}}
"#;
        let found = ask(events, &["proc.name = cat", "fd.num exists or fd.net exists", "evt.num > 0"]).unwrap();
        assert_eq!(found.matches, [vec![1], vec![], vec![1, 2, 3]]);
        let unfit = found.left_out.unfit;
        let counts: Vec<_> = unfit.iter().map(|(field, unfit)| (&**field, unfit.values, unfit.line)).collect();
        let expected = [
            ("evt.is_open_read", 1, 2),
            ("evt.type", 1, 3),
            ("fd.name", 1, 3),
            ("fd.net", 1, 2),
            ("fd.num", 2, 1),
            ("fd.sip", 1, 2),
            ("fd.sport", 1, 2),
            ("proc.aname", 2, 3),
            ("proc.apid", 1, 3),
        ];
        assert_eq!(counts, expected);
        assert_eq!(unfit["fd.num"].message, "field `fd.num`: expected a whole number, found 3.7");
    }

    #[test]
    fn values_are_converted_where_they_can_be() {
        let events = r#"{"num":1,"fields":{"evt.time":17,"proc.name":true,"fd.num":"3","evt.is_open_read":"true","fd.sip":"::1"}}"#;
        let conditions = ["evt.time = 17", "proc.name = true", "fd.num = 3", "evt.is_open_read = true", "fd.sip = ::1"];
        let found = ask(events, &conditions).unwrap();
        assert_eq!((found.matches, found.left_out), (vec![vec![1]; conditions.len()], LeftOut::default()));
    }

    #[test]
    fn a_mark_of_the_byte_order_is_skipped_at_the_beginning_only() {
        let line = r#"{"num":1,"fields":{}}"#;
        assert_eq!(ask(&format!("\u{feff}{line}"), &["evt.num = 1"]).unwrap().matches, [[1]]);
        assert_eq!(ask(&format!("\u{feff}\n{line}"), &["evt.num = 1"]).unwrap().matches, [[1]]);
        assert!(ask(&format!("{line}\n\u{feff}{line}"), &[]).is_err());
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
