//! What is asked about the router itself: `/metrics`, `/livez`, `/readyz`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::reload::Reloader;

const PLAIN: &str = "text/plain; charset=utf-8";
/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) struct Admin {
    pub(crate) pipeline: Pipeline,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stopping: CancellationToken,
    pub(crate) reloader: Arc<Reloader>,
}

impl Admin {
    /// `None`: no such path here.
    pub(crate) fn answer(&self, method: &Method, path: &str) -> Option<Response<Full<Bytes>>> {
        if !matches!(path, "/metrics" | "/livez" | "/readyz") {
            return None;
        }
        if method != Method::GET && method != Method::HEAD {
            return Some(response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n"));
        }
        Some(match path {
            "/metrics" => {
                self.pipeline.observe();
                response(StatusCode::OK, METRICS, self.metrics.text())
            }
            "/readyz" if self.stopping.is_cancelled() => response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "stopping\n"),
            _ => response(StatusCode::OK, PLAIN, "ok\n"),
        })
    }
}

/// For administrators only.
impl Admin {
    /// `None`: no such path here.
    pub(crate) async fn act(&self, method: &Method, path: &str) -> Option<Response<Full<Bytes>>> {
        match path {
            "/v1/reload" => Some(self.reloader.answer(method).await),
            _ => None,
        }
    }
}

pub(crate) fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// For a path that nobody serves.
pub(crate) fn not_found() -> Response<Full<Bytes>> {
    response(StatusCode::NOT_FOUND, PLAIN, "no such path; alerts go to POST / or /v1/alerts\n")
}

/// For a caller who is no administrator.
pub(crate) fn not_allowed() -> Response<Full<Bytes>> {
    let text = "this needs the router's token as `Authorization: Bearer …`, or the Unix socket as root, the router's own user or the group admin_group\n";
    let mut response = response(StatusCode::UNAUTHORIZED, PLAIN, text);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
