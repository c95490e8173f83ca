//! Local stand-ins for the services that the router delivers to: real HTTP servers on 127.0.0.1 that record what they
//! get, hold it against the service's published limits, answer as the service would, and fail on demand.
//!
//! ```ignore
//! let slack = Slack::start().await;
//! slack.answer_next([Answer::RetryAfter(429, "1"), Answer::Hang]);
//! // … a router that delivers to slack.url() …
//! let requests = slack.wait_for(3, Duration::from_secs(10)).await;
//! ```

mod cluster;
mod elasticsearch;
mod pagerduty;
mod server;
mod slack;
mod webhook;

use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderMap;
use jiff::Timestamp;
use serde_json::Value;

pub use cluster::Cluster;
pub use elasticsearch::{Document, ElasticsearchService};
pub use pagerduty::PagerDutyService;
pub use server::Receiver;
pub use slack::{SLACK_CHANNEL, SLACK_CHANNEL_ID, SLACK_TOKEN, SlackApiService, SlackMessage, SlackService};
pub use webhook::WebhookService;

/// Takes anything and answers 200.
pub type Webhook = Receiver<WebhookService>;
/// An incoming webhook: answers `ok`, or 400 with Slack's word for what is wrong.
pub type Slack = Receiver<SlackService>;
/// `chat.postMessage` and `chat.update`: keeps messages, or answers with Slack's error.
pub type SlackApi = Receiver<SlackApiService>;
/// Events API v2: answers 202, or 400 with the errors.
pub type PagerDuty = Receiver<PagerDutyService>;
/// `_bulk` with `create`: keeps documents and a mapping.
pub type Elasticsearch = Receiver<ElasticsearchService>;

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// When its last byte had come.
    pub time: Timestamp,
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The status of the answer; absent where none was given.
    pub status: Option<u16>,
}

/// How a receiver answers one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// As the service does.
    Normal,
    /// As the service does, after a while.
    Slow(Duration),
    /// This status with an empty body.
    Status(u16),
    /// This status with a `Retry-After` of this text: seconds or an HTTP date.
    RetryAfter(u16, &'static str),
    /// This status and body.
    Body(u16, String),
    /// Never, with the connection kept open.
    Hang,
    /// Never: the connection is closed.
    Close,
}

/// What a service says to a request.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
    /// Seconds, for the header.
    pub retry_after: Option<u64>,
}

/// What is particular to one service.
pub trait Service: Default + Send + 'static {
    /// Where the service takes requests.
    const PATH: &'static str;

    /// Judges a request as the real service would.
    fn reply(&mut self, request: &Received) -> Reply;
}

impl Received {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A header's text; empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether the answer was a 2xx.
    pub fn is_accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

impl Reply {
    fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain", body: body.into(), retry_after: None }
    }

    fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    fn json(status: u16, body: &Value) -> Self {
        Self { status, content_type: "application/json", body: body.to_string(), retry_after: None }
    }
}
