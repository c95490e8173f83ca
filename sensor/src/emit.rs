//! Alerts → where they go: standard output, a router's Unix socket, or HTTP.
//!
//! One batch is in flight at a time; it is tried again until it is taken or refused for good. Meanwhile alerts wait in
//! the bounded queue, and when that is full new ones are dropped and counted: watching never waits for the network. The last
//! quarter of the queue is kept for critical alerts and above.

mod http;
mod peer;
mod queue;
mod rarely;
mod stdout;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use reqwest::Url;
use tokio::sync::watch;

use crate::metrics::Metrics;

pub use http::{BadToken, Token};
pub use peer::Peer;
pub use queue::{AlertQueue, Alerts, Bound, BoundError, queue};

/// The router's address for batches. What is posted elsewhere is posted one by one, as Falco does.
const BATCH_PATH: &str = "/v1/alerts";

/// Where alerts go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// One JSON object per line.
    Stdout,
    /// `http://` or `https://`. The path `/v1/alerts` takes batches; any other one alert per request.
    Http(Url),
    /// The socket of a router on this machine.
    Unix(PathBuf),
}

/// The text names no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseOutputError {
    #[error("unknown output `{0}`; use `stdout`, `http://host:port/path` or `unix:/path/of/socket`")]
    Unknown(String),
    #[error(
        "the output's URL must not hold a user or a password; give the token as TERCEL_SENSOR_TOKEN or --token-file"
    )]
    Credentials,
    #[error("`unix:` needs the path of a socket behind it")]
    NoPath,
}

/// Alerts cannot be emitted at all; trying again would not help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write to standard output")]
    Stdout(#[source] std::io::Error),
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

impl FromStr for Output {
    type Err = ParseOutputError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "stdout" {
            return Ok(Self::Stdout);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(ParseOutputError::NoPath) } else { Ok(Self::Unix(path.into())) };
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| ParseOutputError::Unknown(text.to_owned()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ParseOutputError::Credentials);
        }
        Ok(Self::Http(url))
    }
}

/// Without the query, which may hold a secret.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http(url) => {
                let mut url = url.clone();
                url.set_query(None);
                url.set_fragment(None);
                write!(f, "{url}")
            }
        }
    }
}

/// A way out that is ready to be used.
pub struct Emitter(Way);

enum Way {
    Stdout,
    Http(Box<http::Client>),
}

impl Emitter {
    /// `token`: sent as a bearer token with every request.
    pub fn new(output: &Output, token: Option<Token>) -> Result<Self, Error> {
        Ok(Self(match output {
            Output::Stdout => Way::Stdout,
            Output::Http(url) => Way::Http(http::Client::tcp(url.clone(), token).map_err(Error::Client)?.into()),
            Output::Unix(path) => Way::Http(http::Client::unix(path, token).map_err(Error::Client)?.into()),
        }))
    }

    /// Who takes the alerts, where it is somebody on this machine: he may change at any time.
    pub fn peers(&self) -> watch::Receiver<Option<Peer>> {
        match &self.0 {
            Way::Stdout => watch::channel(None).1,
            Way::Http(client) => client.peer.peers(),
        }
    }

    /// Emits until the queue is closed and empty.
    pub async fn run(self, alerts: Alerts, metrics: Arc<Metrics>) -> Result<(), Error> {
        match self.0 {
            Way::Stdout => stdout::run(tokio::io::stdout(), alerts, &metrics.alerts).await.map_err(Error::Stdout),
            Way::Http(client) => {
                http::run(&client, alerts, &metrics).await;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_and_shown_without_their_secrets() {
        let table = [
            ("stdout", "stdout"),
            ("unix:/run/tercel.sock", "unix:/run/tercel.sock"),
            ("http://127.0.0.1:2801/v1/alerts", "http://127.0.0.1:2801/v1/alerts"),
            ("https://example.org/hook?key=secret#x", "https://example.org/hook"),
        ];
        for (text, shown) in table {
            assert_eq!(text.parse::<Output>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_output_says_what_would_be_one() {
        for text in ["", "kafka", "ftp://host/", "http://", "file:/tmp/x", "/run/tercel.sock"] {
            let error = text.parse::<Output>().unwrap_err().to_string();
            assert!(error.contains("stdout") && error.contains("unix:"), "{error}");
        }
        assert_eq!("unix:".parse::<Output>(), Err(ParseOutputError::NoPath));
        assert_eq!("http://me:secret@host/".parse::<Output>(), Err(ParseOutputError::Credentials));
    }
}
