//! Webhook: any HTTP endpoint. Sends the alert as it is, or what the template makes of it, in the form that the receiver takes.

mod form;
mod headers;
mod signature;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::address::Address;
use super::auth::AuthSettings;
use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService};
use super::{Concurrency, MaxAge, Notification, Pace, Problem, Receive, SendError};
use crate::render::Renderer;
use crate::secret::{PlainOrSecret, SecretRef};

use headers::Headers;
use signature::Signature;

pub use form::Form;

/// The same at every attempt for one notification, so that the receiver can drop a repetition.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    pub receive: Option<Receive>,
    /// The destination that takes over what this one does not take.
    pub fallback: Option<String>,
    /// How long a delivery is tried.
    pub max_age: Option<MaxAge>,
    /// Deliveries on their way at once.
    pub concurrency: Option<Concurrency>,
    /// The most that it is sent.
    pub pace: Option<Pace>,
    #[serde(default)]
    pub http: HttpSettings,
    /// Where to send: written out, with templates in path and query, or kept as a secret.
    pub url: PlainOrSecret,
    #[serde(default)]
    pub method: Method,
    /// The form of the body.
    #[serde(default)]
    pub form: Form,
    /// Further headers; a value is written out, a template, or kept as a secret.
    #[serde(default)]
    pub headers: BTreeMap<String, PlainOrSecret>,
    /// Who sends it.
    pub auth: Option<AuthSettings>,
    /// The key of a signature that the receiver can check; see docs/destinations/webhook.md.
    pub signing_key: Option<SecretRef>,
    /// A Handlebars file that gives the JSON body. Absent: the alert as it is.
    pub template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    pub raw: bool,
}

/// `method`: the name of any but CONNECT, which opens a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Method(reqwest::Method);

struct Webhook {
    address: Address,
    method: reqwest::Method,
    form: Form,
    headers: Headers,
    signature: Option<Signature>,
    body: Renderer,
}

impl WebhookConfig {
    pub(super) fn build(&self, base: &Path) -> Result<HttpService, Problem> {
        let address = Address::build("url", &self.url, base)?;
        let client_url = address.representative();
        let webhook = Webhook {
            address,
            method: self.method.0.clone(),
            form: self.form,
            headers: Headers::build(&self.headers, base)?,
            signature: self.signing_key.as_ref().map(|key| Signature::new(key, base)).transpose()?,
            body: Renderer::build(None, self.template.as_deref(), self.raw, base)?,
        };
        let auth = self.auth.as_ref().map(|auth| auth.build(base)).transpose()?;
        Ok(HttpService::with(&self.http, &client_url, base, webhook)?.signed_by(auth))
    }
}

impl HttpDestination for Webhook {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let body = match self.form {
            Form::Json => self.body.render_text(notification)?,
            _ => self.form.body(&self.body.render(notification)?, notification),
        };
        let mut request = client
            .request(self.method.clone(), self.address.of(notification)?)
            .header(CONTENT_TYPE, self.form.content_type())
            .header(IDEMPOTENCY_KEY, notification.id.to_string());
        if let Some(signature) = &self.signature {
            request = request.header(signature::HEADER, signature.of(body.as_bytes(), jiff::Timestamp::now()));
        }
        Ok(request.headers(self.headers.of(notification, &self.body)).body(body))
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}

impl Default for Method {
    fn default() -> Self {
        Self(reqwest::Method::POST)
    }
}

impl TryFrom<String> for Method {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match reqwest::Method::from_bytes(text.as_bytes()) {
            Ok(method) if method != reqwest::Method::CONNECT && text == text.to_ascii_uppercase() => Ok(Self(method)),
            _ => Err(format!("`{}` is no method; write POST, PUT, PATCH, …", text.escape_debug())),
        }
    }
}
