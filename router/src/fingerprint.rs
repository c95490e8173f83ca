//! What makes two alerts equal: SHA-256 over the fields that a route names.
//!
//! The hash covers, for every field in the order of the route: the length and bytes of its name, its type, the length and
//! bytes of its value. So absent, null, `""` and `"<NA>"` differ, and no value can imitate a neighbouring field.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tercel_alert::Alert;

/// Output fields that differ with every event: an alert would never equal another.
const UNSTABLE: &[&str] =
    &["proc.pid", "proc.vpid", "proc.ppid", "proc.pvpid", "thread.tid", "thread.vtid", "proc.sid", "proc.vsid"];

/// One field of a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyField {
    Rule,
    Hostname,
    Source,
    Priority,
    Output,
    /// A key of `output_fields`: anything with a dot.
    Field(Box<str>),
}

/// 32 bytes that are equal for equal alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fingerprint(pub(crate) [u8; 32]);

/// Types within the hash. The numbers are part of the contract: window state outlives a version.
#[derive(Clone, Copy)]
enum Type {
    Absent = 0,
    Null = 1,
    Bool = 2,
    Number = 3,
    Text = 4,
    Json = 5,
}

impl KeyField {
    /// # Errors
    /// A field that no alert has, or one that differs with every event.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        match name {
            "rule" => Ok(Self::Rule),
            "hostname" => Ok(Self::Hostname),
            "source" => Ok(Self::Source),
            "priority" => Ok(Self::Priority),
            "output" => Ok(Self::Output),
            "time" | "uuid" => Err(format!("`{name}` differs in every alert, so nothing would ever repeat")),
            _ if UNSTABLE.contains(&name) || name.starts_with("evt.time") || name.starts_with("evt.rawtime") => {
                Err(format!(
                    "`{name}` differs in every event, so nothing would ever repeat; name what stays, as proc.exepath"
                ))
            }
            _ if name.contains('.') => Ok(Self::Field(name.into())),
            _ => Err(format!(
                "unknown field `{name}`; an alert has rule, hostname, source, priority, output and its output fields, as proc.exepath"
            )),
        }
    }

    /// What two different alerts may share: also the id of a process.
    ///
    /// # Errors
    /// A field that no alert has, or one that differs with every event.
    pub(crate) fn parse_shared(name: &str) -> Result<Self, String> {
        if UNSTABLE.contains(&name) { Ok(Self::Field(name.into())) } else { Self::parse(name) }
    }

    /// As routing.toml names it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Rule => "rule",
            Self::Hostname => "hostname",
            Self::Source => "source",
            Self::Priority => "priority",
            Self::Output => "output",
            Self::Field(name) => name,
        }
    }
}

/// To show it.
impl KeyField {
    /// The value that counts; `None`: the alert does not have the field.
    pub(crate) fn value(&self, alert: &Alert) -> Option<Value> {
        match self {
            Self::Rule => Some(alert.rule.as_str().into()),
            Self::Hostname => Some(alert.hostname.as_str().into()),
            Self::Source => Some(alert.source.as_str().into()),
            Self::Priority => Some(alert.priority.name().into()),
            Self::Output => Some(alert.output.as_str().into()),
            Self::Field(name) => alert.output_fields.get(&**name).cloned(),
        }
    }
}

impl Fingerprint {
    /// Over these fields, in this order.
    pub(crate) fn of(alert: &Alert, by: &[KeyField]) -> Self {
        let mut hash = Sha256::new();
        for field in by {
            add_part(&mut hash, field.name().as_bytes());
            add_value(&mut hash, alert, field);
        }
        Self(hash.finalize().into())
    }

    /// Of [`Fingerprint::hex`].
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if hex.len() != 2 * bytes.len() || !hex.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// As [`Fingerprint::of`], where null and "" are as good as absent.
    pub(crate) fn of_present(alert: &Alert, by: &[KeyField]) -> Self {
        let mut hash = Sha256::new();
        for field in by {
            add_part(&mut hash, field.name().as_bytes());
            let is_empty = |name: &str| alert.field(name).is_none_or(|value| value.as_str() == Some(""));
            match field {
                KeyField::Field(name) if is_empty(name) => add_typed(&mut hash, Type::Absent, b""),
                _ => add_value(&mut hash, alert, field),
            }
        }
        Self(hash.finalize().into())
    }

    /// 64 lower-case hexadecimal digits.
    pub(crate) fn hex(&self) -> Arc<str> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect::<String>().into()
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hex())
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not 64 hexadecimal digits"))
    }
}

/// Whether the alert says enough to be told from others: some field beyond rule and hostname has a value. True where the
/// route asks for rule and hostname only.
pub(crate) fn is_specific(alert: &Alert, by: &[KeyField]) -> bool {
    let mut others = by.iter().filter(|field| !matches!(field, KeyField::Rule | KeyField::Hostname)).peekable();
    others.peek().is_none()
        || others.any(|field| match field {
            KeyField::Field(name) => alert.field(name).is_some(),
            KeyField::Source => !alert.source.is_empty(),
            KeyField::Output => !alert.output.is_empty(),
            KeyField::Rule | KeyField::Hostname | KeyField::Priority => true,
        })
}

