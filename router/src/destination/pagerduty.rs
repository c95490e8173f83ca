//! PagerDuty: Events API v2. Alerts that share a dedup key become one incident, and so do their summaries.

use std::path::{Path, PathBuf};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::http::{HttpDestination, HttpService, parse_url};
use super::{Concurrency, MaxAge, Notification, Problem, Receive, SendError};
use crate::render::{Renderer, truncate};
use crate::secret::{PlainOrSecret, Secret, SecretRef};

const TEMPLATE: &str = include_str!("../../../templates/pagerduty.json.hbs");

/// The longest `payload.summary`.
const SUMMARY_CHARS_MAX: usize = 1_024;

/// The largest event that PagerDuty takes is 512 KB.
const EVENT_BYTES_MAX: usize = 512_000;

/// Where an event is too large, its texts are cut to the first of these lengths that makes it fit.
const DETAIL_CHARS: [usize; 3] = [16_384, 2_048, 256];

/// `payload` keys that PagerDuty refuses or shows as empty when they are empty.
const OPTIONAL_KEYS: [&str; 4] = ["component", "group", "class", "timestamp"];

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerDutyConfig {
    pub receive: Option<Receive>,
    /// The destination that takes over what this one does not take.
    pub fallback: Option<String>,
    /// How long a delivery is tried.
    pub max_age: Option<MaxAge>,
    /// Deliveries on their way at once.
    pub concurrency: Option<Concurrency>,
    /// The integration key of an Events API v2 integration.
    pub routing_key: SecretRef,
    /// The service region of the account.
    #[serde(default)]
    pub region: Region,
    /// In place of the region's address: a proxy, or a receiver under test.
    pub url: Option<PlainOrSecret>,
    /// A Handlebars file in place of the built-in event. Gives all keys but `routing_key`, `event_action` and
    /// `dedup_key`.
    pub template: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    #[default]
    Us,
    Eu,
}

impl Region {
    fn url(self) -> &'static str {
        match self {
            Self::Us => "https://events.pagerduty.com/v2/enqueue",
            Self::Eu => "https://events.eu.pagerduty.com/v2/enqueue",
        }
    }
}

struct PagerDuty {
    url: Url,
    routing_key: Secret,
    body: Renderer,
}

impl PagerDutyConfig {
    pub(super) fn build(&self, base: &Path) -> Result<HttpService, Problem> {
        let region = PlainOrSecret::Plain(self.region.url().to_owned());
        let url = parse_url("url", self.url.as_ref().unwrap_or(&region), base)?;
        let routing_key = self.routing_key.resolve(base)?;
        let body = Renderer::build(Some(TEMPLATE), self.template.as_deref(), base)?;
        HttpService::new(&url.clone(), PagerDuty { url, routing_key, body })
    }
}

impl HttpDestination for PagerDuty {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let event = event(self.body.render(notification)?, self.routing_key.expose(), notification);
        Ok(client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(event))
    }

    /// `{"status":"invalid event","message":"…","errors":["…"]}`
    fn explain(&self, answer: &[u8]) -> Option<String> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        let errors = answer.get("errors").and_then(Value::as_array).cloned().unwrap_or_default();
        let errors: Vec<_> = errors.iter().filter_map(Value::as_str).collect();
        let cause = if errors.is_empty() { answer.get("message")?.as_str()?.to_owned() } else { errors.join("; ") };
        Some(cause.replace(self.routing_key.expose(), "[redacted]"))
    }

    fn render_fallbacks(&self) -> u64 {
        self.body.fallbacks()
    }
}

/// The JSON of the whole event, within PagerDuty's limits.
pub(super) fn event(rendered: Value, routing_key: &str, notification: &Notification) -> String {
    let mut event = match rendered {
        Value::Object(event) => event,
        _ => Map::new(),
    };
    let dedup_key = notification.dedup_key.as_deref().map_or_else(|| notification.id.to_string(), str::to_owned);
    event.insert("routing_key".into(), routing_key.into());
    event.insert("event_action".into(), "trigger".into());
    event.insert("dedup_key".into(), dedup_key.into());
    if let Some(payload) = event.get_mut("payload").and_then(Value::as_object_mut) {
        tidy(payload);
    }
    fit(Value::Object(event))
}

fn tidy(payload: &mut Map<String, Value>) {
    if let Some(Value::String(summary)) = payload.get_mut("summary") {
        *summary = truncate(summary, SUMMARY_CHARS_MAX);
    }
    payload.retain(|key, value| {
        !(OPTIONAL_KEYS.contains(&key.as_str()) && (value.is_null() || value.as_str() == Some("")))
    });
}

/// Cuts the texts, in the end all details, until the event is small enough.
fn fit(mut event: Value) -> String {
    let mut text = event.to_string();
    for limit in DETAIL_CHARS {
        if text.len() <= EVENT_BYTES_MAX {
            return text;
        }
        cut_texts(&mut event, limit);
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
