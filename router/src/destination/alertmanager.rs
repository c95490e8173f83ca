//! Alertmanager: alerts with labels that stay the same for what is the same, so that its own grouping, silences and
//! deduplication work, and with an end.
//!
//! Labels are made here and not in a template: one that changes with every event would make each alert another one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::auth::AuthSettings;
use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService, below, parse_url};
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_URL};
use super::terms::{Habit, Quiet};
use super::{Notification, NotificationKind, Problem, SendError, label};
use crate::fingerprint::KeyField;
use crate::incident::IncidentTerms;
use crate::render::{Renderer, field_text, severity, truncate, visible};
use crate::secret::PlainOrSecret;

const TEMPLATE: &str = include_str!("../../../templates/alertmanager.json.hbs");

/// Where Alertmanager takes alerts, below its address.
const PATH: &str = "api/v2/alerts";

/// Fields that are labels where nothing else is said: what an alert is equal by, and where its pod is.
const LABEL_FIELDS: [&str; 5] = ["container.id", "proc.exepath", "user.name", "k8s.ns.name", "k8s.pod.name"];

/// Labels beside the built-in ones.
const LABELS_MAX: usize = 30;

/// A label's value: a query that matches a longer one is no use to anybody.
const VALUE_CHARS_MAX: usize = 256;

/// What a digest, which is about many rules, is called.
const DIGEST_NAME: &str = "Alerts held back";

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertmanagerConfig {
    /// Its address, without `api/v2/alerts`.
    url: PlainOrSecret,
    #[serde(default)]
    http: HttpSettings,
    /// Who sends it.
    auth: Option<AuthSettings>,
    /// Output fields that become labels, their dots as `_`; absent: what alerts are equal by, namespace and pod.
    label_fields: Option<Vec<String>>,
    /// Further labels, the same for all alerts.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// An alert ends by itself so long after it came; absent: as Alertmanager's `resolve_timeout` says.
    expires_after: Option<Quiet>,
    /// An alert is resolved when nothing of it came for so long; absent: by hand only.
    resolve_after: Option<Quiet>,
    /// A Handlebars file in place of the built-in one. Gives `annotations` and `generatorURL`.
    template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    raw: bool,
}

struct Alertmanager {
    url: Url,
    fields: Vec<String>,
    labels: BTreeMap<String, String>,
    expires_after: Option<Duration>,
    body: Renderer,
}

impl Settings for AlertmanagerConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let url = below("url", &parse_url("url", &self.url, base)?, PATH)?;
        for name in self.fields() {
            KeyField::parse(&name).map_err(|error| Problem::new(format!("`label_fields`: {error}")))?;
        }
        label::check(self.labels.keys())?;
        if self.labels.len() + self.fields().len() > LABELS_MAX {
            return Err(Problem::new(format!("`labels` and `label_fields` are more than {LABELS_MAX} together")));
        }
        let alertmanager = Alertmanager {
            url: url.clone(),
            fields: self.fields(),
            labels: self.labels.clone(),
            expires_after: self.expires_after.map(|Quiet(time)| time),
            body: Renderer::build(Some(TEMPLATE), self.template.as_deref(), self.raw, base)?,
        };
        let auth = self.auth.as_ref().map(|auth| auth.build(base)).transpose()?;
        Ok(Box::new(HttpService::with(&self.http, &url, base, alertmanager)?.signed_by(auth)))
    }

    fn habit(&self) -> Habit {
        Habit::OneByOne
    }

    /// One set of labels is one alert to Alertmanager.
    fn incidents(&self) -> Option<IncidentTerms> {
        let names = self.fields();
        let fields = names.iter().filter_map(|name| KeyField::parse(name).ok());
        let by = [KeyField::Rule, KeyField::Priority, KeyField::Source, KeyField::Hostname].into_iter().chain(fields);
        let quiet = self.resolve_after.map(|Quiet(quiet)| quiet);
        Some(IncidentTerms { by: Some(by.collect()), quiet, keep: names.iter().map(|name| (**name).into()).collect() })
    }

    fn withhold_secrets(&mut self) {
        self.url.withhold(WITHHELD_URL);
        self.http = HttpSettings::default();
        self.auth = None;
    }
}

impl AlertmanagerConfig {
    fn fields(&self) -> Vec<String> {
        self.label_fields.clone().unwrap_or_else(|| LABEL_FIELDS.map(str::to_owned).to_vec())
    }
}

impl HttpDestination for Alertmanager {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let mut alert = match self.body.render(notification)? {
            Value::Object(alert) => alert,
            _ => Map::new(),
        };
        alert.insert("labels".to_owned(), self.labels(notification).into());
        let (start, end) = self.times(notification);
        alert.insert("startsAt".to_owned(), json!(start));
        if let Some(end) = end {
            alert.insert("endsAt".to_owned(), json!(end));
        }
        let body = Value::Array(vec![alert.into()]).to_string();
        Ok(client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body))
    }

    /// `"bad start time; …"`, or `{"code":…,"message":"…"}`
    fn explain(&self, answer: &[u8]) -> Option<String> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        answer.as_str().or_else(|| answer.get("message")?.as_str()).map(str::to_owned)
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}

impl Alertmanager {
    /// Alertmanager leaves out those that are empty.
    fn labels(&self, notification: &Notification) -> Map<String, Value> {
        let alert = &notification.alert;
        let is_digest = matches!(notification.kind, NotificationKind::Digest(_));
        let mut labels = Map::new();
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                labels.insert(name.to_owned(), truncate(&visible(value), VALUE_CHARS_MAX).into());
            }
        };
        if is_digest {
            put("route", &notification.route);
        } else {
            for name in &self.fields {
                put(&label::name_of(name), &alert.output_fields.get(name).map(field_text).unwrap_or_default());
            }
            put("hostname", &alert.hostname);
            put("source", &alert.source);
        }
        put("alertname", if is_digest { DIGEST_NAME } else { &alert.rule });
        put("priority", alert.priority.name());
        put("severity", severity(alert.priority.name()));
        for (name, value) in &self.labels {
            put(name, value);
        }
        labels
    }

    /// When it began and when it ends; `None`: Alertmanager decides.
    fn times(&self, notification: &Notification) -> (Timestamp, Option<Timestamp>) {
        match &notification.kind {
            NotificationKind::Resolve(resolve) => (resolve.since, Some(resolve.last)),
            kind => {
                let (start, last) = match kind {
                    NotificationKind::Summary(summary) => (summary.first, summary.last),
                    NotificationKind::Digest(digest) => (digest.since, digest.until),
                    _ => (notification.alert.time, notification.alert.time),
                };
                let after =
                    |time: Duration| SignedDuration::try_from(time).ok().and_then(|time| last.checked_add(time).ok());
                (start, self.expires_after.and_then(after))
            }
        }
    }
}
