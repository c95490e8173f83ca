//! One attempt: a request, and what its answer means.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::wait::retry_after;
use crate::emit::BATCH_PATH;
use crate::emit::peer::Teller;

/// Bytes of an answer that are read; the rest is left.
const ANSWER_BYTES_MAX: usize = 64 << 10;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A bearer token; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(HeaderValue);

/// The token cannot stand in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is empty, or holds characters that cannot stand in an HTTP header")]
pub struct BadToken;

impl Token {
    /// White space around it is left out.
    pub fn new(secret: &str) -> Result<Self, BadToken> {
        let secret = secret.trim();
        if secret.is_empty() {
            return Err(BadToken);
        }
        let mut value = HeaderValue::try_from(format!("Bearer {secret}")).or(Err(BadToken))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Posts to one address.
pub(in crate::emit) struct Client {
    http: reqwest::Client,
    url: Url,
    token: Option<Token>,
    pub(super) takes_batches: bool,
    pub(in crate::emit) peer: Teller,
}

impl Client {
    pub(in crate::emit) fn tcp(url: Url, token: Option<Token>) -> Result<Self, reqwest::Error> {
        let takes_batches = url.path().trim_end_matches('/') == BATCH_PATH;
        let peer = Teller::tcp(&url);
        Ok(Self { http: builder().build()?, url, token, takes_batches, peer })
    }

    pub(in crate::emit) fn unix(path: &Path, token: Option<Token>) -> Result<Self, reqwest::Error> {
        let http = builder().unix_socket(path).build()?;
        let url = batch_url();
        Ok(Self { http, url, token, takes_batches: true, peer: Teller::unix(path) })
    }

    pub(super) async fn post(&self, body: Bytes) -> Outcome {
        let content_type = if self.takes_batches { "application/x-ndjson" } else { "application/json" };
        let mut request = self.http.post(self.url.clone()).header(CONTENT_TYPE, content_type).body(body);
        if let Some(Token(token)) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        match request.send().await {
            Ok(response) => {
                self.peer.answered(&response).await;
                Outcome::of(response).await
            }
            Err(error) => {
                self.peer.broke();
                Outcome::Retry { reason: reason(&error).to_owned(), wait: None }
            }
        }
    }
}

/// What came of one attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// `rejected`: how many of the batch the other side could not read.
    Taken { rejected: u64 },
    /// `wait`: what the other side asked for.
    Retry { reason: String, wait: Option<Duration> },
    /// For good. `rejected`: how many the other side says that it could not read, one by one.
    Refused { status: StatusCode, rejected: u64 },
}

/// The router's answer to a batch.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    rejected: Vec<serde::de::IgnoredAny>,
    /// Where the list is cut.
    #[serde(default)]
    rejected_in_all: u64,
}

impl Outcome {
    async fn of(response: Response) -> Self {
        let status = response.status();
        if is_transient(status) {
            let now = Timestamp::now();
            let wait = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value, now));
            return Self::Retry { reason: status.to_string(), wait };
        }
        let answer: Answer = serde_json::from_slice(&bounded_body(response).await).unwrap_or_default();
        let rejected = answer.rejected_in_all.max(answer.rejected.len() as u64);
        if status.is_success() { Self::Taken { rejected } } else { Self::Refused { status, rejected } }
    }
}

fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

async fn bounded_body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    body
}

/// Fixed words: an error's own text may hold the address and its query.
fn reason(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "the connection broke"
    }
}

fn batch_url() -> Url {
    let mut url = Url::parse("http://localhost").unwrap_or_else(|_| unreachable!("a constant URL"));
    url.set_path(BATCH_PATH);
    url
}

fn builder() -> reqwest::ClientBuilder {
    // The default may be installed already, by another client of this process: then it is the same.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("tercel-sensor/", env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new(" s3cret\n").unwrap();
        assert_eq!((format!("{token:?}"), token.0.as_bytes()), ("Token(…)".to_owned(), &b"Bearer s3cret"[..]));
        assert_eq!(Token::new(" \n"), Err(BadToken));
        assert_eq!(Token::new("a\nb"), Err(BadToken));
    }

    #[test]
    fn refusals_and_troubles_that_pass_are_told_apart() {
        for status in [408, 429, 500, 502, 503] {
            assert!(is_transient(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 413] {
            assert!(!is_transient(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }
}
