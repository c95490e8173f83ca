//! Opsgenie: alerts that share an alias are one, and are closed when they are over.

use std::path::PathBuf;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tercel_alert::Priority;

use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService, below, sensitive_header, service_url};
use super::live::Live;
use super::region::Region;
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_KEY, WITHHELD_URL};
use super::terms::{Habit, Quiet};
use super::{Notification, NotificationKind, Problem, SendError};
use crate::incident::{self, IncidentTerms};
use crate::render::{Renderer, notification_text, truncate, visible};
use crate::secret::{PlainOrSecret, SecretRef};

/// Where the service is.
const US: &str = "https://api.opsgenie.com/";
const EU: &str = "https://api.eu.opsgenie.com/";

const TEMPLATE: &str = include_str!("../../../templates/opsgenie.json.hbs");

/// Characters of what Opsgenie cuts or refuses (docs.opsgenie.com/docs/alert-api).
const TEXTS_MAX: [(&str, usize); 4] = [("message", 130), ("description", 15_000), ("entity", 512), ("source", 100)];

/// Tags of one alert, and the characters of one.
const TAGS_MAX: usize = 20;
const TAG_CHARS_MAX: usize = 50;

/// Characters of what is said when an alert is closed.
const NOTE_CHARS_MAX: usize = 1_000;

/// Who says it.
const USER: &str = "Tercel";

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpsgenieConfig {
    /// The key of an API integration.
    api_key: SecretRef,
    /// The service region of the account.
    #[serde(default)]
    region: Region,
    /// In place of the region's address: a proxy, or a receiver under test.
    url: Option<PlainOrSecret>,
    #[serde(default)]
    http: HttpSettings,
    /// An alert is closed when nothing of it came for so long; absent: by hand only.
    resolve_after: Option<Quiet>,
    /// A Handlebars file in place of the built-in alert. Gives all keys but `alias`.
    template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    raw: bool,
}

struct Opsgenie {
    alerts: Url,
    authorization: Live<HeaderValue>,
    body: Renderer,
}

impl Settings for OpsgenieConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let region = self.region.address(US, EU);
        let alerts = below("url", &service_url(self.url.as_ref(), region, base)?, "v2/alerts")?;
        let authorization = {
            let (key, base) = (self.api_key.clone(), base.to_owned());
            Live::new(key.file(&base), move || sensitive_header("api_key", &key.resolve(&base)?.prefixed("GenieKey ")))?
        };
        let body = Renderer::build(Some(TEMPLATE), self.template.as_deref(), self.raw, base)?;
        let opsgenie = Opsgenie { alerts: alerts.clone(), authorization, body };
        Ok(Box::new(HttpService::with(&self.http, &alerts, base, opsgenie)?))
    }

    fn habit(&self) -> Habit {
        Habit::OneByOne
    }

    fn incidents(&self) -> Option<IncidentTerms> {
        Some(IncidentTerms { quiet: self.resolve_after.map(|Quiet(quiet)| quiet), ..IncidentTerms::default() })
    }

    fn withhold_secrets(&mut self) {
        self.api_key = SecretRef::Withheld(WITHHELD_KEY);
        self.url.iter_mut().for_each(|url| url.withhold(WITHHELD_URL));
        self.http = HttpSettings::default();
    }
}

impl HttpDestination for Opsgenie {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let alias = incident::key(notification, None);
        let (url, body) = if matches!(notification.kind, NotificationKind::Resolve(_)) {
            self.close(&alias, notification)
        } else {
            let body = match self.body.render(notification)? {
                Value::Object(alert) => fit(alert, &alias, notification.alert.priority),
                _ => Map::new(),
            };
            (self.alerts.clone(), body.into())
        };
        let authorization = HeaderValue::clone(&self.authorization.current());
        let request = client.post(url).header(AUTHORIZATION, authorization).header(CONTENT_TYPE, "application/json");
        Ok(request.body(body.to_string()))
    }

    /// `{"message":"…","took":0.1,"requestId":"…"}`, with `errors` by key where some are wrong.
    fn explain(&self, answer: &[u8]) -> Option<String> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        let message = answer.get("message")?.as_str()?;
        Some(answer.get("errors").map_or_else(|| message.to_owned(), |errors| format!("{message}: {errors}")))
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}

impl Opsgenie {
    fn close(&self, alias: &str, notification: &Notification) -> (Url, Value) {
        let mut url = self.alerts.clone();
        // An address that was parsed as one of HTTP has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend([alias, "close"]);
        }
        url.query_pairs_mut().append_pair("identifierType", "alias");
        let note = truncate(&visible(&notification_text(notification)), NOTE_CHARS_MAX);
        (url, json!({ "user": USER, "source": USER, "note": note }))
    }
}

/// Within the limits, with what the template leaves to the router.
fn fit(mut alert: Map<String, Value>, alias: &str, priority: Priority) -> Map<String, Value> {
    for (name, max) in TEXTS_MAX {
        if let Some(Value::String(text)) = alert.get_mut(name) {
            *text = truncate(text, max);
        }
    }
    if let Some(Value::Array(tags)) = alert.get_mut("tags") {
        tags.truncate(TAGS_MAX);
        for tag in tags {
            *tag = truncate(tag.as_str().unwrap_or_default(), TAG_CHARS_MAX).into();
        }
    }
    alert.insert("alias".to_owned(), alias.into());
    alert.entry("priority").or_insert_with(|| level(priority).into());
    alert
}

fn level(priority: Priority) -> &'static str {
    match priority {
        Priority::Emergency | Priority::Alert | Priority::Critical => "P1",
        Priority::Error => "P2",
        Priority::Warning => "P3",
        Priority::Notice => "P4",
        Priority::Informational | Priority::Debug => "P5",
    }
}
