//! PagerDuty's Events API v2, by developer.pagerduty.com/docs/send-alert-event.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Received, Reply, Service};

const ROUTING_KEY_CHARS: usize = 32;
const SUMMARY_CHARS_MAX: usize = 1_024;
const DEDUP_KEY_CHARS_MAX: usize = 255;
const EVENT_BYTES_MAX: usize = 512_000;
const ACTIONS: [&str; 3] = ["trigger", "acknowledge", "resolve"];
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];
/// Texts where they are present at all.
const OPTIONAL_TEXTS: [&str; 3] = ["component", "group", "class"];

/// Checks events and keeps incidents.
#[derive(Debug, Default)]
pub struct PagerDutyService {
    incidents: BTreeMap<String, Vec<Value>>,
}

impl PagerDutyService {
    /// The events of each incident in order, by dedup key.
    pub fn incidents(&self) -> &BTreeMap<String, Vec<Value>> {
        &self.incidents
    }
}

impl Service for PagerDutyService {
    const PATH: &'static str = "/v2/enqueue";

    fn reply(&mut self, request: &Received) -> Reply {
        if request.method != "POST" || request.path != Self::PATH {
            return Reply::text(404, "");
        }
        let event = request.json();
        let errors = errors(&event, request.body.len());
        if !errors.is_empty() {
            let answer = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors });
            return Reply::json(400, &answer);
        }
        // PagerDuty makes a key of its own for an event without one.
        let made_up = format!("made-up-{}", self.incidents.len());
        let key = event["dedup_key"].as_str().unwrap_or(&made_up).to_owned();
        self.incidents.entry(key.clone()).or_default().push(event);
        Reply::json(202, &json!({ "status": "success", "message": "Event processed", "dedup_key": key }))
    }
}

const EVENT_KEYS: [&str; 8] =
    ["routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"];
const PAYLOAD_KEYS: [&str; 8] =
    ["summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"];

fn errors(event: &Value, length: usize) -> Vec<&'static str> {
    if !event.is_object() {
        return vec!["JSON cannot be parsed"];
    }
    let payload = &event["payload"];
    let checks = [
        (length <= EVENT_BYTES_MAX, "the event is larger than 512 KB"),
        (
            count(&event["routing_key"]) == Some(ROUTING_KEY_CHARS),
            "Length of 'routing_key' is incorrect (should be 32 characters)",
        ),
        (
            is_one_of(&event["event_action"], &ACTIONS),
            "'event_action' is invalid (must be one of: 'trigger', 'acknowledge', or 'resolve')",
        ),
        (
            has_length(&event["dedup_key"], 1, DEDUP_KEY_CHARS_MAX) || event["dedup_key"].is_null(),
            "'dedup_key' is too long (maximum is 255 characters)",
        ),
        (has_only(event, &EVENT_KEYS), "the event holds an unknown key"),
    ];
    let payload_checks = [
        (payload.is_object(), "'payload' is missing or blank"),
        (has_length(&payload["summary"], 1, SUMMARY_CHARS_MAX), "'payload.summary' is missing, blank or too long"),
        (has_length(&payload["source"], 1, usize::MAX), "'payload.source' is missing or blank"),
        (
            is_one_of(&payload["severity"], &SEVERITIES),
            "'payload.severity' is invalid (must be one of: 'critical', 'warning', 'error' or 'info')",
        ),
        (is_time(&payload["timestamp"]), "'payload.timestamp' is invalid"),
        (
            OPTIONAL_TEXTS.iter().all(|key| payload.get(key).is_none_or(|value| has_length(value, 1, usize::MAX))),
            "an optional text is blank",
        ),
        (is_list_of(&event["links"], &["href", "text"]), "'links' is invalid"),
        (has_only(payload, &PAYLOAD_KEYS), "the payload holds an unknown key"),
        (
            payload.get("custom_details").is_none_or(Value::is_object),
            "'payload.custom_details' is invalid (must be an object)",
        ),
    ];
    // What ends an incident says nothing more about it.
    let payload_checks = payload_checks.into_iter().filter(|_| event["event_action"] == "trigger");
    let unmet = checks.into_iter().chain(payload_checks).filter(|(is_met, _)| !is_met);
    unmet.map(|(_, message)| message).collect()
}

fn count(value: &Value) -> Option<usize> {
    value.as_str().map(|text| text.chars().count())
}

fn has_length(value: &Value, min: usize, max: usize) -> bool {
    count(value).is_some_and(|count| (min..=max).contains(&count))
}

fn has_only(object: &Value, keys: &[&str]) -> bool {
    object.as_object().is_some_and(|object| object.keys().all(|key| keys.contains(&key.as_str())))
}

/// Absent, or objects of these texts.
fn is_list_of(list: &Value, keys: &[&str]) -> bool {
    let is_item = |item: &Value| has_only(item, keys) && keys.iter().all(|key| item[key].is_string());
    list.is_null() || list.as_array().is_some_and(|list| list.iter().all(is_item))
}

fn is_one_of(value: &Value, names: &[&str]) -> bool {
    value.as_str().is_some_and(|name| names.contains(&name))
}

fn is_time(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok())
}
