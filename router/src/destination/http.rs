//! What all HTTP destinations share: the client and its limits, the meaning of status codes, redaction.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, TryFutureExt as _};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::auth::Auth;
use super::client::HttpSettings;
use super::live::Live;
use super::service::{Service, without_posts};
use super::{Notification, Problem, Reason, Receipt, Retry, SendError};
use crate::render::{Renderer, truncate, visible};
use crate::secret::{PlainOrSecret, Secret};

/// What is read of an answer; the services say all that matters in far less.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What an error message repeats of a service's own explanation.
const EXPLANATION_CHARS_MAX: usize = 300;

/// The longest `Retry-After` that is understood; how much of it is honoured is the worker's decision.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// What is particular to one HTTP service.
pub(super) trait HttpDestination: Send + Sync {
    /// The request for one notification, built with `client`.
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError>;

    /// One request for all of them, where the service takes many. `None`: it takes them one by one.
    fn request_all(&self, _client: &Client, _many: &[Notification]) -> Option<Result<RequestBuilder, SendError>> {
        None
    }

    /// Judges the body of a 2xx answer, which is an error where it could not be read. Most services say all with the
    /// status: what follows it, or breaks off, changes nothing.
    fn check(&self, _answer: Result<Vec<u8>, SendError>) -> Result<(), SendError> {
        Ok(())
    }

    /// As [`HttpDestination::check`], where the answer is to this notification alone and says something about it.
    fn receipt(&self, _one: &Notification, answer: Result<Vec<u8>, SendError>) -> Result<Receipt, SendError> {
        self.check(answer).map(|()| Receipt::default())
    }

    /// What a refusing answer gives as its cause. Only parts that the service words itself: an answer may repeat the
    /// URL or the key that it was sent.
    fn explain(&self, _answer: &[u8]) -> Option<String> {
        None
    }

    /// How long to wait, where a refusing answer says so in its body and not in `Retry-After`.
    fn wait(&self, _answer: &[u8]) -> Option<Duration> {
        None
    }

    /// What makes its bodies.
    fn renderer(&self) -> Option<&Renderer> {
        None
    }
}

/// An HTTP service with the client that speaks to it.
pub(super) struct HttpService {
    client: Live<Client>,
    auth: Option<Auth>,
    destination: Box<dyn HttpDestination>,
}

impl HttpService {
    /// With a client that has no settings of its own.
    #[cfg(test)]
    fn new(url: &Url, destination: impl HttpDestination + 'static) -> Result<Self, Problem> {
        Self::with(&HttpSettings::default(), url, Path::new(""), destination)
    }

    /// `base`: where the settings' files start.
    pub(super) fn with(
        settings: &HttpSettings,
        url: &Url,
        base: &Path,
        destination: impl HttpDestination + 'static,
    ) -> Result<Self, Problem> {
        Ok(Self {
            client: settings.client(std::slice::from_ref(url), base)?,
            auth: None,
            destination: Box::new(destination),
        })
    }

    /// With a header that says who sends it.
    pub(super) fn signed_by(self, auth: Option<Auth>) -> Self {
        Self { auth, ..self }
    }

    async fn post(&self, notification: &Notification) -> Result<Receipt, SendError> {
        let client = self.client.current();
        let request = self.destination.request(&client, notification)?;
        let answer = self.execute(&client, request).await?;
        self.destination.receipt(notification, answer)
    }

    /// All with one request, where that can be. One that is refused for good says nothing about its single parts: they are
    /// sent one by one.
    async fn post_all(&self, notifications: &[Notification]) -> Vec<Result<Receipt, SendError>> {
        if notifications.len() > 1 {
            let client = self.client.current();
            let result = match self.destination.request_all(&client, notifications) {
                Some(Ok(request)) => {
                    self.execute(&client, request).await.and_then(|answer| self.destination.check(answer))
                }
                Some(Err(error)) => Err(error),
                None => Err(SendError::new(Reason::Other, Retry::Never, "takes one at a time")),
            };
            match result {
                Err(error) if error.retry == Retry::Never && error.reason != Reason::AuthError => {}
                result => return without_posts(vec![result; notifications.len()]),
            }
        }
        let mut results = Vec::with_capacity(notifications.len());
        for notification in notifications {
            results.push(self.post(notification).await);
        }
        results
    }

    /// The answer of a 2xx, which is an error where it could not be read.
    async fn execute(
        &self,
        client: &Client,
        mut request: RequestBuilder,
    ) -> Result<Result<Vec<u8>, SendError>, SendError> {
        if let Some(auth) = &self.auth {
            request = auth.sign(client, request).await?;
        }
        let response = request.send().await.map_err(transport_error)?;
        let status = response.status();
        let mut verdict = judge(status, response.headers(), Timestamp::now());
        let answer = read_answer(response, ANSWER_BYTES_MAX).await;
        if let (Err(error), Some(auth), StatusCode::UNAUTHORIZED) = (&mut verdict, &self.auth, status)
            && auth.forget().await
        {
            // The token may have been revoked before its time.
            error.retry = Retry::Backoff;
        }
        match verdict {
            Ok(()) => Ok(answer),
            Err(error) => Err(self.with_explanation(error, &answer.unwrap_or_default())),
        }
    }

