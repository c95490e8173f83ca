//! Where notifications go: one type per service, built from `[destination.NAME]` of routing.toml.
//!
//! A service's file holds only what is particular to it: its [`Settings`] and how a notification becomes a request. The
//! HTTP client, time limits, the meaning of status codes and redaction are in [`http`]; queueing, retries and pacing stand
//! outside and follow the decision that every [`SendError`] carries. To add a destination: one file here, one template, and
//! its name in the list below.

mod address;
mod alertmanager;
mod archive;
mod auth;
mod client;
mod console;
mod discord;
mod elasticsearch;
mod error;
mod falcosidekick;
mod http;
mod kafka;
mod label;
mod live;
mod loki;
mod nats;
mod notification;
mod null;
mod opsgenie;
mod otlp;
mod pagerduty;
mod region;
mod server;
mod service;
mod settings;
mod slack;
mod smtp;
mod syslog;
mod teams;
mod telegram;
mod terms;
mod webhook;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::incident::IncidentTerms;
use crate::render::UnknownField;

use service::Service;
use settings::{CommonSettings, Folders, Settings, destination_types};

pub use elasticsearch::{SetupError, SetupOptions, SetupReport};
pub use error::{BuildError, Reason, Retry, SendError};
pub use notification::{Digest, Notification, NotificationKind, Receipt, Resolve, Summary};
pub use settings::Receive;
pub use terms::{Batch, DeliverySettings};

pub(crate) use crate::render::example;
pub(crate) use error::{Problem, TemplatePlace};

destination_types! {
    "alertmanager" => Alertmanager(alertmanager::AlertmanagerConfig),
    "archive" => Archive(archive::ArchiveConfig),
    "console" => Console(console::ConsoleConfig),
    "discord" => Discord(discord::DiscordConfig),
    "elasticsearch" => Elasticsearch(elasticsearch::ElasticsearchConfig),
    "falcosidekick" => Falcosidekick(falcosidekick::FalcosidekickConfig),
    "kafka" => Kafka(kafka::KafkaConfig),
    "loki" => Loki(loki::LokiConfig),
    "nats" => Nats(nats::NatsConfig),
    "null" => Null(null::NullConfig),
    "opsgenie" => Opsgenie(opsgenie::OpsgenieConfig),
    "otlp" => Otlp(otlp::OtlpConfig),
    "pagerduty" => PagerDuty(pagerduty::PagerDutyConfig),
    "slack" => Slack(slack::SlackConfig),
    "smtp" => Smtp(smtp::SmtpConfig),
    "syslog" => Syslog(syslog::SyslogConfig),
    "teams" => Teams(teams::TeamsConfig),
    "telegram" => Telegram(telegram::TelegramConfig),
    "webhook" => Webhook(webhook::WebhookConfig),
}

/// `[destination.NAME]` in routing.toml.
#[derive(Debug, Clone)]
pub struct DestinationConfig {
    common: CommonSettings,
    particular: TypeConfig,
}

/// A destination that is ready to send.
pub struct Destination {
    name: Arc<str>,
    service: Box<dyn Service>,
}

impl DestinationConfig {
    /// The name that `type` has in routing.toml.
    pub fn type_name(&self) -> &'static str {
        self.particular.name()
    }

    /// What was configured, else as its type is used to.
    pub fn receive(&self) -> Receive {
        self.common.receive.unwrap_or_else(|| self.particular.settings().receive())
    }

    /// How it is delivered to: as configured, else as its type is used to.
    pub fn delivery(&self) -> DeliverySettings {
        let settings = self.particular.settings();
        DeliverySettings::new(settings.habit(), settings.pace(), &self.common)
    }

    /// How it tells incidents apart, where it keeps any.
    pub(crate) fn incidents(&self) -> Option<IncidentTerms> {
        self.particular.settings().incidents()
    }

    /// The archive that exists without being configured: takes what matches no route.
    pub fn builtin_archive() -> Self {
        Self { common: CommonSettings::default(), particular: TypeConfig::Archive(archive::ArchiveConfig::default()) }
    }

    /// The file of an archive; `None`: it is none. `state`: the router's own folder.
    pub(crate) fn archive_file(&self, state: &Path) -> Option<PathBuf> {
        match &self.particular {
            TypeConfig::Archive(config) => Some(config.file(state)),
            _ => None,
        }
    }

    /// The same without what must not be shown: whoever writes a template or a test sees what would be sent, and no secret
    /// is read.
    #[must_use]
    pub(crate) fn without_secrets(&self) -> Self {
        let mut config = self.clone();
        config.particular.settings_mut().withhold_secrets();
        config
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
        let service = config
            .particular
            .settings()
            .build(Folders { base, state })
            .map_err(|Problem { message, place }| BuildError { destination: name.to_owned(), message, place })?;
        Ok(Self { name: name.into(), service })
    }

    /// Makes one attempt; the caller decides about further ones.
    ///
    /// # Errors
    /// The delivery did not happen, or nobody said that it did; see [`SendError::retry`].
    pub async fn send(&self, notification: &Notification) -> Result<(), SendError> {
        self.service.send(notification).await
    }

    /// Makes one attempt for all of them, with one request where the destination takes many; one result for each. The
    /// caller keeps to the [`Batch`] of the destination's settings.
    pub async fn send_all(&self, notifications: &[Notification]) -> Vec<Result<Receipt, SendError>> {
        self.service.send_all(notifications).await
    }

    /// The body of the request, or the line, for `notification`.
    ///
    /// # Errors
    /// Not even the built-in template makes one.
    pub(crate) fn preview(&self, notification: &Notification) -> Result<String, SendError> {
        self.service.preview(notification)
    }

    /// Prepares the server of an Elasticsearch destination for its documents; `None`: it is no such destination.
    pub async fn setup(&self, options: &SetupOptions) -> Option<Result<SetupReport, SetupError>> {
        match self.service.elasticsearch() {
            Some(elasticsearch) => Some(elasticsearch.setup(options).await),
            None => None,
        }
    }

    /// As in `[destination.NAME]`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How often the configured template failed and the built-in body was sent in its place, since the start.
    pub fn render_fallbacks(&self) -> u64 {
        self.service.renderer().map_or(0, crate::render::Renderer::fallbacks)
    }

    /// Output fields that its template reads and the sensor does not know.
    pub(crate) fn unknown_fields(&self) -> &[UnknownField] {
        self.service.renderer().map_or(&[], crate::render::Renderer::unknown_fields)
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod scripted;

#[cfg(test)]
mod tests;
