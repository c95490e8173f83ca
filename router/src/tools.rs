//! What the command line can say about a configuration without running it: no socket, no state.

mod alerts;
mod test;

use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use tercel_alert::{Alert, Priority};
use uuid::Uuid;

use crate::RoutingError;
use crate::destination::{Notification, NotificationKind, Retry, SetupOptions, SetupReport, example};
use crate::explain::Explanation;
use crate::pipeline::Explainer;
use crate::routing::Routing;

pub(crate) use alerts::read as read_alerts;
pub use test::{Got, TestOutcome, test};

/// Why a tool has nothing to say.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error(transparent)]
    Settings(#[from] crate::SettingsError),
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// What was given besides the configuration cannot be used.
    #[error("{0}")]
    Input(String),
    /// Something else failed.
    #[error("{0}")]
    Failed(String),
}

/// What becomes of each alert in `json`, an object, an array or lines, if it comes `at` that time. `name`: of the input,
/// for messages.
///
/// # Errors
/// The routing file or an alert cannot be used.
pub fn explain(routing: &Path, name: &str, json: &[u8], at: Timestamp) -> Result<Vec<Explanation>, ToolError> {
    let routing = Routing::read(routing)?;
    let alerts =
        alerts::read(json, &routing.enrich).map_err(|message| ToolError::Input(format!("{name}: {message}")))?;
    let explainer = Explainer::new(routing);
    Ok(alerts.iter().map(|received| explainer.explain(&received.alert, at)).collect())
}

/// What `destination` would be sent.
#[derive(Debug)]
pub struct Rendered {
    pub body: String,
    /// Its template failed, so that this is the built-in body.
    pub fell_back: bool,
}

/// The kinds of notifications that [`render`] knows.
pub const KINDS: [&str; 4] = ["alert", "summary", "digest", "resolve"];

/// The body that `destination` would be sent for the first alert in `json`. `kind`: one of [`KINDS`]; the others
/// are examples about the alert. No secret is read.
///
/// # Errors
/// The routing file or the alert cannot be used, or there is no such destination.
pub fn render(routing: &Path, destination: &str, kind: &str, name: &str, json: &[u8]) -> Result<Rendered, ToolError> {
    let routing = Routing::read(routing)?;
    let index = routing.destination(destination)?;
    let built = routing.build_without_secrets(index)?;
    let alerts =
        alerts::read(json, &routing.enrich).map_err(|message| ToolError::Input(format!("{name}: {message}")))?;
    let Some(received) = alerts.into_iter().next() else { return Err(ToolError::Input(format!("{name}: no alert"))) };
    let alert = received.alert;
    let (route, dedup_key) = Explainer::new(routing).way(&alert, index).unwrap_or_else(|| ("route".into(), None));
    let kind =
        example(kind, &alert).ok_or_else(|| ToolError::Input(format!("no kind `{kind}`: {}", KINDS.join(", "))))?;
    let id = alert.uuid.unwrap_or_else(Uuid::now_v7);
    let notification = Notification::new(id, alert, route, dedup_key, kind);
    let body = built.preview(&notification).map_err(|error| ToolError::Failed(format!("{destination}: {error}")))?;
    Ok(Rendered { body, fell_back: built.render_fallbacks() > 0 })
}

/// How a test alert fared.
#[derive(Debug, Serialize)]
pub struct Sent {
    pub destination: String,
    pub delivered: bool,
    pub seconds: f64,
    /// As the failure counter's label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What the destination said, without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether the router would try again.
    pub would_retry: bool,
}

/// Sends one alert that says that it is a test to `destination`, once. Routes, deduplication and limits have no say.
///
/// # Errors
/// The routing file or the destination's settings cannot be used, or there is no such destination.
pub async fn send_test(routing: &Path, state: &Path, destination: &str, priority: Priority) -> Result<Sent, ToolError> {
    crate::install_crypto();
    let routing = Routing::read(routing)?;
    let index = routing.destination(destination)?;
    let built = routing.build(index, state)?;
    let alert = Arc::new(test_alert(destination, priority));
    let id = alert.uuid.unwrap_or_else(Uuid::now_v7);
    let kind = NotificationKind::Alert;
    let notification = Notification::new(id, alert, TEST.into(), None, kind);
    let start = Instant::now();
    let error = built.send(&notification).await.err();
    Ok(Sent {
        destination: destination.to_owned(),
        delivered: error.is_none(),
        seconds: start.elapsed().as_secs_f64(),
        would_retry: error.as_ref().is_some_and(|error| error.retry != Retry::Never),
        reason: error.as_ref().map(|error| error.reason.name()),
        detail: error.map(|error| error.to_string()),
    })
}

/// Prepares the server of an Elasticsearch destination: index template and lifecycle policy.
///
/// # Errors
/// The routing file or the destination's settings cannot be used, or there is no such destination, or the server refuses.
pub async fn elasticsearch_setup(
    routing: &Path,
    state: &Path,
    destination: &str,
    options: &SetupOptions,
) -> Result<SetupReport, ToolError> {
    crate::install_crypto();
    let routing = Routing::read(routing)?;
    let index = routing.destination(destination)?;
    let built = routing.build(index, state)?;
    let Some(result) = built.setup(options).await else {
        return Err(ToolError::Input(format!("destination `{destination}` is not of type elasticsearch")));
    };
    result.map_err(|error| ToolError::Failed(format!("{destination}: {error}")))
}

/// What marks a test: its route and its tag.
const TEST: &str = "tercel-test";

fn test_alert(destination: &str, priority: Priority) -> Alert {
    Alert {
        uuid: Some(Uuid::now_v7()),
        original_uuid: None,
        time: Timestamp::now(),
        rule: "Tercel test alert".to_owned(),
        priority,
        source: TEST.to_owned(),
        hostname: String::new(),
        output: format!("This is a test of destination {destination}, sent by hand; nothing happened"),
        output_fields: serde_json::Map::new(),
        tags: std::iter::once(TEST.to_owned()).collect(),
    }
}

impl Display for Sent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { destination, seconds, would_retry, .. } = self;
        match (&self.reason, &self.detail) {
            (Some(reason), Some(detail)) => {
                let retry = if *would_retry { "the router would try again" } else { "the router would not try again" };
                write!(f, "{destination}: not delivered after {seconds:.3} s: {reason}: {detail}; {retry}")
            }
            _ => write!(f, "{destination}: delivered in {seconds:.3} s"),
        }
    }
}

impl Routing {
    /// The index of a destination.
    fn destination(&self, name: &str) -> Result<usize, ToolError> {
        self.destinations.iter().position(|destination| destination.name == name).ok_or_else(|| {
            let known: Vec<_> = self.destinations.iter().map(|destination| destination.name.as_str()).collect();
            ToolError::Input(format!("there is no destination `{name}`; known destinations: {}", known.join(", ")))
        })
    }
}
