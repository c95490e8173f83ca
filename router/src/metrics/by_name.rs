//! Counters whose label is a value out of alerts: bounded, because senders choose it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus::{IntCounter, IntCounterVec};
use tercel_alert::Priority;

/// Values that get a label of their own; later ones are counted as [`OTHER`].
pub(super) const NAMES_MAX: usize = 256;

/// What values beyond [`NAMES_MAX`] are counted as.
const OTHER: &str = "other";

/// Alerts by one such value and priority.
pub(super) struct ByName {
    counters: IntCounterVec,
    overflow: IntCounter,
    seen: Mutex<HashSet<Box<str>>>,
}

impl ByName {
    /// `counters`: with the labels name and priority. `overflow`: what was counted as [`OTHER`].
    pub(super) fn new(counters: IntCounterVec, overflow: IntCounter) -> Self {
        Self { counters, overflow, seen: Mutex::default() }
    }

    pub(super) fn count(&self, name: &str, priority: Priority) {
        let label = if self.has_label(name) { name } else { OTHER };
        self.counters.with_label_values(&[label, priority.name()]).inc();
    }

    fn has_label(&self, name: &str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(name) {
            return true;
        }
        if seen.len() < NAMES_MAX {
            return seen.insert(name.into());
        }
        self.overflow.inc();
        false
    }
}
