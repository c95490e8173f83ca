//! Asking a running router, over its Unix socket or its admin address.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, LINK};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tercel_router::ToolError;
use tercel_router::config::{Contact, Flags};
use tercel_router::secret::Secret;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::environment;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Until the head of the answer is there. The router works on a bounded part of a long list at a time.
const ANSWER_TIME_MAX: Duration = Duration::from_mins(1);

/// The largest whole answer, a page of dead letters, and the longest line.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// By this header the router says that it has more than was asked for.
const MORE: &str = "tercel-more";

/// What is read of an answer that is a refusal.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// Where the router is that a command asks.
#[derive(Args)]
pub(super) struct ClientArguments {
    /// The router's settings, which say where it is and which token it wants; `TERCEL_ROUTER_*` variables go above it
    #[arg(long, value_name = "FILE", env = "TERCEL_ROUTER_CONFIG")]
    config: Option<PathBuf>,
    /// The router's admin address [default: its Unix socket where the settings name one, else 127.0.0.1:2802]
    #[arg(long, value_name = "ADDR", conflicts_with = "unix")]
    admin: Option<String>,
    /// The router's Unix socket
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
}

/// One running router.
pub(super) struct Client {
    place: Place,
    /// The token, ready to send.
    authorization: Option<HeaderValue>,
    runtime: Runtime,
}

/// A part of a list.
pub(super) struct Page {
    pub(super) lines: String,
    /// The path of the next part.
    pub(super) next: Option<String>,
    /// There is more than was asked for.
    pub(super) has_more: bool,
}

/// Where it listens.
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl ClientArguments {
    /// # Errors
    /// The settings cannot be used.
    pub(super) fn client(&self) -> Result<Client, ToolError> {
        let flags = Flags { admin: self.admin.clone(), unix: self.unix.clone(), ..Flags::default() };
        let Contact { admin, unix, token } = Contact::load(self.config.as_deref(), environment(), &flags)?;
        let place = match unix {
            Some(path) if self.admin.is_none() => Place::Unix(path),
            _ => Place::Tcp(admin),
        };
        let authorization = token.as_ref().map(authorization).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ToolError::Failed(format!("cannot start: {error}")))?;
        Ok(Client { place, authorization, runtime })
    }
}

