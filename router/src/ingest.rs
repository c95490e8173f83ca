//! Taking alerts: a request's body → alerts → the pipeline → an answer that says what was taken.
//!
//! `POST /` is what Falco and Falcosidekick's senders use, `POST /v1/alerts` the same with batches in mind; both take one
//! object, an array of objects, or one object a line.

mod body;
mod read;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use serde_json::{Value, json};
use tercel_alert::Alert;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::access::{Access, Caller};
use crate::metrics::{Metrics, Rejected};
use crate::normalise::Enrich;
use crate::pipeline::{Pipeline, Refused};
use body::{BODY_BYTES_MAX, Bodies};
use read::Batch;

/// When a sender whom we have no room for should come again.
const RETRY_AFTER_S: u64 = 2;

/// Rejected alerts that an answer lists; all are counted.
const REJECTIONS_SHOWN_MAX: usize = 100;

/// The paths that take alerts.
pub(crate) const PATHS: [&str; 2] = ["/", "/v1/alerts"];

/// What Falcosidekick answers there, for probes that were written for it. Its `/test`, which makes up an alert, is left
/// out: an alert of one's own to `/` shows the same.
const PROBES: [(&str, &str, &str); 2] =
    [("/ping", "text/plain; charset=utf-8", "pong\n"), ("/healthz", "application/json", "{\"status\": \"ok\"}\n")];

/// The way in, shared by all listeners.
pub(crate) struct Ingest {
    pub(crate) pipeline: Pipeline,
    metrics: Arc<Metrics>,
    access: Arc<Access>,
    stopping: CancellationToken,
    bodies: Bodies,
    enrich: RwLock<Arc<Enrich>>,
}

/// A request that was not taken at all.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    reason: Rejected,
    message: String,
}

impl Ingest {
    pub(crate) fn new(
        pipeline: Pipeline,
        metrics: Arc<Metrics>,
        access: Arc<Access>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            pipeline,
            metrics,
            access,
            stopping,
            bodies: Bodies::new(),
            enrich: RwLock::new(Arc::new(Enrich::new())),
        }
    }

    /// What alerts get at the moment.
    pub(crate) fn enrich(&self) -> Arc<Enrich> {
        Arc::clone(&self.enrich.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on alerts get what this adds.
    pub(crate) fn set_enrich(&self, enrich: Enrich) {
        *self.enrich.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(enrich);
    }

    /// `None`: no such path here.
    pub(crate) async fn answer(&self, request: Request<Incoming>, caller: &Caller) -> Option<Response<Full<Bytes>>> {
        let path = request.uri().path();
        if !PATHS.contains(&path) {
            return answer_probe(request.method(), path);
        }
        self.metrics.ingest.requests.inc();
        self.metrics.ingest.in_flight.inc();
        let answer = match self.take(request, caller).await {
            Ok(batch) => {
                debug!(%caller, accepted = batch.good.len(), rejected = batch.rejected.len(), "alerts came in");
                answer_batch(&batch)
            }
            Err(refusal) => {
                debug!(%caller, code = refusal.reason.name(), message = ?refusal.message, "a request was refused");
                answer_refusal(&refusal)
            }
        };
        self.metrics.ingest.in_flight.dec();
        Some(answer)
    }

    async fn take(&self, request: Request<impl Body<Data = Bytes>>, caller: &Caller) -> Result<Batch, Refusal> {
        self.check_head(&request, caller).map_err(|refusal| self.counted(refusal))?;
        // The room is given back after the answer is known: parsed alerts need more than their text.
        let (body, _room) = self.bodies.read(request).await.map_err(|refusal| self.counted(refusal))?;
        self.take_body(&body).await
    }

    fn check_head<B>(&self, request: &Request<B>, caller: &Caller) -> Result<(), Refusal> {
        // The sensor beside us may have something to say to the last, as long as its socket is open.
        if self.stopping.is_cancelled() && matches!(caller, Caller::Network(_)) {
            return Err(stopping());
        }
        if request.method() != Method::POST {
            return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, Rejected::Method, "alerts are sent with POST"));
        }
        if !self.access.may_send(caller, request.headers()) {
            let message = "the header `Authorization: Bearer …` is missing or has another token";
            return Err(refusal(StatusCode::UNAUTHORIZED, Rejected::Unauthorized, message));
        }
        Ok(())
    }

    /// Parses a body and hands its good alerts to the pipeline: all of them or none.
    async fn take_body(&self, body: &[u8]) -> Result<Batch, Refusal> {
        let batch = self.parse(body)?;
        if let Err(refused) = self.pipeline.handle(batch.good.clone()).await {
            let refusal = not_taken(refused);
            batch.good.iter().for_each(|_| self.metrics.count_rejected(refusal.reason));
            return Err(refusal);
        }
        batch.rejected.iter().for_each(|rejection| self.metrics.count_rejected(rejection.reason));
        Ok(batch)
    }

    fn parse(&self, body: &[u8]) -> Result<Batch, Refusal> {
        let metrics = &self.metrics.ingest;
        metrics.bytes.inc_by(body.len() as u64);
        let enrich = self.enrich();
        let batch =
            metrics.parse_seconds.observe_closure_duration(|| read::read(body, &enrich)).map_err(|read::TooMany| {
                let message = format!("more than {} alerts in one request", read::ALERTS_MAX);
                self.counted(refusal(StatusCode::PAYLOAD_TOO_LARGE, Rejected::TooMany, message))
            })?;
        metrics.not_utf8.inc_by(u64::from(batch.is_lossy));
        metrics.enrich_failures.inc_by(batch.failures as u64);
        Ok(batch)
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
            match self.take_body(line).await {
                Err(refusal) if matches!(refusal.reason, Rejected::Full | Rejected::Store) => {
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

/// Reads a body as the router would, compressed or not.
///
/// # Errors
/// Line, code and message of everything that is no alert; of the alerts then only how many there are.
#[doc(hidden)]
pub fn read_body(body: &[u8], pieces_of_gzip: Option<usize>) -> Result<Vec<Arc<Alert>>, Refusals> {
    let unpacked = pieces_of_gzip.and_then(|size| body::unpack(body.chunks(size.max(1))));
    let Ok(batch) = read::read(unpacked.as_deref().unwrap_or(body), &Enrich::new()) else {
        return Err(Refusals::default());
    };
    let alerts: Vec<_> = batch.good.into_iter().map(|received| received.alert).collect();
    if batch.rejected.is_empty() {
        return Ok(alerts);
    }
    let told = batch.rejected.into_iter().map(|one| (one.line, one.reason.name(), one.message)).collect();
    Err(Refusals { taken: alerts.len(), told })
}

/// What [`read_body`] found to be no alert; nothing at all where there were too many.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Refusals {
    pub taken: usize,
    pub told: Vec<(usize, &'static str, String)>,
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

fn not_taken(refused: Refused) -> Refusal {
    match refused {
        Refused::Full { destination } => {
            let what = destination.map_or("the store".to_owned(), |name| format!("the queue of destination `{name}`"));
            let message = format!("{what} is full for alerts of this priority; nothing was taken");
            refusal(StatusCode::SERVICE_UNAVAILABLE, Rejected::Full, message)
        }
        Refused::Store => {
            let message = "the store takes nothing at the moment, the router's log says why; nothing was taken";
            refusal(StatusCode::SERVICE_UNAVAILABLE, Rejected::Store, message)
        }
        Refused::Closed => stopping(),
    }
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
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S))
        }
        StatusCode::METHOD_NOT_ALLOWED => headers.insert(ALLOW, HeaderValue::from_static("POST")),
        StatusCode::UNAUTHORIZED => headers.insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        _ => None,
    };
    response
}

