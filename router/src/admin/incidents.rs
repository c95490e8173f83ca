//! `/v1/incidents`: `GET` lists those that are open at destinations that know incidents. `POST /v1/resolve` ends those of a
//! dedup key.

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use super::Admin;
use super::answer::{Body, Problem, body, json};
use crate::incident::{Order, OrderError};

impl Admin {
    pub(super) async fn incidents(&self) -> Result<Response<Body>, Problem> {
        let incidents = self.pipeline.incidents().await?;
        Ok(json(StatusCode::OK, &json!({"incidents": incidents})))
    }

    pub(super) async fn resolve(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let order: Order = body(request).await?;
        let author = order.author.clone();
        let resolved = self.pipeline.resolve(order).await??;
        for incident in &resolved {
            tracing::info!(dedup_key = ?incident.dedup_key, destination = %incident.destination, ?author, "an incident was ended");
        }
        Ok(json(StatusCode::OK, &json!({"resolved": resolved})))
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let (status, code) = match error {
            OrderError::UnknownKey(_) => (StatusCode::NOT_FOUND, "unknown_key"),
            _ => (StatusCode::BAD_REQUEST, "invalid"),
        };
        Self::new(status, code, error.to_string())
    }
}
