//! Alerts by POST: to a router's Unix socket, to an address that takes batches, or one by one.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use tercel_alert::Alert;
use tokio::sync::mpsc::Receiver;
use tracing::{info, warn};

use super::{BATCH_PATH, write_line};
use crate::metrics::Metrics;

/// Alerts of one request: with outputs at their bound some 5 MiB, usually 500 KiB.
const BATCH_ALERTS_MAX: usize = 256;

/// Bytes after which a batch takes no further alert.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Bytes of an answer that are read; the rest is left.
const ANSWER_BYTES_MAX: usize = 64 << 10;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Before the first retry; doubles with each.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

/// What the other side may ask us to wait.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

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
pub struct Client {
    http: reqwest::Client,
    url: Url,
    token: Option<Token>,
    takes_batches: bool,
}

impl Client {
    pub(super) fn tcp(url: Url, token: Option<Token>) -> Result<Self, reqwest::Error> {
        let takes_batches = url.path().trim_end_matches('/') == BATCH_PATH;
        Ok(Self { http: builder().build()?, url, token, takes_batches })
    }

    pub(super) fn unix(path: &Path, token: Option<Token>) -> Result<Self, reqwest::Error> {
        let http = builder().unix_socket(path).build()?;
        let url = batch_url();
        Ok(Self { http, url, token, takes_batches: true })
    }

    /// One attempt.
    async fn post(&self, body: Bytes) -> Outcome {
        let content_type = if self.takes_batches { "application/x-ndjson" } else { "application/json" };
        let mut request = self.http.post(self.url.clone()).header(CONTENT_TYPE, content_type).body(body);
        if let Some(Token(token)) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        match request.send().await {
            Ok(response) => Outcome::of(response).await,
            Err(error) => Outcome::Retry { reason: reason(&error).to_owned(), wait: None },
        }
    }
}

/// What came of one attempt.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// `rejected`: how many of the batch the other side could not read.
    Taken {
        rejected: u64,
    },
    /// `wait`: what the other side asked for.
    Retry {
        reason: String,
        wait: Option<Duration>,
    },
    Refused {
        status: StatusCode,
    },
}

/// The router's answer to a batch.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    rejected: Vec<serde::de::IgnoredAny>,
}

impl Outcome {
    async fn of(response: Response) -> Self {
        let status = response.status();
        if status.is_success() {
            let answer: Answer = serde_json::from_slice(&bounded_body(response).await).unwrap_or_default();
            return Self::Taken { rejected: answer.rejected.len() as u64 };
        }
        if is_transient(status) {
            let wait = response.headers().get(RETRY_AFTER).and_then(retry_after);
            return Self::Retry { reason: status.to_string(), wait };
        }
        Self::Refused { status }
    }
}

pub(super) async fn run(client: &Client, mut alerts: Receiver<Alert>, metrics: &Metrics) {
    let mut body = Vec::new();
    while let Some(alert) = alerts.recv().await {
        body.clear();
        write_line(&mut body, &alert);
        let mut count = 1;
        while client.takes_batches && count < BATCH_ALERTS_MAX && body.len() < BATCH_BYTES_MAX {
            let Ok(alert) = alerts.try_recv() else { break };
            write_line(&mut body, &alert);
            count += 1;
        }
        metrics.queued.set(alerts.len().try_into().unwrap_or(i64::MAX));
        deliver(client, Bytes::copy_from_slice(&body), count as u64, metrics).await;
    }
}

/// Tries until the batch is taken or refused.
async fn deliver(client: &Client, body: Bytes, count: u64, metrics: &Metrics) {
    for retry in 0.. {
        match client.post(body.clone()).await {
            Outcome::Taken { rejected } => {
                if retry > 0 {
                    info!(retry, "the output takes alerts again");
                }
                if rejected > 0 {
                    warn!(rejected, "the output could not read some alerts");
                }
                metrics.sent.inc_by(count.saturating_sub(rejected));
                metrics.failed.inc_by(rejected.min(count));
                return;
            }
            Outcome::Refused { status } => {
                warn!(%status, alerts = count, "the output refused alerts");
                metrics.failed.inc_by(count);
                return;
            }
            Outcome::Retry { reason, wait } => {
                metrics.retries.inc();
                let delay = retry_delay(retry, wait, fastrand::f64());
                // Said once, then when the delay has grown: an outage of a day is not a day of log lines.
                if retry == 0 || retry.is_power_of_two() {
                    warn!(%reason, retry, ?delay, "the output does not take alerts, will try again");
                }
                tokio::time::sleep(delay).await;
            }
        }
    }
}

