//! Where notifications go: one type per service, built from `[destination.NAME]` of routing.toml.
//!
//! A service's file holds only what is particular to it: its settings and its request. The HTTP client, time limits,
//! the meaning of status codes and redaction are in [`http`]; queueing, retries and pacing stand outside and follow
//! the decision that every [`SendError`] carries. To add a destination: one file here, one template, one variant below.

mod archive;
mod console;
mod elasticsearch;
mod http;
mod pagerduty;
mod preview;
mod slack;
mod terms;
mod webhook;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tercel_alert::Alert;
use uuid::Uuid;

use crate::secret::SecretError;

use terms::Habit;

pub use archive::ArchiveConfig;
pub use console::{ConsoleConfig, Format};
pub use elasticsearch::{ElasticsearchConfig, SetupError, SetupOptions, SetupReport};
pub use pagerduty::{PagerDutyConfig, Region};
pub use slack::SlackConfig;
pub use terms::{Batch, Concurrency, DeliverySettings, MaxAge};
pub use webhook::{Method, WebhookConfig};

pub(crate) use crate::render::example;

/// What one destination is asked to deliver.
#[derive(Debug, Clone)]
pub struct Notification {
    /// The alert's uuid for [`NotificationKind::Alert`], else an id of the notification's own. The same at every
    /// attempt, so that a destination can tell a repetition.
    pub id: Uuid,
    /// The alert itself; for a summary the first one, for a digest the most urgent one.
    pub alert: Arc<Alert>,
    /// Name of the route that led here.
    pub route: Arc<str>,
    /// Hex SHA-256 over what makes alerts equal; absent where deduplication is off or has no key.
    pub dedup_key: Option<Arc<str>>,
    pub kind: NotificationKind,
    /// How often the same alert came again while this one waited; known at the attempt, zero for other kinds.
    pub repeats: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum NotificationKind {
    Alert,
    /// What deduplication held back.
    Summary(Summary),
    /// What a rate limit or a time window held back.
    Digest(Digest),
}

/// The repeats of one alert within a window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// Repeats beyond the first alert.
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Up to three differing outputs.
    pub samples: Vec<String>,
    /// How long the window was open: its length, or less where it was closed early.
    pub window: Duration,
}

/// The alerts that a rate limit or a time window held back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Digest {
    pub count: u64,
    pub since: Timestamp,
    pub until: Timestamp,
    /// The ten most frequent rules; the rest is summed as `other`.
    pub rules: Vec<(String, u64)>,
    /// The time window that muted them; `None`: a rate limit held them back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_window: Option<Arc<str>>,
}

/// `[destination.NAME]` in routing.toml.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum DestinationConfig {
    Archive(ArchiveConfig),
    Console(ConsoleConfig),
    Elasticsearch(ElasticsearchConfig),
    PagerDuty(PagerDutyConfig),
    Slack(SlackConfig),
    Webhook(WebhookConfig),
}

/// What a destination is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Receive {
    /// Every alert of its routes, also what others suppress: history stays whole.
    All,
    /// What is left after silences, deduplication and limits, with summaries and digests.
    Notifications,
}

/// A destination that is ready to send.
pub struct Destination {
    name: Arc<str>,
    service: Service,
}

enum Service {
    Archive(archive::Archive),
    Console(console::Console),
    Elasticsearch(elasticsearch::Elasticsearch),
    Http(http::HttpService),
    #[cfg(test)]
    Scripted(Script),
    #[cfg(test)]
    ScriptedBulk(BulkScript),
}

/// What a destination of a test does with a notification.
#[cfg(test)]
type Script = Box<dyn Fn(Notification) -> futures::future::BoxFuture<'static, Result<(), SendError>> + Send + Sync>;

/// The same of one that takes many at once.
#[cfg(test)]
type BulkScript =
    Box<dyn Fn(Vec<Notification>) -> futures::future::BoxFuture<'static, Vec<Result<(), SendError>>> + Send + Sync>;

/// A destination that cannot be built from its settings. Says what is wrong and what would do.
#[derive(Debug, thiserror::Error)]
#[error("destination `{destination}`: {message}")]
pub struct BuildError {
    destination: String,
    message: String,
    place: Option<TemplatePlace>,
}

