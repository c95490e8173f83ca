//! Elasticsearch and OpenSearch: documents in the Elastic Common Schema, many in one `_bulk` request.
//!
//! Documents are created under the notification's id: a repeated attempt answers 409 for what is there already, which
//! counts as delivered, and a data stream (which takes nothing but `create`) works as well as an index. Each document of a
//! request has its own result; so has each alert here.
//!
//! `tercel-router elasticsearch setup` installs the index template that gives the fields their types; see [`setup`].

mod bulk;
mod document;
mod fields;
mod nodes;
mod server;
mod setup;
mod template;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::client::HttpSettings;
use super::http::sensitive_header;
use super::live::Live;
use super::service::{Service, without_posts};
use super::settings::{Folders, Settings, WITHHELD_KEY, WITHHELD_URL};
use super::terms::{Batch, Habit};
use super::{Notification, Problem, Reason, Receipt, Receive, Retry, SendError};
use crate::render::{truncate, visible};
use crate::secret::{Secret, SecretRef};

pub use setup::{SetupError, SetupOptions, SetupReport};

use bulk::Target;
use nodes::{Nodes, Refusal, Urls};

/// In an index name: the event's date in UTC, as `2026.11.23`.
const DATE: &str = "{date}";

const DEFAULT_INDEX: &str = "tercel-{date}";

/// The longest index name, in bytes.
const INDEX_BYTES_MAX: usize = 255;

/// What a message repeats of a setting that is wrong.
const SETTING_CHARS_MAX: usize = 80;

/// One request, from the first byte sent to the last byte of the answer: a cluster writes a thousand documents in far
/// less, and one that cannot says so itself before ([`bulk::QUERY`]).
const BULK_TIMEOUT: Duration = Duration::from_secs(30);

/// What is read of an answer: ten thousand refused documents have each as much of it as their errors need.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ElasticsearchConfig {
    /// What goes into one request.
    batch: Option<Batch>,
    /// The cluster's address, without `_bulk`, or those of several of its nodes.
    url: Urls,
    /// An index, with `{date}` where the event's day belongs. Excludes `data_stream`.
    index: Option<String>,
    data_stream: Option<String>,
    /// Whether each document also has its output fields as a list of `name=value`.
    #[serde(default)]
    key_values: bool,
    /// Whether bodies are compressed.
    #[serde(default = "yes")]
    gzip: bool,
    /// An API key in its encoded form. Excludes the other ways to log in, as they exclude one another.
    api_key: Option<SecretRef>,
    user: Option<String>,
    password: Option<SecretRef>,
    bearer_token: Option<SecretRef>,
    /// Of the client.
    #[serde(default)]
    http: HttpSettings,
}

fn yes() -> bool {
    true
}

pub(super) struct Elasticsearch {
    client: Live<Client>,
    nodes: Nodes,
    login: Login,
    target: Arc<Target>,
    gzip: bool,
    /// Of the documents in one request.
    body_bytes_max: usize,
}

enum Login {
    None,
    Header(HeaderValue),
    Basic { user: String, password: Secret },
}

impl Settings for ElasticsearchConfig {
    fn build(&self, folders: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        Ok(Box::new(self.cluster(folders.base)?))
    }

    fn habit(&self) -> Habit {
        Habit::Bulk(self.batch)
    }

    fn receive(&self) -> Receive {
        Receive::All
    }

    fn withhold_secrets(&mut self) {
        self.url.withhold(WITHHELD_URL);
        let keys = [&mut self.api_key, &mut self.password, &mut self.bearer_token];
        keys.into_iter().flatten().for_each(|key| *key = SecretRef::Withheld(WITHHELD_KEY));
        self.http = HttpSettings::default();
    }
}

impl ElasticsearchConfig {
    fn cluster(&self, base: &Path) -> Result<Elasticsearch, Problem> {
        let target = Arc::new(self.target()?);
        let urls = self.url.resolve(base)?;
        let batch = Batch::of_bulk(self.batch);
        Ok(Elasticsearch {
            client: self.http.client(&urls, base)?,
            nodes: Nodes::new(urls),
            login: self.login(base)?,
            target,
            gzip: self.gzip,
            body_bytes_max: usize::try_from(batch.bytes).unwrap_or(usize::MAX),
        })
    }

    fn target(&self) -> Result<Target, Problem> {
        let (setting, name) = match (&self.index, &self.data_stream) {
            (Some(_), Some(_)) => {
                return Err(Problem::new("has both `index` and `data_stream`; one of them is enough"));
            }
            (None, Some(name)) if name.contains(DATE) => {
                return Err(Problem::new(format!(
                    "`data_stream` holds {DATE}; a data stream keeps time apart by itself, use `index`"
                )));
            }
            (None, Some(name)) => ("data_stream", name.as_str()),
            (index, None) => ("index", index.as_deref().unwrap_or(DEFAULT_INDEX)),
        };
        check_name(setting, name)?;
        let is_data_stream = self.data_stream.is_some();
        Ok(Target { name: name.to_owned(), is_data_stream, key_values: self.key_values })
    }

