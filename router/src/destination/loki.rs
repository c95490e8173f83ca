//! Loki: alerts as lines of JSON, many a request, under a few labels.
//!
//! Every combination of labels is a stream of its own, which costs Loki memory and files; so only fields that have few values
//! are labels, and a field's values beyond the first [`VALUES_MAX`] are called `other`.

use std::collections::BTreeMap;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::AuthSettings;
use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService, below, parse_url};
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_URL};
use super::terms::{Batch, Habit};
use super::{Notification, Problem, Receive, SendError, label};
use crate::fingerprint::KeyField;
use crate::names::{Names, OTHER};
use crate::render::{alert_text, field_text, truncate, visible};
use crate::secret::PlainOrSecret;

/// Where Loki takes lines, below its address.
const PATH: &str = "loki/api/v1/push";

/// Labels where nothing else is said.
const LABEL_FIELDS: [&str; 4] = ["rule", "priority", "source", "hostname"];

/// Labels in all: Loki takes 15 unless told otherwise.
const LABELS_MAX: usize = 15;

/// Values of one label.
const VALUES_MAX: usize = 256;

/// Characters of a value: Loki takes 2,048 bytes.
const VALUE_CHARS_MAX: usize = 256;

/// Which tenant's lines they are.
const TENANT: &str = "x-scope-orgid";

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LokiConfig {
    /// Its address, without `loki/api/v1/push`.
    url: PlainOrSecret,
    #[serde(default)]
    http: HttpSettings,
    /// Who sends it.
    auth: Option<AuthSettings>,
    /// What goes into one request.
    batch: Option<Batch>,
    /// The tenant, where Loki keeps several apart.
    tenant: Option<String>,
    /// Fields that become labels, named as in a route's `by`; absent: rule, priority, source, hostname.
    label_fields: Option<Vec<String>>,
    /// Further labels, the same for all alerts; absent: `job = "tercel"`.
    labels: Option<BTreeMap<String, String>>,
}

struct Loki {
    url: Url,
    tenant: Option<HeaderValue>,
    fields: Vec<Label>,
    labels: BTreeMap<String, String>,
}

struct Label {
    name: String,
    field: KeyField,
    values: Names,
}

impl Settings for LokiConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let url = below("url", &parse_url("url", &self.url, base)?, PATH)?;
        let tenant = self.tenant.as_deref().map(HeaderValue::from_str).transpose();
        let tenant = tenant.map_err(|error| Problem::new(format!("`tenant`: {error}")))?;
        let names = self.label_fields.clone().unwrap_or_else(|| LABEL_FIELDS.map(str::to_owned).to_vec());
        let fields = names.iter().map(|name| field_label(name)).collect::<Result<Vec<_>, _>>()?;
        let labels = self.labels.clone().unwrap_or_else(|| BTreeMap::from([("job".to_owned(), "tercel".to_owned())]));
        label::check(labels.keys())?;
        if !(1..=LABELS_MAX).contains(&(labels.len() + fields.len())) {
            return Err(Problem::new(format!("`labels` and `label_fields` are 1 to {LABELS_MAX} together")));
        }
        let auth = self.auth.as_ref().map(|auth| auth.build(base)).transpose()?;
        let loki = Loki { url: url.clone(), tenant, fields, labels };
        Ok(Box::new(HttpService::with(&self.http, &url, base, loki)?.signed_by(auth)))
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

impl HttpDestination for Loki {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        Ok(self.push(client, std::slice::from_ref(notification)))
    }

    fn request_all(&self, client: &Client, many: &[Notification]) -> Option<Result<RequestBuilder, SendError>> {
        Some(Ok(self.push(client, many)))
    }

    /// One line of text.
    fn explain(&self, answer: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(answer).ok()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl Loki {
    fn push(&self, client: &Client, notifications: &[Notification]) -> RequestBuilder {
        let mut streams: BTreeMap<BTreeMap<String, String>, Vec<(i128, Value)>> = BTreeMap::new();
        for notification in notifications {
            let time = notification.alert.time.as_nanosecond();
            let line = json!([time.to_string(), alert_text(notification)]);
            streams.entry(self.labels(notification)).or_default().push((time, line));
        }
        let streams: Vec<_> = streams.into_iter().map(|(labels, lines)| stream(&labels, lines)).collect();
        let request = client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let request = self.tenant.iter().fold(request, |request, tenant| request.header(TENANT, tenant.clone()));
        request.body(json!({ "streams": streams }).to_string())
    }

    fn labels(&self, notification: &Notification) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        for Label { name, field, values } in &self.fields {
            let value = field.value(&notification.alert).as_ref().map(field_text).unwrap_or_default();
            let value = truncate(&visible(&value), VALUE_CHARS_MAX);
            if !value.is_empty() {
                labels.insert(name.clone(), if values.admits(&value) { value } else { OTHER.to_owned() });
            }
        }
        labels
    }
}

/// In the order of their times, which Loki wants of old lines.
fn stream(labels: &BTreeMap<String, String>, mut lines: Vec<(i128, Value)>) -> Value {
    lines.sort_by_key(|(time, _)| *time);
    let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
    json!({ "stream": labels, "values": lines })
}

fn field_label(name: &str) -> Result<Label, Problem> {
    let field = KeyField::parse(name).map_err(|error| Problem::new(format!("`label_fields`: {error}")))?;
    Ok(Label { name: label::name_of(name), field, values: Names::new(VALUES_MAX) })
}