fn answer_probe(method: &Method, path: &str) -> Option<Response<Full<Bytes>>> {
    let (_, kind, text) = PROBES.into_iter().find(|(probe, ..)| *probe == path && method == Method::GET)?;
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Some(response)
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
    use crate::audit::Audit;
    use crate::routing::Routing;
    use crate::store::{Options, Store};

    const ROUTING: &str = "[[route]]\nto = [\"pager\"]\n[destination.pager]\ntype = \"console\"\n";

    fn ingest(folder: &Path) -> Ingest {
        let metrics = Arc::new(Metrics::new());
        let mut routing = Routing::parse(Path::new("routing.toml"), ROUTING).unwrap();
        let store = Arc::new(Store::open(folder, Options::default()).unwrap());
        let running =
            Pipeline::start(&mut routing, &metrics, &store, 1 << 30, Audit::off(&metrics.audit_missed)).unwrap();
        let access = Arc::new(Access::new(None, None));
        Ingest::new(running.pipeline, metrics, access, CancellationToken::new())
    }

    #[tokio::test]
    async fn a_body_that_arrives_after_the_queues_were_closed_is_to_be_sent_again() {
        let folder = tempfile::tempdir().unwrap();
        let ingest = ingest(folder.path());
        let body = br#"[{"time":"2026-01-01T00:00:00Z","rule":"r","priority":"error"},
                        {"time":"2026-01-01T00:00:00Z","rule":"s","priority":"error"}]"#;
        ingest.pipeline.close().await;
        // The first one after it may still be in time.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let answer = answer_refusal(&ingest.take_body(body).await.err().unwrap());
        assert_eq!(
            (answer.status(), answer.headers().contains_key(RETRY_AFTER)),
            (StatusCode::SERVICE_UNAVAILABLE, true)
        );
        let text = ingest.metrics.text();
        assert!(text.contains("tercel_router_ingest_rejected_total{reason=\"stopping\"} 2\n"), "{text}");
    }
}
