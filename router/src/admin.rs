//! What is asked about the router itself: `/metrics`, `/livez`, `/readyz` by anybody, and what operators see and change
//! under `/v1/`, each kind of thing in a file of its own.

mod answer;
mod reload;
mod silences;

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::reload::Reloader;
pub(crate) use answer::{Body, not_allowed, not_found, whole};
use answer::{PLAIN, Problem, text};

/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What only administrators may ask for begins with this.
pub(crate) const PREFIX: &str = "/v1/";

pub(crate) struct Admin {
    pub(crate) pipeline: Pipeline,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stopping: CancellationToken,
    pub(crate) reloader: Arc<Reloader>,
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
        self.find(request).await.unwrap_or_else(Problem::answer)
    }

    async fn find(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let segments: Vec<_> = path.strip_prefix(PREFIX).unwrap_or_default().split('/').collect();
        match (&segments[..], method) {
            (["reload"], Method::POST) => Ok(self.reload().await),
            (["reload"], _) => Err(Problem::method("POST")),
            (["silences"], Method::GET) => self.silences(&request).await,
            (["silences"], Method::POST) => self.add_silence(request).await,
            (["silences"], _) => Err(Problem::method("GET, POST")),
            (["silences", id], Method::DELETE) => self.expire_silence(id).await,
            (["silences", _], _) => Err(Problem::method("DELETE")),
            _ => Ok(not_found()),
        }
    }
}
