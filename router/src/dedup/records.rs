//! The windows of one destination from their records, and back.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::window::{State, Window};
use super::{Bounds, Dedup, HANDED_OVER_MAX, Shared, Tally, WINDOWS_BYTES_MAX, lock};
use crate::fingerprint::Fingerprint;
use crate::record::{Owner, Record, Records};

impl Dedup {
    /// `records`: those of the windows' table, in the order of their keys; others' are passed over. `waits`: whether a
    /// delivery is still to be made; a window whose first one is not tells its own count.
    pub(crate) fn load(
        destination: &Arc<str>,
        records: impl Iterator<Item = Record>,
        waits: impl Fn(u64) -> bool,
    ) -> Self {
        let bounds = Bounds { windows_bytes: WINDOWS_BYTES_MAX, handed_over: HANDED_OVER_MAX };
        Self::with_bounds(destination, records, waits, &HashMap::new(), bounds)
    }

    /// As [`Dedup::load`], after a commit that failed: deliveries in memory keep the counters that they share.
    pub(crate) fn reload(&mut self, records: impl Iterator<Item = Record>, waits: impl Fn(u64) -> bool) {
        let loaded = Self::with_bounds(&self.destination, records, waits, &self.repeats(), self.bounds);
        *self = Self { tally: self.tally, ..loaded };
    }

    /// What each first delivery that has not ended shows as its count, by delivery.
    pub(crate) fn repeats(&self) -> HashMap<u64, Arc<AtomicU64>> {
        let open = self.open.iter().map(|(_key, shared)| shared);
        let evicted = self.evicted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        open.chain(self.handed_over.values().cloned())
            .chain(evicted)
            .filter_map(|shared| {
                let window = lock(&shared);
                window.counts.is_pending.then(|| (window.id, Arc::clone(&window.repeats)))
            })
            .collect()
    }

    /// Puts all that changed since the last call.
    pub(crate) fn record(&mut self, records: &mut dyn Records) {
        self.senseless.drain(..).for_each(|key| records.remove(&key));
        for shared in &self.changed {
            lock(shared).record(&self.owner, records);
        }
        self.recorded.append(&mut self.changed);
    }

    /// What was recorded is committed.
    pub(crate) fn committed(&mut self) {
        self.recorded.drain(..).for_each(|shared| lock(&shared).publish());
    }

    fn with_bounds(
        destination: &Arc<str>,
        records: impl Iterator<Item = Record>,
        waits: impl Fn(u64) -> bool,
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
            dedup.take_back(window, &waits);
        }
        dedup
    }

    pub(super) fn empty(destination: &Arc<str>, bounds: Bounds) -> Self {
        let evicted = Arc::new(Mutex::new(Vec::new()));
        Self {
            destination: Arc::clone(destination),
            owner: Owner::new(&[destination]),
            bounds,
            open: cache(bounds.windows_bytes, &evicted),
            closing: BTreeMap::new(),
            handed_over: HashMap::new(),
            evicted,
            ready: Vec::new(),
            changed: Vec::new(),
            recorded: Vec::new(),
            senseless: Vec::new(),
            // So that the first `now` counts as a step back and bounds what was loaded.
            latest: Timestamp::MAX,
            tally: Tally::default(),
        }
    }

    fn take_back(&mut self, mut window: Window, waits: &impl Fn(u64) -> bool) {
        let is_orphan = window.counts.is_pending && !waits(window.id);
        window.counts.is_pending &= !is_orphan;
        match window.counts.state {
            State::Open => {
                let shared = self.insert(window);
                if is_orphan {
                    self.note(&shared);
                }
            }
            State::HandedOver if !is_orphan => {
                window.hand_over();
                self.handed_over.insert(window.id, Arc::new(Mutex::new(window)));
            }
            State::HandedOver | State::Gone => self.end(&Arc::new(Mutex::new(window))),
        }
    }
}

fn cache(bytes_max: u64, evicted: &Arc<Mutex<Vec<Shared>>>) -> Cache<Fingerprint, Shared> {
    let evicted = Arc::clone(evicted);
    Cache::builder()
        .max_capacity(bytes_max)
        .weigher(|_key, window: &Shared| u32::try_from(lock(window).weight()).unwrap_or(u32::MAX))
        // The default policy may refuse a new entry, and every alert must open its window.
        .eviction_policy(EvictionPolicy::lru())
        .eviction_listener(move |_key, window, cause| {
            if cause == RemovalCause::Size {
                evicted.lock().unwrap_or_else(PoisonError::into_inner).push(window);
            }
        })
        .build()
}
