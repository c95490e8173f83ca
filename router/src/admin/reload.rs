//! `POST /v1/reload`: reads the configuration again and says what has changed, or what is wrong, as `check` does.

use http::{Response, StatusCode};
use serde_json::json;

use super::Admin;
use super::answer::{Body, Problem, json as answer};
use crate::reload::{ReloadError, Reloaded};

impl Admin {
    pub(super) async fn reload(&self) -> Response<Body> {
        match self.reloader.reload("request").await {
            Ok(Reloaded { routes, destinations, added, changed, removed, warnings }) => {
                let body = json!({"ok": true, "routes": routes, "destinations": destinations, "added": added,
                                  "changed": changed, "removed": removed, "problems": [], "warnings": warnings});
                answer(StatusCode::OK, &body)
            }
            Err(ReloadError::Routing(error)) => {
                let body = json!({"ok": false, "problems": error.problems(), "warnings": []});
                answer(StatusCode::BAD_REQUEST, &body)
            }
            Err(error) => Problem::from(error).answer(),
        }
    }
}

impl From<ReloadError> for Problem {
    fn from(error: ReloadError) -> Self {
        let (status, code) = match error {
            ReloadError::Routing(_) => (StatusCode::BAD_REQUEST, "invalid"),
            ReloadError::TooMany => (StatusCode::CONFLICT, "too_many"),
            ReloadError::Store => (StatusCode::SERVICE_UNAVAILABLE, "store"),
            ReloadError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            ReloadError::BrokeOff => (StatusCode::INTERNAL_SERVER_ERROR, "broke_off"),
        };
        Self::new(status, code, error.to_string())
    }
}
