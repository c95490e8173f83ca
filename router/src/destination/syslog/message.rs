//! One message of RFC 5424, within a number of bytes.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{Notification, NotificationKind};
use super::{Format, cef};
use crate::render::{alert_body, field_text, headline, truncate, visible};

/// Who speaks.
const APPLICATION: &str = "tercel";

/// The id of our structured data. The number is the one that RFC 5612 keeps for those who have none.
const DATA_ID: &str = "tercel@32473";

/// A name that no host has is none; longer ones are cut (RFC 5424, 6.2.4).
const HOSTNAME_CHARS_MAX: usize = 255;

/// Characters of a value of structured data.
const VALUE_CHARS_MAX: usize = 128;

/// Where an alert is too long as JSON, its texts are cut to the first of these lengths that makes it fit.
const TEXT_CHARS: [usize; 4] = [2_048, 512, 128, 32];

/// Fields that are structured data, under these names.
const DATA_FIELDS: [(&str, &str); 6] = [
    ("container", "container.id"),
    ("namespace", "k8s.ns.name"),
    ("pod", "k8s.pod.name"),
    ("user", "user.name"),
    ("process", "proc.name"),
    ("executable", "proc.exepath"),
];

/// `facility`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Facility {
    User = 1,
    Daemon = 3,
    Auth = 4,
    AuthPriv = 10,
    Audit = 13,
    #[default]
    Local0 = 16,
    Local1 = 17,
    Local2 = 18,
    Local3 = 19,
    Local4 = 20,
    Local5 = 21,
    Local6 = 22,
    Local7 = 23,
}

pub(super) fn message(notification: &Notification, facility: Facility, format: Format, bytes_max: usize) -> String {
    let alert = &notification.alert;
    let priority = facility as u8 * 8 + alert.priority.syslog_severity();
    let (time, host) = (format!("{:.6}", alert.time), hostname(&alert.hostname));
    let header = format!("<{priority}>1 {time} {host} {APPLICATION} - {}", notification.kind.name());
    // The other formats say all of it themselves.
    let data = if format == Format::Text { structured_data(notification) } else { "-".to_owned() };
    let start = format!("{header} {data} ");
    let room = bytes_max.saturating_sub(start.len());
    let content = match format {
        Format::Text => cut(&visible(&headline(notification)), room),
        Format::Json => json(notification, room),
        Format::Cef => cut(&cef::event(notification), room),
    };
    // A header as long as all that there is room for is cut with the rest.
    cut(&format!("{start}{content}"), bytes_max)
}

fn hostname(name: &str) -> String {
    let printable = |character: char| if character.is_ascii_graphic() { character } else { '_' };
    let name: String = name.chars().take(HOSTNAME_CHARS_MAX).map(printable).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

fn structured_data(notification: &Notification) -> String {
    let alert = &notification.alert;
    let is_digest = matches!(notification.kind, NotificationKind::Digest(_));
    let mut parameters = vec![
        ("id", notification.id.to_string()),
        ("priority", alert.priority.name().to_owned()),
        ("route", notification.route.to_string()),
        ("count", notification.kind.count().to_string()),
    ];
    if !is_digest {
        parameters.push(("rule", alert.rule.clone()));
        let fields =
            DATA_FIELDS.iter().filter_map(|(name, field)| Some((*name, field_text(alert.output_fields.get(*field)?))));
        parameters.extend(fields);
    }
    let parameters = parameters.iter().filter(|(_, value)| !value.is_empty());
    let parameters: Vec<_> = parameters.map(|(name, value)| format!("{name}=\"{}\"", data_value(value))).collect();
    format!("[{DATA_ID} {}]", parameters.join(" "))
}

fn data_value(value: &str) -> String {
    let value = truncate(&visible(value), VALUE_CHARS_MAX);
    value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]")
}

/// Texts are cut first, then the fields go: what is sent is JSON in any case.
fn json(notification: &Notification, room: usize) -> String {
    let mut alert = alert_body(notification);
    let mut text = alert.to_string();
    for limit in TEXT_CHARS {
        if text.len() <= room {
            return text;
        }
        cut_texts(&mut alert, limit);
        text = alert.to_string();
    }
    for name in ["output_fields", "notification", "tags", "output"] {
        if text.len() > room
            && let Some(alert) = alert.as_object_mut()
        {
            alert.remove(name);
            alert.insert("left_out".to_owned(), true.into());
        }
        text = alert.to_string();
    }
    if text.len() <= room {
        text
    } else {
        Value::Object(Map::from_iter([("left_out".to_owned(), true.into())])).to_string()
    }
}

fn cut_texts(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) => *text = truncate(text, limit),
        Value::Array(list) => list.iter_mut().for_each(|value| cut_texts(value, limit)),
        Value::Object(map) => map.values_mut().for_each(|value| cut_texts(value, limit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// At most so many bytes, the cut at a character's boundary and marked.
fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}
