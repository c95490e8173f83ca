//! One attempt: body, repeats, request, and what a failure means.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use prometheus::IntGauge;
use tokio::time::{Instant, timeout};

use super::breaker::Sign;
use super::{Worker, retry};
use crate::destination::{Destination, Notification, Reason, Retry, SendError};
use crate::metrics::STORE;
use crate::outbox::{Attempts, Entry, Kind};

/// One attempt. Destinations have shorter limits of their own; this one bounds what they forgot.
const ATTEMPT_MAX: Duration = Duration::from_mins(2);

/// The longest pause that a destination gets by asking for it: one wrong header must not silence it for a day.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// An attempt that ended.
pub(super) struct Landed {
    pub(super) entry: Entry,
    /// What was to be sent, if it could be read.
    pub(super) notification: Option<Notification>,
    pub(super) result: Result<(), Failure>,
}

/// Why an attempt failed.
pub(super) enum Failure {
    /// The destination, or the way to it.
    Send(SendError),
    /// The store did not give the body. `is_gone`: there is none, so there never will be.
    Store { is_gone: bool, detail: String },
}

/// Counts an attempt as under way until it ends, also by being given up.
struct InFlight<'a>(&'a IntGauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Worker {
    pub(super) async fn attempt(&self, destination: Arc<Destination>, mut entry: Entry) -> Landed {
        self.begin(&mut entry);
        let _in_flight = InFlight::new(&self.metrics.in_flight);
        let (notification, result) = match self.notification(&entry).await {
            Ok(notification) => {
                let result = self.send(&destination, &notification).await.map_err(Failure::Send);
                (Some(notification), result)
            }
            Err(failure) => (None, Err(failure)),
        };
        Landed { entry, notification, result }
    }

    fn begin(&self, entry: &mut Entry) {
        let now = Timestamp::now();
        let attempts = entry.attempts.get_or_insert_with(|| Box::new(Attempts { count: 0, first: now, last: now }));
        (attempts.count, attempts.last) = (attempts.count.saturating_add(1), now);
        self.metrics.attempts.inc();
        self.metrics.retries.inc_by(u64::from(attempts.count > 1));
    }

    /// The body, with the repeats that were counted up to now.
    async fn notification(&self, entry: &Entry) -> Result<Notification, Failure> {
        let mut notification = match &entry.notification {
            Some(notification) => Notification::clone(notification),
            None => self.load(entry.id).await?,
        };
        notification.repeats = match (entry.kind, &entry.repeats) {
            (Kind::Alert, Some(repeats)) => repeats.load(Ordering::Relaxed),
            _ => 0,
        };
        Ok(notification)
    }

    async fn load(&self, id: u64) -> Result<Notification, Failure> {
        let load = Arc::clone(&self.load);
        let loaded = tokio::task::spawn_blocking(move || load(id)).await;
        match loaded {
            Ok(Ok(Some(notification))) => Ok(notification),
            Ok(Ok(None)) => {
                let detail = "the store has no body for it that can be read".to_owned();
                Err(Failure::Store { is_gone: true, detail })
            }
            Ok(Err(error)) => Err(Failure::Store { is_gone: false, detail: error.to_string() }),
            Err(error) => Err(Failure::Store { is_gone: false, detail: error.to_string() }),
        }
    }

    /// A panic of one destination on one alert ends that delivery and nothing else.
    async fn send(&self, destination: &Destination, notification: &Notification) -> Result<(), SendError> {
        let start = Instant::now();
        let sending = AssertUnwindSafe(destination.send(notification)).catch_unwind();
        let result = timeout(ATTEMPT_MAX, sending).await;
        self.metrics.delivery_seconds.observe(start.elapsed().as_secs_f64());
        self.metrics.fallbacks.set(i64::try_from(destination.render_fallbacks()).unwrap_or(i64::MAX));
        match result {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(SendError::new(Reason::Other, Retry::Never, "sending it made the router panic")),
            Err(_elapsed) => {
                Err(SendError::new(Reason::Timeout, Retry::Backoff, "the destination did not answer in time"))
            }
        }
    }
}

impl Failure {
    /// The counter's label.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Send(error) => error.reason.name(),
            Self::Store { .. } => STORE,
        }
    }

    pub(super) fn detail(&self) -> String {
        match self {
            Self::Send(error) => error.to_string(),
            Self::Store { detail, .. } => detail.clone(),
        }
    }

    fn decision(&self) -> Retry {
        match self {
            Self::Send(error) => error.retry,
            Self::Store { is_gone: true, .. } => Retry::Never,
            Self::Store { is_gone: false, .. } => Retry::Backoff,
        }
    }

    /// How long the entry waits for its next attempt; `None`: there is no point in one. After a pause the others have the
    /// first word, so that one that is always asked to come later keeps nobody from the destination.
    pub(super) fn wait(&self, entry: &Entry, jitter: f64) -> Option<Duration> {
        let usual = retry::wait(attempts(entry), jitter);
        let after_pause = self.pause(entry).map_or(Duration::ZERO, |pause| pause + retry::wait(1, jitter));
        (self.decision() != Retry::Never).then(|| usual.max(after_pause))
    }

    /// How long the destination as a whole is left alone: as long as it asks for, within a bound, or for a growing time
    /// where it says that there is too much and not for how long.
    pub(super) fn pause(&self, entry: &Entry) -> Option<Duration> {
        match self {
            Self::Send(SendError { retry: Retry::After(asked), .. }) => Some((*asked).min(PAUSE_MAX)),
            Self::Send(SendError { reason: Reason::RateLimited, retry: Retry::Backoff, .. }) => {
                Some(retry::wait(attempts(entry), 1.0))
            }
            Self::Send(_) | Self::Store { .. } => None,
        }
    }
}

/// What the end of an attempt says about the destination.
pub(super) fn sign(result: &Result<(), Failure>) -> Sign {
    match result {
        Err(Failure::Send(error)) if error.is_outage() => Sign::Down,
        // The template failed or the request could not be built: nobody was asked.
        Err(Failure::Send(SendError { reason: Reason::Render | Reason::Other, .. }) | Failure::Store { .. }) => {
            Sign::Silent
        }
        Ok(()) | Err(Failure::Send(_)) => Sign::Up,
    }
}

/// How many there were.
pub(super) fn attempts(entry: &Entry) -> u32 {
    entry.attempts.as_ref().map_or(0, |attempts| attempts.count)
}
