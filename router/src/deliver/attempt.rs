//! One attempt: body, repeats, request, and what a failure means.

use std::error::Error;
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
use crate::destination::{Destination, Notification, Reason, Receipt, Retry, SendError};
use crate::metrics::STORE;
use crate::outbox::{Attempts, Entry, Kind};

/// One attempt. Destinations have shorter limits of their own; this one bounds what they forgot.
const ATTEMPT_MAX: Duration = Duration::from_mins(2);

/// The longest pause that a destination gets by asking for it: one wrong header must not silence it for a day.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// A request that ended.
pub(super) struct Landed {
    /// Id of the first that was taken out for it: the breaker knows it by that.
    pub(super) first: u64,
    pub(super) items: Vec<Item>,
}

/// How one delivery of a request fared.
pub(super) struct Item {
    pub(super) entry: Entry,
    /// What was delivered, and what the destination said of it.
    pub(super) result: Result<(Notification, Receipt), Failed>,
}

pub(super) struct Failed {
    pub(super) failure: Failure,
    /// What was to be sent, if it could be read.
    pub(super) notification: Option<Notification>,
}

/// Why an attempt failed.
pub(super) enum Failure {
    /// The destination, or the way to it.
    Send(SendError),
    /// The store did not give the body. `is_gone`: there is none, so there never will be.
    Store { is_gone: bool, detail: String },
}

/// Counts attempts as under way until they end, also by being given up.
struct InFlight<'a>(&'a IntGauge, i64);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a IntGauge, count: usize) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        gauge.add(count);
        Self(gauge, count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.sub(self.1);
    }
}

impl Worker {
    /// One request with these; at least one.
    pub(super) async fn attempt(&self, destination: Arc<Destination>, first: u64, mut batch: Vec<Entry>) -> Landed {
        for entry in &mut batch {
            self.begin(entry);
        }
        let _in_flight = InFlight::new(&self.metrics.in_flight, batch.len());
        let (mut items, mut entries, mut notifications) = (Vec::new(), Vec::new(), Vec::new());
        for (entry, body) in self.with_bodies(batch).await {
            match body {
                Ok(notification) => {
                    notifications.push(self.up_to_date(notification, &entry));
                    entries.push(entry);
                }
                Err(failure) => items.push(Item { entry, result: Err(Failed { failure, notification: None }) }),
            }
        }
        let results = self.send(&destination, &notifications).await;
        for ((entry, notification), result) in entries.into_iter().zip(notifications).zip(results) {
            let result = match result {
                Ok(receipt) => Ok((notification, receipt)),
                Err(error) => Err(Failed { failure: Failure::Send(error), notification: Some(notification) }),
            };
            items.push(Item { entry, result });
        }
        Landed { first, items }
    }

    fn begin(&self, entry: &mut Entry) {
        let now = Timestamp::now();
        let attempts = entry.attempts.get_or_insert_with(|| Box::new(Attempts { count: 0, first: now, last: now }));
        (attempts.count, attempts.last) = (attempts.count.saturating_add(1), now);
        self.metrics.attempts.inc();
        self.metrics.retries.inc_by(u64::from(attempts.count > 1));
    }

    /// With the repeats that were counted up to now, and with what it follows.
    fn up_to_date(&self, notification: Notification, entry: &Entry) -> Notification {
        let repeats = match (entry.kind, &entry.repeats) {
            (Kind::Alert, Some(repeats)) => repeats.load(Ordering::Relaxed),
            _ => 0,
        };
        let post = self.board.find(&notification, Timestamp::now());
        Notification { repeats, post, ..notification }
    }

    /// The bodies, those that are not at hand from the store.
    async fn with_bodies(&self, batch: Vec<Entry>) -> Vec<(Entry, Result<Notification, Failure>)> {
        let missing = batch.iter().filter(|entry| entry.notification.is_none()).map(|entry| entry.id).collect();
        let mut loaded = self.load(missing).await.into_iter();
        let body = |entry: Entry| {
            let body = match &entry.notification {
                Some(notification) => Ok(Notification::clone(notification)),
                None => loaded.next().unwrap_or_else(|| Err(unread("the store gave too few bodies".to_owned()))),
            };
            (entry, body)
        };
        batch.into_iter().map(body).collect()
    }

