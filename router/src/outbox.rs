//! What waits for one destination, by reference: the bodies lie in the store.
//!
//! The pipeline pushes, one worker takes. An entry counts from the one until the worker says how it ended. Entries with
//! the same key keep their order within a lane and go out one at a time; entries without a key wait for nobody.

mod entry;
mod index;
mod slab;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tercel_alert::Priority;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::destination::{DeliverySettings, Notification, NotificationKind};
use crate::fingerprint::Fingerprint;
use crate::metrics::DestinationMetrics;

pub(crate) use entry::{Attempts, Entry};
use index::Index;

/// Entries of one destination beyond which no new alerts are taken for it; each costs some 100 bytes here.
pub(crate) const ENTRIES_MAX: usize = 262_144;

/// Memory of the bodies that one destination's entries keep at hand; the others are read from the store when it is
/// their turn. Those at the front, which are next, got there first.
const BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// One delivery that is committed and not ended.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    /// The order of acceptance; also its key in the store.
    pub(crate) id: u64,
    /// Entries with the same key keep their order; those without one have none.
    pub(crate) key: Option<Fingerprint>,
    pub(crate) lane: Lane,
    /// When the alert was accepted: its age counts from here.
    pub(crate) accepted: Timestamp,
    /// Size of its record in the store.
    pub(crate) bytes: u32,
    pub(crate) kind: Kind,
    /// Kept while there is memory for it, else read from the store at the attempt.
    pub(crate) notification: Option<Arc<Notification>>,
    /// Repeats of the same alert since, counted by the open window while this waits and told at the attempt.
    pub(crate) repeats: Option<Arc<AtomicU64>>,
}

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Waits for no more than the requests in flight or the destination's pause.
    Urgent,
    /// Gets what the urgent leave, at least a tenth of the sends.
    Usual,
}

/// What a delivery is, for counting it without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Alert,
    Summary,
    Digest,
    Resolve,
}

/// Whether a destination sees the entries of one key in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// One message a request: first in, first out for each key and lane, one in flight for each key.
    ByKey,
    /// Many messages a request: none is promised.
    None,
}

/// Which of the entries that could go out are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The oldest of the lane whose turn it is.
    Oldest,
    /// One that did not fail yet, if there is one: whether a destination works again is not asked with what it may
    /// never take.
    Untried,
}

/// What an outbox holds that is not in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stock {
    /// Whether any of it may go out now, as far as can be said without looking at its keys.
    pub(crate) is_ready: bool,
    /// Entries, with those that wait for a retry.
    pub(crate) count: usize,
    /// Their size in the store.
    pub(crate) bytes: u64,
}

/// One destination's outbox.
pub(crate) struct Outbox {
    state: Mutex<State>,
    changed: Notify,
    metrics: DestinationMetrics,
}

struct State {
    index: Index,
    /// The configuration has this destination no more, or not at the moment: nothing goes out.
    is_removed: bool,
    /// The router stops: what is there goes out as far as there is time.
    is_closed: bool,
}

impl From<&DeliverySettings> for Order {
    fn from(settings: &DeliverySettings) -> Self {
        if settings.is_bulk { Self::None } else { Self::ByKey }
    }
}

impl Lane {
    /// The lane of an alert of this priority.
    pub(crate) fn of(priority: Priority) -> Self {
        if priority >= Priority::Critical { Self::Urgent } else { Self::Usual }
    }
}

impl Kind {
    /// As metrics print it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Summary => "summary",
            Self::Digest => "digest",
            Self::Resolve => "resolve",
        }
    }
}

impl From<&NotificationKind> for Kind {
    fn from(kind: &NotificationKind) -> Self {
        match kind {
            NotificationKind::Alert => Self::Alert,
            NotificationKind::Summary(_) => Self::Summary,
            NotificationKind::Digest(_) => Self::Digest,
            NotificationKind::Resolve(_) => Self::Resolve,
        }
    }
}

/// Percent of an outbox that alerts of this priority may fill. The rest is kept for the more urgent.
const fn share(priority: Priority) -> usize {
    match priority {
        Priority::Debug | Priority::Informational => 80,
        Priority::Notice | Priority::Warning | Priority::Error => 90,
        Priority::Critical | Priority::Alert | Priority::Emergency => 100,
    }
}

