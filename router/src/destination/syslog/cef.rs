//! `ArcSight`'s Common Event Format, version 0. In the header `|` and `\` are escaped, in the extension `=` and `\`; lines end only as
//! `\n` written out, so that no value begins a key, a field or an event of its own.

use serde_json::{Map, Value};
use tercel_alert::Priority;

use super::super::{Notification, NotificationKind};
use crate::render::{field_text, notification_text, truncate, visible};

/// Characters of the event's class and name.
const NAME_CHARS_MAX: usize = 512;

/// Keys of the extension, the fields they hold, and how many characters of them.
const FIELDS: [(&str, &str, usize); 13] = [
    ("suser", "user.name", 1_023),
    ("suid", "user.uid", 1_023),
    ("sproc", "proc.name", 1_023),
    ("spid", "proc.pid", 16),
    ("filePath", "proc.exepath", 1_023),
    ("src", "fd.cip", 64),
    ("spt", "fd.cport", 16),
    ("dst", "fd.sip", 64),
    ("dpt", "fd.sport", 16),
    ("proto", "fd.l4proto", 31),
    ("fname", "fd.name", 1_023),
    ("cn1", "proc.ppid", 16),
    ("act", "evt.type", 63),
];

/// Keys that need a label beside them, the label and the field.
const LABELLED: [(&str, &str, &str); 6] = [
    ("cs1", "command", "proc.cmdline"),
    ("cs2", "parent", "proc.pcmdline"),
    ("cs3", "container", "container.id"),
    ("cs4", "namespace", "k8s.ns.name"),
    ("cs5", "pod", "k8s.pod.name"),
    ("cs6", "image", "container.image.repository"),
];

/// Characters of a labelled value, and of the message.
const TEXT_CHARS_MAX: usize = 1_023;

pub(super) fn event(notification: &Notification) -> String {
    let alert = &notification.alert;
    let class = match notification.kind {
        NotificationKind::Digest(_) => "digest",
        _ => &alert.rule,
    };
    let class = header(class);
    let version = env!("CARGO_PKG_VERSION");
    let mut event = format!("CEF:0|Tercel|Tercel|{version}|{class}|{class}|{}|", severity(alert.priority));
    let mut extension = vec![
        ("externalId".to_owned(), notification.id.to_string()),
        ("rt".to_owned(), alert.time.as_millisecond().to_string()),
        ("cnt".to_owned(), notification.kind.count().to_string()),
        ("cat".to_owned(), notification.kind.name().to_owned()),
        ("dvchost".to_owned(), truncate(&alert.hostname, 100)),
        ("msg".to_owned(), truncate(&visible(&notification_text(notification)), TEXT_CHARS_MAX)),
    ];
    if !matches!(notification.kind, NotificationKind::Digest(_)) {
        extension.extend(fields(&alert.output_fields));
        let tags: Vec<_> = alert.tags.iter().map(String::as_str).collect();
        extension.push(("reason".to_owned(), truncate(&tags.join(","), TEXT_CHARS_MAX)));
    }
    let pairs = extension.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={}", value_of(value))).collect();
    event.push_str(&pairs.join(" "));
    event
}

fn fields(fields: &Map<String, Value>) -> Vec<(String, String)> {
    let text = |name: &str| fields.get(name).map(field_text).filter(|text| !matches!(text.as_str(), "" | "<NA>"));
    let mut pairs: Vec<_> =
        FIELDS.iter().filter_map(|(key, name, max)| Some(((*key).to_owned(), truncate(&text(name)?, *max)))).collect();
    for (key, label, name) in LABELLED {
        if let Some(text) = text(name) {
            pairs.push((key.to_owned(), truncate(&text, TEXT_CHARS_MAX)));
            pairs.push((format!("{key}Label"), label.to_owned()));
        }
    }
    if pairs.iter().any(|(key, _)| key == "cn1") {
        pairs.push(("cn1Label".to_owned(), "parent pid".to_owned()));
    }
    pairs
}

fn header(text: &str) -> String {
    truncate(&visible(text), NAME_CHARS_MAX).replace('\\', "\\\\").replace('|', "\\|")
}

fn value_of(text: &str) -> String {
    // Backslashes of `visible` are doubled too, so that what is shown is what was written out.
    visible(text).replace('\\', "\\\\").replace('=', "\\=")
}

/// 0 to 10.
fn severity(priority: Priority) -> u8 {
    match priority {
        Priority::Emergency => 10,
        Priority::Alert => 9,
        Priority::Critical => 8,
        Priority::Error => 7,
        Priority::Warning => 6,
        Priority::Notice => 4,
        Priority::Informational => 3,
        Priority::Debug => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_begins_a_key_a_field_or_a_line() {
        assert_eq!(header("a|b\\c\nd"), r"a\|b\\c\\nd");
        assert_eq!(value_of("x=1 suser=evil\r\n\\ |"), r"x\=1 suser\=evil\\r\\n\\ |");
    }
}
