//! Mail, by SMTP. A mail is plain text: nothing in it is a link, a picture or a program unless the reader's own program makes it one.
//!
//! Its id is the notification's, the same at every attempt. What follows an earlier mail, as a summary its alert, refers to it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Identity, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::live::Live;
use super::server::{Server, TlsSettings};
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_KEY};
use super::terms::Habit;
use super::{Notification, Problem, Reason, Receipt, Retry, SendError};
use crate::render::{Renderer, truncate, visible};
use crate::secret::SecretRef;

const TEMPLATE: &str = include_str!("../../../templates/smtp.json.hbs");

/// Of the connection, and of each answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A subject: longer ones are cut by who shows them.
const SUBJECT_CHARS_MAX: usize = 200;

/// The text of a mail.
const TEXT_CHARS_MAX: usize = 100_000;

/// Who a mail is for, at most.
const RECIPIENTS_MAX: usize = 100;

/// What a message repeats of a server's own words.
const EXPLANATION_CHARS_MAX: usize = 300;

/// Where the ids of mails are from: no host's name, which everybody could read.
const ID_DOMAIN: &str = "tercel.invalid";

/// The answers of a server that wants to know who sends (RFC 4954).
const AUTH_CODES: [u16; 4] = [530, 534, 535, 538];

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SmtpConfig {
    /// The server that takes mail, with its port: 587 with STARTTLS, 465 with TLS, 25.
    server: Server,
    #[serde(default)]
    encryption: Encryption,
    /// Whom to trust.
    #[serde(default)]
    tls: TlsSettings,
    user: Option<String>,
    password: Option<SecretRef>,
    /// Who writes: an address, or a name with an address in angle brackets.
    from: String,
    /// Whom to.
    to: Vec<String>,
    /// A Handlebars file in place of the built-in mail. Gives `subject` and `text`.
    template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    raw: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Encryption {
    /// The connection is encrypted before anything is said, or there is no mail.
    #[default]
    StartTls,
    /// From the first byte on.
    Tls,
    /// Not at all: for a server on the same machine.
    None,
}

type Transport = AsyncSmtpTransport<Tokio1Executor>;

struct Smtp {
    transport: Live<Transport>,
    from: Mailbox,
    to: Mailboxes,
    body: Renderer,
}

impl Settings for SmtpConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        if self.to.is_empty() || self.to.len() > RECIPIENTS_MAX {
            return Err(Problem::new(format!("`to` names 1 to {RECIPIENTS_MAX} addresses")));
        }
        if self.user.is_some() != self.password.is_some() {
            return Err(Problem::new("`user` and `password` go together"));
        }
        if self.user.is_some() && self.encryption == Encryption::None {
            return Err(Problem::new(
                "`password` would be sent in clear text; `encryption` is \"starttls\" or \"tls\" then",
            ));
        }
        let mut files = self.tls.files(base);
        files.extend(self.password.as_ref().and_then(|password| password.file(base)));
        let (settings, owned) = (self.clone(), base.to_owned());
        Ok(Box::new(Smtp {
            transport: Live::new(files, move || settings.transport(&owned))?,
            from: mailbox("from", &self.from)?,
            to: self.to.iter().map(|address| mailbox("to", address)).collect::<Result<Mailboxes, _>>()?,
            body: Renderer::build(Some(TEMPLATE), self.template.as_deref(), self.raw, base)?,
        }))
    }

    fn habit(&self) -> Habit {
        Habit::OneByOne
    }

    fn withhold_secrets(&mut self) {
        self.password.iter_mut().for_each(|password| *password = SecretRef::Withheld(WITHHELD_KEY));
        self.tls = TlsSettings::default();
    }
}

impl SmtpConfig {
    fn transport(&self, base: &std::path::Path) -> Result<Transport, Problem> {
        let tls = match self.encryption {
            Encryption::StartTls => Tls::Required(self.tls_parameters(base)?),
            Encryption::Tls => Tls::Wrapper(self.tls_parameters(base)?),
            Encryption::None => Tls::None,
        };
        let builder =
            Transport::builder_dangerous(&self.server.host).port(self.server.port).tls(tls).timeout(Some(TIMEOUT));
        Ok(match (&self.user, &self.password) {
            (Some(user), Some(password)) => {
                let password = password.resolve(base)?;
                builder.credentials(Credentials::new(user.clone(), password.expose().to_owned())).build()
            }
            _ => builder.build(),
        })
    }