/// The side of the pipeline.
impl Outbox {
    pub(crate) fn new(order: Order, metrics: DestinationMetrics) -> Self {
        let state = State { index: Index::new(order), is_removed: false, is_closed: false };
        Self { state: Mutex::new(state), changed: Notify::new(), metrics }
    }

    /// Whether so many new alerts, the least urgent of this priority, may be accepted.
    pub(crate) fn has_room_for(&self, count: usize, priority: Priority) -> bool {
        count == 0 || self.state().index.len() + count <= ENTRIES_MAX / 100 * share(priority)
    }

    /// Adds what is committed; so it never refuses.
    pub(crate) fn push(&self, waiting: impl IntoIterator<Item = Waiting>) {
        let (now, instant) = (Timestamp::now(), Instant::now());
        let mut state = self.state();
        for waiting in waiting {
            state.index.push(Entry::new(waiting, now, instant), BODY_BYTES_MAX);
        }
        self.show(&state);
        drop(state);
        self.changed.notify_one();
    }

    /// The router stops: the worker ends when all is delivered.
    pub(crate) fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    /// The configuration has this destination no more: all that is not in flight is dead.
    pub(crate) fn remove(&self) {
        self.change(|state| state.is_removed = true);
    }

    /// The configuration has this destination, perhaps again, and perhaps as one of another type.
    pub(crate) fn open(&self, order: Order) {
        self.change(|state| {
            state.is_removed = false;
            state.index.set_order(order);
        });
    }

    /// Age of the oldest entry, in flight or not; zero when there is none. Walks over all entries.
    pub(crate) fn oldest_age(&self) -> Duration {
        let oldest = self.state().index.oldest();
        oldest.map_or(Duration::ZERO, |accepted| accepted.elapsed())
    }

    /// Entries waiting or in flight.
    pub(crate) fn len(&self) -> usize {
        self.state().index.len()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_one();
    }
}

/// The side of the worker; there is one.
impl Outbox {
    /// Waits until something was added, or the outbox was closed, removed or opened, since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The configuration has this destination no more.
    pub(crate) fn is_removed(&self) -> bool {
        self.state().is_removed
    }

    /// The router stops: nothing comes any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Nothing is left, and nothing comes any more.
    pub(crate) fn is_done(&self) -> bool {
        let state = self.state();
        state.is_closed && state.index.len() == 0
    }

    /// An entry that may go out now; it is in flight until it is given to [`Outbox::release`] or [`Outbox::retry`].
    pub(crate) fn take(&self, now: Instant, choice: Choice) -> Option<Entry> {
        self.state().index.take(now, choice)
    }

    /// As [`Outbox::take`], as many as fit into one request of a destination that takes many at once: at most `count`
    /// with at most `bytes` together, one at least where there is one.
    pub(crate) fn next_batch(&self, now: Instant, count: usize, bytes: u64) -> Vec<Entry> {
        self.state().index.take_batch(now, count, bytes)
    }

    /// What there is to take.
    pub(crate) fn stock(&self, now: Instant) -> Stock {
        self.state().index.stock(now)
    }

    /// When the next entry's wait is over, if it is not over yet.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.state().index.next_due()
    }

    /// An entry in flight failed and goes out again, not before `due`. Until then its key's lane waits.
    pub(crate) fn retry(&self, entry: Entry, due: Instant) {
        self.state().index.retry(entry, due);
    }

    /// An entry in flight, or one from [`Outbox::drain`], ended.
    pub(crate) fn release(&self, entry: &Entry) {
        let mut state = self.state();
        state.index.release(entry);
        self.show(&state);
    }

    /// At most `count` of the entries that are not in flight, whatever they wait for, in order for each key and lane.
    pub(crate) fn drain(&self, count: usize) -> Vec<Entry> {
        self.state().index.drain(count)
    }

    /// All entries not in flight that were accepted before `limit`.
    pub(crate) fn drain_older(&self, limit: Instant) -> Vec<Entry> {
        self.state().index.drain_older(limit)
    }

    /// Ids of all that did not end, in order.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.state().index.ids()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &State) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.queued.set(gauge(state.index.alerts()));
        self.metrics.queue_bytes.set(gauge(state.index.bytes()));
    }
}

#[cfg(test)]
mod tests;
