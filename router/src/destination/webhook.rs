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
use uuid::Uuid;

use super::address::Address;
use super::auth::AuthSettings;
use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService};
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_KEY, WITHHELD_URL};
use super::terms::{Batch, Habit};
use super::{Notification, Problem, Reason, Retry, SendError};
use crate::record::derived_id;
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
    /// Many alerts in one request, as a list or as lines; absent: one.
    batch: Option<Batch>,
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
    takes_many: bool,
    headers: Headers,
    signature: Option<Signature>,
    body: Renderer,
}

impl Settings for WebhookConfig {
    fn habit(&self) -> Habit {
        if self.batch.is_some() { Habit::Bulk(self.batch) } else { Habit::Several }
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
        let headers = Headers::build(&self.headers, base)?;
        if self.batch.is_some() && (address.is_made() || headers.are_made() || self.form == Form::UrlEncoded) {
            return Err(Problem::new(
                "`batch` puts many alerts into one request: `url` and `headers` cannot be made of one of them, nor `form` be \"form\"",
            ));
        }
        let webhook = Webhook {
            address,
            method: self.method.0.clone(),
            form: self.form,
            takes_many: self.batch.is_some(),
            headers,
            signature: self.signing_key.as_ref().map(|key| Signature::new(key, base)).transpose()?,
            body: Renderer::build(None, self.template.as_deref(), self.raw, base)?,
        };
        let auth = self.auth.as_ref().map(|auth| auth.build(base)).transpose()?;
        Ok(Box::new(HttpService::with(&self.http, &client_url, base, webhook)?.signed_by(auth)))
    }
}

impl HttpDestination for Webhook {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        if self.takes_many {
            return self.request_many(client, std::slice::from_ref(notification));
        }
        let (body, kind) = (self.one(notification)?, self.form.content_type());
        self.request_with(client, notification, notification.id, kind, body)
    }

    fn request_all(&self, client: &Client, many: &[Notification]) -> Option<Result<RequestBuilder, SendError>> {
        self.takes_many.then(|| self.request_many(client, many))
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}

impl Webhook {
    fn one(&self, notification: &Notification) -> Result<String, SendError> {
        match self.form {
            Form::Json => self.body.render_text(notification),
            _ => Ok(self.form.body(&self.body.render(notification)?, notification)),
        }
    }

    /// The same ones have the same key, in whichever attempt.
    fn request_many(&self, client: &Client, many: &[Notification]) -> Result<RequestBuilder, SendError> {
        let Some(first) = many.first() else {
            return Err(SendError::new(Reason::Other, Retry::Never, "there is nothing to send"));
        };
        let bodies = many.iter().map(|notification| self.one(notification)).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<_> = many.iter().map(|one| one.id.into_bytes()).collect();
        let key = derived_id(&ids.iter().map(<[u8; 16]>::as_slice).collect::<Vec<_>>());
        self.request_with(client, first, key, self.form.content_type_of_many(), self.form.join(&bodies))
    }

    fn request_with(
        &self,
        client: &Client,
        notification: &Notification,
        key: Uuid,
        content_type: &str,
        body: String,
    ) -> Result<RequestBuilder, SendError> {
        let mut request = client
            .request(self.method.clone(), self.address.of(notification)?)
            .header(CONTENT_TYPE, content_type)
            .header(IDEMPOTENCY_KEY, key.to_string());
        if let Some(signature) = &self.signature {
            request = request.header(signature::HEADER, signature.of(body.as_bytes(), jiff::Timestamp::now()));
        }
        Ok(request.headers(self.headers.of(notification, &self.body)).body(body))
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
