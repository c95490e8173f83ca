//! Webhook: any HTTP endpoint. Sends the alert as it is, or what the template makes of it, in the form that the receiver takes.

mod form;
mod headers;
mod signature;

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::address::Address;
use super::auth::AuthSettings;
use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService};
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_KEY, WITHHELD_URL};
use super::terms::Habit;
use super::{Notification, Problem, SendError};
use crate::render::Renderer;
use crate::secret::{PlainOrSecret, SecretRef};

use form::Form;
use headers::Headers;
use signature::Signature;

/// The same at every attempt for one notification, so that the receiver can drop a repetition.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookConfig {
    #[serde(default)]
    http: HttpSettings,
    /// Where to send: written out, with templates in path and query, or kept as a secret.
    url: PlainOrSecret,
    #[serde(default)]
    method: Method,
    /// The form of the body.
    #[serde(default)]
    form: Form,
    /// Further headers; a value is written out, a template, or kept as a secret.
    #[serde(default)]
    headers: BTreeMap<String, PlainOrSecret>,
    /// Who sends it.
    auth: Option<AuthSettings>,
    /// The key of a signature that the receiver can check; see docs/destinations/webhook.md.
    signing_key: Option<SecretRef>,
    /// A Handlebars file that gives the JSON body. Absent: the alert as it is.
    template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    raw: bool,
}

/// `method`: the name of any but CONNECT, which opens a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct Method(reqwest::Method);

struct Webhook {
    address: Address,
    method: reqwest::Method,
    form: Form,
    headers: Headers,
    signature: Option<Signature>,
    body: Renderer,
}

impl Settings for WebhookConfig {
    fn habit(&self) -> Habit {
        Habit::Several
    }

    fn withhold_secrets(&mut self) {
        self.http = HttpSettings::default();
        self.auth = None;
        self.signing_key.iter_mut().for_each(|key| *key = SecretRef::Withheld(WITHHELD_KEY));
        self.url.withhold(WITHHELD_URL);
        self.headers.values_mut().for_each(|value| value.withhold(WITHHELD_KEY));
    }

    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
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
        Ok(Box::new(HttpService::with(&self.http, &client_url, base, webhook)?.signed_by(auth)))
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
