//! The form of a webhook's body.

use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Notification;

/// What the body is, whichever template made it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    #[default]
    Json,
    /// One line of JSON with its end: for receivers that read streams.
    Ndjson,
    /// `name=value&…` with the keys of the object; what is no text is written as JSON.
    #[serde(rename = "form")]
    UrlEncoded,
    /// A `CloudEvent` (1.0, structured mode) with the JSON as its `data`.
    CloudEvents,
}

impl Form {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::UrlEncoded => "application/x-www-form-urlencoded",
            Self::CloudEvents => "application/cloudevents+json",
        }
    }

    /// Of many in one body.
    pub(super) fn content_type_of_many(self) -> &'static str {
        match self {
            Self::CloudEvents => "application/cloudevents-batch+json",
            one => one.content_type(),
        }
    }

    /// Many bodies in one: lines as they are, anything else as a list.
    pub(super) fn join(self, bodies: &[String]) -> String {
        match self {
            Self::Ndjson => bodies.concat(),
            Self::Json | Self::UrlEncoded | Self::CloudEvents => format!("[{}]", bodies.join(",")),
        }
    }

    pub(super) fn body(self, json: &Value, notification: &Notification) -> String {
        match self {
            Self::Json => json.to_string(),
            Self::Ndjson => format!("{json}\n"),
            Self::UrlEncoded => form(json),
            Self::CloudEvents => cloud_event(json, notification).to_string(),
        }
    }
}

/// A body that is no object gets the name `body`.
fn form(json: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    // A URL's query is written in the same way.
    let Ok(mut url) = Url::parse("http://form.invalid/") else { return String::new() };
    match json {
        Value::Object(map) => {
            for (name, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                url.query_pairs_mut().append_pair(name, &text(value));
            }
        }
        other => drop(url.query_pairs_mut().append_pair("body", &text(other))),
    }
    url.query().unwrap_or_default().to_owned()
}

/// `source` and `id` together are unique, as the specification wants it.
fn cloud_event(data: &Value, notification: &Notification) -> Value {
    let alert = &notification.alert;
    let host = if alert.hostname.is_empty() { "unknown" } else { &alert.hostname };
    json!({
        "specversion": "1.0",
        "id": notification.id,
        "source": format!("/tercel/{}", super::super::address::encode(host)),
        "type": format!("io.tercel.{}", notification.kind.name()),
        "subject": alert.rule,
        "time": alert.time,
        "datacontenttype": "application/json",
        "data": data,
    })
}
