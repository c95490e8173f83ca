//! Slack: Block Kit messages through an incoming webhook or, with a bot token, through the Web API.
//!
//! Slack refuses a whole message when one part is too long, so the template keeps to the published limits
//! (docs.slack.dev/reference/block-kit): header 150 characters, section text 3,000, ten fields of 2,000, 50 blocks.

mod answer;
mod thread;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService, below, parse_url, sensitive_header, service_url};
use super::live::Live;
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_KEY, WITHHELD_URL};
use super::terms::{Habit, Pace};
use super::{Notification, Problem, Receipt, SendError};
use crate::render::Renderer;
use crate::secret::{PlainOrSecret, SecretRef};

use thread::{FollowUps, Place};

const TEMPLATE: &str = include_str!("../../../templates/slack.json.hbs");

/// Where the Web API is, unless `url` says otherwise.
const WEB_API: &str = "https://slack.com/api/";

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SlackConfig {
    #[serde(default)]
    http: HttpSettings,
    /// The incoming webhook's URL. Who knows it may post, so it is a secret. Excludes the three that follow.
    webhook_url: Option<SecretRef>,
    /// A bot's token with the scope `chat:write`; needs `channel`.
    bot_token: Option<SecretRef>,
    /// The id or name of the channel.
    channel: Option<String>,
    /// In place of Slack's Web API: another cloud of Slack's, or a receiver under test.
    url: Option<PlainOrSecret>,
    /// Where summaries and digests go, with a bot token.
    #[serde(default)]
    follow_ups: FollowUps,
    /// A Handlebars file in place of the built-in message.
    template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    raw: bool,
}

struct Slack {
    way: Way,
    body: Renderer,
}

enum Way {
    Webhook(Live<Url>),
    WebApi(Box<WebApi>),
}

struct WebApi {
    post: Url,
    update: Url,
    authorization: Live<HeaderValue>,
    channel: String,
    follow_ups: FollowUps,
}

impl Settings for SlackConfig {
    fn habit(&self) -> Habit {
        Habit::OneByOne
    }

    /// What Slack takes for a channel.
    fn pace(&self) -> Option<Pace> {
        Some(Pace::ONE_A_SECOND)
    }

    fn withhold_secrets(&mut self) {
        self.webhook_url.iter_mut().for_each(|url| *url = SecretRef::Withheld(WITHHELD_URL));
        self.bot_token.iter_mut().for_each(|token| *token = SecretRef::Withheld(WITHHELD_KEY));
        self.url.iter_mut().for_each(|url| url.withhold(WITHHELD_URL));
        self.http = HttpSettings::default();
    }

    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let (url, way) = match (&self.webhook_url, &self.bot_token, &self.channel) {
            (Some(webhook), None, None) if self.url.is_none() => webhook_way(webhook, base)?,
            (None, Some(token), Some(channel)) => self.web_api(token, channel, base)?,
            _ => return Err(Problem::new("needs either `webhook_url` alone, or `bot_token` with `channel`")),
        };
        let body = Renderer::build(Some(TEMPLATE), self.template.as_deref(), self.raw, base)?;
        Ok(Box::new(HttpService::with(&self.http, &url, base, Slack { way, body })?))
    }
}

impl SlackConfig {
    fn web_api(&self, token: &SecretRef, channel: &str, base: &Path) -> Result<(Url, Way), Problem> {
        let api = service_url(self.url.as_ref(), WEB_API, base)?;
        let authorization = {
            let (token, base) = (token.clone(), base.to_owned());
            Live::new(token.file(&base), move || {
                sensitive_header("bot_token", &token.resolve(&base)?.prefixed("Bearer "))
            })?
        };
        let (post, update) = (below("url", &api, "chat.postMessage")?, below("url", &api, "chat.update")?);
        let (channel, follow_ups) = (channel.to_owned(), self.follow_ups);
        let way = WebApi { post, update, authorization, channel, follow_ups };
        Ok((api, Way::WebApi(Box::new(way))))
    }
}

fn webhook_way(webhook: &SecretRef, base: &Path) -> Result<(Url, Way), Problem> {
    let (webhook, base) = (webhook.clone(), base.to_owned());
    let url = Live::new(webhook.file(&base), move || {
        parse_url("webhook_url", &PlainOrSecret::Secret(webhook.clone()), &base)
    })?;
    Ok((Url::clone(&url.current()), Way::Webhook(url)))
}

impl HttpDestination for Slack {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let body = self.body.render(notification)?;
        let request = match &self.way {
            Way::Webhook(url) => client.post(Url::clone(&url.current())).body(body.to_string()),
            Way::WebApi(api) => api.request(client, notification, body),
        };
        Ok(request.header(CONTENT_TYPE, "application/json; charset=utf-8"))
    }

    fn receipt(&self, notification: &Notification, answer: Result<Vec<u8>, SendError>) -> Result<Receipt, SendError> {
        let answer = answer?;
        match &self.way {
            Way::Webhook(_) => answer::judge_webhook(&answer).map(|()| Receipt::default()),
            Way::WebApi(api) => {
                let place = api.follow_ups.place(notification, &api.channel);
                answer::judge_web_api(&answer, place != Place::Channel)?;
                Ok(api.follow_ups.receipt(place, &api.channel, &answer))
            }
        }
    }

    fn explain(&self, answer: &[u8]) -> Option<String> {
        answer::word(answer).or_else(|| answer::error(answer))
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}

impl WebApi {
    fn request(&self, client: &Client, notification: &Notification, body: Value) -> RequestBuilder {
        let mut message = match body {
            Value::Object(message) => message,
            _ => Map::new(),
        };
        let place = self.follow_ups.place(notification, &self.channel);
        let url = match &place {
            Place::Channel | Place::Thread(_) => &self.post,
            Place::Update(_) => &self.update,
        };
        place.address(&self.channel, &mut message);
        let authorization = Arc::unwrap_or_clone(self.authorization.current());
        client.post(url.clone()).header(AUTHORIZATION, authorization).body(Value::Object(message).to_string())
    }
}
