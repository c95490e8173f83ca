//! What waits for one destination, oldest first, within bounds of number and memory.
//!
//! The store fills it, a worker empties it; an entry counts from the one to the moment at which the other releases it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tercel_alert::Priority;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::destination::{Notification, NotificationKind};
use crate::metrics::DestinationMetrics;

/// Alerts waiting for one destination. 80 % of it is more than the most that one request may hold.
pub(crate) const QUEUE_ALERTS_MAX: usize = 16_384;

/// Memory of the alerts waiting for one destination.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Summaries and digests that may wait beside the alerts: what suppression owes must find room in a full queue.
const NOTICES_MAX: usize = 1_024;

/// One notification on its way.
pub(crate) struct Entry {
    pub(crate) notification: Notification,
    /// Bytes of memory.
    pub(crate) weight: usize,
    /// When it was acknowledged.
    pub(crate) accepted: Instant,
}

/// What a request wants of one destination's queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    /// Of the least urgent alert.
    pub(crate) priority: Priority,
}

/// One destination's queue: first in, first out. An entry that was taken out counts until it is released.
pub(crate) struct Queue {
    state: Mutex<State>,
    ready: Notify,
    metrics: DestinationMetrics,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Entry>,
    /// Alerts waiting or being sent.
    alerts: usize,
    /// Summaries and digests waiting or being sent.
    notices: usize,
    bytes: usize,
    /// When the entry that is being sent was accepted.
    in_hand: Option<Instant>,
    /// Nothing will be added any more.
    closed: bool,
}

impl Need {
    /// Adds one alert.
    pub(crate) fn add(self, bytes: usize, priority: Priority) -> Self {
        Self { count: self.count + 1, bytes: self.bytes + bytes, priority: self.priority.min(priority) }
    }
}

impl Default for Need {
    fn default() -> Self {
        Self { count: 0, bytes: 0, priority: Priority::Emergency }
    }
}

/// Percent of a queue that alerts of this priority may fill. The rest is kept for the more urgent.
const fn share(priority: Priority) -> usize {
    match priority {
        Priority::Debug | Priority::Informational => 80,
        Priority::Notice | Priority::Warning | Priority::Error => 90,
        Priority::Critical | Priority::Alert | Priority::Emergency => 100,
    }
}

impl Queue {
    pub(crate) fn new(metrics: DestinationMetrics) -> Self {
        Self { state: Mutex::default(), ready: Notify::new(), metrics }
    }

    pub(crate) fn has_room_for(&self, need: Need) -> bool {
        let state = self.state();
        let fits = |used: usize, bound: usize| used <= bound / 100 * share(need.priority);
        need.count == 0
            || fits(state.alerts + need.count, QUEUE_ALERTS_MAX) && fits(state.bytes + need.bytes, QUEUE_BYTES_MAX)
    }

    /// Adds an alert for which there was room.
    pub(crate) fn commit(&self, entry: Entry) {
        let mut state = self.state();
        state.alerts += 1;
        self.push(state, entry);
    }

    /// Adds a summary or digest. False: too many wait already, or the queue is closed.
    pub(crate) fn add_notice(&self, entry: Entry) -> bool {
        let mut state = self.state();
        if state.closed || state.notices >= NOTICES_MAX {
            return false;
        }
        state.notices += 1;
        self.push(state, entry);
        true
    }

    fn push(&self, mut state: MutexGuard<'_, State>, entry: Entry) {
        state.bytes += entry.weight;
        state.waiting.push_back(entry);
        self.show(&state);
        drop(state);
        self.ready.notify_one();
    }

    /// Whether the router is stopping: nothing is added any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// The oldest entry, as soon as there is one; `None`: the queue is closed and empty. One caller at a time.
    pub(crate) async fn next(&self) -> Option<Entry> {
        loop {
            let ready = self.ready.notified();
            {
                let mut state = self.state();
                if let Some(entry) = state.waiting.pop_front() {
                    state.in_hand = Some(entry.accepted);
                    return Some(entry);
                }
                if state.closed {
                    return None;
                }
            }
            ready.await;
        }
    }

    /// The entry has reached its end, whatever that is.
    pub(crate) fn release(&self, entry: &Entry) {
        let mut state = self.state();
        match entry.notification.kind {
            NotificationKind::Alert => state.alerts -= 1,
            NotificationKind::Summary(_) | NotificationKind::Digest(_) => state.notices -= 1,
        }
        state.bytes -= entry.weight;
        state.in_hand = None;
        self.show(&state);
    }

    /// From now on [`Queue::next`] ends when all that waits was taken.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.ready.notify_one();
    }

    /// Age of the oldest entry; zero when there is none.
    pub(crate) fn oldest_age(&self) -> Duration {
        let state = self.state();
        let oldest = state.in_hand.or_else(|| state.waiting.front().map(|entry| entry.accepted));
        oldest.map_or(Duration::ZERO, |accepted| accepted.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &State) {
        self.metrics.queued.set(i64::try_from(state.alerts).unwrap_or(i64::MAX));
        self.metrics.queue_bytes.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::metrics::Metrics;

    fn queue() -> Arc<Queue> {
        Arc::new(Queue::new(Metrics::new().destination("d")))
    }

    fn entry(weight: usize) -> Entry {
        let value = serde_json::json!({"time": "2026-01-01T00:00:00Z", "rule": "R", "priority": "error"});
        let alert = Arc::new(serde_json::from_value(value).unwrap());
        let kind = NotificationKind::Alert;
        let notification = Notification { id: Uuid::now_v7(), alert, route: "r".into(), dedup_key: None, kind };
        Entry { notification, weight, accepted: Instant::now() }
    }

    fn one(priority: Priority) -> Need {
        Need { count: 1, bytes: 1, priority }
    }

    fn filled_to(percent: usize) -> Arc<Queue> {
        let queue = queue();
        for _ in 0..QUEUE_ALERTS_MAX / 100 * percent {
            queue.commit(entry(1));
        }
        queue
    }

    #[tokio::test]
    async fn a_filling_queue_refuses_the_least_urgent_first() {
        for (percent, debug, error, critical) in
            [(79, true, true, true), (80, false, true, true), (90, false, false, true), (100, false, false, false)]
        {
            let queue = filled_to(percent);
            let admitted = |priority| queue.has_room_for(one(priority));
            let got = (admitted(Priority::Debug), admitted(Priority::Error), admitted(Priority::Critical));
            assert_eq!(got, (debug, error, critical), "{percent} %");
        }
    }

    #[tokio::test]
    async fn bytes_are_bounded_too() {
        let queue = queue();
        queue.commit(entry(QUEUE_BYTES_MAX));
        assert!(!queue.has_room_for(one(Priority::Emergency)));
    }

    #[tokio::test]
    async fn an_entry_counts_until_it_is_released() {
        let queue = queue();
        queue.commit(entry(7));
        let entry = queue.next().await.unwrap();
        assert_eq!((queue.metrics.queued.get(), queue.metrics.queue_bytes.get()), (1, 7));
        queue.release(&entry);
        assert_eq!((queue.metrics.queued.get(), queue.metrics.queue_bytes.get()), (0, 0));
    }

    #[tokio::test]
    async fn a_closed_queue_gives_out_what_it_has_and_then_ends() {
        let queue = queue();
        queue.commit(entry(1));
        queue.close();
        assert!(queue.next().await.is_some() && queue.next().await.is_none());
    }
}