    fn with_explanation(&self, mut error: SendError, answer: &[u8]) -> SendError {
        if let (Retry::Backoff, Some(wait)) = (error.retry, self.destination.wait(answer)) {
            error.retry = Retry::After(wait.min(RETRY_AFTER_MAX));
        }
        match self.destination.explain(answer) {
            Some(explanation) => explained(error, &explanation),
            None => error,
        }
    }
}

impl Service for HttpService {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>> {
        self.post(notification).map_ok(|_receipt| ()).boxed()
    }

    fn send_all<'a>(&'a self, notifications: &'a [Notification]) -> BoxFuture<'a, Vec<Result<Receipt, SendError>>> {
        self.post_all(notifications).boxed()
    }

    fn preview(&self, notification: &Notification) -> Result<String, SendError> {
        let request =
            self.destination.request(&self.client.current(), notification)?.build().map_err(transport_error)?;
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        Ok(String::from_utf8_lossy(body).into_owned())
    }

    fn renderer(&self) -> Option<&Renderer> {
        self.destination.renderer()
    }

    #[cfg(test)]
    fn request(&self, notification: &Notification) -> Option<reqwest::Request> {
        Some(self.destination.request(&self.client.current(), notification).unwrap().build().unwrap())
    }
}

/// With the service's own words, cut and made harmless.
pub(super) fn explained(mut error: SendError, explanation: &str) -> SendError {
    error.detail = format!("{}: {}", error.detail, truncate(&visible(explanation), EXPLANATION_CHARS_MAX));
    error
}

