//! `/metrics`, `/livez` and `/readyz` over HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::debug;

use super::Metrics;
use crate::clock;

/// Connections at a time; further ones wait.
const CONNECTIONS_MAX: usize = 32;

/// For one connection to send its request, and for all of its answers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);

/// The watching thread says at least every second that it lives.
const ALIVE_WITHIN_S: u64 = 10;

/// Brings the kernel's numbers up to date; called before every answer to `/metrics`.
pub type SampleKernel = Arc<dyn Fn(&Metrics) + Send + Sync>;

/// Answers until it is dropped.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, sample: SampleKernel) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "cannot accept a connection to the metrics");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (metrics, sample) = (Arc::clone(&metrics), Arc::clone(&sample));
        tokio::spawn(async move {
            connection(stream, metrics, sample).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, metrics: Arc<Metrics>, sample: SampleKernel) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&request, &metrics, &sample);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        debug!(%error, "a connection to the metrics broke");
    }
}

fn answer<B>(request: &Request<B>, metrics: &Metrics, sample: &SampleKernel) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return respond(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
    }
    match request.uri().path() {
        "/metrics" => {
            sample(metrics);
            respond(StatusCode::OK, metrics.render())
        }
        "/livez" if is_alive(metrics) => respond(StatusCode::OK, "alive\n"),
        "/livez" => respond(StatusCode::SERVICE_UNAVAILABLE, "the thread that reads the kernel's ring is stuck\n"),
        "/readyz" if metrics.is_ready() => respond(StatusCode::OK, "ready\n"),
        "/readyz" => respond(StatusCode::SERVICE_UNAVAILABLE, "starting or stopping\n"),
        _ => respond(StatusCode::NOT_FOUND, "served here: /metrics, /livez, /readyz\n"),
    }
}

fn is_alive(metrics: &Metrics) -> bool {
    let seconds = clock::since_boot_ns() / 1_000_000_000;
    seconds.saturating_sub(metrics.alive_s()) <= ALIVE_WITHIN_S
}

fn respond(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(metrics: &Metrics, method: Method, path: &str, expected: StatusCode) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let sample: SampleKernel = Arc::new(|metrics| metrics.set_ring(0, 7));
        assert_eq!(answer(&request, metrics, &sample).status(), expected, "{path}");
    }

    #[test]
    fn readiness_and_liveness_are_told_apart() {
        let metrics = Metrics::new().unwrap();
        check(&metrics, Method::GET, "/readyz", StatusCode::SERVICE_UNAVAILABLE);
        metrics.set_ready(true);
        check(&metrics, Method::GET, "/readyz", StatusCode::OK);
        metrics.set_alive(clock::since_boot_ns() / 1_000_000_000);
        check(&metrics, Method::GET, "/livez", StatusCode::OK);
    }

    #[test]
    fn only_reading_what_is_there_is_answered() {
        let metrics = Metrics::new().unwrap();
        check(&metrics, Method::GET, "/metrics?x=1", StatusCode::OK);
        check(&metrics, Method::POST, "/metrics", StatusCode::METHOD_NOT_ALLOWED);
        check(&metrics, Method::GET, "/etc/passwd", StatusCode::NOT_FOUND);
        assert!(String::from_utf8(metrics.render()).unwrap().contains("tercel_sensor_malformed_total 7"));
    }
}
