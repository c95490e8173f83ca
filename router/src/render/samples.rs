//! What every template must be able to render: nothing but what must be there, everything that may be, and what an attacker
//! would put there, each as every kind of notification.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tercel_alert::{Alert, Priority};
use uuid::Uuid;

use crate::destination::{Digest, Notification, NotificationKind, Resolve, Summary};

/// Ends strings, lines, tags and templates, colours, reverses, hides.
const HOSTILE: &str = "\"}]\\ {{id}} </x><!channel> `'&\r\n\t\u{0}\u{1b}[31m\u{202e}\u{200b}é🔴";

/// Characters of a hostile command line: more than any service shows.
const LONG_CHARS: usize = 5_000;

/// What was held back in an example.
const EXAMPLE_COUNT: u64 = 99;

/// The length of its window.
const EXAMPLE_WINDOW: Duration = Duration::from_mins(5);

/// Each with what it is, for messages.
pub(super) fn samples() -> Vec<(String, Notification)> {
    let alerts = [("without fields", bare()), ("with all fields", rich()), ("with hostile text", hostile())];
    let mut samples = Vec::new();
    for (which, alert) in alerts {
        for (kind, what) in kinds(&alert) {
            // The barest one shows most faults, and needs no qualification.
            let name = match &kind {
                NotificationKind::Alert => format!("an alert {which}"),
                _ if alert.output_fields.is_empty() => what.to_owned(),
                _ => format!("{what} of alerts {which}"),
            };
            let (id, route) = (Uuid::nil(), "sample".into());
            samples.push((name, Notification::new(id, Arc::clone(&alert), route, None, kind)));
        }
    }
    samples
}

/// A summary or digest as it could be about `alert`; `None`: no such kind.
pub(crate) fn example(kind: &str, alert: &Alert) -> Option<NotificationKind> {
    let (count, first) = (EXAMPLE_COUNT, alert.time);
    let last = first.saturating_add(SignedDuration::try_from(EXAMPLE_WINDOW).unwrap_or_default()).unwrap_or(first);
    match kind {
        "alert" => Some(NotificationKind::Alert),
        "summary" => {
            let samples = vec![alert.output.clone()];
            Some(NotificationKind::Summary(Summary { count, first, last, samples, window: EXAMPLE_WINDOW }))
        }
        "digest" => {
            let rules = vec![(alert.rule.clone(), count)];
            Some(NotificationKind::Digest(Digest { count, since: first, until: last, rules, time_window: None }))
        }
        "resolve" => Some(NotificationKind::Resolve(Resolve {
            dedup_key: "0".repeat(64),
            count,
            since: first,
            last,
            by: Some("somebody".to_owned()),
        })),
        _ => None,
    }
}

fn kinds(alert: &Alert) -> Vec<(NotificationKind, &'static str)> {
    let names = [("alert", "an alert"), ("summary", "a summary"), ("digest", "a digest"), ("resolve", "a resolve")];
    let mut kinds: Vec<_> = names.iter().filter_map(|(kind, what)| Some((example(kind, alert)?, *what))).collect();
    if alert.output_fields.is_empty() {
        // Lists that are empty are what templates forget.
        for (kind, _) in &mut kinds {
            match kind {
                NotificationKind::Alert => {}
                NotificationKind::Summary(summary) => summary.samples.clear(),
                NotificationKind::Digest(digest) => digest.rules.clear(),
                NotificationKind::Resolve(resolve) => resolve.by = None,
            }
        }
    }
    kinds
}

fn bare() -> Arc<Alert> {
    alert("Sample", Priority::Notice, "", json!({}), &[])
}

fn rich() -> Arc<Alert> {
    let fields = json!({
        "evt.time": 1_700_000_000_000_000_000_u64, "proc.name": "cat", "proc.cmdline": "cat /etc/shadow",
        "proc.exepath": "/usr/bin/cat", "proc.pid": 4711, "user.name": "root", "user.uid": 0, "fd.name": "/etc/shadow",
        "container.id": "0123456789ab", "container.name": "shop", "k8s.ns.name": "payments", "k8s.pod.name": "shop-1",
        "fd.sip": "10.0.0.1", "cpu.load": 0.5, "proc.is_exe_writable": true,
    });
    alert("Sample with all fields", Priority::Critical, "A shell (user=root)", fields, &["T1003", "container"])
}

fn hostile() -> Arc<Alert> {
    let long = format!("{HOSTILE}{}", "é".repeat(LONG_CHARS));
    let fields = json!({
        "evt.time": HOSTILE, "proc.name": HOSTILE, "proc.cmdline": long, "user.name": HOSTILE, "user.uid": -1,
        "container.id": [HOSTILE, 1], "k8s.ns.name": {"a": {"b.c": [null]}}, "k8s.pod.name": 7, "fd.name": null,
        "empty": "", HOSTILE: HOSTILE, "": false,
    });
    alert(HOSTILE, Priority::Emergency, &long, fields, &[HOSTILE])
}

fn alert(rule: &str, priority: Priority, output: &str, fields: Value, tags: &[&str]) -> Arc<Alert> {
    let has_more = !output.is_empty();
    let text = |text: &str| if has_more { text.to_owned() } else { String::new() };
    Arc::new(Alert {
        uuid: has_more.then(Uuid::max),
        original_uuid: None,
        time: Timestamp::UNIX_EPOCH,
        rule: rule.to_owned(),
        priority,
        source: text("syscall"),
        hostname: text(if rule == HOSTILE { HOSTILE } else { "node-1" }),
        output: output.to_owned(),
        output_fields: match fields {
            Value::Object(fields) => fields,
            _ => serde_json::Map::new(),
        },
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    })
}