impl Client {
    /// # Errors
    /// The router is not there, or refuses; the message says what would do.
    pub(super) fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value, ToolError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.runtime.block_on(async {
            let answer = self.send(method, path, body.into()).await?;
            let body = self.whole(answer).await?;
            serde_json::from_slice(&body).map_err(|error| self.failed("gave an answer that is no JSON", &error))
        })
    }

    /// As [`Client::ask`]; the body and the answer are text of any kind.
    ///
    /// # Errors
    /// Those of [`Client::ask`].
    pub(super) fn ask_text(&self, method: &Method, path: &str, body: Bytes) -> Result<String, ToolError> {
        self.runtime.block_on(async {
            let answer = self.send(method, path, body).await?;
            Ok(String::from_utf8_lossy(&self.whole(answer).await?).into_owned())
        })
    }

    /// A part of a list.
    ///
    /// # Errors
    /// Those of [`Client::ask`].
    pub(super) fn page(&self, path: &str) -> Result<Page, ToolError> {
        self.runtime.block_on(async {
            let answer = self.send(&Method::GET, path, Bytes::new()).await?;
            let next = answer.headers().get(LINK).and_then(|link| link.to_str().ok()).and_then(next_page);
            let has_more = answer.headers().contains_key(MORE);
            let body = self.whole(answer).await?;
            Ok(Page { lines: String::from_utf8_lossy(&body).into_owned(), next, has_more })
        })
    }

    /// An answer that goes on: `tell` gets its lines, until the router ends it.
    ///
    /// # Errors
    /// Those of [`Client::ask`], and an answer that breaks off.
    pub(super) fn follow(&self, path: &str, tell: impl Fn(&str)) -> Result<(), ToolError> {
        self.runtime.block_on(async {
            let mut answer = self.send(&Method::GET, path, Bytes::new()).await?.into_body();
            let mut rest = Vec::new();
            while let Some(frame) = answer.frame().await {
                let frame = frame.map_err(|error| self.failed("broke off its answer", &error))?;
                rest.extend(frame.into_data().unwrap_or_default());
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    tell(String::from_utf8_lossy(&line).trim_end());
                }
                if rest.len() > ANSWER_BYTES_MAX {
                    return Err(self.failed("gave a line without end", &format!("{ANSWER_BYTES_MAX} bytes")));
                }
            }
            Ok(())
        })
    }

    async fn whole(&self, answer: Response<Incoming>) -> Result<Bytes, ToolError> {
        let whole = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(whole.map_err(|error| self.failed("broke off its answer", &error))?.to_bytes())
    }

    /// The head of the answer is there and says that all is well.
    async fn send(&self, method: &Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ToolError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "router");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|error| ToolError::Input(error.to_string()))?;
        let exchange = async {
            match &self.place {
                Place::Tcp(address) => exchange(TcpStream::connect(address), request).await,
                Place::Unix(path) => exchange(UnixStream::connect(path), request).await,
            }
        };
        let answer = timeout(ANSWER_TIME_MAX, exchange).await.unwrap_or(Err(Broken::Slow));
        let answer = answer.map_err(|error| match error {
            Broken::Unreachable(cause) => ToolError::Failed(format!(
                "cannot reach the router at {}: {cause}; --admin ADDR or --unix PATH say where it is",
                self.place
            )),
            Broken::Slow => self.failed("gave no answer", &format!("{} s have passed", ANSWER_TIME_MAX.as_secs())),
            Broken::Http(error) => self.failed("broke the connection", &error),
        })?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer).await) }
    }

    async fn refused(&self, answer: Response<Incoming>) -> ToolError {
        let status = answer.status();
        if status == StatusCode::UNAUTHORIZED {
            let token = if self.authorization.is_some() { "another token than this" } else { "its token" };
            return ToolError::Failed(format!(
                "the router at {} wants {token}: set TERCEL_ROUTER_TOKEN to what it was started with, or use --unix PATH as root, as the router's user or as a member of its admin_group",
                self.place
            ));
        }
        let body = Limited::new(answer.into_body(), REFUSAL_BYTES_MAX).collect().await;
        let body = body.map(Collected::to_bytes).unwrap_or_default();
        let said = serde_json::from_slice::<Value>(&body).ok();
        let said = said.as_ref().and_then(|said| said["error"]["message"].as_str());
        let said = said.map_or_else(|| String::from_utf8_lossy(&body).trim().to_owned(), str::to_owned);
        if status.is_client_error() {
            return ToolError::Input(said);
        }
        ToolError::Failed(format!("the router at {} refused ({status}): {said}", self.place))
    }

    fn failed(&self, what: &str, cause: &dyn Display) -> ToolError {
        ToolError::Failed(format!("the router at {} {what}: {cause}", self.place))
    }
}

/// Out of `<path>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (path, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then(|| path.to_owned())
}

fn authorization(token: &Secret) -> Result<HeaderValue, ToolError> {
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
    let mut value =
        value.map_err(|_shows_it| ToolError::Input("the token has characters that no header takes".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Why there is no answer.
enum Broken {
    Unreachable(io::Error),
    Slow,
    Http(hyper::Error),
}

/// One request over a connection of its own.
async fn exchange<S>(
    connect: impl Future<Output = io::Result<S>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Broken>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let connected = timeout(CONNECT_TIME_MAX, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = connected.map_err(Broken::Unreachable)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Broken::Http)?;
    // Its end shows at the answer.
    tokio::spawn(async move { drop(connection.await) });
    sender.send_request(request).await.map_err(Broken::Http)
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}
