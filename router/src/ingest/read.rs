//! A body → alerts. What is good is kept, what is not is told line by line.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use tercel_alert::Alert;
use uuid::Uuid;

use crate::metrics::Rejected;
use crate::pipeline::Received;

/// Alerts in one request.
pub(super) const ALERTS_MAX: usize = 10_000;

/// Bytes of a rule's name; upstream's longest has 81.
const RULE_BYTES_MAX: usize = 256;

/// Bytes of a host name, as in DNS, and of a source.
const NAME_BYTES_MAX: usize = 255;

const TAGS_MAX: usize = 64;
const TAG_BYTES_MAX: usize = 256;

/// Memory of one alert: a body of nothing but tiny values would need a hundred times its size.
const ALERT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of a parser's message that are passed back.
const MESSAGE_BYTES_MAX: usize = 256;

/// Memory of a JSON value beside its text: the value, its place in the map, the allocation.
const VALUE_BYTES: usize = 128;

/// What a request held.
pub(super) struct Batch {
    pub(super) good: Vec<Received>,
    pub(super) rejected: Vec<Rejection>,
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
pub(super) fn read(body: &[u8]) -> Result<Batch, TooMany> {
    // Half a character in a command line must not cost the alert.
    let text = String::from_utf8_lossy(body);
    let mut batch = Batch { good: Vec::new(), rejected: Vec::new() };
    match split(text.trim()) {
        Ok(items) if items.len() > ALERTS_MAX => return Err(TooMany),
        Ok(items) => items.into_iter().for_each(|(line, item)| batch.add(line, item)),
        Err(error) => batch.rejected.push(rejection(1, &error)),
    }
    Ok(batch)
}

/// An array's elements, one object as a whole, or one object a line. Reads no further than [`ALERTS_MAX`] + 1.
fn split(text: &str) -> serde_json::Result<Vec<(usize, &str)>> {
    if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text)?;
        return Ok(items.into_iter().enumerate().map(|(index, item)| (index + 1, item.get())).collect());
    }
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Ok(vec![(1, text)]);
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let items: Vec<_> = lines.map(|(index, line)| (index + 1, line)).take(ALERTS_MAX + 1).collect();
    Ok(if items.is_empty() { vec![(1, text)] } else { items })
}

