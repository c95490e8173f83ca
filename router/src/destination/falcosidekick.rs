//! Falcosidekick, or whatever else takes the alerts of Falco: the alert with Falco's keys and nothing else, one a request.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::address::Address;
use super::auth::AuthSettings;
use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService};
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_URL};
use super::terms::Habit;
use super::{Notification, NotificationKind, Problem, SendError};
use crate::render::{field_text, notification_text};
use crate::secret::PlainOrSecret;

/// Fields that must be text: Falcosidekick drops the connection, and the alert with it, where they are something else.
const TEXT_FIELDS: [&str; 2] = ["k8s.ns.name", "k8s.pod.name"];

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FalcosidekickConfig {
    /// Where it takes alerts.
    url: PlainOrSecret,
    #[serde(default)]
    http: HttpSettings,
    /// Who sends it.
    auth: Option<AuthSettings>,
}

struct Falcosidekick {
    address: Address,
}

impl Settings for FalcosidekickConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let address = Address::build("url", &self.url, base)?;
        let url = address.representative();
        let auth = self.auth.as_ref().map(|auth| auth.build(base)).transpose()?;
        Ok(Box::new(HttpService::with(&self.http, &url, base, Falcosidekick { address })?.signed_by(auth)))
    }

    fn habit(&self) -> Habit {
        Habit::Several
    }

    fn withhold_secrets(&mut self) {
        self.url.withhold(WITHHELD_URL);
        self.http = HttpSettings::default();
        self.auth = None;
    }
}

impl HttpDestination for Falcosidekick {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let body = event(notification).to_string();
        Ok(client.post(self.address.of(notification)?).header(CONTENT_TYPE, "application/json").body(body))
    }
}

/// `uuid` goes with it as an output field too, since Falcosidekick gives each event an id of its own, and refuses one without
/// output fields.
fn event(notification: &Notification) -> Value {
    let alert = &notification.alert;
    let mut fields = match &notification.kind {
        NotificationKind::Digest(_) => Map::new(),
        _ => alert.output_fields.clone(),
    };
    fields.insert("tercel.id".to_owned(), json!(notification.id));
    let output = match &notification.kind {
        NotificationKind::Alert => {
            if notification.repeats > 0 {
                fields.insert("tercel.repeats".to_owned(), notification.repeats.into());
            }
            alert.output.clone()
        }
        kind => {
            fields.insert("tercel.kind".to_owned(), kind.name().into());
            fields.insert("tercel.count".to_owned(), kind.count().into());
            notification_text(notification)
        }
    };
    for name in TEXT_FIELDS {
        if let Some(value) = fields.get_mut(name).filter(|value| !value.is_string()) {
            *value = field_text(value).into();
        }
    }
    json!({
        "uuid": notification.id,
        "time": alert.time,
        "rule": alert.rule,
        "priority": alert.priority,
        "source": alert.source,
        "hostname": alert.hostname,
        "output": output,
        "output_fields": fields,
        "tags": alert.tags,
    })
}
