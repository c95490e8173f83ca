//! Elasticsearch and OpenSearch: one document per alert through `_bulk`.
//!
//! Documents are created under the alert's uuid: a repeated attempt answers 409 for what is already there, which counts
//! as delivered, and a data stream (which takes nothing but `create`) works as well as an index.
//!
//! Field names: Elasticsearch reads a dot as "object within object", so `fd.sip` and `fd.sip.name` could not both exist
//! (the first is a text and would have to be an object). Dots in the names of output fields therefore become
//! underscores: `output_fields.fd_sip_name`. A value that is an object or a list of such is stored as its JSON text,
//! so that no alert can grow the mapping by names of its own. Fields without a value are left out.

use std::path::Path;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::http::{HttpDestination, HttpService, parse_url, sensitive_header};
use super::{Concurrency, MaxAge, Notification, Problem, Reason, Receive, Retry, SendError};
use crate::render::{alert_body, truncate, visible};
use crate::secret::{PlainOrSecret, Secret, SecretRef};

/// In an index name: the event's date in UTC, as `2026.11.23`.
const DATE: &str = "{date}";
const DATE_FORMAT: &str = "%Y.%m.%d";

const DEFAULT_INDEX: &str = "tercel-{date}";

/// The longest index name, in bytes.
const INDEX_BYTES_MAX: usize = 255;

/// What a message repeats of an item's error type.
const ERROR_TYPE_CHARS_MAX: usize = 80;

/// Only what the answer is judged by; else it repeats the document's fields.
const FILTER_PATH: (&str, &str) = ("filter_path", "errors,items.*.status,items.*.error.type");

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ElasticsearchConfig {
    pub receive: Option<Receive>,
    /// The destination that takes over what this one does not take.
    pub fallback: Option<String>,
    /// How long a delivery is tried.
    pub max_age: Option<MaxAge>,
    /// Deliveries on their way at once.
    pub concurrency: Option<Concurrency>,
    /// The cluster's address, without `_bulk`.
    pub url: PlainOrSecret,
    /// An index, with `{date}` where the day belongs, or a data stream.
    #[serde(default = "default_index")]
    pub index: String,
    /// An API key in its encoded form. Excludes `user` and `password`.
    pub api_key: Option<SecretRef>,
    pub user: Option<String>,
    pub password: Option<SecretRef>,
}

fn default_index() -> String {
    DEFAULT_INDEX.to_owned()
}

struct Elasticsearch {
    bulk_url: Url,
    index: String,
    login: Login,
}

enum Login {
    None,
    Header(reqwest::header::HeaderValue),
    Basic { user: String, password: Secret },
}

impl ElasticsearchConfig {
    pub(super) fn build(&self, base: &Path) -> Result<HttpService, Problem> {
        check_index(&self.index)?;
        let mut bulk_url = parse_url("url", &self.url, base)?;
        bulk_url
            .path_segments_mut()
            .map_err(|()| Problem::new("`url` cannot be extended by `_bulk`".to_owned()))?
            .pop_if_empty()
            .push("_bulk");
        bulk_url.query_pairs_mut().append_pair(FILTER_PATH.0, FILTER_PATH.1);
        let elasticsearch =
            Elasticsearch { bulk_url: bulk_url.clone(), index: self.index.clone(), login: self.login(base)? };
        HttpService::new(&bulk_url, elasticsearch)
    }

    fn login(&self, base: &Path) -> Result<Login, Problem> {
        match (&self.api_key, &self.user, &self.password) {
            (None, None, None) => Ok(Login::None),
            (Some(key), None, None) => {
                let value = key.resolve(base)?.prefixed("ApiKey ");
                Ok(Login::Header(sensitive_header("api_key", &value)?))
            }
            (None, Some(user), Some(password)) => {
                Ok(Login::Basic { user: user.clone(), password: password.resolve(base)? })
            }
            _ => Err(Problem::new("needs either `api_key`, or `user` with `password`, or none of them".to_owned())),
        }
    }
}

fn check_index(index: &str) -> Result<(), Problem> {
    let name = index.replace(DATE, "2026.11.23");
    let is_allowed =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || "-_.+".contains(character);
    let is_good_start = name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    if is_good_start && name.len() <= INDEX_BYTES_MAX && name.chars().all(is_allowed) {
        return Ok(());
    }
    Err(Problem::new(format!(
        "`index` is `{}`; it takes lower-case letters, digits, `-`, `_`, `.` and {DATE}, starts with a letter or digit \
         and has at most {INDEX_BYTES_MAX} bytes",
        truncate(&visible(index), ERROR_TYPE_CHARS_MAX)
    )))
}

impl HttpDestination for Elasticsearch {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let request = client
            .post(self.bulk_url.clone())
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(bulk_body(&self.index, notification));
        Ok(match &self.login {
            Login::None => request,
            Login::Header(value) => request.header(AUTHORIZATION, value.clone()),
            Login::Basic { user, password } => request.basic_auth(user, Some(password.expose())),
        })
    }

    fn check(&self, answer: Result<Vec<u8>, SendError>) -> Result<(), SendError> {
        judge_items(&answer?)
    }

    fn explain(&self, answer: &[u8]) -> Option<String> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        Some(answer.pointer("/error/type")?.as_str()?.chars().take(ERROR_TYPE_CHARS_MAX).collect())
    }
}