    fn tls_parameters(&self, base: &std::path::Path) -> Result<TlsParameters, Problem> {
        let material = self.tls.read(base)?;
        let mut parameters = TlsParameters::builder(self.server.host.clone());
        if let Some(ca) = material.ca {
            let ca = Certificate::from_pem(&ca).map_err(|error| Problem::new(format!("`tls.ca`: {error}")))?;
            parameters = parameters.add_root_certificate(ca);
        }
        if let Some((chain, key)) = material.identity {
            let identity = Identity::from_pem(&chain, key.expose().as_bytes()).map_err(|_may_quote_the_key| {
                Problem::new("`tls.certificate` and `tls.key` are no PEM certificate with its key")
            })?;
            parameters = parameters.identify_with(identity);
        }
        parameters.build_rustls().map_err(|error| Problem::new(format!("no TLS client: {error}")))
    }
}

fn mailbox(setting: &str, address: &str) -> Result<Mailbox, Problem> {
    address.parse().map_err(|error| {
        Problem::new(format!(
            "`{setting}`: `{}` is no address of mail: {error}",
            truncate(&visible(address), SUBJECT_CHARS_MAX)
        ))
    })
}

impl Service for Smtp {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>> {
        async {
            let message = self.message(notification)?;
            let transport = self.transport.current();
            transport.send(message).await.map(drop).map_err(|error| judge(&error))
        }
        .boxed()
    }

    fn send_all<'a>(&'a self, notifications: &'a [Notification]) -> BoxFuture<'a, Vec<Result<Receipt, SendError>>> {
        async move {
            let mut results = Vec::with_capacity(notifications.len());
            for notification in notifications {
                let first = earlier(notification).map_or_else(|| id(notification), str::to_owned);
                results.push(self.send(notification).await.map(|()| Receipt { post: Some(first.into()) }));
            }
            results
        }
        .boxed()
    }

    fn preview(&self, notification: &Notification) -> Result<String, SendError> {
        Ok(String::from_utf8_lossy(&self.message(notification)?.formatted()).into_owned())
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}

impl Smtp {
    /// Nothing of an alert gets into a header but the subject, which is one line whatever the template says.
    fn message(&self, notification: &Notification) -> Result<Message, SendError> {
        let body = self.body.render(notification)?;
        let part = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let seconds = u64::try_from(notification.alert.time.as_second()).unwrap_or_default();
        let mut message = Message::builder();
        if let Some(earlier) = earlier(notification) {
            message = message.references(earlier.to_owned()).in_reply_to(earlier.to_owned());
        }
        let mut message = message
            .from(self.from.clone())
            .mailbox(lettre::message::header::To::from(self.to.clone()))
            .subject(truncate(&visible(part("subject")), SUBJECT_CHARS_MAX))
            .message_id(Some(id(notification)))
            .date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
            .header(ContentType::TEXT_PLAIN)
            .body(lines(part("text")))
            .map_err(|error| {
                SendError::new(Reason::Render, Retry::Never, format!("cannot make a mail of it: {error}"))
            })?;
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        message.headers_mut().insert_raw(HeaderValue::new(automatic, "auto-generated".to_owned()));
        Ok(message)
    }
}

fn id(notification: &Notification) -> String {
    format!("<{}@{ID_DOMAIN}>", notification.id)
}

/// The id of the mail that this one follows. What another type of destination had under this name is none.
fn earlier(notification: &Notification) -> Option<&str> {
    let post = notification.post.as_deref()?;
    let is_id = post.strip_prefix('<')?.strip_suffix(&format!("@{ID_DOMAIN}>"))?.parse::<uuid::Uuid>().is_ok();
    is_id.then_some(post)
}

/// The lines of a mail, without what a terminal would act on.
fn lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(visible).collect();
    truncate(&lines.join("\n"), TEXT_CHARS_MAX) + "\n"
}

/// 5xx is for good, 4xx for now (RFC 5321); whatever happens to the connection passes.
fn judge(error: &lettre::transport::smtp::Error) -> SendError {
    let code = error.status().map(u16::from);
    let (reason, retry) = if error.is_permanent() {
        let is_auth = code.is_some_and(|code| AUTH_CODES.contains(&code));
        (if is_auth { Reason::AuthError } else { Reason::ClientError }, Retry::Never)
    } else if error.is_transient() {
        (Reason::ServerError, Retry::Backoff)
    } else if error.is_timeout() {
        (Reason::Timeout, Retry::Backoff)
    } else if error.is_client() {
        (Reason::ClientError, Retry::Never)
    } else {
        (Reason::Connect, Retry::Backoff)
    };
    SendError::new(reason, retry, truncate(&visible(&error.to_string()), EXPLANATION_CHARS_MAX))
}
