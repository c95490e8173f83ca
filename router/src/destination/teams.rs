//! Microsoft Teams: an Adaptive Card through the webhook of a workflow.
//!
//! All values stand in text runs, which Teams shows as they are: no Markdown, no mentions, no links.

use std::path::PathBuf;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::address::Address;
use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService};
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_URL};
use super::terms::{Habit, Pace};
use super::{Notification, Problem, Reason, Retry, SendError};
use crate::render::Renderer;
use crate::secret::{PlainOrSecret, SecretRef};

const TEMPLATE: &str = include_str!("../../../templates/teams.json.hbs");

/// The largest message that Teams takes: 28 KB (learn.microsoft.com, limits of webhooks).
const MESSAGE_BYTES_MAX: usize = 28_000;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TeamsConfig {
    /// The workflow's address. Who knows it may post, so it is a secret.
    webhook_url: SecretRef,
    #[serde(default)]
    http: HttpSettings,
    /// A Handlebars file in place of the built-in card.
    template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    raw: bool,
}

struct Teams {
    address: Address,
    body: Renderer,
}

impl Settings for TeamsConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let address = Address::build("webhook_url", &PlainOrSecret::Secret(self.webhook_url.clone()), base)?;
        let url = address.representative();
        let body = Renderer::build(Some(TEMPLATE), self.template.as_deref(), self.raw, base)?;
        Ok(Box::new(HttpService::with(&self.http, &url, base, Teams { address, body })?))
    }

    fn habit(&self) -> Habit {
        Habit::OneByOne
    }

    /// Workflows take four a second in all; nobody reads as many.
    fn pace(&self) -> Option<Pace> {
        Some(Pace::ONE_A_SECOND)
    }

    fn withhold_secrets(&mut self) {
        self.webhook_url = SecretRef::Withheld(WITHHELD_URL);
        self.http = HttpSettings::default();
    }
}

impl HttpDestination for Teams {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let body = self.body.render(notification)?.to_string();
        if body.len() > MESSAGE_BYTES_MAX {
            let detail = format!("the card has {} bytes, and Teams takes {MESSAGE_BYTES_MAX}", body.len());
            return Err(SendError::new(Reason::Render, Retry::Never, detail));
        }
        Ok(client.post(self.address.of(notification)?).header(CONTENT_TYPE, "application/json").body(body))
    }

    /// `{"error":{"code":"…","message":"…"}}`
    fn explain(&self, answer: &[u8]) -> Option<String> {
        let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
        answer.pointer("/error/code")?.as_str().map(str::to_owned)
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}
