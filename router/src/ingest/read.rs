//! A body → alerts. What is good is kept, what is not is told line by line.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tercel_alert::Alert;

use crate::metrics::Rejected;
use crate::normalise::{Enrich, normalise};
use crate::pipeline::Received;

/// Alerts in one request.
pub(super) const ALERTS_MAX: usize = 10_000;

/// Bytes of a parser's message that are passed back.
const MESSAGE_BYTES_MAX: usize = 256;

/// What some programs put in front of UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What a request held.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) good: Vec<Received>,
    pub(super) rejected: Vec<Rejection>,
    /// Some bytes were no UTF-8 and are U+FFFD now.
    pub(super) is_lossy: bool,
    /// Templated fields that could not be made.
    pub(super) failures: usize,
}

/// An alert that was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    /// From 1: the line, or the position in an array.
    pub(super) line: usize,
    pub(super) reason: Rejected,
    pub(super) message: String,
}

/// More than [`ALERTS_MAX`].
#[derive(Debug)]
pub(super) struct TooMany;

/// # Errors
/// There are more alerts than one request may hold; none is read then.
pub(super) fn read(body: &[u8], enrich: &Enrich) -> Result<Batch, TooMany> {
    // Half a character in a command line must not cost the alert.
    let text = String::from_utf8_lossy(body);
    let mut batch = Batch { is_lossy: matches!(text, Cow::Owned(_)), ..Batch::default() };
    match split(text.trim_start_matches(BYTE_ORDER_MARK).trim()) {
        Ok(items) if items.len() > ALERTS_MAX => return Err(TooMany),
        Ok(items) => items.into_iter().for_each(|(line, item)| batch.add(line, item, enrich)),
        Err(error) => batch.rejected.push(rejection(1, &error)),
    }
    Ok(batch)
}

/// An array's elements, one object as a whole, or one object a line. Reads no further than [`ALERTS_MAX`] + 1 lines.
fn split(text: &str) -> serde_json::Result<Vec<(usize, &str)>> {
    if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text)?;
        return Ok(items.into_iter().enumerate().map(|(index, item)| (index + 1, item.get())).collect());
    }
    // An object over several lines ends none of them but the last.
    let first = text.lines().next().unwrap_or_default();
    if first.len() == text.len() || (!is_json(first) && is_json(text)) {
        return Ok(vec![(1, text)]);
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    Ok(lines.map(|(index, line)| (index + 1, line)).take(ALERTS_MAX + 1).collect())
}

/// Needs neither memory nor recursion.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

impl Batch {
    fn add(&mut self, line: usize, text: &str, enrich: &Enrich) {
        match serde_json::from_str::<Alert>(text).map(|alert| normalise(alert, text, enrich)) {
            Ok(Ok(normalised)) => {
                self.failures += normalised.failures;
                self.good.push(normalised.received);
            }
            Ok(Err(message)) => self.rejected.push(Rejection { line, reason: Rejected::TooLong, message }),
            Err(error) => self.rejected.push(rejection(line, &error)),
        }
    }
}

