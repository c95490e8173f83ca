//! Taking alerts: a request's body → alerts → the pipeline → an answer that says what was taken.
//!
//! `POST /` is what Falco and Falcosidekick's senders use, `POST /v1/alerts` the same with batches in mind; both take one
//! object, an array of objects, or one object a line.

mod read;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::Token;
use crate::metrics::{Metrics, Rejected};
use crate::pipeline::{Pipeline, Refused};
use read::Batch;

/// The largest body, and the longest line of standard input.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A body that has not arrived by then is given up.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// When a sender whom we have no room for should come again.
const RETRY_AFTER_S: u64 = 2;

/// Rejected alerts that an answer lists; all are counted.
const REJECTIONS_SHOWN_MAX: usize = 100;

/// The paths that take alerts.
pub(crate) const PATHS: [&str; 2] = ["/", "/v1/alerts"];

/// The way in, shared by all listeners.
pub(crate) struct Ingest {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) metrics: Arc<Metrics>,
    /// What TCP senders must show.
    pub(crate) token: Option<Token>,
    pub(crate) stopping: CancellationToken,
}

/// A request that was not taken at all.
struct Refusal {
    status: StatusCode,
    reason: Rejected,
    message: String,
}

impl Ingest {
    /// `is_trusted`: the listener itself says who may send (a Unix socket's mode), no token is asked for.
    pub(crate) async fn answer(&self, request: Request<Incoming>, is_trusted: bool) -> Response<Full<Bytes>> {
        match self.take(request, is_trusted).await {
            Ok(batch) => answer_batch(&batch),
            Err(refusal) => answer_refusal(&refusal),
        }
    }

    async fn take(&self, request: Request<Incoming>, is_trusted: bool) -> Result<Batch, Refusal> {
        self.check_head(&request, is_trusted).map_err(|refusal| self.counted(refusal))?;
        let body = read_body(request).await.map_err(|refusal| self.counted(refusal))?;
        self.take_body(&body)
    }

    fn check_head(&self, request: &Request<Incoming>, is_trusted: bool) -> Result<(), Refusal> {
        if self.stopping.is_cancelled() {
            return Err(stopping());
        }
        if request.method() != Method::POST {
            return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, Rejected::Method, "alerts are sent with POST"));
        }
        if !is_trusted && !self.is_authorized(request.headers()) {
            let message = "the header `Authorization: Bearer …` is missing or has another token";
            return Err(refusal(StatusCode::UNAUTHORIZED, Rejected::Unauthorized, message));
        }
        if request.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            let message = "compressed bodies are not understood; send it as it is";
            return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, Rejected::Encoding, message));
        }
        let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        Ok(())
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let offered = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        offered.and_then(|text| text.strip_prefix("Bearer ")).is_some_and(|text| token.is(text.trim()))
    }

    /// Parses a body and hands its good alerts to the pipeline: all of them or none.
    fn take_body(&self, body: &[u8]) -> Result<Batch, Refusal> {
        let batch = read::read(body).map_err(|read::TooMany| {
            let message = format!("more than {} alerts in one request", read::ALERTS_MAX);
            self.counted(refusal(StatusCode::PAYLOAD_TOO_LARGE, Rejected::TooMany, message))
        })?;
        if let Err(refused) = self.pipeline.handle(&batch.good) {
            let refusal = self.not_taken(refused);
            batch.good.iter().for_each(|_| self.metrics.count_rejected(refusal.reason));
            return Err(refusal);
        }
        batch.rejected.iter().for_each(|rejection| self.metrics.count_rejected(rejection.reason));
        Ok(batch)
    }

    fn not_taken(&self, refused: Refused) -> Refusal {
        match refused {
            Refused::Full { destination } => {
                let name = self.pipeline.destination_name(destination);
                let message =
                    format!("the queue of destination `{name}` is full for alerts of this priority; nothing was taken");
                refusal(StatusCode::SERVICE_UNAVAILABLE, Rejected::Full, message)
            }
            Refused::Closed => stopping(),
        }
    }

    fn counted(&self, refusal: Refusal) -> Refusal {
        self.metrics.count_rejected(refusal.reason);
        refusal
    }

    /// Takes alerts line by line until the input ends. A line for which there is no room is kept until there is.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(crate) async fn take_lines(&self, mut input: impl AsyncBufRead + Unpin) -> std::io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut input).take(BODY_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line).await?;
            if read == 0 {
                return Ok(());
            }
            if line.len() > BODY_BYTES_MAX && line.last() != Some(&b'\n') {
                self.metrics.count_rejected(Rejected::BodySize);
                warn!(bytes = BODY_BYTES_MAX, "a line of standard input is too long and was not taken");
                skip_line(&mut input).await?;
                continue;
            }
            self.take_line(&line).await;
        }
    }

    async fn take_line(&self, line: &[u8]) {
        loop {
            match self.take_body(line) {
                Err(refusal) if refusal.reason == Rejected::Full => {
                    tokio::time::sleep(Duration::from_secs(RETRY_AFTER_S)).await;
                }
                Err(refusal) => return warn!(message = refusal.message, "a line of standard input was not taken"),
                Ok(batch) => {
                    for rejection in &batch.rejected {
                        warn!(code = rejection.reason.name(), message = ?rejection.message, "a line of standard input is no alert");
                    }
                    return;
                }
            }
        }
    }
}

