//! How operators are answered: JSON, or an error that says what would do.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use crate::pipeline::Refused;

pub(super) const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
pub(super) const NDJSON: &str = "application/x-ndjson";

/// The largest body of an operator: a silence with all its texts fits many times.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A body that has not arrived by then is given up.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// When somebody should ask again whom the store turned away.
const RETRY_AFTER_S: u64 = 2;

/// An answer's body: whole, or one that goes on.
pub(crate) type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;

/// Why a request is not done.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// For programs.
    code: &'static str,
    /// For people.
    message: String,
    /// The methods that would do.
    allow: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), allow: None }
    }

    /// What was asked for makes no sense.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// Nothing is wrong with the request.
    pub(super) fn failed(cause: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", cause)
    }

    pub(super) fn method(allow: &'static str) -> Self {
        let message = format!("this path takes {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", message) }
    }

    pub(super) fn answer(self) -> Response<Body> {
        let Self { status, code, message, allow } = self;
        let mut answer = json(status, &json!({"error": {"code": code, "message": message}}));
        let headers = answer.headers_mut();
        if let Some(allow) = allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        answer
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let (code, message) = match refused {
            Refused::Full { .. } => ("full", "there is no room for it at the moment; nothing was changed"),
            Refused::Store => {
                ("store", "the store takes nothing at the moment, the router's log says why; nothing was changed")
            }
            Refused::Closed => ("stopping", "the router is stopping; nothing was changed"),
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }
}

pub(crate) fn whole(answer: Response<Full<Bytes>>) -> Response<Body> {
    answer.map(Either::Left)
}

pub(super) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    whole(answer)
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let mut bytes = crate::record::to_json(body);
    bytes.push(b'\n');
    text(status, JSON, bytes)
}

/// What follows the question mark.
///
/// # Errors
/// A parameter that is not known, or has a value that makes no sense.
pub(super) fn query<T: DeserializeOwned>(request: &Request<Incoming>) -> Result<T, Problem> {
    let query = request.uri().query().unwrap_or_default();
    serde_urlencoded::from_str(query).map_err(|error| Problem::invalid(format!("query: {error}")))
}

/// The body, which must be JSON.
///
/// # Errors
/// It is too large, does not arrive, or makes no sense.
pub(super) async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Problem> {
    let bytes = read(request, BODY_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::invalid(format!("body: {error}")))
}

/// The body as it is.
///
/// # Errors
/// It is too large, or does not arrive.
pub(super) async fn read(request: Request<Incoming>, bytes_max: usize) -> Result<Bytes, Problem> {
    let whole = Limited::new(request.into_body(), bytes_max).collect();
    let collected = timeout(BODY_TIME_MAX, whole).await.map_err(|_elapsed| {
        let message = format!("the body did not arrive within {} s", BODY_TIME_MAX.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body_read", message)
    })?;
    let collected = collected.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            let message = format!("the body is larger than {bytes_max} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_size", message)
        } else {
            Problem::new(StatusCode::BAD_REQUEST, "body_read", "the body broke off")
        }
    })?;
    Ok(collected.to_bytes())
}

/// For a path that nobody serves.
pub(crate) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, PLAIN, "no such path; alerts go to POST / or /v1/alerts\n")
}

/// For a caller who is no administrator.
pub(crate) fn not_allowed() -> Response<Body> {
    let message = "this needs the router's token as `Authorization: Bearer …`, or the Unix socket as root, the router's own user or the group admin_group\n";
    let mut answer = text(StatusCode::UNAUTHORIZED, PLAIN, message);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}
