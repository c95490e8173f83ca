//! `GET /v1/tail`: one line of JSON for every alert from now on, with what was decided about it; `?when=CONDITION` for
//! some of them. A line `{"missed": 12}` says that so many alerts went by because the reader was too slow.

use std::convert::Infallible;

use bytes::Bytes;
use futures::stream::{self, Stream};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, StreamBody};
use hyper::body::{Frame, Incoming};
use prometheus::IntCounter;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Admin;
use super::answer::{Body, NDJSON, Problem, query};
use crate::condition::Condition;
use crate::pipeline::Reader;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    when: Option<String>,
}

/// A reader and what it wants.
struct Watch {
    reader: Reader,
    when: Option<Condition>,
    mismatches: IntCounter,
    stopping: CancellationToken,
}

impl Admin {
    pub(super) fn tail(&self, request: &Request<Incoming>) -> Result<Response<Body>, Problem> {
        let Query { when } = query(request)?;
        let parse = |when: &String| Condition::parse(when).map_err(|error| error.render("when", when));
        let when = when.as_ref().map(parse).transpose().map_err(Problem::invalid)?;
        let Some(reader) = self.pipeline.reader() else {
            let message = "as many read along as may; end another tail first";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many", message));
        };
        let (mismatches, stopping) = (self.metrics.filter_mismatches.clone(), self.stopping.clone());
        let lines = Watch { reader, when, mismatches, stopping }.lines();
        let mut answer = Response::new(Either::Right(StreamBody::new(lines).boxed_unsync()));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        Ok(answer)
    }
}

impl Watch {
    /// Until the router stops.
    fn lines(self) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
        stream::unfold(self, async |mut watch| {
            let lines = watch.next().await?;
            Some((Ok(Frame::data(lines)), watch))
        })
    }

    /// What there is to say next.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let read = self.stopping.run_until_cancelled(self.reader.next()).await??;
            let mut lines = Vec::new();
            if read.missed > 0 {
                add(&mut lines, &json!({"missed": read.missed}));
            }
            let decided = read.decided();
            if self.when.as_ref().is_none_or(|when| when.matches(&decided.alert, &self.mismatches)) {
                add(&mut lines, decided);
            }
            if !lines.is_empty() {
                return Some(lines.into());
            }
        }
    }
}

fn add(lines: &mut Vec<u8>, line: &impl serde::Serialize) {
    lines.extend(crate::record::to_json(line));
    lines.push(b'\n');
}
