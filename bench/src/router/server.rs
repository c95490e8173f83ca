//! Bare hyper servers: what a router is held against, and where it delivers to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// Takes any request and keeps its body, with the time at which it was there.
#[derive(Clone, Default)]
pub(super) struct Receiver(Arc<Mutex<Vec<(Instant, Bytes)>>>);

impl Receiver {
    /// Listens on a free port; the address is where.
    pub(super) async fn start() -> anyhow::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let receiver = Self::default();
        let taken = receiver.clone();
        tokio::spawn(serve(listener, move |body| {
            taken.0.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), body));
            StatusCode::OK
        }));
        Ok((receiver, address))
    }

    pub(super) fn take(&self) -> Vec<(Instant, Bytes)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The floor, in a process of its own as the router is: reads each body, parses it, and does nothing with it.
pub(crate) async fn parse_only(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    serve(listener, |body| match serde_json::from_slice::<Value>(&body) {
        Ok(_) => StatusCode::ACCEPTED,
        // What asks whether it is ready has no body.
        Err(_) if body.is_empty() => StatusCode::OK,
        Err(_) => StatusCode::BAD_REQUEST,
    })
    .await
}

async fn serve(
    listener: TcpListener,
    judge: impl Fn(Bytes) -> StatusCode + Clone + Send + Sync + 'static,
) -> anyhow::Result<()> {
    loop {
        let (stream, _peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let judge = judge.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let judge = judge.clone();
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                let status = judge(body);
                let mut response = Response::new(Full::new(Bytes::new()));
                *response.status_mut() = status;
                Ok::<_, hyper::Error>(response)
            }
        });
        // A sender that goes away ends its connection and nothing else.
        tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok() });
    }
}