async fn skip_line(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<()> {
    let mut rest = Vec::new();
    loop {
        rest.clear();
        let read = (&mut *input).take(BODY_BYTES_MAX as u64).read_until(b'\n', &mut rest).await?;
        if read == 0 || rest.last() == Some(&b'\n') {
            return Ok(());
        }
    }
}

async fn read_body(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIME_MAX, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(refusal(StatusCode::BAD_REQUEST, Rejected::BodyRead, "the body broke off")),
        Err(_elapsed) => {
            let message = format!("the body did not arrive within {} s", BODY_TIME_MAX.as_secs());
            Err(refusal(StatusCode::REQUEST_TIMEOUT, Rejected::BodyRead, message))
        }
    }
}

fn too_large() -> Refusal {
    let message = format!("the body is larger than {BODY_BYTES_MAX} bytes; send fewer alerts at once");
    refusal(StatusCode::PAYLOAD_TOO_LARGE, Rejected::BodySize, message)
}

fn stopping() -> Refusal {
    refusal(StatusCode::SERVICE_UNAVAILABLE, Rejected::Stopping, "the router is stopping; nothing was taken")
}

fn refusal(status: StatusCode, reason: Rejected, message: impl Into<String>) -> Refusal {
    Refusal { status, reason, message: message.into() }
}

/// 202 where at least one alert was taken, 400 where none was good.
fn answer_batch(batch: &Batch) -> Response<Full<Bytes>> {
    let status = if batch.good.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
    let rejected: Vec<_> = batch
        .rejected
        .iter()
        .take(REJECTIONS_SHOWN_MAX)
        .map(|rejection| json!({"line": rejection.line, "code": rejection.reason.name(), "message": rejection.message}))
        .collect();
    let mut body = json!({"accepted": batch.good.len(), "rejected": rejected});
    if batch.rejected.len() > REJECTIONS_SHOWN_MAX {
        body["rejected_in_all"] = batch.rejected.len().into();
    }
    json_response(status, &body)
}

fn answer_refusal(refusal: &Refusal) -> Response<Full<Bytes>> {
    let error = json!({"code": refusal.reason.name(), "message": refusal.message});
    let mut response = json_response(refusal.status, &json!({"accepted": 0, "rejected": [], "error": error}));
    let headers = response.headers_mut();
    match refusal.status {
        StatusCode::SERVICE_UNAVAILABLE => headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S)),
        StatusCode::METHOD_NOT_ALLOWED => headers.insert(ALLOW, HeaderValue::from_static("POST")),
        StatusCode::UNAUTHORIZED => headers.insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        _ => None,
    };
    response
}

fn json_response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{body}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::routing::Routing;

    const ROUTING: &str = "[[route]]\nto = [\"pager\"]\n[destination.pager]\ntype = \"console\"\n";

    fn ingest() -> Ingest {
        let metrics = Arc::new(Metrics::new());
        let mut routing = Routing::parse(Path::new("routing.toml"), ROUTING).unwrap();
        let pipeline = Arc::new(Pipeline::new(&mut routing, &metrics));
        Ingest { pipeline, metrics, token: None, stopping: CancellationToken::new() }
    }

    #[tokio::test]
    async fn a_body_that_arrives_after_the_queues_were_closed_is_to_be_sent_again() {
        let ingest = ingest();
        let body = br#"[{"time":"2026-01-01T00:00:00Z","rule":"r","priority":"error"},
                        {"time":"2026-01-01T00:00:00Z","rule":"s","priority":"error"}]"#;
        ingest.pipeline.close();
        let answer = answer_refusal(&ingest.take_body(body).err().unwrap());
        assert_eq!(
            (answer.status(), answer.headers().contains_key(RETRY_AFTER)),
            (StatusCode::SERVICE_UNAVAILABLE, true)
        );
        let text = ingest.metrics.text();
        assert!(text.contains("tercel_router_ingest_rejected_total{reason=\"stopping\"} 2\n"), "{text}");
    }
}
