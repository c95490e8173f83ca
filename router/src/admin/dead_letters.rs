//! `/v1/dead-letters`: `GET` lists them as NDJSON, a page at a time; `POST …/replay` sends them again, `POST …/purge` takes
//! them away. One request works on a bounded number of them, and says how to go on.

use std::sync::Arc;

use http::header::LINK;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tracing::{info, warn};

use super::Admin;
use super::answer::{Body, NDJSON, Problem, body, json, query, text};
use crate::dead_letter::{Filter, Found, Selection, find, print};
use crate::store::{StoreError, Table};

/// Letters on one page, and those that one order moves: the decider does nothing else meanwhile.
const PAGE_LETTERS_MAX: usize = 1_000;
const ORDER_LETTERS_MAX: usize = 256;

/// What a replay's address may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayQuery {
    /// Another destination than the letters' own.
    to: Option<String>,
}

impl Admin {
    pub(super) async fn dead_letters(&self, request: &Request<Incoming>) -> Result<Response<Body>, Problem> {
        let selection: Selection = query(request)?;
        let found = self.find(&selection, PAGE_LETTERS_MAX).await?;
        let mut lines = Vec::new();
        print(&found.letters, &mut lines).map_err(|error| Problem::failed(error.to_string()))?;
        let mut answer = text(StatusCode::OK, NDJSON, lines);
        if let Some(next) = found.next(&selection) {
            let query = serde_urlencoded::to_string(&next).map_err(|error| Problem::failed(error.to_string()))?;
            let link = HeaderValue::try_from(format!("</v1/dead-letters?{query}>; rel=\"next\""));
            answer.headers_mut().insert(LINK, link.map_err(|error| Problem::failed(error.to_string()))?);
        }
        Ok(answer)
    }

    pub(super) async fn replay_dead_letters(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let ReplayQuery { to } = query(&request)?;
        let (selection, found) = self.ordered(request).await?;
        let replayed = self.pipeline.replay(found.numbers(), to.clone()).await?;
        info!(?selection, to, ?replayed, "dead letters were sent again");
        Ok(json(StatusCode::OK, &json!({"letters": replayed, "next": found.next(&selection)})))
    }

    pub(super) async fn purge_dead_letters(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let (selection, found) = self.ordered(request).await?;
        let purged = self.pipeline.purge(found.numbers()).await?;
        info!(?selection, purged, "dead letters were purged");
        Ok(json(StatusCode::OK, &json!({"letters": {"purged": purged}, "next": found.next(&selection)})))
    }

    /// What an order is about. What dies from now on is not: it may be what the order sends again.
    async fn ordered(&self, request: Request<Incoming>) -> Result<(Selection, Found), Problem> {
        let mut selection: Selection = body(request).await?;
        if !selection.is_meant() {
            return Err(Problem::invalid(
                "say which letters by destination, reason, number, since, until or when; or say \"all\": true",
            ));
        }
        let now = Timestamp::now();
        selection.until = Some(selection.until.map_or(now, |until| until.min(now)));
        let found = self.find(&selection, ORDER_LETTERS_MAX).await?;
        Ok((selection, found))
    }

    async fn find(&self, selection: &Selection, count: usize) -> Result<Found, Problem> {
        let filter = Filter::new(selection).map_err(Problem::invalid)?;
        let (store, after) = (Arc::clone(&self.store), selection.after);
        let mismatches = self.metrics.filter_mismatches.clone();
        let search = move || {
            let after = after.map(crate::dead_letter::record_key);
            find(store.scan_after(Table::Dead, after.as_ref().map(<[u8; 8]>::as_slice)), &filter, &mismatches, count)
        };
        let found = tokio::task::spawn_blocking(search).await.map_err(|error| Problem::failed(error.to_string()))?;
        let found = found.map_err(|error: StoreError| Problem::failed(error.to_string()))?;
        if found.unreadable > 0 {
            warn!(records = found.unreadable, "dead letters of another version are passed over");
        }
        Ok(found)
    }
}