    fn login(&self, base: &Path) -> Result<Login, Problem> {
        match (&self.api_key, &self.bearer_token, &self.user, &self.password) {
            (None, None, None, None) => Ok(Login::None),
            (Some(key), None, None, None) => {
                let value = key.resolve(base)?.prefixed("ApiKey ");
                Ok(Login::Header(sensitive_header("api_key", &value)?))
            }
            (None, Some(token), None, None) => {
                let value = token.resolve(base)?.prefixed("Bearer ");
                Ok(Login::Header(sensitive_header("bearer_token", &value)?))
            }
            (None, None, Some(user), Some(password)) => {
                Ok(Login::Basic { user: user.clone(), password: password.resolve(base)? })
            }
            _ => Err(Problem::new(
                "needs either `api_key`, or `bearer_token`, or `user` with `password`, or none of them".to_owned(),
            )),
        }
    }
}

fn check_name(setting: &str, given: &str) -> Result<(), Problem> {
    let name = given.replace(DATE, "2026.11.23");
    let is_allowed =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || "-_.+".contains(character);
    let is_good_start = name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    if is_good_start && name.len() <= INDEX_BYTES_MAX && name.chars().all(is_allowed) {
        return Ok(());
    }
    Err(Problem::new(format!(
        "`{setting}` is `{}`; it takes lower-case letters, digits, `-`, `_`, `.` (and {DATE} in an index), starts with a \
         letter or digit and has at most {INDEX_BYTES_MAX} bytes",
        truncate(&visible(given), SETTING_CHARS_MAX)
    )))
}

impl Service for Elasticsearch {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>> {
        self.send_one(notification).boxed()
    }

    fn send_all<'a>(&'a self, notifications: &'a [Notification]) -> BoxFuture<'a, Vec<Result<Receipt, SendError>>> {
        self.create(notifications).map(without_posts).boxed()
    }

    fn preview(&self, notification: &Notification) -> Result<String, SendError> {
        Ok(bulk::lines(&self.target, notification))
    }

    fn elasticsearch(&self) -> Option<&Elasticsearch> {
        Some(self)
    }
}

impl Elasticsearch {
    /// One attempt for each of them; one result for each.
    async fn create(&self, notifications: &[Notification]) -> Vec<Result<(), SendError>> {
        let documents = match self.documents(notifications).await {
            Ok(documents) => documents,
            Err(error) => return vec![Err(error); notifications.len()],
        };
        let mut results = Vec::with_capacity(documents.len());
        // Those still to be sent, the next one last.
        let mut requests = bulk::requests(&documents, self.body_bytes_max);
        requests.reverse();
        while let Some(request) = requests.pop() {
            match self.post(&documents, request.clone()).await {
                Ok(answer) => results.extend(bulk::judge(&answer, request.len())),
                Err(Refusal { status: Some(StatusCode::PAYLOAD_TOO_LARGE), .. }) if request.len() > 1 => {
                    let middle = request.start + request.len() / 2;
                    requests.extend([middle..request.end, request.start..middle]);
                }
                Err(Refusal { error, .. }) => results.extend(request.map(|_| Err(error.clone()))),
            }
        }
        results
    }

    async fn send_one(&self, notification: &Notification) -> Result<(), SendError> {
        let mut results = self.create(std::slice::from_ref(notification)).await;
        results.pop().unwrap_or_else(|| Err(SendError::new(Reason::Other, Retry::Never, "nothing was sent")))
    }

    /// On a thread of its own: a thousand documents take as long as many requests.
    async fn documents(&self, notifications: &[Notification]) -> Result<Arc<Vec<String>>, SendError> {
        let (target, notifications) = (Arc::clone(&self.target), notifications.to_vec());
        let lines = move || notifications.iter().map(|notification| bulk::lines(&target, notification)).collect();
        match tokio::task::spawn_blocking(lines).await {
            Ok(documents) => Ok(Arc::new(documents)),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(SendError::new(Reason::Other, Retry::Backoff, "the router stops")),
            },
        }
    }

    /// Sends some of the documents to the first node that answers; gives the answer of a 2xx.
    async fn post(&self, documents: &Arc<Vec<String>>, range: Range<usize>) -> Result<Vec<u8>, Refusal> {
        let (documents, gzip) = (Arc::clone(documents), self.gzip);
        let body = tokio::task::spawn_blocking(move || bulk::body(&documents[range], gzip)).await;
        let body = body.ok().and_then(Result::ok).ok_or_else(|| {
            Refusal::from(SendError::new(Reason::Other, Retry::Backoff, "the documents could not be compressed"))
        })?;
        let request = |url| {
            let request = self.client.current().post(url).header(CONTENT_TYPE, "application/x-ndjson");
            let request = if gzip { request.header(CONTENT_ENCODING, "gzip") } else { request };
            self.login.on(request).timeout(BULK_TIMEOUT).body(body.clone())
        };
        self.nodes.ask("_bulk", &bulk::QUERY, request, ANSWER_BYTES_MAX).await
    }
}

impl Login {
    fn on(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::None => request,
            Self::Header(value) => request.header(AUTHORIZATION, value.clone()),
            Self::Basic { user, password } => request.basic_auth(user, Some(password.expose())),
        }
    }
}

#[cfg(test)]
mod tests;
