//! An event within PagerDuty's limits (developer.pagerduty.com/docs/send-alert-event).

use serde_json::{Map, Value, json};

use crate::render::truncate;

/// The longest `payload.summary`.
const SUMMARY_CHARS_MAX: usize = 1_024;

/// The longest `dedup_key`.
const DEDUP_KEY_CHARS_MAX: usize = 255;

/// The largest event that PagerDuty takes is 512 KB.
const EVENT_BYTES_MAX: usize = 512_000;

/// Where an event is too large, the texts of its details are cut to the first of these lengths that makes it fit.
const DETAIL_CHARS: [usize; 3] = [16_384, 2_048, 256];

/// Details that then go, in this order: the longest first, what says most to a person last.
const DROPPED: [&str; 4] = ["fields", "summary", "digest", "tags"];

/// `payload` keys that PagerDuty refuses or shows as empty when they are empty.
const OPTIONAL_KEYS: [&str; 4] = ["component", "group", "class", "timestamp"];

/// The JSON of a whole `trigger`.
pub(super) fn trigger(rendered: Value, routing_key: &str, dedup_key: &str) -> String {
    let mut event = match rendered {
        Value::Object(event) => event,
        _ => Map::new(),
    };
    event.insert("routing_key".into(), routing_key.into());
    event.insert("event_action".into(), "trigger".into());
    event.insert("dedup_key".into(), truncate(dedup_key, DEDUP_KEY_CHARS_MAX).into());
    if let Some(payload) = event.get_mut("payload").and_then(Value::as_object_mut) {
        tidy(payload);
    }
    fit(Value::Object(event))
}

/// The JSON of a whole `resolve`, of which PagerDuty wants to know no more.
pub(super) fn resolve(routing_key: &str, dedup_key: &str) -> String {
    let dedup_key = truncate(dedup_key, DEDUP_KEY_CHARS_MAX);
    json!({ "routing_key": routing_key, "event_action": "resolve", "dedup_key": dedup_key }).to_string()
}

fn tidy(payload: &mut Map<String, Value>) {
    if let Some(Value::String(summary)) = payload.get_mut("summary") {
        *summary = truncate(summary, SUMMARY_CHARS_MAX);
    }
    payload.retain(|key, value| {
        !(OPTIONAL_KEYS.contains(&key.as_str()) && (value.is_null() || value.as_str() == Some("")))
    });
}

/// Cuts the details' texts, then leaves details out, in the end all of them, until the event is small enough.
fn fit(mut event: Value) -> String {
    let mut text = event.to_string();
    for limit in DETAIL_CHARS {
        if text.len() <= EVENT_BYTES_MAX {
            return text;
        }
        event.pointer_mut("/payload/custom_details").into_iter().for_each(|details| cut_texts(details, limit));
        text = event.to_string();
    }
    let mut left_out: Vec<&str> = Vec::new();
    for name in DROPPED {
        if text.len() <= EVENT_BYTES_MAX {
            return text;
        }
        if let Some(details) = event.pointer_mut("/payload/custom_details").and_then(Value::as_object_mut)
            && details.remove(name).is_some()
        {
            left_out.push(name);
            details.insert("left_out".to_owned(), json!(left_out));
        }
        text = event.to_string();
    }
    if text.len() > EVENT_BYTES_MAX {
        let note = format!("the details were left out: together they are larger than {EVENT_BYTES_MAX} bytes");
        event["payload"]["custom_details"] = json!({ "note": note });
        text = event.to_string();
    }
    text
}

fn cut_texts(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) => *text = truncate(text, limit),
        Value::Array(list) => list.iter_mut().for_each(|value| cut_texts(value, limit)),
        Value::Object(map) => map.values_mut().for_each(|value| cut_texts(value, limit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(details: &Value) -> Value {
        let event = json!({ "payload": { "summary": "s".repeat(5_000), "custom_details": details } });
        let text = trigger(event, "key", &"k".repeat(300));
        assert!(text.len() <= EVENT_BYTES_MAX, "{} bytes", text.len());
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn details_go_in_the_stated_order_and_only_as_far_as_needed() {
        let many =
            |prefix: &str| (0..8_000).map(|n| (format!("{prefix}.{n}"), json!("é".repeat(40)))).collect::<Map<_, _>>();
        let small = fitted(&json!({ "output": "o", "fields": { "a": "x".repeat(20_000) } }));
        assert_eq!(small.pointer("/payload/custom_details/fields/a").unwrap().as_str().unwrap().len(), 20_000);
        let large = fitted(&json!({ "output": "o", "tags": ["t"], "fields": many("f") }));
        assert_eq!(
            large.pointer("/payload/custom_details").unwrap(),
            &json!({ "output": "o", "tags": ["t"], "left_out": ["fields"] })
        );
        let larger = fitted(&json!({ "output": "o", "tags": many("t"), "fields": many("f") }));
        assert_eq!(
            larger.pointer("/payload/custom_details").unwrap(),
            &json!({ "output": "o", "left_out": ["fields", "tags"] })
        );
        let other = fitted(&json!({ "own": many("x") }));
        assert!(other.pointer("/payload/custom_details/note").unwrap().as_str().unwrap().contains("left out"));
    }

    #[test]
    fn summary_and_key_keep_to_their_limits() {
        let event = fitted(&json!({}));
        assert_eq!(event.pointer("/payload/summary").unwrap().as_str().unwrap().chars().count(), SUMMARY_CHARS_MAX);
        assert_eq!(event["dedup_key"].as_str().unwrap().chars().count(), DEDUP_KEY_CHARS_MAX);
    }
}
