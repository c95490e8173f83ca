//! Counters whose label is a value out of alerts: bounded, because senders choose it.

use prometheus::{IntCounter, IntCounterVec};
use tercel_alert::Priority;

use crate::names::{Names, OTHER};

/// Values that get a label of their own; later ones are counted as [`OTHER`].
pub(super) const NAMES_MAX: usize = 256;

/// Alerts by one such value and priority.
pub(super) struct ByName {
    counters: IntCounterVec,
    overflow: IntCounter,
    names: Names,
}

impl ByName {
    /// `counters`: with the labels name and priority. `overflow`: what was counted as [`OTHER`].
    pub(super) fn new(counters: IntCounterVec, overflow: IntCounter) -> Self {
        Self { counters, overflow, names: Names::new(NAMES_MAX) }
    }

    pub(super) fn count(&self, name: &str, priority: Priority) {
        let label = if self.names.admits(name) {
            name
        } else {
            self.overflow.inc();
            OTHER
        };
        self.counters.with_label_values(&[label, priority.name()]).inc();
    }
}
