//! An alert as a document of the Elastic Common Schema, with Falco's own object under `falco`.
//!
//! No alert can grow the mapping: all fields of the schema are known ([`super::fields`]), and those that anybody can name,
//! the output fields, lie in one object that the index template maps as one field. Values that the schema cannot take
//! (an address that is none) stand there only.

use serde_json::{Map, Value, json};
use tercel_alert::Alert;
use uuid::Uuid;

use super::super::{Notification, NotificationKind};
use super::fields::{FIELDS, VALUE_CHARS_MAX, text};
use crate::render::{notification_text, notification_value, truncate};

/// The version of the schema that field names and meanings are from.
const ECS_VERSION: &str = "8.11.0";

/// The longest name of an output field that is kept.
const NAME_CHARS_MAX: usize = 256;

/// What Falco says where there is no container.
const NO_CONTAINER: &str = "host";

/// MITRE's tactics, as tags name them behind `mitre_`.
const TACTICS: [(&str, &str, &str); 14] = [
    ("reconnaissance", "TA0043", "Reconnaissance"),
    ("resource_development", "TA0042", "Resource Development"),
    ("initial_access", "TA0001", "Initial Access"),
    ("execution", "TA0002", "Execution"),
    ("persistence", "TA0003", "Persistence"),
    ("privilege_escalation", "TA0004", "Privilege Escalation"),
    ("defense_evasion", "TA0005", "Defense Evasion"),
    ("credential_access", "TA0006", "Credential Access"),
    ("discovery", "TA0007", "Discovery"),
    ("lateral_movement", "TA0008", "Lateral Movement"),
    ("collection", "TA0009", "Collection"),
    ("command_and_control", "TA0011", "Command and Control"),
    ("exfiltration", "TA0010", "Exfiltration"),
    ("impact", "TA0040", "Impact"),
];

/// `key_values`: with the output fields as a list of `name=value` too.
pub(super) fn document(notification: &Notification, key_values: bool) -> Value {
    let alert = &*notification.alert;
    let mut document = json!({
        "@timestamp": alert.time,
        "ecs": { "version": ECS_VERSION },
        "message": notification_text(notification),
        "event": {
            "id": id(notification),
            "kind": if matches!(notification.kind, NotificationKind::Alert) { "alert" } else { "event" },
            "module": "tercel",
            "dataset": "tercel.alerts",
            "severity": alert.priority.syslog_severity(),
        },
        "log": { "level": alert.priority.name().to_lowercase() },
        "rule": { "name": truncate(&alert.rule, VALUE_CHARS_MAX) },
        "falco": falco(alert),
        "tercel": about(notification),
    });
    put_text(&mut document, "event.provider", &alert.source);
    put_text(&mut document, "host.name", &alert.hostname);
    if !alert.tags.is_empty() {
        document["tags"] = tags(alert);
    }
    put_threat(&mut document, alert);
    put_schema_fields(&mut document, alert);
    if key_values {
        document["falco"]["key_values"] = key_value_list(alert);
    }
    document
}

/// The alert's uuid, and of other notifications their own.
fn id(notification: &Notification) -> Uuid {
    match notification.kind {
        NotificationKind::Alert => notification.alert.uuid.unwrap_or(notification.id),
        _ => notification.id,
    }
}

/// The alert's own keys.
fn falco(alert: &Alert) -> Value {
    let mut falco = json!({
        "time": alert.time,
        "rule": truncate(&alert.rule, VALUE_CHARS_MAX),
        "priority": alert.priority,
        "output": alert.output,
        "output_fields": output_fields(alert).collect::<Map<_, _>>(),
        "tags": tags(alert),
    });
    put_text(&mut falco, "source", &alert.source);
    put_text(&mut falco, "hostname", &alert.hostname);
    for (name, uuid) in [("uuid", alert.uuid), ("original_uuid", alert.original_uuid)] {
        if let Some(uuid) = uuid {
            falco[name] = json!(uuid);
        }
    }
    falco
}

/// What the router knows beside the alert.
fn about(notification: &Notification) -> Value {
    let mut about = notification_value(notification);
    about.insert("kind".to_owned(), notification.kind.name().into());
    about.insert("route".to_owned(), (*notification.route).into());
    about.into()
}

fn tags(alert: &Alert) -> Value {
    alert.tags.iter().map(|tag| truncate(tag, VALUE_CHARS_MAX)).collect()
}

/// Those that have a value.
fn output_fields(alert: &Alert) -> impl Iterator<Item = (String, Value)> {
    alert
        .output_fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (field_name(name), flat(value)))
}

/// `name=value`, once for each value of a list.
fn key_value_list(alert: &Alert) -> Value {
    let pairs = output_fields(alert).flat_map(|(name, value)| {
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        values.into_iter().filter_map(move |value| Some(format!("{name}={}", text(&value)?)))
    });
    pairs.collect()
}