impl Batch {
    fn add(&mut self, line: usize, text: &str) {
        match serde_json::from_str::<Alert>(text) {
            Ok(alert) => match check(&alert) {
                Ok(()) => self.good.push(normalise(alert)),
                Err(message) => self.rejected.push(Rejection { line, reason: Rejected::TooLong, message }),
            },
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

/// What names things is bounded, because it becomes labels and keys; text and values may fill the body.
fn check(alert: &Alert) -> Result<(), String> {
    let names = [
        ("rule", &alert.rule, RULE_BYTES_MAX),
        ("hostname", &alert.hostname, NAME_BYTES_MAX),
        ("source", &alert.source, NAME_BYTES_MAX),
    ];
    for (key, value, bound) in names {
        if value.len() > bound {
            return Err(format!("`{key}` has {} bytes, {bound} at most", value.len()));
        }
    }
    if alert.rule.is_empty() {
        return Err("`rule` is empty; it names the rule that matched".to_owned());
    }
    if weigh(alert) > ALERT_BYTES_MAX {
        return Err(format!("the alert needs more than {ALERT_BYTES_MAX} bytes of memory; it has too many values"));
    }
    check_tags(&alert.tags)
}

fn check_tags(tags: &BTreeSet<String>) -> Result<(), String> {
    if tags.len() > TAGS_MAX {
        return Err(format!("{} tags, {TAGS_MAX} at most", tags.len()));
    }
    match tags.iter().map(String::len).max() {
        Some(longest) if longest > TAG_BYTES_MAX => Err(format!("a tag has {longest} bytes, {TAG_BYTES_MAX} at most")),
        _ => Ok(()),
    }
}

fn normalise(mut alert: Alert) -> Received {
    alert.uuid.get_or_insert_with(Uuid::now_v7);
    let weight = weigh(&alert);
    Received { alert: Arc::new(alert), weight }
}

/// Bytes of memory, rounded up.
fn weigh(alert: &Alert) -> usize {
    let texts = alert.rule.len() + alert.source.len() + alert.hostname.len() + alert.output.len();
    let tags: usize = alert.tags.iter().map(|tag| VALUE_BYTES + tag.len()).sum();
    let fields: usize = alert.output_fields.iter().map(|(key, value)| key.len() + weigh_value(value)).sum();
    size_of::<Alert>() + texts + tags + fields
}

/// The parser's own bound of 128 levels is the depth of the recursion.
fn weigh_value(value: &Value) -> usize {
    VALUE_BYTES
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weigh_value).sum(),
            Value::Object(map) => map.iter().map(|(key, value)| key.len() + weigh_value(value)).sum(),
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alert(rule: &str) -> Value {
        json!({"time": "2026-01-01T00:00:00Z", "rule": rule, "priority": "error"})
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
    fn names_and_tags_are_bounded() {
        let tags: Vec<_> = (0..=TAGS_MAX).map(|tag| tag.to_string()).collect();
        let mut tagged = alert("a");
        tagged["tags"] = json!(tags);
        let mut long_tag = alert("a");
        long_tag["tags"] = json!(["é".repeat(TAG_BYTES_MAX)]);
        for bad in [alert(""), alert(&"x".repeat(RULE_BYTES_MAX + 1)), tagged, long_tag] {
            check(&bad.to_string(), &[], &[(1, Rejected::TooLong)]);
        }
    }

    #[test]
    fn a_flood_of_tiny_values_is_refused() {
        let mut bad = alert("a");
        bad["output_fields"] = json!({"a.b": vec![1; ALERT_BYTES_MAX / VALUE_BYTES]});
        check(&bad.to_string(), &[], &[(1, Rejected::TooLong)]);
    }

    #[test]
    fn half_a_character_does_not_cost_the_alert() {
        let mut body = alert("a").to_string().replace("\"a\"", "\"a\", \"output\": \"x@\"").into_bytes();
        let at = body.iter().position(|byte| *byte == b'@').unwrap();
        body[at] = 0xc3;
        let batch = read(&body).unwrap();
        assert_eq!(batch.good[0].alert.output, "x\u{fffd}");
    }

    #[test]
    fn a_missing_id_is_set_and_a_given_one_kept() {
        let mut given = alert("a");
        given["uuid"] = "01890a5d-ac96-774b-bcce-b302099a8057".into();
        let batch = read(format!("{}\n{given}", alert("a")).as_bytes()).unwrap();
        assert_eq!(batch.good[0].alert.uuid.map(|id| id.get_version_num()), Some(7));
        assert_eq!(batch.good[1].alert.uuid.unwrap().to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
    }

    #[test]
    fn a_request_is_bounded_in_alerts_and_depth() {
        assert!(read("1\n".repeat(ALERTS_MAX + 1).as_bytes()).is_err());
        let deep = format!(
            r#"{{"rule":"a","priority":"error","time":"2026-01-01T00:00:00Z","output_fields":{{"a.b":{}"#,
            "[".repeat(10_000)
        );
        check(&deep, &[], &[(1, Rejected::InvalidJson)]);
    }

    #[test]
    fn many_small_values_weigh_what_they_cost() {
        let mut small = alert("a");
        small["output_fields"] = json!({"a": 1, "b": [1, 2, {"c": null}]});
        let (empty, small) =
            (read(alert("a").to_string().as_bytes()).unwrap(), read(small.to_string().as_bytes()).unwrap());
        assert_eq!(small.good[0].weight - empty.good[0].weight, 6 * VALUE_BYTES + 3);
    }
}