/// Where in a template something is wrong; line and column from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplatePlace {
    pub(crate) path: PathBuf,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A delivery that failed, with the decision what to do about it. Shows neither secret nor URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    pub reason: Reason,
    pub retry: Retry,
    detail: String,
}

/// Why a delivery failed: the label of the failure counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    ClientError,
    ServerError,
    Timeout,
    Connect,
    AuthError,
    RateLimited,
    Render,
    Io,
    Other,
}

/// Whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request would fail again.
    Never,
    /// After the usual, growing wait.
    Backoff,
    /// After what the destination asked for.
    After(Duration),
}

impl DestinationConfig {
    /// The name that `type` has in routing.toml.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Archive(_) => "archive",
            Self::Console(_) => "console",
            Self::Elasticsearch(_) => "elasticsearch",
            Self::PagerDuty(_) => "pagerduty",
            Self::Slack(_) => "slack",
            Self::Webhook(_) => "webhook",
        }
    }

    /// What was configured, else `All` for the two that keep history and `Notifications` for the others.
    pub fn receive(&self) -> Receive {
        match self {
            Self::Archive(config) => config.receive.unwrap_or(Receive::All),
            Self::Console(config) => config.receive.unwrap_or(Receive::Notifications),
            Self::Elasticsearch(config) => config.receive.unwrap_or(Receive::All),
            Self::PagerDuty(config) => config.receive.unwrap_or(Receive::Notifications),
            Self::Slack(config) => config.receive.unwrap_or(Receive::Notifications),
            Self::Webhook(config) => config.receive.unwrap_or(Receive::Notifications),
        }
    }

    /// How it is delivered to: as configured, else as its type is used to.
    pub fn delivery(&self) -> DeliverySettings {
        let (habit, concurrency, max_age, fallback) = match self {
            Self::Archive(config) => (Habit::OneByOne, None, config.max_age, &config.fallback),
            Self::Console(config) => (Habit::OneByOne, None, config.max_age, &config.fallback),
            Self::Elasticsearch(config) => {
                (Habit::Bulk(config.batch), config.concurrency, config.max_age, &config.fallback)
            }
            Self::PagerDuty(config) => (Habit::OneByOne, config.concurrency, config.max_age, &config.fallback),
            Self::Slack(config) => (Habit::OneByOne, config.concurrency, config.max_age, &config.fallback),
            Self::Webhook(config) => (Habit::Several, config.concurrency, config.max_age, &config.fallback),
        };
        DeliverySettings::new(habit, concurrency, max_age, fallback.as_ref())
    }

    /// The archive that exists without being configured: takes what matches no route.
    pub fn builtin_archive() -> Self {
        Self::Archive(ArchiveConfig::default())
    }
}

impl Destination {
    /// Resolves secrets and compiles the template. Opens no connection and no file.
    ///
    /// `base`: the folder of routing.toml, where relative template and secret paths start. `state`: the router's own
    /// folder, where the archive lies unless it is told another place.
    ///
    /// # Errors
    /// A secret, template, URL or name that cannot be used; see [`BuildError`].
    pub fn build(name: &str, config: &DestinationConfig, base: &Path, state: &Path) -> Result<Self, BuildError> {
        let service = match config {
            DestinationConfig::Archive(config) => config.build(state).map(Service::Archive),
            DestinationConfig::Console(config) => Ok(Service::Console(config.build())),
            DestinationConfig::Elasticsearch(config) => config.build(base).map(Service::Elasticsearch),
            DestinationConfig::PagerDuty(config) => config.build(base).map(Service::Http),
            DestinationConfig::Slack(config) => config.build(base).map(Service::Http),
            DestinationConfig::Webhook(config) => config.build(base).map(Service::Http),
        }
        .map_err(|Problem { message, place }| BuildError { destination: name.to_owned(), message, place })?;
        Ok(Self { name: name.into(), service })
    }

    /// Makes one attempt; the caller decides about further ones.
    ///
    /// # Errors
    /// The delivery did not happen, or nobody said that it did; see [`SendError::retry`].
    pub async fn send(&self, notification: &Notification) -> Result<(), SendError> {
        match &self.service {
            Service::Archive(archive) => archive.send(notification).await,
            Service::Console(console) => console.send(notification).await,
            Service::Elasticsearch(elasticsearch) => elasticsearch.send_one(notification).await,
            Service::Http(service) => service.send(notification).await,
            #[cfg(test)]
            Service::Scripted(script) => script(notification.clone()).await,
            #[cfg(test)]
            Service::ScriptedBulk(script) => script(vec![notification.clone()]).await.remove(0),
        }
    }