/// Names that the server takes for a path with a part missing, or refuses, get underscores.
fn field_name(name: &str) -> String {
    let name: String = name
        .chars()
        .take(NAME_CHARS_MAX)
        .map(|character| if character.is_control() { '_' } else { character })
        .collect();
    if name.split('.').all(|part| !part.trim().is_empty()) {
        return name;
    }
    let name = name.replace('.', "_");
    if name.trim().is_empty() { "_".to_owned() } else { name }
}

/// A scalar, or a list of scalars; what is deeper becomes its JSON text.
fn flat(value: &Value) -> Value {
    let is_nested = |value: &Value| value.is_object() || value.is_array();
    match value {
        Value::String(text) => truncate(text, VALUE_CHARS_MAX).into(),
        Value::Array(list) if !list.iter().any(is_nested) => list.iter().map(flat).collect(),
        Value::Object(_) | Value::Array(_) => truncate(&value.to_string(), VALUE_CHARS_MAX).into(),
        other => other.clone(),
    }
}

fn put_schema_fields(document: &mut Value, alert: &Alert) {
    let is_in_container = alert.field("container.id").and_then(Value::as_str) != Some(NO_CONTAINER);
    for field in FIELDS.iter().filter(|field| is_in_container || !field.name.starts_with("container.")) {
        if let Some(value) = alert.field(field.from).and_then(|value| field.kind.take(value)) {
            put(document, field.name, value);
        }
    }
    if document.pointer("/orchestrator/resource/name").is_some() {
        put(document, "orchestrator.type", "kubernetes".into());
        put(document, "orchestrator.resource.type", "pod".into());
    }
}

/// Techniques and tactics out of tags such as `T1059.004` and `mitre_execution`.
fn put_threat(document: &mut Value, alert: &Alert) {
    let ids: Vec<&str> = alert.tags.iter().map(String::as_str).filter(|tag| is_technique(tag)).collect();
    let mut techniques: Vec<_> = ids.iter().map(|id| id.split('.').next().unwrap_or(id)).collect();
    techniques.dedup();
    let below: Vec<_> = ids.into_iter().filter(|id| id.contains('.')).collect();
    let tactics: Vec<_> = TACTICS.iter().filter(|(tag, ..)| alert.tags.contains(&format!("mitre_{tag}"))).collect();
    if techniques.is_empty() && tactics.is_empty() {
        return;
    }
    put(document, "threat.framework", "MITRE ATT&CK".into());
    let tactic_ids: Vec<_> = tactics.iter().map(|(_, id, _)| *id).collect();
    let tactic_names: Vec<_> = tactics.iter().map(|(.., name)| *name).collect();
    for (name, values) in [
        ("threat.technique.id", techniques),
        ("threat.technique.subtechnique.id", below),
        ("threat.tactic.id", tactic_ids),
        ("threat.tactic.name", tactic_names),
    ] {
        if !values.is_empty() {
            put(document, name, values.into());
        }
    }
}

/// `T` and four digits, with a dot and three more for a technique below it.
fn is_technique(tag: &str) -> bool {
    let (technique, below) = tag.split_once('.').map_or((tag, None), |(technique, below)| (technique, Some(below)));
    let are_digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    technique.strip_prefix('T').is_some_and(|digits| are_digits(digits, 4))
        && below.is_none_or(|text| are_digits(text, 3))
}

fn put_text(document: &mut Value, name: &str, text: &str) {
    if !text.is_empty() {
        put(document, name, truncate(text, VALUE_CHARS_MAX).into());
    }
}

/// Puts the value into the objects that the dots in `name` tell.
fn put(document: &mut Value, name: &str, value: Value) {
    let place = name.split('.').fold(document, |object, part| &mut object[part]);
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_become_text_and_scalars_stay() {
        assert_eq!(flat(&json!({ "a": 1 })), json!(r#"{"a":1}"#));
        assert_eq!(flat(&json!([{ "a": 1 }])), json!(r#"[{"a":1}]"#));
        assert_eq!(flat(&json!(["a", 1])), json!(["a", 1]));
        assert_eq!(flat(&json!(7)), json!(7));
    }

    #[test]
    fn a_name_that_is_no_path_is_made_one_word() {
        for (name, expected) in [
            ("fd.sip.name", "fd.sip.name"),
            ("", "_"),
            (".", "_"),
            ("a..b", "a__b"),
            (".a", "_a"),
            ("a. ", "a_ "),
            (" ", "_"),
            ("a\0b", "a_b"),
        ] {
            assert_eq!(field_name(name), expected, "{name:?}");
        }
        assert_eq!(field_name(&"é".repeat(1_000)).chars().count(), NAME_CHARS_MAX);
    }

    #[test]
    fn a_technique_is_told_from_a_tag_that_looks_like_one() {
        for tag in ["T1059", "T1059.004"] {
            assert!(is_technique(tag), "{tag}");
        }
        for tag in ["", "T", "T105", "T10590", "t1059", "T1059.", "T1059.04", "T1059.004.1", "TA0001", "xT1059"] {
            assert!(!is_technique(tag), "{tag}");
        }
    }
}