/// Wait before retry number `retry` (from 0): 100 ms doubling, at most 5 s, less up to half by `jitter` (0 to 1). What the
/// other side asks for replaces it, up to a minute.
fn retry_delay(retry: u32, wait: Option<Duration>, jitter: f64) -> Duration {
    let doubled = RETRY_DELAY_MIN.saturating_mul(2u32.saturating_pow(retry)).min(RETRY_DELAY_MAX);
    wait.map_or(doubled.mul_f64(1.0 - jitter / 2.0), |wait| wait.min(RETRY_AFTER_MAX))
}

fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Seconds; the form with a date is not used by routers, and counts as absent.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
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
    use std::sync::Arc;

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    /// Alerts with the rules `r0`, `r1`, …
    fn queued(count: usize, metrics: &Arc<Metrics>) -> Receiver<Alert> {
        let (mut queue, receiver) = crate::emit::queue(Arc::clone(metrics));
        for number in 0..count {
            let text = format!(r#"{{"time":"2026-01-01T00:00:00Z","rule":"r{number}","priority":"info"}}"#);
            queue.push(serde_json::from_str(&text).unwrap());
        }
        receiver
    }

    /// Reads one request and gives one answer; returns the request.
    async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, status: &str, body: &str) -> String {
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, content)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if content.len() == length.parse::<usize>().unwrap() {
                    let answer = format!(
                        "HTTP/1.1 {status}\r\nconnection: close\r\nretry-after: 0\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    return text;
                }
            }
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the request ended early: {text}");
            request.extend_from_slice(&buffer[..read]);
        }
    }

    /// Sends `count` alerts to an address with this path, which answers as told; returns the requests.
    async fn exchange(path: &str, count: usize, answers: &[(&str, &str)], metrics: &Arc<Metrics>) -> Vec<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let client = Client::tcp(url.parse().unwrap(), Some(Token::new("s3cret").unwrap())).unwrap();
        let server = async {
            let mut requests = Vec::new();
            for (status, body) in answers {
                requests.push(answer(listener.accept().await.unwrap().0, status, body).await);
            }
            requests
        };
        tokio::join!(run(&client, queued(count, metrics), metrics), server).1
    }

    #[tokio::test]
    async fn a_batch_is_sent_again_until_it_is_taken_and_what_was_rejected_is_counted() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let taken = r#"{"accepted":2,"rejected":[{"line":2,"code":"bad","message":"m"}]}"#;
        let answers = [("503 Service Unavailable", ""), ("202 Accepted", taken)];
        let requests = exchange("/v1/alerts", 3, &answers, &metrics).await;
        assert!(requests[0].starts_with("POST /v1/alerts ") && requests[0].contains("authorization: Bearer s3cret"));
        assert_eq!(requests[0].matches("\"rule\":").count(), 3);
        assert_eq!(requests[0], requests[1]);
        assert_eq!((metrics.sent.get(), metrics.failed.get(), metrics.retries.get()), (2, 1, 1));
    }

    #[tokio::test]
    async fn another_path_gets_one_alert_per_request_and_a_refusal_is_final() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let requests = exchange("/", 2, &[("400 Bad Request", ""), ("200 OK", "ok")], &metrics).await;
        assert!(requests[0].contains("\"r0\"") && !requests[0].contains("\"r1\"") && requests[1].contains("\"r1\""));
        assert_eq!((metrics.sent.get(), metrics.failed.get(), metrics.retries.get()), (1, 1, 0));
    }

    #[tokio::test]
    async fn a_router_s_unix_socket_takes_batches() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("router.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let client = Client::unix(&path, None).unwrap();
        let server = async { answer(listener.accept().await.unwrap().0, "202 Accepted", "{}").await };
        let ((), request) = tokio::join!(run(&client, queued(2, &metrics), &metrics), server);
        assert!(request.starts_with("POST /v1/alerts ") && request.contains("application/x-ndjson"));
        assert_eq!(metrics.sent.get(), 2);
    }

    #[track_caller]
    fn check(retry: u32, wait_s: Option<u64>, jitter: f64, expected_ms: u64) {
        let delay = retry_delay(retry, wait_s.map(Duration::from_secs), jitter);
        assert_eq!(delay, Duration::from_millis(expected_ms));
    }

    #[test]
    fn delays_double_up_to_five_seconds() {
        check(0, None, 0.0, 100);
        check(3, None, 0.0, 800);
        check(6, None, 0.0, 5_000);
        check(u32::MAX, None, 0.0, 5_000);
        check(6, None, 1.0, 2_500);
    }

    #[test]
    fn what_the_other_side_asks_for_is_honoured_up_to_a_minute() {
        check(0, Some(7), 0.5, 7_000);
        check(9, Some(86_400), 0.5, 60_000);
    }

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
