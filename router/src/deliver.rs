//! One worker for every destination: takes what may go out, sends it, and decides how it goes on: delivered, another
//! attempt later, or dead.
//!
//! How an entry ended is counted here and told to the pipeline, which writes it down.

mod attempt;
mod breaker;
mod crew;
mod gather;
mod pace;
mod retry;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use uuid::Uuid;

use crate::audit::{Audit, Event, Line};
use crate::destination::{Batch, DeliverySettings, Destination, Notification};
use crate::metrics::{BREAKER, DestinationMetrics, MAX_AGE, REMOVED};
use crate::outbox::{Attempts, Choice, Entry, Kind, Outbox};
use crate::post::{Board, Pinned};

pub(crate) use crew::{Crew, Running};

use attempt::{Failed, Failure, Item, Landed, attempts};
use breaker::{Breaker, Permit, Sign};
use gather::Gathering;
use pace::Pace;

/// With a fallback, nothing waits for a destination that has been out for longer.
const OUTAGE_MAX: Duration = Duration::from_mins(5);

/// How often what waits is looked through for what is too old: a part of the maximum age, within these bounds.
const SWEEP_PARTS: u32 = 64;
const SWEEP_WAIT_MIN: Duration = Duration::from_millis(100);
const SWEEP_WAIT_MAX: Duration = Duration::from_mins(1);

/// Entries that are ended in one go without an attempt.
const DRAIN_MAX: usize = 256;

/// What one worker works with.
pub(crate) struct Worker {
    /// What [`Finished::destination`] says.
    pub(crate) number: usize,
    /// A reload sends the new one; attempts use the one that is there when they begin.
    pub(crate) current: watch::Receiver<Current>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) board: Arc<Board>,
    pub(crate) metrics: DestinationMetrics,
    pub(crate) load: Loader,
    pub(crate) finished: mpsc::Sender<Finished>,
    pub(crate) audit: Audit,
    /// The time to drain is over: what is left stays in the store.
    pub(crate) abandon: CancellationToken,
}

/// A destination as the configuration has it now.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) destination: Arc<Destination>,
    pub(crate) terms: Terms,
}

/// How much a destination gets and for how long it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Requests at once; at least one.
    pub(crate) concurrency: usize,
    /// What goes into one of them.
    pub(crate) batch: Batch,
    /// Since acceptance: a delivery that is older has failed.
    pub(crate) max_age: Duration,
    /// Whether what fails goes on to another destination.
    pub(crate) has_fallback: bool,
    /// From the start of one attempt to that of the next; `None`: as fast as they come.
    pub(crate) interval: Option<Duration>,
}

/// Reads the body of a delivery from the store; `None`: there is none. Blocks.
pub(crate) type Loader = Arc<dyn Fn(u64) -> Result<Option<Notification>, Box<dyn Error + Send + Sync>> + Send + Sync>;

/// A delivery that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    /// [`Worker::number`].
    pub(crate) destination: usize,
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) outcome: Outcome,
    /// What was delivered said that there were so many repeats so far.
    pub(crate) repeats_told: u64,
    /// Since the start of the process; `None`: there was none.
    pub(crate) attempts: Option<Attempts>,
    /// What it left behind for others to follow.
    pub(crate) pinned: Option<Pinned>,
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// `reason` is the counter's label: why the last attempt failed, or one of the router's own.
    Dead {
        reason: &'static str,
        detail: String,
    },
    /// It would be dead, or would wait for too long, but there is another destination to take it.
    Fallback {
        reason: &'static str,
        detail: String,
    },
    /// The process ends before it did: it stays in the store.
    Abandoned,
}

/// What the destination was told, and what it said, with what was delivered.
#[derive(Default)]
struct Told {
    repeats: u64,
    pinned: Option<Pinned>,
}

impl From<&DeliverySettings> for Terms {
    fn from(settings: &DeliverySettings) -> Self {
        let DeliverySettings { concurrency, max_age, batch, interval, .. } = *settings;
        Self { concurrency, batch, max_age, has_fallback: settings.fallback.is_some(), interval }
    }
}

