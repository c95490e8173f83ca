//! The windows of one destination from their records, and back.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use lru::LruCache;
use tercel_alert::Alert;

use super::window::{State, Window};
use super::{Bounds, Dedup, Tally};
use crate::record::{Owner, Record, Records};

/// What is stored beside the windows.
pub(crate) trait Stored {
    /// Whether a delivery is still to be made; a window whose first one is not tells its own count.
    fn waits(&self, delivery: u64) -> bool;

    /// The alert of this number; `None`: it is not there, or cannot be read.
    fn alert(&self, number: u64) -> Option<Arc<Alert>>;
}

impl Dedup {
    pub(crate) fn new(destination: &Arc<str>) -> Self {
        Self::empty(destination, Bounds::USUAL)
    }

    /// `records`: those of the windows' table, in the order of their keys; others' are passed over.
    pub(crate) fn load(destination: &Arc<str>, records: impl Iterator<Item = Record>, stored: &impl Stored) -> Self {
        Self::with_bounds(destination, records, stored, &HashMap::new(), Bounds::USUAL)
    }

    /// As [`Dedup::load`], after a commit that failed: deliveries in memory keep the counters that they share.
    pub(crate) fn reload(&mut self, records: impl Iterator<Item = Record>, stored: &impl Stored) {
        let loaded = Self::with_bounds(&self.destination, records, stored, &self.repeats(), self.bounds);
        *self = Self { tally: self.tally, ..loaded };
    }

    /// What each first delivery that has not ended shows as its count, by delivery.
    pub(crate) fn repeats(&self) -> HashMap<u64, Arc<AtomicU64>> {
        let pending = self.windows.values().filter(|window| window.counts.is_pending);
        pending.map(|window| (window.id, Arc::clone(&window.repeats))).collect()
    }

    /// Puts all that changed since the last call.
    pub(crate) fn record(&mut self, records: &mut dyn Records) {
        self.senseless.drain(..).for_each(|key| records.remove(&key));
        for id in &self.changed {
            if let Some(window) = self.windows.get_mut(id) {
                window.record(&self.owner, records);
            }
        }
        self.recorded.append(&mut self.changed);
    }

    /// What was recorded is committed.
    pub(crate) fn committed(&mut self) {
        for id in self.recorded.drain(..) {
            let Some(window) = self.windows.get(&id) else { continue };
            window.publish();
            if window.counts.state == State::Gone {
                self.windows.remove(&id);
            }
        }
    }

    fn with_bounds(
        destination: &Arc<str>,
        records: impl Iterator<Item = Record>,
        stored: &impl Stored,
        repeats: &HashMap<u64, Arc<AtomicU64>>,
        bounds: Bounds,
    ) -> Self {
        let mut dedup = Self::empty(destination, bounds);
        let mut windows = Vec::new();
        for (key, value) in records {
            let Some(rest) = dedup.owner.rest(&key) else { continue };
            if !Window::load(&mut windows, rest, &value) {
                dedup.tally.senseless += 1;
                dedup.senseless.push(key);
            }
        }
        windows.sort_by_key(|window| (window.opened(), window.id));
        for mut window in windows {
            if let Some(repeats) = repeats.get(&window.id) {
                window.repeats = Arc::clone(repeats);
            }
            window.publish();
            dedup.take_back(window, stored);
        }
        dedup
    }

    pub(super) fn empty(destination: &Arc<str>, bounds: Bounds) -> Self {
        Self {
            destination: Arc::clone(destination),
            owner: Owner::new(&[destination]),
            bounds,
            windows: HashMap::new(),
            open: LruCache::unbounded(),
            open_bytes: 0,
            closing: BTreeSet::new(),
            handed_over: 0,
            ready: Vec::new(),
            changed: Vec::new(),
            recorded: Vec::new(),
            released: Vec::new(),
            senseless: Vec::new(),
            // So that the first `now` counts as a step back and bounds what was loaded.
            latest: Timestamp::MAX,
            tally: Tally::default(),
        }
    }

    fn take_back(&mut self, mut window: Window, stored: &impl Stored) {
        let (id, state) = (window.id, window.counts.state);
        let is_orphan = window.counts.is_pending && !stored.waits(id);
        window.counts.is_pending &= !is_orphan;
        if state == State::Open || is_orphan {
            window.alert = stored.alert(window.alert_number);
            if window.alert.is_none() {
                self.tally.untold += window.untold();
                self.windows.insert(id, Box::new(window));
                return self.forget(id);
            }
        }
        match state {
            State::Open => {
                self.insert(window);
                if is_orphan {
                    self.note(id);
                }
            }
            State::HandedOver if !is_orphan => {
                window.hand_over();
                self.handed_over += 1;
                self.windows.insert(id, Box::new(window));
            }
            State::HandedOver | State::Gone => {
                self.windows.insert(id, Box::new(window));
                self.end(id);
            }
        }
    }
}