    /// In the order of the ids.
    async fn load(&self, ids: Vec<u64>) -> Vec<Result<Notification, Failure>> {
        if ids.is_empty() {
            return Vec::new();
        }
        let (load, count) = (Arc::clone(&self.load), ids.len());
        let loaded = tokio::task::spawn_blocking(move || ids.into_iter().map(|id| load(id)).collect::<Vec<_>>()).await;
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return (0..count).map(|_| Err(unread(error.to_string()))).collect(),
        };
        let body = |result: Result<Option<_>, Box<dyn Error + Send + Sync>>| match result {
            Ok(Some(notification)) => Ok(notification),
            Ok(None) => {
                let detail = "the store has no body for it that can be read".to_owned();
                Err(Failure::Store { is_gone: true, detail })
            }
            Err(error) => Err(unread(error.to_string())),
        };
        loaded.into_iter().map(body).collect()
    }

    /// One result for each. A panic of one destination on one alert ends that delivery and nothing else: the others are sent
    /// one by one.
    async fn send(&self, destination: &Destination, notifications: &[Notification]) -> Vec<Result<Receipt, SendError>> {
        match self.try_send(destination, notifications).await {
            Ok(results) => results,
            Err(Panicked) if notifications.len() == 1 => {
                vec![Err(SendError::new(Reason::Other, Retry::Never, "sending it made the router panic"))]
            }
            Err(Panicked) => {
                let mut results = Vec::new();
                for notification in notifications {
                    let alone = std::slice::from_ref(notification);
                    results.extend(Box::pin(self.send(destination, alone)).await);
                }
                results
            }
        }
    }

    async fn try_send(
        &self,
        destination: &Destination,
        notifications: &[Notification],
    ) -> Result<Vec<Result<Receipt, SendError>>, Panicked> {
        if notifications.is_empty() {
            return Ok(Vec::new());
        }
        let start = Instant::now();
        let sending = AssertUnwindSafe(destination.send_all(notifications)).catch_unwind();
        let sent = timeout(ATTEMPT_MAX, sending).await;
        self.metrics.delivery_seconds.observe(start.elapsed().as_secs_f64());
        self.metrics.fallbacks.set(i64::try_from(destination.render_fallbacks()).unwrap_or(i64::MAX));
        match sent {
            Ok(Ok(mut results)) => {
                // Nothing may be forgotten, also where a destination miscounts.
                let missing = SendError::new(Reason::Other, Retry::Backoff, "the destination gave no result for it");
                results.resize(notifications.len(), Err(missing));
                Ok(results)
            }
            Ok(Err(_panic)) => Err(Panicked),
            Err(_elapsed) => {
                let error = SendError::new(Reason::Timeout, Retry::Backoff, "the destination did not answer in time");
                Ok(vec![Err(error); notifications.len()])
            }
        }
    }
}

/// The destination's code failed, not the destination.
struct Panicked;

/// A body that the store may give another time.
fn unread(detail: String) -> Failure {
    Failure::Store { is_gone: false, detail }
}

impl Landed {
    /// What it says about the destination: one delivery that was answered says more than others that were not.
    pub(super) fn sign(&self) -> Sign {
        let signs = || self.items.iter().map(Item::sign);
        [Sign::Up, Sign::Down].into_iter().find(|sought| signs().any(|sign| sign == *sought)).unwrap_or(Sign::Silent)
    }
}

impl Item {
    /// What it says about the destination.
    fn sign(&self) -> Sign {
        match self.result.as_ref().map_err(|failed| &failed.failure) {
            Err(Failure::Send(error)) if error.is_outage() => Sign::Down,
            // The template failed or the request could not be built: nobody was asked.
            Err(Failure::Send(SendError { reason: Reason::Render | Reason::Other, .. }) | Failure::Store { .. }) => {
                Sign::Silent
            }
            Ok(_) | Err(Failure::Send(_)) => Sign::Up,
        }
    }

    /// Whether there is a point in another attempt.
    pub(super) fn is_retried(&self) -> bool {
        self.result.as_ref().is_err_and(|failed| failed.failure.decision() != Retry::Never)
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

    pub(super) fn is_post_gone(&self) -> bool {
        matches!(self, Self::Send(error) if error.is_post_gone)
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

/// How many there were.
pub(super) fn attempts(entry: &Entry) -> u32 {
    entry.attempts.as_ref().map_or(0, |attempts| attempts.count)
}
