//! Webhook: any HTTP endpoint that takes JSON. Sends the alert as it is, or what the template makes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;

use super::http::{HttpDestination, HttpService, parse_url, sensitive_header};
use super::{Concurrency, MaxAge, Notification, Problem, Receive, SendError};
use crate::render::Renderer;
use crate::secret::PlainOrSecret;

/// Headers that the client sets itself, or that would let a setting break the request.
const RESERVED_HEADERS: [&str; 5] = ["content-length", "content-type", "host", "transfer-encoding", "connection"];

/// The same at every attempt for one notification, so that the receiver can drop a repetition.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    pub receive: Option<Receive>,
    /// The destination that takes over what this one does not take.
    pub fallback: Option<String>,
    /// How long a delivery is tried.
    pub max_age: Option<MaxAge>,
    /// Deliveries on their way at once.
    pub concurrency: Option<Concurrency>,
    /// Where to send, written out or kept as a secret.
    pub url: PlainOrSecret,
    #[serde(default)]
    pub method: Method,
    /// Further headers; a value is written out or kept as a secret.
    #[serde(default)]
    pub headers: BTreeMap<String, PlainOrSecret>,
    /// A Handlebars file that gives the JSON body. Absent: the alert as it is.
    pub template: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Post,
    Put,
}

struct Webhook {
    url: Url,
    method: reqwest::Method,
    headers: HeaderMap,
    body: Renderer,
}

impl WebhookConfig {
    pub(super) fn build(&self, base: &Path) -> Result<HttpService, Problem> {
        let url = parse_url("url", &self.url, base)?;
        let method = match self.method {
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let body = Renderer::build(None, self.template.as_deref(), base)?;
        let webhook = Webhook { url: url.clone(), method, headers: self.headers(base)?, body };
        HttpService::new(&url, webhook)
    }

    fn headers(&self, base: &Path) -> Result<HeaderMap, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let setting = format!("headers.{name}");
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_cause| Problem::new(format!("`{setting}` is no header name")))?;
            if RESERVED_HEADERS.contains(&header.as_str()) {
                return Err(Problem::new(format!("`{setting}` is set by the router itself, leave it out")));
            }
            headers.insert(header, sensitive_header(&setting, &value.resolve(base)?)?);
        }
        Ok(headers)
    }
}

impl HttpDestination for Webhook {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let body = self.body.render_text(notification)?;
        Ok(client
            .request(self.method.clone(), self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, notification.id.to_string())
            .headers(self.headers.clone())
            .body(body))
    }

    fn render_fallbacks(&self) -> u64 {
        self.body.fallbacks()
    }
}
