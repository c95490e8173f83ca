//! The contract between the sensor and the router: one alert, shaped as Falco prints it.
//!
//! Falco's key names are kept, so that either side can be swapped for Falco or Falcosidekick. What the sensor sends is
//! strict; what the router accepts is lenient: `output`, `output_fields`, `tags`, `hostname` and `uuid` may be missing,
//! a field may hold any JSON type, and the priority is matched without regard to case. A key that stands there twice is
//! refused: sender and receivers could read different alerts out of it.

mod priority;

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use priority::{ParsePriorityError, Priority};

/// What a message shows of a field's name.
const NAME_CHARS_SHOWN_MAX: usize = 80;

/// Field name → value, in the order in which the sender wrote them. A missing value is `null`.
pub type OutputFields = Map<String, Value>;

/// One alert. Serialises to one JSON object without line breaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// UUID version 7, set by the sensor and kept in every destination. Absent where Falco is the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// The id that the sender gave, where it could not be kept: no version 7, or that of another alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_uuid: Option<Uuid>,
    /// When the kernel saw the event: UTC, nanoseconds.
    pub time: Timestamp,
    /// Name of the rule that matched.
    pub rule: String,
    pub priority: Priority,
    /// Where the event came from: `syscall` for the sensor.
    #[serde(default, deserialize_with = "null_is_absent", skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(default, deserialize_with = "null_is_absent", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// The rule's output with its fields filled in.
    #[serde(default, deserialize_with = "null_is_absent", skip_serializing_if = "String::is_empty")]
    pub output: String,
    #[serde(default, deserialize_with = "unique_fields")]
    pub output_fields: OutputFields,
    /// Sorted, without duplicates.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub tags: BTreeSet<String>,
}

impl Alert {
    /// The value of an output field; `None` where it is absent or null.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.output_fields.get(name).filter(|value| !value.is_null())
    }
}

/// Senders in Go write an empty list or map as null.
fn null_is_absent<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Null, or an object that has no key twice.
fn unique_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OutputFields, D::Error> {
    deserializer.deserialize_any(FieldsVisitor)
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = OutputFields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of field names and values")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<OutputFields, E> {
        Ok(OutputFields::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<OutputFields, A::Error> {
        let mut fields = OutputFields::new();
        while let Some((name, value)) = entries.next_entry::<String, Value>()? {
            if fields.contains_key(&name) {
                let shown: String = name.chars().take(NAME_CHARS_SHOWN_MAX).collect();
                return Err(A::Error::custom(format_args!("output field `{}` is there twice", shown.escape_debug())));
            }
            fields.insert(name, value);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"uuid":"01890a5d-ac96-774b-bcce-b302099a8057","time":"2026-11-23T16:38:40.618643973Z","rule":"R","priority":"Warning","source":"syscall","hostname":"vm","output":"o","output_fields":{"proc.name":"cat","user.uid":0,"fd.name":null},"tags":["a","b"]}"#;

    #[test]
    fn an_alert_keeps_its_bytes_through_a_round_trip() {
        let alert: Alert = serde_json::from_str(FULL).unwrap();
        assert_eq!(serde_json::to_string(&alert).unwrap(), FULL);
    }

    #[test]
    fn the_optional_parts_may_be_missing() {
        let text = r#"{"time":"2026-11-23T16:38:40Z","rule":"R","priority":"info"}"#;
        let alert: Alert = serde_json::from_str(text).unwrap();
        assert_eq!(alert.priority, Priority::Informational);
        assert!(alert.uuid.is_none() && alert.output.is_empty() && alert.output_fields.is_empty());
    }

    #[test]
    fn null_stands_for_a_missing_part() {
        let text = r#"{"uuid":null,"time":"2026-11-23T16:38:40Z","rule":"R","priority":"info","source":null,"hostname":null,
                       "output":null,"output_fields":null,"tags":null}"#;
        let alert: Alert = serde_json::from_str(text).unwrap();
        assert!(alert.uuid.is_none() && alert.hostname.is_empty() && alert.tags.is_empty());
    }

    #[test]
    fn a_null_field_counts_as_absent() {
        let alert: Alert = serde_json::from_str(FULL).unwrap();
        assert_eq!(alert.field("fd.name"), None);
        assert_eq!(alert.field("user.uid"), Some(&Value::from(0)));
    }

    #[test]
    fn a_key_that_stands_there_twice_is_refused() {
        let twice = [
            (FULL.replace("{\"proc.name\"", "{\"user.uid\":1,\"proc.name\""), "output field `user.uid` is there twice"),
            (FULL.replace("\"tags\"", "\"rule\":\"S\",\"tags\""), "duplicate field `rule`"),
        ];
        for (text, expected) in twice {
            let error = serde_json::from_str::<Alert>(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn fields_that_are_no_object_are_refused() {
        for text in ["[]", "1", "\"x\""] {
            let text =
                format!(r#"{{"time":"2026-11-23T16:38:40Z","rule":"R","priority":"info","output_fields":{text}}}"#);
            let error = serde_json::from_str::<Alert>(&text).unwrap_err().to_string();
            assert!(error.contains("expected an object of field names"), "{error}");
        }
    }

    #[test]
    fn an_unknown_priority_names_the_known_ones() {
        let text = r#"{"time":"2026-11-23T16:38:40Z","rule":"R","priority":"loud"}"#;
        let error = serde_json::from_str::<Alert>(text).unwrap_err().to_string();
        assert!(error.contains("unknown priority `loud`") && error.contains("emergency, alert"), "{error}");
    }
}
