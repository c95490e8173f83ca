//! `GET /v1/search`: alerts of an archive as NDJSON, in the order of their arrival, the newest where there are many.

use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;

use super::Admin;
use super::answer::{Body, NDJSON, Problem, query, text};
use crate::condition::Condition;
use crate::search::{FOUND_MAX, Wanted, search};

/// Where nothing is said.
const COUNT: usize = 100;

/// Says that older alerts may match too.
const MORE: &str = "tercel-more";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// An archive destination; absent: the built-in one.
    destination: Option<String>,
    when: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    count: Option<usize>,
}

impl Admin {
    pub(super) async fn search(&self, request: &Request<Incoming>) -> Result<Response<Body>, Problem> {
        let Query { destination, when, since, until, count } = query(request)?;
        let count = count.unwrap_or(COUNT);
        if !(1..=FOUND_MAX).contains(&count) {
            return Err(Problem::invalid(format!("count = {count}: from 1 to {FOUND_MAX} are given at once")));
        }
        let parse = |when: &String| Condition::parse(when).map_err(|error| error.render("when", when));
        let when = when.as_ref().map(parse).transpose().map_err(Problem::invalid)?;
        let archive = self.reloader.archive(destination.as_deref()).map_err(Problem::invalid)?;
        let Ok(_turn) = self.searching.try_lock() else {
            let message = "another search is under way; try again when it has ended";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message));
        };
        let (wanted, mismatches) = (Wanted { when, since, until, count }, self.metrics.filter_mismatches.clone());
        let found = tokio::task::spawn_blocking(move || search(&archive, &wanted, &mismatches)).await;
        let found = found.map_err(|error| Problem::failed(error.to_string()))?;
        let found = found.map_err(|error| Problem::failed(format!("the archive cannot be read: {error}")))?;
        if found.senseless > 0 {
            tracing::warn!(lines = found.senseless, "lines of the archive are no alerts and were passed over");
        }
        let lines: String = found.lines.iter().flat_map(|line| [line, "\n"]).collect();
        let mut answer = text(StatusCode::OK, NDJSON, lines);
        if found.is_cut {
            answer.headers_mut().insert(MORE, HeaderValue::from_static("true"));
        }
        Ok(answer)
    }
}