/// A URL that requests can be made of. A literal one must hold no password.
pub(super) fn parse_url(setting: &str, value: &PlainOrSecret, base: &Path) -> Result<Url, Problem> {
    let text = value.resolve(base)?;
    let url =
        Url::parse(text.expose().trim()).map_err(|error| Problem::new(format!("`{setting}` is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(Problem::new(format!("`{setting}` must start with https:// or http:// and name a host")));
    }
    if matches!(value, PlainOrSecret::Plain(_)) && (url.password().is_some() || !url.username().is_empty()) {
        let message = "holds a user name or password; keep such a URL as { env = \"NAME\" } or { file = \"/path\" }";
        return Err(Problem::new(format!("`{setting}` {message}")));
    }
    Ok(url)
}

/// `url` of a service that has a usual address.
pub(super) fn service_url(url: Option<&PlainOrSecret>, usual: &str, base: &Path) -> Result<Url, Problem> {
    let usual = PlainOrSecret::Plain(usual.to_owned());
    parse_url("url", url.unwrap_or(&usual), base)
}

/// What is at `path` below the address of a service, which may have a path of its own.
pub(super) fn below(setting: &str, url: &Url, path: &str) -> Result<Url, Problem> {
    let mut folder = url.clone();
    if !folder.path().ends_with('/') {
        folder.set_path(&format!("{}/", url.path()));
    }
    // With a colon in it, `path` alone could be an address of its own.
    folder.join(&format!("./{path}")).map_err(|error| Problem::new(format!("`{setting}` has no `{path}`: {error}")))
}

/// A header value that logs and debug output leave out.
pub(super) fn sensitive_header(setting: &str, value: &Secret) -> Result<HeaderValue, Problem> {
    let mut header = HeaderValue::from_str(value.expose())
        .map_err(|_cause| Problem::new(format!("`{setting}` holds characters that a header cannot carry")))?;
    header.set_sensitive(true);
    Ok(header)
}

/// The one table of status codes.
///
/// | status | reason | retry |
/// |---|---|---|
/// | 2xx | | delivered |
/// | 401, 403 | `auth_error` | never: the key stays wrong |
/// | 408 | `timeout` | yes |
/// | 425 | `client_error` | yes |
/// | 429 | `rate_limited` | yes |
/// | 5xx | `server_error` | yes |
/// | all others | `client_error` | never: redirects are not followed, and the same request is refused again |
///
/// Where it is retried, `Retry-After` (seconds, or a date relative to `now`) replaces the usual wait.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Result<(), SendError> {
    let (reason, again) = match status.as_u16() {
        200..=299 => return Ok(()),
        401 | 403 => (Reason::AuthError, false),
        408 => (Reason::Timeout, true),
        425 => (Reason::ClientError, true),
        429 => (Reason::RateLimited, true),
        500..=599 => (Reason::ServerError, true),
        _ => (Reason::ClientError, false),
    };
    let retry = match retry_after(headers, now) {
        _ if !again => Retry::Never,
        Some(wait) => Retry::After(wait),
        None => Retry::Backoff,
    };
    Err(SendError::new(reason, retry, format!("answered {}", status.as_u16())))
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => until_date(text, now)?,
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn until_date(text: &str, now: Timestamp) -> Option<Duration> {
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Duration::try_from(date.duration_since(now).max(SignedDuration::ZERO)).ok()
}

/// At most `bytes_max` of it; the rest is not read.
pub(super) async fn read_answer(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, SendError> {
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport_error)? {
        let room = bytes_max - answer.len();
        answer.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    Ok(answer)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn transport_error(error: reqwest::Error) -> SendError {
    let (reason, retry, what) = if error.is_builder() {
        (Reason::Other, Retry::Never, "cannot build the request")
    } else if error.is_connect() {
        (Reason::Connect, Retry::Backoff, "cannot connect")
    } else if error.is_timeout() {
        (Reason::Timeout, Retry::Backoff, "no answer in time")
    } else {
        (Reason::Other, Retry::Backoff, "the connection failed")
    };
    SendError::new(reason, retry, format!("{what}: {}", innermost(&error)))
}

/// The last cause, which is the operating system's or the TLS library's; reqwest's own text shows the URL.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    cause.map_or_else(
        || "unknown cause".to_owned(),
        |cause| truncate(&visible(&cause.to_string()), EXPLANATION_CHARS_MAX),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-23T16:00:00Z";

    fn verdict(status: u16, wait: Option<&str>) -> Result<(), (&'static str, Retry)> {
        let mut headers = HeaderMap::new();
        if let Some(wait) = wait {
            headers.insert(RETRY_AFTER, wait.parse().unwrap());
        }
        judge(StatusCode::from_u16(status).unwrap(), &headers, NOW.parse().unwrap())
            .map_err(|error| (error.reason.name(), error.retry))
    }

    #[test]
    fn each_status_has_one_meaning() {
        for status in [200, 201, 202, 204] {
            assert_eq!(verdict(status, None), Ok(()), "{status}");
        }
        for (status, reason, retry) in [
            (301, "client_error", Retry::Never),
            (400, "client_error", Retry::Never),
            (401, "auth_error", Retry::Never),
            (403, "auth_error", Retry::Never),
            (404, "client_error", Retry::Never),
            (408, "timeout", Retry::Backoff),
            (410, "client_error", Retry::Never),
            (413, "client_error", Retry::Never),
            (425, "client_error", Retry::Backoff),
            (429, "rate_limited", Retry::Backoff),
            (500, "server_error", Retry::Backoff),
            (503, "server_error", Retry::Backoff),
            (504, "server_error", Retry::Backoff),
        ] {
            assert_eq!(verdict(status, None), Err((reason, retry)), "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_a_day() {
        for (text, seconds) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("99999999999", Some(86_400)),
            ("Mon, 23 Nov 2026 16:02:00 GMT", Some(120)),
            ("Mon, 23 Nov 2026 15:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let retry = seconds.map_or(Retry::Backoff, |seconds| Retry::After(Duration::from_secs(seconds)));
            assert_eq!(verdict(429, Some(text)), Err(("rate_limited", retry)), "{text}");
            assert_eq!(verdict(503, Some(text)), Err(("server_error", retry)), "{text}");
        }
        assert_eq!(verdict(400, Some("7")), Err(("client_error", Retry::Never)));
    }

    #[test]
    fn a_written_url_holds_no_password() {
        let parse = |text: &str| parse_url("url", &PlainOrSecret::Plain(text.into()), Path::new("/"));
        assert!(parse("https://host/path").is_ok());
        for (text, cause) in [
            ("https://u:p@host/", "password"),
            ("ftp://host/", "https://"),
            ("host/path", "no URL"),
            ("unix:/x", "host"),
        ] {
            let message = parse(text).unwrap_err().message;
            assert!(message.contains(cause) && !message.contains("u:p"), "{text}: {message}");
        }
    }

    /// A webhook whose 200 breaks off in the middle of its body.
    async fn half_an_answer() -> Url {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _peer) = listener.accept().await.unwrap();
            let mut request = [0; 4_096];
            assert_ne!(stream.read(&mut request).await.unwrap(), 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok").await.unwrap();
        });
        Url::parse(&url).unwrap()
    }

    struct Post(Url);

    impl HttpDestination for Post {
        fn request(&self, client: &Client, _notification: &Notification) -> Result<RequestBuilder, SendError> {
            Ok(client.post(self.0.clone()))
        }
    }

    #[tokio::test]
    async fn what_was_answered_200_is_delivered_even_if_the_answer_breaks_off() {
        let url = half_an_answer().await;
        let service = HttpService::new(&url, Post(url.clone())).unwrap();
        assert!(service.send(&Notification::minimal()).await.is_ok());
    }
}