fn rejection(line: usize, error: &serde_json::Error) -> Rejection {
    let reason = if error.is_data() { Rejected::InvalidAlert } else { Rejected::InvalidJson };
    let mut message = error.to_string();
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    Rejection { line, reason, message }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &[u8]) -> Result<Batch, TooMany> {
        super::read(body, &Enrich::new())
    }

    fn alert(rule: &str) -> Value {
        json!({"time": "2026-01-01T00:00:00Z", "rule": rule, "priority": "error"})
    }

    /// An alert with this as the text of its output fields.
    fn with_fields(text: &str) -> String {
        alert("a").to_string().replace("\"rule\"", &format!("\"output_fields\":{text},\"rule\""))
    }

    #[track_caller]
    fn check(body: &str, good: &[&str], rejected: &[(usize, Rejected)]) {
        let batch = read(body.as_bytes()).unwrap();
        assert_eq!(batch.good.iter().map(|received| received.alert.rule.as_str()).collect::<Vec<_>>(), good);
        assert_eq!(batch.rejected.iter().map(|one| (one.line, one.reason)).collect::<Vec<_>>(), rejected);
    }

    #[test]
    fn an_object_an_array_and_lines_are_read() {
        let (a, b) = (alert("a"), alert("b"));
        check(&a.to_string(), &["a"], &[]);
        check(&format!("{a:#}"), &["a"], &[]);
        check(&format!(" [{a}, {b}] "), &["a", "b"], &[]);
        check(&format!("{a}\n{b}\n"), &["a", "b"], &[]);
        check(&format!("{a}\r\n\r\n{b}"), &["a", "b"], &[]);
        check(&format!("\u{feff}{a}\n"), &["a"], &[]);
        check(&format!("\u{feff}[{a}]\n"), &["a"], &[]);
    }

    #[test]
    fn good_lines_are_kept_and_bad_ones_told() {
        let a = alert("a");
        check(&format!("{{]\n{a}\n{{}}\n"), &["a"], &[(1, Rejected::InvalidJson), (3, Rejected::InvalidAlert)]);
        check(&format!("[{a}, 1]"), &["a"], &[(2, Rejected::InvalidAlert)]);
        for nothing in ["", "\n\n", "[1", "{"] {
            check(nothing, &[], &[(1, Rejected::InvalidJson)]);
        }
        check("[]", &[], &[]);
    }

    #[test]
    fn what_follows_an_alert_on_its_line_is_told() {
        let a = alert("a");
        for rest in [" x", "{}", &a.to_string(), "]", ","] {
            check(&format!("{a}{rest}"), &[], &[(1, Rejected::InvalidJson)]);
            check(&format!("{a}{rest}\n{a}"), &["a"], &[(1, Rejected::InvalidJson)]);
        }
    }

    #[test]
    fn a_key_that_stands_there_twice_costs_its_line_alone() {
        let twice = with_fields(r#"{"a.b":1,"a.b":2}"#);
        check(&format!("{twice}\n{}", alert("b")), &["b"], &[(1, Rejected::InvalidAlert)]);
    }

    #[test]
    fn numbers_beyond_64_bits_are_kept_as_floats_and_those_beyond_floats_told() {
        let batch =
            read(with_fields(r#"{"big":18446744073709551615,"bigger":36893488147419103232}"#).as_bytes()).unwrap();
        let fields = &batch.good[0].alert.output_fields;
        assert_eq!(
            (fields["big"].as_u64(), fields["bigger"].as_f64()),
            (Some(u64::MAX), Some(36_893_488_147_419_103_232.0))
        );
        check(&format!("{}\n{}", with_fields(r#"{"a":1e400}"#), alert("b")), &["b"], &[(1, Rejected::InvalidJson)]);
    }

    #[test]
    fn half_a_character_does_not_cost_the_alert() {
        let mut body = alert("a").to_string().replace("\"a\"", "\"a\", \"output\": \"x@\"").into_bytes();
        assert!(!read(&body).unwrap().is_lossy);
        let at = body.iter().position(|byte| *byte == b'@').unwrap();
        body[at] = 0xc3;
        let batch = read(&body).unwrap();
        assert_eq!(batch.good[0].alert.output, "x\u{fffd}");
        assert!(batch.is_lossy);
    }

    #[test]
    fn a_request_is_bounded_in_alerts_and_depth() {
        assert!(read("1\n".repeat(ALERTS_MAX + 1).as_bytes()).is_err());
        assert!(read(format!("[{}1]", "1,".repeat(ALERTS_MAX)).as_bytes()).is_err());
        let (open, close) = ("[".repeat(200_000), "]".repeat(200_000));
        for deep in [
            open.clone(),
            with_fields(&format!("{{\"a.b\":{open}{close}}}")),
            with_fields(&format!("{{\"a.b\":{open}")),
        ] {
            check(&deep, &[], &[(1, Rejected::InvalidJson)]);
            if !deep.starts_with('[') {
                check(&format!("{deep}\n{}", alert("b")), &["b"], &[(1, Rejected::InvalidJson)]);
            }
        }
    }

    #[test]
    fn one_field_may_fill_the_body() {
        let huge = "x".repeat(900_000);
        let batch = read(with_fields(&json!({"proc.cmdline": huge}).to_string()).as_bytes()).unwrap();
        assert_eq!(batch.good[0].alert.output_fields["proc.cmdline"].as_str().unwrap().len(), huge.len());
    }

    proptest! {
        #[test]
        fn any_bytes_are_alerts_or_told(body in prop::collection::vec(any::<u8>(), 0..512)) {
            let batch = read(&body).unwrap();
            prop_assert!(batch.good.len() + batch.rejected.len() > 0 || body.starts_with(b"["));
        }

        #[test]
        fn good_lines_are_kept_whatever_stands_between_them(junk in prop::collection::vec("[^\n\r]{0,40}", 0..8)) {
            let mut body = format!("{}\n", alert("first"));
            for line in &junk {
                body.extend([line, "\n", &alert("next").to_string(), "\n"]);
            }
            let batch = read(body.as_bytes()).unwrap();
            prop_assert_eq!(batch.good.len(), junk.len() + 1);
            let told = junk.iter().filter(|line| !line.trim().is_empty()).count();
            prop_assert_eq!(batch.rejected.len(), told);
        }
    }
}
