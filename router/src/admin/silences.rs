//! `/v1/silences`: `GET` lists them (`?state=active`), `POST` adds one, `DELETE /v1/silences/ID` ends one now.

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::Admin;
use super::answer::{Body, Problem, body, json, query};
use crate::silence::{SilenceError, State};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Absent: whatever their state.
    state: Option<State>,
}

impl Admin {
    pub(super) async fn silences(&self, request: &Request<Incoming>) -> Result<Response<Body>, Problem> {
        let Query { state } = query(request)?;
        let silences = self.pipeline.silences(state).await?;
        Ok(json(StatusCode::OK, &json!({"silences": silences})))
    }

    pub(super) async fn add_silence(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let added = self.pipeline.add_silence(body(request).await?).await??;
        tracing::info!(id = %added.silence.id, author = ?added.silence.author, ends_at = %added.silence.ends_at, "a silence was added");
        Ok(json(StatusCode::CREATED, &added))
    }

    pub(super) async fn expire_silence(&self, id: &str) -> Result<Response<Body>, Problem> {
        let id: Uuid = id.parse().map_err(|error| Problem::invalid(format!("id: {error}")))?;
        let expired = self.pipeline.expire_silence(id).await??;
        tracing::info!(%id, "a silence was ended");
        Ok(json(StatusCode::OK, &expired))
    }
}

impl From<SilenceError> for Problem {
    fn from(error: SilenceError) -> Self {
        let (status, code) = match error {
            SilenceError::UnknownId(_) => (StatusCode::NOT_FOUND, "unknown_id"),
            SilenceError::AlreadyOver { .. } => (StatusCode::CONFLICT, "already_over"),
            SilenceError::Full => (StatusCode::CONFLICT, "too_many"),
            _ => (StatusCode::BAD_REQUEST, "invalid"),
        };
        Self::new(status, code, error.to_string())
    }
}
