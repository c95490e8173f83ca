//! Discord: an embed through the webhook of a channel.
//!
//! Nobody is mentioned: `allowed_mentions` is set here and not in the template. A message that is too long in one place is refused
//! as a whole, so the template keeps to the published limits (discord.com/developers/docs/resources/message): title 256
//! characters, description 4,096, 25 fields of 256 and 1,024, footer 2,048, and 6,000 in all.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::address::Address;
use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService};
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_URL};
use super::terms::{Habit, Pace};
use super::{Notification, Problem, SendError};
use crate::render::Renderer;
use crate::secret::{PlainOrSecret, SecretRef};

const TEMPLATE: &str = include_str!("../../../templates/discord.json.hbs");

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DiscordConfig {
    /// The webhook's address. Who knows it may post, so it is a secret.
    webhook_url: SecretRef,
    #[serde(default)]
    http: HttpSettings,
    /// A Handlebars file in place of the built-in message.
    template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    raw: bool,
}

struct Discord {
    address: Address,
    body: Renderer,
}

impl Settings for DiscordConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let address = Address::build("webhook_url", &PlainOrSecret::Secret(self.webhook_url.clone()), base)?;
        let url = address.representative();
        let body = Renderer::build(Some(TEMPLATE), self.template.as_deref(), self.raw, base)?;
        Ok(Box::new(HttpService::with(&self.http, &url, base, Discord { address, body })?))
    }

    fn habit(&self) -> Habit {
        Habit::OneByOne
    }

    /// A webhook takes thirty messages a minute.
    fn pace(&self) -> Option<Pace> {
        Some(Pace::EVERY_TWO_SECONDS)
    }

    fn withhold_secrets(&mut self) {
        self.webhook_url = SecretRef::Withheld(WITHHELD_URL);
        self.http = HttpSettings::default();
    }
}

impl HttpDestination for Discord {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let mut message = self.body.render(notification)?;
        if let Some(message) = message.as_object_mut() {
            message.insert("allowed_mentions".to_owned(), json!({ "parse": [] }));
        }
        let request = client.post(self.address.of(notification)?).header(CONTENT_TYPE, "application/json");
        Ok(request.body(message.to_string()))
    }

    /// `{"code":50035,"message":"Invalid Form Body","errors":{…}}`; the errors repeat no value.
    fn explain(&self, answer: &[u8]) -> Option<String> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        let message = answer.get("message")?.as_str()?;
        Some(answer.get("errors").map_or_else(|| message.to_owned(), |errors| format!("{message}: {errors}")))
    }

    /// `{"message":"You are being rate limited.","retry_after":0.529,"global":false}`
    fn wait(&self, answer: &[u8]) -> Option<Duration> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        Duration::try_from_secs_f64(answer.get("retry_after")?.as_f64()?).ok()
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}
