//! What goes wrong with destinations: settings that cannot be used, and deliveries that fail.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::SecretError;

/// A destination that cannot be built from its settings. Says what is wrong and what would do.
#[derive(Debug, thiserror::Error)]
#[error("destination `{destination}`: {message}")]
pub struct BuildError {
    pub(super) destination: String,
    pub(super) message: String,
    pub(super) place: Option<TemplatePlace>,
}

/// Where in a template something is wrong; line and column from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplatePlace {
    pub(crate) path: PathBuf,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A delivery that failed, with the decision what to do about it. Shows neither secret nor URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    pub reason: Reason,
    pub retry: Retry,
    pub(super) detail: String,
    /// What it should have followed is not there any more: another attempt stands alone.
    pub(crate) is_post_gone: bool,
}

/// Why a delivery failed: the label of the failure counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    ClientError,
    ServerError,
    Timeout,
    Connect,
    AuthError,
    RateLimited,
    Render,
    Io,
    Other,
}

/// Whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request would fail again.
    Never,
    /// After the usual, growing wait.
    Backoff,
    /// After what the destination asked for.
    After(Duration),
}

impl BuildError {
    /// The place in the template, where it is one that is wrong.
    pub(crate) fn template(&self) -> Option<&TemplatePlace> {
        self.place.as_ref()
    }
}

impl SendError {
    pub(crate) fn new(reason: Reason, retry: Retry, detail: impl Into<String>) -> Self {
        Self { reason, retry, detail: detail.into(), is_post_gone: false }
    }

    /// Whether it speaks of the destination, or the way to it, and not of what was sent.
    pub(crate) fn is_outage(&self) -> bool {
        match self.reason {
            Reason::Connect | Reason::Timeout | Reason::ServerError | Reason::Io => true,
            // A connection that broke off, or an answer that is no HTTP.
            Reason::Other => self.retry != Retry::Never,
            Reason::ClientError | Reason::AuthError | Reason::RateLimited | Reason::Render => false,
        }
    }
}

impl Reason {
    pub const ALL: [Self; 9] = [
        Self::ClientError,
        Self::ServerError,
        Self::Timeout,
        Self::Connect,
        Self::AuthError,
        Self::RateLimited,
        Self::Render,
        Self::Io,
        Self::Other,
    ];

    /// As metrics and logs print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::AuthError => "auth_error",
            Self::RateLimited => "rate_limited",
            Self::Render => "render",
            Self::Io => "io",
            Self::Other => "other",
        }
    }
}

/// What is wrong with a destination's settings; the name is put before it in one place.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) message: String,
    /// `None`: what is wrong stands in the settings themselves.
    pub(crate) place: Option<TemplatePlace>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None }
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        Self::new(error.to_string())
    }
}
