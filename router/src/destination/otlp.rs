//! OpenTelemetry: alerts as log records over OTLP/HTTP in its JSON encoding, many a request.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tercel_alert::Priority;

use super::auth::AuthSettings;
use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService, below, explained, parse_url};
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_URL};
use super::terms::{Batch, Habit};
use super::{Notification, NotificationKind, Problem, Reason, Receive, Retry, SendError};
use crate::render::{notification_text, truncate};
use crate::secret::PlainOrSecret;

/// Where a collector takes logs, below its address.
const PATH: &str = "v1/logs";

/// Attributes of one record; collectors keep 128 unless told otherwise.
const ATTRIBUTES_MAX: usize = 128;

/// Characters of a value.
const VALUE_CHARS_MAX: usize = 16_384;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OtlpConfig {
    /// The collector's address, without `v1/logs`.
    url: PlainOrSecret,
    #[serde(default)]
    http: HttpSettings,
    /// Who sends it.
    auth: Option<AuthSettings>,
    /// What goes into one request.
    batch: Option<Batch>,
}

struct Otlp {
    url: Url,
}

impl Settings for OtlpConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let url = below("url", &parse_url("url", &self.url, base)?, PATH)?;
        let auth = self.auth.as_ref().map(|auth| auth.build(base)).transpose()?;
        Ok(Box::new(HttpService::with(&self.http, &url, base, Otlp { url: url.clone() })?.signed_by(auth)))
    }

    fn habit(&self) -> Habit {
        Habit::Bulk(self.batch)
    }

    fn receive(&self) -> Receive {
        Receive::All
    }

    fn withhold_secrets(&mut self) {
        self.url.withhold(WITHHELD_URL);
        self.http = HttpSettings::default();
        self.auth = None;
    }
}

impl HttpDestination for Otlp {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        Ok(self.export(client, std::slice::from_ref(notification)))
    }

    fn request_all(&self, client: &Client, many: &[Notification]) -> Option<Result<RequestBuilder, SendError>> {
        Some(Ok(self.export(client, many)))
    }

    /// `{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"…"}}`
    fn check(&self, answer: Result<Vec<u8>, SendError>) -> Result<(), SendError> {
        let answer: Value = serde_json::from_slice(&answer.unwrap_or_default()).unwrap_or_default();
        let rejected = answer.pointer("/partialSuccess/rejectedLogRecords").map(crate::render::field_text);
        if rejected.is_none_or(|count| matches!(count.as_str(), "" | "0")) {
            return Ok(());
        }
        let error = SendError::new(Reason::ClientError, Retry::Never, "the collector refused the record");
        let message = answer.pointer("/partialSuccess/errorMessage").and_then(Value::as_str);
        Err(explained(error, message.unwrap_or("no reason was given")))
    }

    /// `{"code":3,"message":"…"}`
    fn explain(&self, answer: &[u8]) -> Option<String> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        answer.get("message")?.as_str().map(str::to_owned)
    }
}

impl Otlp {
    fn export(&self, client: &Client, notifications: &[Notification]) -> RequestBuilder {
        let records: Vec<_> = notifications.iter().map(record).collect();
        let resource = json!({ "attributes": [attribute("service.name", &json!("tercel"))] });
        let scope = json!({ "name": "tercel-router", "version": env!("CARGO_PKG_VERSION") });
        let logs = json!({ "resourceLogs": [{ "resource": resource, "scopeLogs": [{ "scope": scope, "logRecords": records }] }] });
        client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(logs.to_string())
    }
}

/// 64-bit numbers are strings in this encoding.
fn record(notification: &Notification) -> Value {
    let alert = &notification.alert;
    let (number, text) = severity(alert.priority);
    json!({
        "timeUnixNano": alert.time.as_nanosecond().max(0).to_string(),
        "severityNumber": number,
        "severityText": text,
        "eventName": format!("tercel.{}", notification.kind.name()),
        "body": { "stringValue": truncate(&notification_text(notification), VALUE_CHARS_MAX) },
        "attributes": attributes(notification),
    })
}

fn attributes(notification: &Notification) -> Vec<Value> {
    let alert = &notification.alert;
    let tags: Vec<_> = alert.tags.iter().collect();
    let mut attributes = vec![
        attribute("log.record.uid", &json!(notification.id)),
        attribute("falco.rule", &json!(alert.rule)),
        attribute("falco.priority", &json!(alert.priority)),
        attribute("falco.source", &json!(alert.source)),
        attribute("falco.tags", &json!(tags)),
        attribute("host.name", &json!(alert.hostname)),
        attribute("tercel.route", &json!(&*notification.route)),
        attribute("tercel.count", &json!(notification.kind.count())),
    ];
    if !matches!(notification.kind, NotificationKind::Digest(_)) {
        let fields = alert.output_fields.iter().filter(|(name, value)| !name.is_empty() && !value.is_null());
        attributes.extend(fields.take(ATTRIBUTES_MAX - attributes.len()).map(|(name, value)| attribute(name, value)));
    }
    attributes
}

fn attribute(name: &str, value: &Value) -> Value {
    json!({ "key": truncate(name, VALUE_CHARS_MAX), "value": any_value(value) })
}

fn any_value(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({ "stringValue": truncate(text, VALUE_CHARS_MAX) }),
        Value::Bool(bool) => json!({ "boolValue": bool }),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => json!({ "intValue": integer.to_string() }),
            (None, Some(float)) => json!({ "doubleValue": float }),
            _ => json!({ "stringValue": number.to_string() }),
        },
        Value::Array(list) => json!({ "arrayValue": { "values": list.iter().map(any_value).collect::<Vec<_>>() } }),
        Value::Null | Value::Object(_) => json!({ "stringValue": truncate(&value.to_string(), VALUE_CHARS_MAX) }),
    }
}

/// Of the data model's table: FATAL, ERROR, WARN, INFO, DEBUG.
fn severity(priority: Priority) -> (u8, &'static str) {
    match priority {
        Priority::Emergency => (24, "Emergency"),
        Priority::Alert => (22, "Alert"),
        Priority::Critical => (21, "Critical"),
        Priority::Error => (17, "Error"),
        Priority::Warning => (13, "Warning"),
        Priority::Notice => (10, "Notice"),
        Priority::Informational => (9, "Informational"),
        Priority::Debug => (5, "Debug"),
    }
}