impl Worker {
    /// Ends when the outbox is closed and empty, or when what is left is abandoned. Where its destination is removed it
    /// goes on: the destination may come back.
    pub(crate) async fn run(mut self) {
        let (mut breaker, mut gathering, mut flights) = (Breaker::new(), Gathering::default(), FuturesUnordered::new());
        let mut pace = Pace::new();
        let mut current = self.current.borrow_and_update().clone();
        let mut reloads = self.current.clone();
        let this = &self;
        let mut sweep = Instant::now();
        loop {
            let now = Instant::now();
            sweep = this.end_old(&current.terms, sweep, now).await;
            let more = this.end_stranded(&breaker, &current.terms, now).await;
            while flights.len() < current.terms.concurrency.max(1) && pace.wait(&current.terms, now).is_none() {
                let batch = this.depart(&mut breaker, &mut gathering, &current.terms, Instant::now());
                let Some(first) = batch.first().map(|entry| entry.id) else { break };
                let batch = this.without_old(batch, &current.terms).await;
                if batch.is_empty() {
                    breaker.note(first, Sign::Silent, now, 0.0);
                    continue;
                }
                // Not `current`: what these were decided by may have come into force a moment ago.
                let destination = Arc::clone(&this.current.borrow().destination);
                pace.start(now);
                flights.push(this.attempt(destination, first, batch));
            }
            this.metrics.breaker.set(if this.outbox.is_removed() { 0 } else { breaker.gauge() });
            if this.outbox.is_done() {
                return;
            }
            let paced = pace.wait(&current.terms, now);
            let has_room = flights.len() < current.terms.concurrency.max(1) && paced.is_none();
            let gathered = gathering.until(&current.terms.batch);
            let wake = if more { now } else { this.wake(&breaker, &current.terms, has_room, gathered, now).min(sweep) };
            let wake = paced.map_or(wake, |next| wake.min(next));
            tokio::select! {
                biased;
                () = this.abandon.cancelled() => break,
                Some(landed) = flights.next() => this.land(landed, &mut breaker, &current.terms).await,
                reload = reloads.changed(), if reloads.has_changed().is_ok() => {
                    let next = reloads.borrow_and_update().clone();
                    if reload.is_ok() && !Arc::ptr_eq(&next.destination, &current.destination) {
                        // What is known of the old one says nothing about the new one.
                        breaker = Breaker::new();
                    }
                    current = next;
                }
                () = this.outbox.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
        drop(flights);
        self.abandon_rest().await;
    }

    /// Takes out what goes out now, with one request.
    fn depart(&self, breaker: &mut Breaker, gathering: &mut Gathering, terms: &Terms, now: Instant) -> Vec<Entry> {
        if self.outbox.is_removed() {
            return Vec::new();
        }
        match breaker.permit(now) {
            Permit::Nothing(_) => Vec::new(),
            Permit::All => {
                // A router that stops waits for no company.
                let wait = if self.outbox.is_closed() { Duration::ZERO } else { terms.batch.wait };
                let batch = Batch { wait, ..terms.batch };
                let is_over = gathering.is_over(self.outbox.stock(now), &batch, now);
                if is_over { self.outbox.next_batch(now, batch.count, batch.bytes) } else { Vec::new() }
            }
            Permit::Probe => {
                let Some(entry) = self.outbox.take(now, Choice::Untried) else { return Vec::new() };
                breaker.probe(entry.id);
                vec![entry]
            }
        }
    }

    /// When there may be something to do, if nothing else happens. `gathered`: when what is there goes out.
    fn wake(
        &self,
        breaker: &Breaker,
        terms: &Terms,
        has_room: bool,
        gathered: Option<Instant>,
        now: Instant,
    ) -> Instant {
        let next = match breaker.permit(now) {
            Permit::Nothing(until) => until,
            _ if !has_room => None,
            Permit::All => self.outbox.next_due().into_iter().chain(gathered).min(),
            // It is made at once, or there is nothing to make it with.
            Permit::Probe => self.outbox.next_due(),
        };
        let stranded = breaker.open_since().filter(|_| terms.has_fallback).map(|since| since + OUTAGE_MAX);
        let later = stranded.filter(|time| *time > now);
        next.into_iter().chain(later).min().unwrap_or(now + SWEEP_WAIT_MAX)
    }
}

/// What ends without an attempt.
impl Worker {
    /// Ends what is too old, from time to time; gives the next time.
    async fn end_old(&self, terms: &Terms, next: Instant, now: Instant) -> Instant {
        if now < next {
            return next;
        }
        if let Some(limit) = now.checked_sub(terms.max_age) {
            for entry in self.outbox.drain_older(limit) {
                self.end(entry, given_up(terms, MAX_AGE, too_old(terms)), Told::default()).await;
            }
        }
        now + (terms.max_age / SWEEP_PARTS).clamp(SWEEP_WAIT_MIN, SWEEP_WAIT_MAX)
    }

    /// Ends those of a batch that are too old, and gives the others.
    async fn without_old(&self, batch: Vec<Entry>, terms: &Terms) -> Vec<Entry> {
        let (old, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|entry| is_old(entry, terms));
        for entry in old {
            self.end(entry, given_up(terms, MAX_AGE, too_old(terms)), Told::default()).await;
        }
        batch
    }

    /// Ends what waits for a destination that was removed, or has a fallback and has been out for too long. True: there
    /// is more of it.
    async fn end_stranded(&self, breaker: &Breaker, terms: &Terms, now: Instant) -> bool {
        let is_out = breaker.open_since().is_some_and(|since| now.duration_since(since) >= OUTAGE_MAX);
        let outcome = if self.outbox.is_removed() {
            let detail = "the configuration has this destination no more".to_owned();
            Outcome::Dead { reason: REMOVED, detail }
        } else if terms.has_fallback && is_out && breaker.permit(now) != Permit::Probe {
            let detail = format!("the destination has been out for {} s", OUTAGE_MAX.as_secs());
            Outcome::Fallback { reason: BREAKER, detail }
        } else {
            return false;
        };
        let drained = self.outbox.drain(DRAIN_MAX);
        let more = drained.len() == DRAIN_MAX;
        for entry in drained {
            self.end(entry, outcome.clone(), Told::default()).await;
        }
        more
    }

    async fn abandon_rest(&self) {
        for id in self.outbox.ids() {
            let (destination, outcome) = (self.number, Outcome::Abandoned);
            let (kind, attempts, pinned) = (Kind::Alert, None, None);
            let finished = Finished { destination, id, kind, outcome, repeats_told: 0, attempts, pinned };
            if self.finished.send(finished).await.is_err() {
                return;
            }
        }
    }
}

/// How it goes on.
impl Worker {
    async fn land(&self, landed: Landed, breaker: &mut Breaker, terms: &Terms) {
        let now = Instant::now();
        breaker.note(landed.first, landed.sign(), now, fastrand::f64());
        let mut untold = landed.items.iter().filter(|item| item.is_retried()).count();
        for Item { entry, result } in landed.items {
            match result {
                Ok((notification, receipt)) => {
                    self.count_delivered(&notification);
                    let pin = |text| self.board.pin(&notification, text, Timestamp::now());
                    let told = Told { repeats: notification.repeats, pinned: receipt.post.and_then(pin) };
                    self.end(entry, Outcome::Delivered, told).await;
                }
                Err(Failed { failure, notification }) => {
                    self.metrics.count_failure(failure.reason());
                    if let Some(notification) = &notification {
                        if failure.is_post_gone() {
                            self.board.take_down(notification);
                        }
                        self.note_failure(&entry, notification.id, failure.reason());
                    }
                    if let Some(asked) = failure.pause(&entry) {
                        breaker.pause(now, asked);
                    }
                    self.retry_or_end(entry, notification.as_ref(), &failure, terms, &mut untold).await;
                }
            }
        }
    }

    /// `untold`: retries of this request that the log does not know of.
    async fn retry_or_end(
        &self,
        entry: Entry,
        notification: Option<&Notification>,
        failure: &Failure,
        terms: &Terms,
        untold: &mut usize,
    ) {
        let reason = match failure.wait(&entry, fastrand::f64()) {
            Some(_) if is_old(&entry, terms) => MAX_AGE,
            Some(wait) => {
                self.log_retry(&entry, std::mem::take(untold), wait, failure);
                return self.outbox.retry(entry, Instant::now() + wait);
            }
            None => failure.reason(),
        };
        self.log_dead(&entry, notification, reason, failure);
        self.end(entry, given_up(terms, reason, failure.detail()), Told::default()).await;
    }

    fn note_failure(&self, entry: &Entry, uuid: Uuid, reason: &'static str) {
        if self.audit.is_on() {
            let event = Event::AttemptFailed { destination: self.name().into(), attempt: attempts(entry), reason };
            self.audit.write(Line { at: Timestamp::now(), uuid, event });
        }
    }

    /// Counts the outcome and tells it.
    async fn end(&self, entry: Entry, outcome: Outcome, Told { repeats, pinned }: Told) {
        match (&outcome, entry.kind) {
            (Outcome::Delivered, kind) => {
                self.metrics.count_notification(kind.name());
                self.metrics.delivered.inc_by(u64::from(kind == Kind::Alert));
            }
            (Outcome::Dead { reason, .. }, Kind::Alert) => self.metrics.count_dead(reason),
            (Outcome::Dead { .. }, kind) => self.metrics.count_lost(kind.name()),
            (Outcome::Fallback { .. }, kind) => self.metrics.moved.inc_by(u64::from(kind == Kind::Alert)),
            (Outcome::Abandoned, _) => {}
        }
        self.outbox.release(&entry);
        let Entry { id, kind, attempts, .. } = entry;
        let attempts = attempts.map(|attempts| *attempts);
        let (destination, repeats_told) = (self.number, repeats);
        let finished = Finished { destination, id, kind, outcome, repeats_told, attempts, pinned };
        if self.finished.send(finished).await.is_err() {
            debug!(id, "nobody writes down any more how deliveries ended");
        }
    }

    fn count_delivered(&self, notification: &Notification) {
        if matches!(Kind::from(&notification.kind), Kind::Alert) {
            self.metrics.end_to_end_seconds.observe(seconds_since(notification.alert.time));
        }
    }

    /// Rule and id only: the alert's text is for the destination, not for the log.
    fn log_dead(&self, entry: &Entry, notification: Option<&Notification>, reason: &str, failure: &Failure) {
        let alert = notification.map(|notification| &notification.alert.rule);
        let id = notification.map(|notification| notification.id);
        error!(destination = self.name(), reason, rule = ?alert, id = ?id, delivery = entry.id, failure = failure.detail(), "delivery failed for good");
    }

    /// The first failure of a notification is worth a warning; its retries would only repeat it. One line for all
    /// `deliveries` of a request; none where there are none left to tell.
    fn log_retry(&self, entry: &Entry, deliveries: usize, wait: Duration, failure: &Failure) {
        if deliveries == 0 {
            return;
        }
        let (destination, wait, retry) = (self.name(), wait.as_secs_f64(), attempts(entry).saturating_sub(1));
        let (delivery, failure) = (entry.id, failure.detail());
        if retry == 0 {
            warn!(destination, deliveries, wait, delivery, failure, "delivery failed, will retry");
        } else {
            debug!(destination, deliveries, retry, wait, delivery, failure, "delivery failed again, will retry");
        }
    }

    fn name(&self) -> String {
        self.current.borrow().destination.name().to_owned()
    }
}

fn given_up(terms: &Terms, reason: &'static str, detail: String) -> Outcome {
    if terms.has_fallback { Outcome::Fallback { reason, detail } } else { Outcome::Dead { reason, detail } }
}

fn is_old(entry: &Entry, terms: &Terms) -> bool {
    entry.accepted.elapsed() >= terms.max_age
}

fn too_old(terms: &Terms) -> String {
    format!("not delivered within {} s", terms.max_age.as_secs())
}

/// Never negative: clocks of senders may be ahead.
fn seconds_since(time: Timestamp) -> f64 {
    Timestamp::now().duration_since(time).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests;
