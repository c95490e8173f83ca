//! What is asked about the router itself: `/metrics`, `/livez`, `/readyz` by anybody, and what operators see and change
//! under `/v1/`, each kind of thing in a file of its own.

mod answer;
mod dead_letters;
mod explain;
mod incidents;
mod reload;
mod search;
mod silences;
mod tail;

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::reload::Reloader;
use crate::store::Store;
pub(crate) use answer::{Body, not_allowed, not_found, whole};
use answer::{PLAIN, Problem, text};

/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What only administrators may ask for begins with this.
pub(crate) const PREFIX: &str = "/v1/";

pub(crate) struct Admin {
    pub(crate) pipeline: Pipeline,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) store: Arc<Store>,
    pub(crate) stopping: CancellationToken,
    pub(crate) reloader: Arc<Reloader>,
    /// Held by the one search that is under way: each reads whole files.
    pub(crate) searching: tokio::sync::Mutex<()>,
}

impl Admin {
    /// What everybody may ask. `None`: no such path here.
    pub(crate) fn observe(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        if !matches!(path, "/metrics" | "/livez" | "/readyz") {
            return None;
        }
        if method != Method::GET && method != Method::HEAD {
            return Some(text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n"));
        }
        Some(match path {
            "/metrics" => {
                self.pipeline.observe();
                text(StatusCode::OK, METRICS, self.metrics.text())
            }
            "/readyz" if self.stopping.is_cancelled() => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "stopping\n"),
            _ => text(StatusCode::OK, PLAIN, "ok\n"),
        })
    }

    /// What administrators may ask; the caller is one.
    pub(crate) async fn operate(&self, request: Request<Incoming>) -> Response<Body> {
        self.dispatch(request).await.unwrap_or_else(Problem::answer)
    }

    async fn dispatch(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let segments: Vec<_> = path.strip_prefix(PREFIX).unwrap_or_default().split('/').collect();
        match (&segments[..], method) {
            (["reload"], Method::POST) => Ok(self.reload().await),
            (["explain"], Method::POST) => self.explain(request).await,
            (["silences"], Method::GET) => self.silences(&request).await,
            (["silences"], Method::POST) => self.add_silence(request).await,
            (["silences", id], Method::DELETE) => self.expire_silence(id).await,
            (["dead-letters"], Method::GET) => self.dead_letters(&request).await,
            (["dead-letters", "replay"], Method::POST) => self.replay_dead_letters(request).await,
            (["dead-letters", "purge"], Method::POST) => self.purge_dead_letters(request).await,
            (["incidents"], Method::GET) => self.incidents().await,
            (["resolve"], Method::POST) => self.resolve(request).await,
            (["search"], Method::GET) => self.search(&request).await,
            (["tail"], Method::GET) => self.tail(&request),
            (["silences"], _) => Err(Problem::method("GET, POST")),
            (["silences", _], _) => Err(Problem::method("DELETE")),
            (["dead-letters" | "incidents" | "search" | "tail"], _) => Err(Problem::method("GET")),
            (["reload" | "explain" | "resolve"] | ["dead-letters", "replay" | "purge"], _) => {
                Err(Problem::method("POST"))
            }
            _ => Ok(not_found()),
        }
    }
}