/// Two lines: where it goes, and the document.
pub(super) fn bulk_body(index: &str, notification: &Notification) -> String {
    let document = document(notification);
    let index = index.replace(DATE, &date(notification.alert.time));
    let action = json!({ "create": { "_index": index, "_id": document["uuid"] } });
    format!("{action}\n{document}\n")
}

fn date(time: Timestamp) -> String {
    time.strftime(DATE_FORMAT).to_string()
}

fn document(notification: &Notification) -> Value {
    let mut document = alert_body(notification);
    document["@timestamp"] = json!(notification.alert.time);
    let fields = notification.alert.output_fields.iter().filter(|(_, value)| !value.is_null());
    document["output_fields"] =
        fields.map(|(name, value)| (field_name(name), field_value(value))).collect::<Map<_, _>>().into();
    document
}

fn field_name(name: &str) -> String {
    if name.is_empty() { "_".to_owned() } else { name.replace('.', "_") }
}

fn field_value(value: &Value) -> Value {
    let is_nested = |value: &Value| value.is_object() || value.is_array();
    match value {
        Value::Object(_) => value.to_string().into(),
        Value::Array(list) if list.iter().any(is_nested) => value.to_string().into(),
        other => other.clone(),
    }
}

/// A 200 says that the request was read; whether the document was taken stands in its item.
fn judge_items(answer: &[u8]) -> Result<(), SendError> {
    let unreadable = |cause: &str| SendError::new(Reason::Other, Retry::Backoff, format!("answered 200 {cause}"));
    let answer: Value = serde_json::from_slice(answer).map_err(|_cause| unreadable("without JSON"))?;
    let items = answer.get("items").and_then(Value::as_array).ok_or_else(|| unreadable("without items"))?;
    if items.is_empty() {
        return Err(unreadable("without items"));
    }
    items.iter().try_for_each(|item| judge_item(item.get("create").ok_or_else(|| unreadable("without the item"))?))
}

fn judge_item(item: &Value) -> Result<(), SendError> {
    let status = item.get("status").and_then(Value::as_u64).unwrap_or_default();
    let (reason, retry) = match status {
        200..=299 | 409 => return Ok(()),
        429 => (Reason::RateLimited, Retry::Backoff),
        500..=599 => (Reason::ServerError, Retry::Backoff),
        401 | 403 => (Reason::AuthError, Retry::Never),
        _ => (Reason::ClientError, Retry::Never),
    };
    let kind = item.pointer("/error/type").and_then(Value::as_str).unwrap_or("no error type");
    let kind = truncate(&visible(kind), ERROR_TYPE_CHARS_MAX);
    Err(SendError::new(reason, retry, format!("refused the document with {status}: {kind}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u64) -> Result<(), (&'static str, Retry)> {
        let answer = json!({ "errors": true, "items": [{ "create": { "status": status, "error": { "type": "t" } } }] });
        judge_items(answer.to_string().as_bytes()).map_err(|error| (error.reason.name(), error.retry))
    }

    #[test]
    fn an_item_is_judged_by_its_own_status() {
        assert_eq!(judged(201), Ok(()));
        assert_eq!(judged(409), Ok(()), "it is there already");
        assert_eq!(judged(400), Err(("client_error", Retry::Never)));
        assert_eq!(judged(403), Err(("auth_error", Retry::Never)));
        assert_eq!(judged(429), Err(("rate_limited", Retry::Backoff)));
        assert_eq!(judged(503), Err(("server_error", Retry::Backoff)));
        assert_eq!(judged(0), Err(("client_error", Retry::Never)));
    }

    #[test]
    fn an_answer_that_says_nothing_about_the_document_is_no_success() {
        for answer in ["", "ok", "{}", r#"{"items":[]}"#, r#"{"items":{}}"#, r#"{"items":[{"index":{"status":400}}]}"#]
        {
            assert_eq!(judge_items(answer.as_bytes()).unwrap_err().retry, Retry::Backoff, "{answer}");
        }
    }

    #[test]
    fn an_index_name_is_checked_before_anything_is_sent() {
        for good in ["tercel-{date}", "tercel", "logs-tercel-default"] {
            assert!(check_index(good).is_ok(), "{good}");
        }
        for bad in ["", "Tercel", "_bulk", "-a", "a b", "a/b", "a,b", "a*", "{day}", &"a".repeat(256)] {
            assert!(check_index(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_index_is_that_of_the_event_in_utc() {
        assert_eq!(date("2026-11-23T23:59:59.999999999Z".parse().unwrap()), "2026.11.23");
    }

    #[test]
    fn nested_values_become_text_and_scalars_stay() {
        assert_eq!(field_value(&json!({ "a": 1 })), json!(r#"{"a":1}"#));
        assert_eq!(field_value(&json!([{ "a": 1 }])), json!(r#"[{"a":1}]"#));
        assert_eq!(field_value(&json!(["a", 1])), json!(["a", 1]));
        assert_eq!(field_value(&json!(7)), json!(7));
        assert_eq!(field_name("fd.sip.name"), "fd_sip_name");
        assert_eq!(field_name(""), "_");
    }
}
