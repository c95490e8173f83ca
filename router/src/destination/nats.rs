//! NATS: the alert as it is, under a subject that says what it is about. With `jetstream`, delivered means that a stream has it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::Client;
use async_nats::connection::State;
use async_nats::{Auth, ConnectOptions, HeaderMap, RequestErrorKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::live::Live;
use super::server::{Server, TlsSettings};
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_KEY};
use super::terms::Habit;
use super::{Notification, Problem, Reason, Retry, SendError};
use crate::render::{Inline, InlineContext, Renderer, truncate, visible};
use crate::secret::{Secret, SecretRef};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// From handing it over until the server has it, or a stream says so.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where nothing else is said.
const SUBJECT: &str = "tercel.{{alert.priority}}.{{alert.rule}}";

/// What a value may bring into a subject.
const TOKEN_CHARS_MAX: usize = 64;

/// By it a stream knows what it has already.
const MESSAGE_ID: &str = "Nats-Msg-Id";

const EXPLANATION_CHARS_MAX: usize = 300;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NatsConfig {
    /// Servers of one cluster.
    servers: Vec<Server>,
    /// Present: the connection is encrypted, and these are trusted.
    tls: Option<TlsSettings>,
    user: Option<String>,
    password: Option<SecretRef>,
    /// In place of user and password.
    token: Option<SecretRef>,
    /// Templates stand for one part of it each; absent: `tercel.{{alert.priority}}.{{alert.rule}}`.
    subject: Option<String>,
    /// Whether a stream must acknowledge it.
    #[serde(default)]
    jetstream: bool,
    /// A Handlebars file that gives the JSON body. Absent: the alert as it is.
    template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    raw: bool,
}

struct Nats {
    servers: Vec<async_nats::ServerAddr>,
    tls: Option<Live<rustls::ClientConfig>>,
    login: Arc<Login>,
    subject: Inline,
    jetstream: bool,
    body: Renderer,
    /// Reconnects by itself, and ends with the last of its clones.
    client: Mutex<Option<Client>>,
}

/// Asked for at each connection, so that a key may change.
enum Login {
    None,
    Password { user: String, password: Live<Secret> },
    Token(Live<Secret>),
}

impl Settings for NatsConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        if self.servers.is_empty() {
            return Err(Problem::new("`servers` is empty"));
        }
        let scheme = if self.tls.is_some() { "tls" } else { "nats" };
        let address = |server: &Server| {
            format!("{scheme}://{server}")
                .parse()
                .map_err(|error| Problem::new(format!("`servers`: {server}: {error}")))
        };
        let tls = self.tls.clone().map(|tls| {
            let base = base.to_owned();
            Live::new(tls.files(&base), move || tls.client(&base))
        });
        Ok(Box::new(Nats {
            servers: self.servers.iter().map(address).collect::<Result<_, _>>()?,
            tls: tls.transpose()?,
            login: Arc::new(self.login(base)?),
            subject: Inline::compile("subject", self.subject.as_deref().unwrap_or(SUBJECT), token)?,
            jetstream: self.jetstream,
            body: Renderer::build(None, self.template.as_deref(), self.raw, base)?,
            client: Mutex::default(),
        }))
    }

    fn habit(&self) -> Habit {
        Habit::Several
    }

    fn withhold_secrets(&mut self) {
        let secrets = [&mut self.password, &mut self.token];
        secrets.into_iter().flatten().for_each(|secret| *secret = SecretRef::Withheld(WITHHELD_KEY));
        self.tls = None;
    }
}

impl NatsConfig {
    fn login(&self, base: &Path) -> Result<Login, Problem> {
        let live = |secret: &SecretRef| {
            let (secret, base) = (secret.clone(), base.to_owned());
            Live::new(secret.file(&base), move || Ok(secret.resolve(&base)?))
        };
        match (&self.user, &self.password, &self.token) {
            (None, None, None) => Ok(Login::None),
            (Some(user), Some(password), None) => Ok(Login::Password { user: user.clone(), password: live(password)? }),
            (None, None, Some(token)) => Ok(Login::Token(live(token)?)),
            _ => Err(Problem::new("needs `user` with `password`, or `token`, or none of them")),
        }
    }
}

/// A value as one part of a subject: no dot, no wildcard, no space.
fn token(value: &str) -> String {
    let plain = |character: char| if character.is_alphanumeric() || "-_".contains(character) { character } else { '_' };
    let token: String = value.chars().take(TOKEN_CHARS_MAX).map(plain).collect();
    if token.is_empty() { "_".to_owned() } else { token }
}

impl Service for Nats {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>> {
        async {
            let (subject, body) = (self.subject(notification)?, self.body.render_text(notification)?);
            let client = self.client().await?;
            let mut headers = HeaderMap::new();
            headers.insert(MESSAGE_ID, notification.id.to_string().as_str());
            let sending = async {
                if self.jetstream {
                    let answer = client.request_with_headers(subject, headers, body.into()).await;
                    judge(&answer.map_err(|error| unacknowledged(&error))?.payload)
                } else {
                    let published = client.publish_with_headers(subject, headers, body.into()).await;
                    published.map_err(|error| refused(&error))?;
                    client.flush().await.map_err(|error| refused(&error))
                }
            };
            let late = || SendError::new(Reason::Timeout, Retry::Backoff, "the server did not take it in time");
            timeout(TIMEOUT, sending).await.unwrap_or_else(|_elapsed| Err(late()))
        }
        .boxed()
    }

