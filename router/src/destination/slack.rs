//! Slack: an incoming webhook that takes Block Kit messages.
//!
//! Slack refuses a whole message when one part is too long, so the template keeps to the published limits
//! (docs.slack.dev/reference/block-kit): header 150 characters, section text 3,000, ten fields of 2,000, 50 blocks.

use std::path::{Path, PathBuf};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;

use super::http::{HttpDestination, HttpService, parse_url};
use super::{Concurrency, MaxAge, Notification, Problem, Reason, Receive, Retry, SendError};
use crate::render::Renderer;
use crate::secret::{PlainOrSecret, SecretRef};

const TEMPLATE: &str = include_str!("../../../templates/slack.json.hbs");

/// The whole answer to a message that was taken.
const OK: &[u8] = b"ok";

/// Slack's refusals are one word such as `invalid_blocks`.
const REFUSAL_BYTES_MAX: usize = 80;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackConfig {
    pub receive: Option<Receive>,
    /// The destination that takes over what this one does not take.
    pub fallback: Option<String>,
    /// How long a delivery is tried.
    pub max_age: Option<MaxAge>,
    /// Deliveries on their way at once.
    pub concurrency: Option<Concurrency>,
    /// The incoming webhook's URL. Who knows it may post, so it is a secret.
    pub webhook_url: SecretRef,
    /// A Handlebars file in place of the built-in message.
    pub template: Option<PathBuf>,
}

struct Slack {
    url: Url,
    body: Renderer,
}

impl SlackConfig {
    pub(super) fn build(&self, base: &Path) -> Result<HttpService, Problem> {
        let url = parse_url("webhook_url", &PlainOrSecret::Secret(self.webhook_url.clone()), base)?;
        let body = Renderer::build(Some(TEMPLATE), self.template.as_deref(), base)?;
        HttpService::new(&url.clone(), Slack { url, body })
    }
}

impl HttpDestination for Slack {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let body = self.body.render(notification)?;
        Ok(client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body.to_string()))
    }

    fn check(&self, answer: Result<Vec<u8>, SendError>) -> Result<(), SendError> {
        let answer = answer?;
        if answer.trim_ascii() == OK {
            return Ok(());
        }
        let cause = self.explain(&answer).unwrap_or_else(|| "is it a Slack webhook?".to_owned());
        Err(SendError::new(Reason::ClientError, Retry::Never, format!("answered 200 without `ok`: {cause}")))
    }

    fn explain(&self, answer: &[u8]) -> Option<String> {
        let word = std::str::from_utf8(answer.trim_ascii()).ok()?;
        let is_word = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        (is_word && !word.is_empty() && word.len() <= REFUSAL_BYTES_MAX).then(|| word.to_owned())
    }

    fn render_fallbacks(&self) -> u64 {
        self.body.fallbacks()
    }
}
