//! `POST /v1/explain`: what would become of alerts that came now, by the configuration in force and by what the router
//! holds at the moment; nothing is decided and nothing counted. `?format=text` for people.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;

use super::Admin;
use super::answer::{Body, NDJSON, PLAIN, Problem, query, read, text};
use crate::explain::Explanation;
use crate::pipeline::Received;

/// As much as one request with alerts may have.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Each takes the decider some time.
const ALERTS_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    #[serde(default)]
    format: Format,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// One object a line.
    #[default]
    Json,
    Text,
}

impl Admin {
    pub(super) async fn explain(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let Query { format } = query(&request)?;
        let body = read(request, BODY_BYTES_MAX).await?;
        let alerts = self.reloader.read_alerts(&body).map_err(Problem::invalid)?;
        if alerts.len() > ALERTS_MAX {
            return Err(Problem::invalid(format!(
                "{} alerts, at most {ALERTS_MAX} are explained at once",
                alerts.len()
            )));
        }
        let mut explanations = Vec::with_capacity(alerts.len());
        for Received { alert, .. } in alerts {
            let states = self.pipeline.states(Arc::clone(&alert)).await?;
            let mut explanation = self.reloader.explain(&alert, Timestamp::now());
            explanation.add(states);
            explanations.push(explanation);
        }
        Ok(match format {
            Format::Json => {
                let lines: Vec<u8> = explanations.iter().flat_map(line).collect();
                text(StatusCode::OK, NDJSON, lines)
            }
            Format::Text => {
                let texts: Vec<_> = explanations.iter().map(ToString::to_string).collect();
                text(StatusCode::OK, PLAIN, texts.join("\n"))
            }
        })
    }
}

fn line(explanation: &Explanation) -> Vec<u8> {
    let mut line = crate::record::to_json(explanation);
    line.push(b'\n');
    line
}
