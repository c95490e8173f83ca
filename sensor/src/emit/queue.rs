//! The queue between watching and emitting: bounded in bytes, each alert held as the line that is sent.
//!
//! An alert counts as queued from the moment it is put in until the output has taken it or it is given up, so what is in
//! flight is within the bound too. The bytes are the ledger's, which decides under its own lock; see there why its equation
//! holds at every scrape. The list of lines has a lock of its own, held for a push or a pop and never over a wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Deserialize;
use tercel_alert::{Alert, Priority};
use tokio::sync::Notify;
use tracing::{error, warn};

use super::rarely::Rarely;
use crate::metrics::{Ledger, Metrics, Reason};

/// Where nothing else is set: some 10,000 alerts of 1.6 KiB, as they are with the shipped rules.
const QUEUE_BYTES_DEFAULT: usize = 16 << 20;

/// Room for a few alerts whose every text is as long as an attacker can make it: 30 KiB.
const QUEUE_BYTES_MIN: usize = 256 << 10;

/// More would be memory that the node's own work needs.
const QUEUE_BYTES_MAX: usize = 1 << 30;

/// One part in this many of the bound is kept for alerts of [`RESERVE_PRIORITY`] and above.
const RESERVE_PART: usize = 4;
const RESERVE_PRIORITY: Priority = Priority::Critical;

/// Bytes that may wait for the output: 256 KiB to 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Bound(usize);

/// The number is no sensible bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("queue_bytes = {0}: use {min} to {max} bytes", min = QUEUE_BYTES_MIN, max = QUEUE_BYTES_MAX)]
pub struct BoundError(u64);

impl TryFrom<u64> for Bound {
    type Error = BoundError;

    fn try_from(bytes: u64) -> Result<Self, Self::Error> {
        let bound = usize::try_from(bytes).ok().filter(|bytes| (QUEUE_BYTES_MIN..=QUEUE_BYTES_MAX).contains(bytes));
        bound.map(Self).ok_or(BoundError(bytes))
    }
}

impl Default for Bound {
    fn default() -> Self {
        Self(QUEUE_BYTES_DEFAULT)
    }
}

impl Bound {
    pub fn bytes(self) -> usize {
        self.0
    }

    /// What may wait when an alert of this priority comes.
    fn open_to(self, priority: Priority) -> usize {
        if priority >= RESERVE_PRIORITY { self.0 } else { self.0 - self.0 / RESERVE_PART }
    }
}

/// The end that alerts are put in. Dropping it lets the output come to its end.
#[derive(Debug)]
pub struct AlertQueue {
    waiting: Arc<Waiting>,
    bound: Bound,
    ledger: Ledger,
    full: Rarely,
}

/// The end that alerts are taken from, in the order in which they were put in.
#[derive(Debug)]
pub struct Alerts {
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    state: Mutex<State>,
    arrival: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Each with its end of line.
    lines: VecDeque<Bytes>,
    /// No more will come.
    is_closed: bool,
    /// Nobody takes any more.
    is_abandoned: bool,
}

pub fn queue(bound: Bound, metrics: &Metrics) -> (AlertQueue, Alerts) {
    let waiting = Arc::new(Waiting::default());
    metrics.alerts.set_bytes_max(bound.bytes());
    let alerts = Alerts { waiting: Arc::clone(&waiting) };
    (AlertQueue { waiting, bound, ledger: metrics.alerts.clone(), full: Rarely::default() }, alerts)
}

impl AlertQueue {
    /// Does not wait: where there is no room for an alert of this priority it is dropped, and counted.
    pub fn push(&mut self, alert: &Alert) {
        let Some(line) = line(alert) else {
            self.ledger.make_and_drop(alert.priority, Reason::Unserializable);
            return error!(rule = ?alert.rule, "an alert cannot be written as JSON");
        };
        if self.ledger.admit(alert.priority, line.len(), self.bound.open_to(alert.priority)) {
            self.put(line);
        } else if self.full.is_due() {
            let dropped = self.ledger.dropped(Reason::QueueFull);
            warn!(dropped, bytes = self.bound.bytes(), "the output is too slow or away, alerts are dropped");
        }
    }

    fn put(&self, line: Bytes) {
        let bytes = line.len();
        let mut state = self.waiting.state();
        if state.is_abandoned {
            drop(state);
            return self.ledger.settle(bytes, 0, (Reason::Stopped, 1));
        }
        state.lines.push_back(line);
        drop(state);
        self.waiting.arrival.notify_one();
    }
}

impl Drop for AlertQueue {
    fn drop(&mut self) {
        self.waiting.state().is_closed = true;
        self.waiting.arrival.notify_one();
    }
}

impl Alerts {
    /// The next lines, at least one: no more than `count_max`, and no more than `bytes_max` together unless the first alone is
    /// longer. Empty at the end. What is taken still counts as queued until it is settled in the ledger.
    pub(super) async fn next(&mut self, count_max: usize, bytes_max: usize) -> Vec<Bytes> {
        loop {
            // Made before the look: an arrival between the look and the wait is not missed.
            let arrival = self.waiting.arrival.notified();
            {
                let mut state = self.waiting.state();
                let lines = state.take(count_max, bytes_max);
                if !lines.is_empty() || state.is_closed {
                    return lines;
                }
            }
            arrival.await;
        }
    }

    /// One line, if there is one already.
    #[cfg(test)]
    pub(crate) fn try_next(&mut self) -> Option<Bytes> {
        self.waiting.state().lines.pop_front()
    }
}

impl Drop for Alerts {
    /// What comes from now on is not kept; what was queued is for the one who ends the output to count.
    fn drop(&mut self) {
        let mut state = self.waiting.state();
        state.is_abandoned = true;
        state.lines = VecDeque::new();
    }
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, count_max: usize, bytes_max: usize) -> Vec<Bytes> {
        let mut bytes = 0_usize;
        let fitting = self.lines.iter().take(count_max).take_while(|line| {
            bytes = bytes.saturating_add(line.len());
            bytes <= bytes_max
        });
        let count = fitting.count().max(1).min(self.lines.len());
        self.lines.drain(..count).collect()
    }
}

/// One line of JSON, its end included, in memory of just that size.
fn line(alert: &Alert) -> Option<Bytes> {
    let mut line = serde_json::to_vec(alert).ok()?;
    line.push(b'\n');
    Some(line.into_boxed_slice().into())
}

#[cfg(test)]
mod tests;