    /// Makes one attempt for all of them, with one request where the destination takes many; one result for each. The
    /// caller keeps to the [`Batch`] of the destination's settings.
    pub async fn send_all(&self, notifications: &[Notification]) -> Vec<Result<(), SendError>> {
        match &self.service {
            Service::Elasticsearch(elasticsearch) => return elasticsearch.send(notifications).await,
            #[cfg(test)]
            Service::ScriptedBulk(script) => return script(notifications.to_vec()).await,
            _ => {}
        }
        let mut results = Vec::with_capacity(notifications.len());
        for notification in notifications {
            results.push(self.send(notification).await);
        }
        results
    }

    /// Prepares the server of an Elasticsearch destination for its documents; `None`: it is no such destination.
    pub async fn setup(&self, options: &SetupOptions) -> Option<Result<SetupReport, SetupError>> {
        match &self.service {
            Service::Elasticsearch(elasticsearch) => Some(elasticsearch.setup(options).await),
            _ => None,
        }
    }

    /// As in `[destination.NAME]`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How often the configured template failed and the built-in body was sent in its place, since the start.
    pub fn render_fallbacks(&self) -> u64 {
        match &self.service {
            Service::Archive(_) | Service::Console(_) | Service::Elasticsearch(_) => 0,
            Service::Http(service) => service.render_fallbacks(),
            #[cfg(test)]
            Service::Scripted(_) | Service::ScriptedBulk(_) => 0,
        }
    }

    /// A destination that does what a test says.
    #[cfg(test)]
    pub(crate) fn scripted<F>(script: impl Fn(Notification) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), SendError>> + Send + 'static,
    {
        use futures::FutureExt as _;
        let script = Box::new(move |notification| script(notification).boxed());
        Self { name: "scripted".into(), service: Service::Scripted(script) }
    }

    /// The same for one that takes many at once.
    #[cfg(test)]
    pub(crate) fn scripted_bulk<F>(script: impl Fn(Vec<Notification>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<Result<(), SendError>>> + Send + 'static,
    {
        use futures::FutureExt as _;
        let script = Box::new(move |notifications| script(notifications).boxed());
        Self { name: "scripted".into(), service: Service::ScriptedBulk(script) }
    }
}

impl BuildError {
    /// The place in the template, where it is one that is wrong.
    pub(crate) fn template(&self) -> Option<&TemplatePlace> {
        self.place.as_ref()
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SendError {
    pub(crate) fn new(reason: Reason, retry: Retry, detail: impl Into<String>) -> Self {
        Self { reason, retry, detail: detail.into() }
    }

    /// Whether it speaks of the destination, or the way to it, and not of what was sent.
    pub(crate) fn is_outage(&self) -> bool {
        match self.reason {
            Reason::Connect | Reason::Timeout | Reason::ServerError | Reason::Io => true,
            // A connection that broke off, or an answer that is no HTTP.
            Reason::Other => self.retry != Retry::Never,
            Reason::ClientError | Reason::AuthError | Reason::RateLimited | Reason::Render => false,
        }
    }
}

impl Reason {
    pub const ALL: [Self; 9] = [
        Self::ClientError,
        Self::ServerError,
        Self::Timeout,
        Self::Connect,
        Self::AuthError,
        Self::RateLimited,
        Self::Render,
        Self::Io,
        Self::Other,
    ];

    /// As metrics and logs print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::AuthError => "auth_error",
            Self::RateLimited => "rate_limited",
            Self::Render => "render",
            Self::Io => "io",
            Self::Other => "other",
        }
    }
}

impl NotificationKind {
    /// As templates, metrics and the `notification` key of bodies print it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Summary(_) => "summary",
            Self::Digest(_) => "digest",
        }
    }
}

/// What is wrong with a destination's settings; the name is put before it in one place.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) message: String,
    /// `None`: what is wrong stands in the settings themselves.
    pub(crate) place: Option<TemplatePlace>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None }
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests;