    fn preview(&self, notification: &Notification) -> Result<String, SendError> {
        Ok(format!("{}\n{}", self.subject(notification)?, self.body.render_text(notification)?))
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}

impl Nats {
    fn subject(&self, notification: &Notification) -> Result<String, SendError> {
        let subject = self.subject.render(&InlineContext::new(notification));
        subject
            .map_err(|cause| SendError::new(Reason::Render, Retry::Never, format!("cannot make the subject: {cause}")))
    }

    /// One that is connected: what is handed to another waits in its memory, and nobody knows for how long.
    async fn client(&self) -> Result<Client, SendError> {
        let mut client = self.client.lock().await;
        match &*client {
            Some(client) if client.connection_state() == State::Connected => return Ok(client.clone()),
            Some(client) if client.connection_state() == State::Pending => {
                return Err(SendError::new(Reason::Connect, Retry::Backoff, "not connected yet"));
            }
            Some(_) => return Err(SendError::new(Reason::Connect, Retry::Backoff, "the connection broke off")),
            None => {}
        }
        let connecting = self.options().connect(&self.servers[..]);
        let connected = connecting.await.map_err(|error| cannot_connect(&error))?;
        Ok(client.insert(connected).clone())
    }

    fn options(&self) -> ConnectOptions {
        let login = Arc::clone(&self.login);
        let options = ConnectOptions::with_auth_callback(move |_nonce| {
            let login = Arc::clone(&login);
            async move { Ok(login.auth()) }
        });
        let options = options.name("tercel-router").connection_timeout(CONNECT_TIMEOUT).request_timeout(Some(TIMEOUT));
        match &self.tls {
            Some(tls) => options.require_tls(true).tls_client_config(rustls::ClientConfig::clone(&tls.current())),
            None => options,
        }
    }
}

impl Login {
    fn auth(&self) -> Auth {
        let mut auth = Auth::new();
        match self {
            Self::None => {}
            Self::Password { user, password } => {
                auth.username = Some(user.clone());
                auth.password = Some(password.current().expose().to_owned());
            }
            Self::Token(token) => auth.token = Some(token.current().expose().to_owned()),
        }
        auth
    }
}

fn cannot_connect(error: &async_nats::ConnectError) -> SendError {
    use async_nats::ConnectErrorKind::{Authentication, AuthorizationViolation};
    let is_auth = matches!(error.kind(), Authentication | AuthorizationViolation);
    let (reason, retry) = if is_auth { (Reason::AuthError, Retry::Never) } else { (Reason::Connect, Retry::Backoff) };
    SendError::new(reason, retry, format!("cannot connect: {}", shown(error)))
}

/// What the client refuses by itself: a subject that is none, or more than the server takes.
fn refused(error: &dyn std::error::Error) -> SendError {
    SendError::new(Reason::ClientError, Retry::Never, shown(error))
}

fn unacknowledged(error: &async_nats::RequestError) -> SendError {
    let (reason, retry, what) = match error.kind() {
        RequestErrorKind::TimedOut => (Reason::Timeout, Retry::Backoff, "no stream acknowledged it in time"),
        RequestErrorKind::NoResponders => (Reason::ServerError, Retry::Backoff, "no stream takes this subject"),
        RequestErrorKind::InvalidSubject => (Reason::ClientError, Retry::Never, "the subject is none"),
        RequestErrorKind::MaxPayloadExceeded => {
            (Reason::ClientError, Retry::Never, "it is larger than the server takes")
        }
        RequestErrorKind::Other => return SendError::new(Reason::Connect, Retry::Backoff, shown(error)),
    };
    SendError::new(reason, retry, what)
}

/// `{"stream":"ALERTS","seq":7}`, or `{"error":{"code":503,"description":"…"}}`
fn judge(answer: &[u8]) -> Result<(), SendError> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let Some(error) = answer.get("error") else {
        let is_kept = answer.get("stream").is_some();
        let strange = || SendError::new(Reason::ClientError, Retry::Never, "what took it is no stream");
        return if is_kept { Ok(()) } else { Err(strange()) };
    };
    let description = error.get("description").and_then(Value::as_str).unwrap_or("no reason was given");
    let is_passing = error.get("code").and_then(Value::as_u64).is_none_or(|code| code >= 500);
    let (reason, retry) =
        if is_passing { (Reason::ServerError, Retry::Backoff) } else { (Reason::ClientError, Retry::Never) };
    Err(SendError::new(reason, retry, truncate(&visible(description), EXPLANATION_CHARS_MAX)))
}

fn shown(error: &dyn std::error::Error) -> String {
    truncate(&visible(&error.to_string()), EXPLANATION_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_part_of_a_subject_whatever_it_holds() {
        for (value, expected) in [
            ("Error", "Error"),
            ("Shell in a container", "Shell_in_a_container"),
            ("a.b.>", "a_b__"),
            ("*", "_"),
            ("", "_"),
        ] {
            assert_eq!(token(value), expected);
        }
        assert_eq!(token(&"é".repeat(100_000)).chars().count(), TOKEN_CHARS_MAX);
    }

    #[test]
    fn a_stream_that_is_full_is_asked_again_and_one_that_refuses_is_not() {
        assert_eq!(judge(br#"{"stream":"A","seq":1,"duplicate":true}"#), Ok(()));
        let retry = |answer: &[u8]| judge(answer).unwrap_err().retry;
        assert_eq!(retry(br#"{"error":{"code":503,"description":"insufficient resources"}}"#), Retry::Backoff);
        assert_eq!(retry(br#"{"error":{"code":400,"description":"wrong last sequence"}}"#), Retry::Never);
        assert_eq!(retry(b"hello"), Retry::Never);
    }
}
