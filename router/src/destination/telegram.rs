//! Telegram: a bot's message in a chat, group or channel.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService, below, service_url};
use super::live::Live;
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_KEY, WITHHELD_URL};
use super::terms::{Habit, Pace};
use super::{Notification, Problem, SendError};
use crate::render::{Renderer, truncate};
use crate::secret::{PlainOrSecret, SecretRef};

const TEMPLATE: &str = include_str!("../../../templates/telegram.json.hbs");

/// Where bots speak, unless `url` says otherwise.
const BOT_API: &str = "https://api.telegram.org/";

/// The longest text of a message (core.telegram.org/bots/api#sendmessage), counted here with its tags, and there without.
const TEXT_CHARS_MAX: usize = 4_096;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TelegramConfig {
    /// The bot's token.
    bot_token: SecretRef,
    /// The chat's number, or `@name` of a public one.
    chat: String,
    /// The topic's number, in a group that has topics.
    topic: Option<i64>,
    /// In place of Telegram's own: a Bot API server, or a receiver under test.
    url: Option<PlainOrSecret>,
    #[serde(default)]
    http: HttpSettings,
    /// A Handlebars file in place of the built-in message. Gives `text`, and what else `sendMessage` takes.
    template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    raw: bool,
}

struct Telegram {
    send_message: Live<Url>,
    chat: String,
    topic: Option<i64>,
    body: Renderer,
}

impl Settings for TelegramConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let api = service_url(self.url.as_ref(), BOT_API, base)?;
        let send_message = {
            let (token, api, base) = (self.bot_token.clone(), api.clone(), base.to_owned());
            Live::new(token.file(&base), move || method(&api, token.resolve(&base)?.expose()))?
        };
        let body = Renderer::build(Some(TEMPLATE), self.template.as_deref(), self.raw, base)?;
        let telegram = Telegram { send_message, chat: self.chat.clone(), topic: self.topic, body };
        Ok(Box::new(HttpService::with(&self.http, &api, base, telegram)?))
    }

    fn habit(&self) -> Habit {
        Habit::OneByOne
    }

    /// A group takes twenty messages a minute.
    fn pace(&self) -> Option<Pace> {
        Some(Pace::EVERY_THREE_SECONDS)
    }

    fn withhold_secrets(&mut self) {
        self.bot_token = SecretRef::Withheld(WITHHELD_KEY);
        self.url.iter_mut().for_each(|url| url.withhold(WITHHELD_URL));
        self.http = HttpSettings::default();
    }
}

/// The token is a part of the path, and nothing in it may lead elsewhere.
fn method(api: &Url, token: &str) -> Result<Url, Problem> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || ":_-".contains(character);
    if token != WITHHELD_KEY && !token.chars().all(is_plain) {
        return Err(Problem::new("`bot_token` is no token: digits, a colon, letters, digits, `_` and `-`"));
    }
    below("url", api, &format!("bot{}/sendMessage", super::address::encode(token).replace("%3A", ":")))
}

impl HttpDestination for Telegram {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let mut message = self.body.render(notification)?;
        if let Some(message) = message.as_object_mut() {
            message.insert("chat_id".to_owned(), json!(self.chat));
            if let Some(topic) = self.topic {
                message.insert("message_thread_id".to_owned(), topic.into());
            }
            if let Some(Value::String(text)) = message.get_mut("text") {
                *text = truncate(text, TEXT_CHARS_MAX);
            }
        }
        let request = client.post(Url::clone(&self.send_message.current())).header(CONTENT_TYPE, "application/json");
        Ok(request.body(message.to_string()))
    }

    /// `{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}`
    fn explain(&self, answer: &[u8]) -> Option<String> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        answer.get("description")?.as_str().map(str::to_owned)
    }

    /// `{…,"parameters":{"retry_after":5}}`
    fn wait(&self, answer: &[u8]) -> Option<Duration> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        answer.pointer("/parameters/retry_after")?.as_u64().map(Duration::from_secs)
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}