fn add_value(hash: &mut Sha256, alert: &Alert, field: &KeyField) {
    let name = match field {
        KeyField::Rule => return add_typed(hash, Type::Text, alert.rule.as_bytes()),
        KeyField::Hostname => return add_typed(hash, Type::Text, alert.hostname.as_bytes()),
        KeyField::Source => return add_typed(hash, Type::Text, alert.source.as_bytes()),
        KeyField::Priority => return add_typed(hash, Type::Text, alert.priority.name().as_bytes()),
        KeyField::Output => return add_typed(hash, Type::Text, alert.output.as_bytes()),
        KeyField::Field(name) => name,
    };
    match alert.output_fields.get(&**name) {
        None => add_typed(hash, Type::Absent, b""),
        Some(Value::Null) => add_typed(hash, Type::Null, b""),
        Some(Value::Bool(value)) => add_typed(hash, Type::Bool, &[u8::from(*value)]),
        Some(Value::Number(value)) => add_typed(hash, Type::Number, value.to_string().as_bytes()),
        Some(Value::String(value)) => add_typed(hash, Type::Text, value.as_bytes()),
        Some(value @ (Value::Array(_) | Value::Object(_))) => {
            add_typed(hash, Type::Json, value.to_string().as_bytes());
        }
    }
}

fn add_typed(hash: &mut Sha256, kind: Type, value: &[u8]) {
    hash.update([kind as u8]);
    add_part(hash, value);
}

fn add_part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn by(names: &[&str]) -> Vec<KeyField> {
        names.iter().map(|name| KeyField::parse(name).unwrap()).collect()
    }

    fn alert(fields: &Value) -> Alert {
        serde_json::from_value(json!({
            "time": "2026-01-01T00:00:00Z", "rule": "R", "priority": "error", "hostname": "h", "output_fields": fields
        }))
        .unwrap()
    }

    fn hex(fields: &Value, names: &[&str]) -> Arc<str> {
        Fingerprint::of(&alert(fields), &by(names)).hex()
    }

    /// Computed by another program from the description at the top of this file; a change here forgets all open windows.
    #[test]
    fn the_fingerprint_keeps_its_golden_value() {
        assert_eq!(
            &*hex(
                &json!({"container.id": "abc", "user.name": null}),
                &["rule", "hostname", "container.id", "proc.exepath", "user.name"]
            ),
            "1f35e9b9d4269f256de82ed26cd2ab68563860bbb25c2986f014752561fe5918"
        );
        assert_eq!(
            &*hex(&json!({"user.uid": 0, "proc.is_exe_writable": true}), &["rule", "user.uid", "proc.is_exe_writable"]),
            "2afe71307c32048cb2de5422f1deb95e34a856adfdad29ba361a0374635d9a27"
        );
    }

    #[test]
    fn absent_null_empty_and_na_differ() {
        let values = [
            json!({}),
            json!({"a.b": null}),
            json!({"a.b": ""}),
            json!({"a.b": "<NA>"}),
            json!({"a.b": 0}),
            json!({"a.b": "0"}),
            json!({"a.b": false}),
        ];
        let mut seen: Vec<_> = values.into_iter().map(|fields| hex(&fields, &["rule", "a.b"])).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 7);
    }

    #[test]
    fn a_value_cannot_imitate_its_neighbour() {
        let names = ["a.a", "b.b"];
        assert_ne!(hex(&json!({"a.a": "xy", "b.b": ""}), &names), hex(&json!({"a.a": "x", "b.b": "y"}), &names));
    }

    #[test]
    fn an_alert_with_only_rule_and_hostname_is_not_specific_unless_that_is_asked_for() {
        let bare = alert(&json!({"proc.exepath": null}));
        assert!(!is_specific(&bare, &by(&["rule", "hostname", "proc.exepath"])));
        assert!(is_specific(&bare, &by(&["rule", "hostname"])));
        assert!(is_specific(&alert(&json!({"proc.exepath": ""})), &by(&["rule", "proc.exepath"])));
    }

    #[test]
    fn times_and_pids_are_refused_as_keys() {
        for name in ["time", "uuid", "evt.time", "evt.rawtime.ns", "proc.pid", "thread.tid"] {
            assert!(KeyField::parse(name).unwrap_err().contains("nothing would ever repeat"), "{name}");
        }
        assert!(KeyField::parse_shared("proc.pid").is_ok() && KeyField::parse_shared("evt.time").is_err());
        assert!(KeyField::parse("ruel").unwrap_err().contains("unknown field `ruel`"));
    }
}
