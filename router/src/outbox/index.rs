//! The order in which entries go out. No clock and no lock: [`super::Outbox`] has them.
//!
//! All entries lie in one slab. A lane is a list of those that were not looked at yet (`fresh`) and a map of those whose
//! turn came again (`resumed`). An entry that meets its key in flight or waiting for a retry is parked in that key's
//! chain, and the chain's first comes back as soon as nothing stands before it.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use super::entry::Entry;
use super::slab::{List, SLAB_KEPT, Slab};
use super::{Choice, Kind, Lane, Order, Stock};
use crate::fingerprint::Fingerprint;

/// Urgent entries that go out before a usual one has its turn: it gets a tenth.
const URGENT_RUN_MAX: u32 = 9;

pub(super) struct Index {
    order: Order,
    slab: Slab,
    /// Urgent, usual.
    lanes: [Queue; 2],
    /// Of keys with an entry in flight, waiting for a retry, or parked.
    chains: HashMap<Fingerprint, Chain>,
    /// By the end of their wait.
    retrying: BTreeMap<(Instant, u64), u32>,
    /// By id.
    in_flight: HashMap<u64, Flight>,
    /// Urgent sends since the last usual one.
    urgent_run: u32,
    len: usize,
    alerts: u64,
    bytes: u64,
    /// Of entries that have their notification with them.
    body_bytes: u64,
}

#[derive(Clone, Copy)]
struct Flight {
    accepted: Instant,
    /// Whether others with its key wait for it; not so for what was drained.
    holds_key: bool,
}

#[derive(Default)]
struct Queue {
    fresh: List,
    resumed: BTreeMap<u64, u32>,
}

#[derive(Default)]
struct Chain {
    in_flight: bool,
    tracks: [Track; 2],
}

/// One key's entries of one lane.
#[derive(Default)]
struct Track {
    /// One is resumed or waits for a retry: it stands before the parked ones.
    ahead: bool,
    parked: List,
}

impl Index {
    pub(super) fn new(order: Order) -> Self {
        Self {
            order,
            slab: Slab::default(),
            lanes: Default::default(),
            chains: HashMap::new(),
            retrying: BTreeMap::new(),
            in_flight: HashMap::new(),
            urgent_run: 0,
            len: 0,
            alerts: 0,
            bytes: 0,
            body_bytes: 0,
        }
    }

    /// Entries waiting or in flight.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Those of them that are alerts.
    pub(super) fn alerts(&self) -> u64 {
        self.alerts
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its notification is let go of where those at hand would together be larger than `body_bytes_max`.
    pub(super) fn push(&mut self, mut entry: Entry, body_bytes_max: u64) {
        self.len += 1;
        self.alerts += u64::from(entry.kind == Kind::Alert);
        self.bytes += u64::from(entry.bytes);
        if self.body_bytes + u64::from(entry.bytes) > body_bytes_max {
            entry.notification = None;
        }
        self.body_bytes += body_bytes(&entry);
        let lane = entry.lane as usize;
        let slot = self.slab.insert(entry);
        self.slab.append(&mut self.lanes[lane].fresh, slot);
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.retrying.first_key_value().map(|((due, _), _)| *due)
    }

    pub(super) fn stock(&mut self, now: Instant) -> Stock {
        self.resume_due(now);
        let is_ready = self.lanes.iter().any(|queue| !queue.fresh.is_empty() || !queue.resumed.is_empty());
        Stock { is_ready, count: self.slab.len(), bytes: self.slab.bytes() }
    }

    pub(super) fn take(&mut self, now: Instant, choice: Choice) -> Option<Entry> {
        self.resume_due(now);
        let lanes = match self.urgent_run {
            URGENT_RUN_MAX.. => [Lane::Usual, Lane::Urgent],
            _ => [Lane::Urgent, Lane::Usual],
        };
        let slot = match choice {
            Choice::Oldest => lanes.into_iter().find_map(|lane| self.next(lane)),
            Choice::Untried => {
                let fresh = lanes.into_iter().find_map(|lane| self.next_fresh(lane));
                fresh.or_else(|| lanes.into_iter().find_map(|lane| self.next_resumed(lane)))
            }
        }?;
        let entry = self.slab.remove(slot)?;
        self.urgent_run = if entry.lane == Lane::Urgent { self.urgent_run.saturating_add(1) } else { 0 };
        self.in_flight.insert(entry.id, Flight { accepted: entry.accepted, holds_key: true });
        Some(entry)
    }

    pub(super) fn take_batch(&mut self, now: Instant, count: usize, bytes: u64) -> Vec<Entry> {
        let mut batch = Vec::new();
        let mut size = 0;
        while batch.len() < count && size < bytes {
            let Some(entry) = self.take(now, Choice::Oldest) else { break };
            if size > 0 && size + u64::from(entry.bytes) > bytes {
                self.put_back(entry);
                break;
            }
            size += u64::from(entry.bytes);
            batch.push(entry);
        }
        batch
    }

    pub(super) fn retry(&mut self, entry: Entry, due: Instant) {
        self.in_flight.remove(&entry.id);
        let (key, lane, id) = (entry.key, entry.lane, entry.id);
        let slot = self.slab.insert(entry);
        self.retrying.insert((due, id), slot);
        self.free_chain(key, Some(lane));
    }

    pub(super) fn release(&mut self, entry: &Entry) {
        let holds_key = self.in_flight.remove(&entry.id).is_some_and(|flight| flight.holds_key);
        self.len -= 1;
        self.alerts -= u64::from(entry.kind == Kind::Alert);
        self.bytes -= u64::from(entry.bytes);
        self.body_bytes -= body_bytes(entry);
        if holds_key {
            self.free_chain(entry.key, None);
        }
        if self.len == 0 {
            self.slab.give_back();
            self.chains.shrink_to(SLAB_KEPT);
        }
    }

    /// Ids of all entries, in flight or not, in order.
    pub(super) fn ids(&self) -> Vec<u64> {
        let waiting = self.slab.entries().map(|entry| entry.id);
        let mut ids: Vec<_> = waiting.chain(self.in_flight.keys().copied()).collect();
        ids.sort_unstable();
        ids
    }

    /// When the oldest entry was accepted.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let waiting = self.slab.entries().map(|entry| entry.accepted);
        waiting.chain(self.in_flight.values().map(|flight| flight.accepted)).min()
    }

    /// Within a key and lane, what is resumed or waits for a retry stands before what is parked, and that before what
    /// was not looked at.
    pub(super) fn drain(&mut self, count: usize) -> Vec<Entry> {
        let mut drained = Vec::new();
        while drained.len() < count {
            let Some(slot) = self.any() else { break };
            drained.extend(self.slab.remove(slot));
        }
        self.mark_in_flight(&drained);
        drained
    }

    pub(super) fn drain_older(&mut self, limit: Instant) -> Vec<Entry> {
        let is_older = |entry: &Entry| entry.accepted < limit;
        let mut drained = Vec::new();
        for queue in &mut self.lanes {
            let ids: Vec<_> = old_slots(&self.slab, &queue.resumed, is_older);
            drained.extend(ids.iter().filter_map(|id| queue.resumed.remove(id)));
        }
        let keys: Vec<_> = old_slots(&self.slab, &self.retrying, is_older);
        drained.extend(keys.iter().filter_map(|key| self.retrying.remove(key)));
        let ahead = drained.len();
        for chain in self.chains.values_mut() {
            for track in &mut chain.tracks {
                self.slab.split_off(&mut track.parked, is_older, &mut drained);
            }
        }
        for queue in &mut self.lanes {
            self.slab.split_off(&mut queue.fresh, is_older, &mut drained);
        }
        let drained: Vec<_> = drained.into_iter().filter_map(|slot| self.slab.remove(slot)).collect();
        for entry in &drained[..ahead] {
            self.clear_ahead(entry.key, entry.lane);
        }
        self.mark_in_flight(&drained);
        drained
    }
}

impl Index {
    fn resume_due(&mut self, now: Instant) {
        while let Some(first) = self.retrying.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, id), slot) = first.remove_entry();
            if let Some(entry) = self.slab.get(slot) {
                self.lanes[entry.lane as usize].resumed.insert(id, slot);
            }
        }
    }

    /// The oldest of a lane that may go out.
    fn next(&mut self, lane: Lane) -> Option<u32> {
        loop {
            let queue = &self.lanes[lane as usize];
            let fresh = self.slab.get(queue.fresh.first()).map(|entry| entry.id);
            let resumed = queue.resumed.first_key_value().map(|(id, _)| *id);
            let slot = match (fresh, resumed) {
                (None, None) => return None,
                (Some(fresh), Some(resumed)) if resumed < fresh => self.step_resumed(lane),
                (None, Some(_)) => self.step_resumed(lane),
                (Some(_), _) => self.step_fresh(lane),
            };
            if slot.is_some() {
                return slot;
            }
        }
    }

    fn next_fresh(&mut self, lane: Lane) -> Option<u32> {
        while !self.lanes[lane as usize].fresh.is_empty() {
            if let Some(slot) = self.step_fresh(lane) {
                return Some(slot);
            }
        }
        None
    }

    fn next_resumed(&mut self, lane: Lane) -> Option<u32> {
        while !self.lanes[lane as usize].resumed.is_empty() {
            if let Some(slot) = self.step_resumed(lane) {
                return Some(slot);
            }
        }
        None
    }

    /// Takes the first fresh entry out, or parks it and gives none.
    fn step_fresh(&mut self, lane: Lane) -> Option<u32> {
        let slot = self.slab.pop(&mut self.lanes[lane as usize].fresh)?;
        let Some(key) = self.key_of(slot) else { return Some(slot) };
        let chain = self.chains.entry(key).or_default();
        let track = &mut chain.tracks[lane as usize];
        if chain.in_flight || track.ahead || !track.parked.is_empty() {
            self.slab.append(&mut track.parked, slot);
            return None;
        }
        chain.in_flight = true;
        Some(slot)
    }

    /// Takes the first resumed entry out, or parks it and gives none.
    fn step_resumed(&mut self, lane: Lane) -> Option<u32> {
        let (_, slot) = self.lanes[lane as usize].resumed.pop_first()?;
        let Some(key) = self.key_of(slot) else { return Some(slot) };
        let chain = self.chains.entry(key).or_default();
        let track = &mut chain.tracks[lane as usize];
        track.ahead = false;
        if chain.in_flight {
            self.slab.prepend(&mut track.parked, slot);
            return None;
        }
        chain.in_flight = true;
        Some(slot)
    }

    /// The key that an entry keeps its order by.
    fn key_of(&self, slot: u32) -> Option<Fingerprint> {
        self.slab.get(slot)?.key.filter(|_| self.order == Order::ByKey)
    }

    /// Nothing of this key is in flight any more; `ahead`: the lane in which an entry waits for its retry.
    fn free_chain(&mut self, key: Option<Fingerprint>, ahead: Option<Lane>) {
        let Some((key, chain)) = key.and_then(|key| Some((key, self.chains.get_mut(&key)?))) else { return };
        chain.in_flight = false;
        if let Some(lane) = ahead {
            chain.tracks[lane as usize].ahead = true;
        }
        self.settle(key);
    }

    fn clear_ahead(&mut self, key: Option<Fingerprint>, lane: Lane) {
        let Some((key, chain)) = key.and_then(|key| Some((key, self.chains.get_mut(&key)?))) else { return };
        chain.tracks[lane as usize].ahead = false;
        self.settle(key);
    }

    /// Resumes the first parked entry of each lane that has nothing before it; forgets a chain that is empty.
    fn settle(&mut self, key: Fingerprint) {
        let Some(chain) = self.chains.get_mut(&key) else { return };
        if chain.in_flight {
            return;
        }
        for (queue, track) in self.lanes.iter_mut().zip(&mut chain.tracks) {
            if track.ahead {
                continue;
            }
            let Some(slot) = self.slab.pop(&mut track.parked) else { continue };
            if let Some(entry) = self.slab.get(slot) {
                queue.resumed.insert(entry.id, slot);
                track.ahead = true;
            }
        }
        if chain.tracks.iter().all(|track| !track.ahead) {
            self.chains.remove(&key);
        }
    }

    /// Undoes a take.
    fn put_back(&mut self, entry: Entry) {
        self.in_flight.remove(&entry.id);
        let (key, lane, id) = (entry.key, entry.lane, entry.id);
        let slot = self.slab.insert(entry);
        self.lanes[lane as usize].resumed.insert(id, slot);
        self.free_chain(key, Some(lane));
    }

    /// Any entry that is not in flight, taken out of where it stood.
    fn any(&mut self) -> Option<u32> {
        let resumed = self.lanes.iter_mut().find_map(|queue| queue.resumed.pop_first().map(|(_, slot)| slot));
        let ahead = resumed.or_else(|| self.retrying.pop_first().map(|(_, slot)| slot));
        if let Some(entry) = ahead.and_then(|slot| self.slab.get(slot)) {
            let (key, lane) = (entry.key, entry.lane);
            self.clear_ahead(key, lane);
            return ahead;
        }
        // What is left parked stands behind an entry in flight.
        let parked = self.chains.values_mut().flat_map(|chain| &mut chain.tracks);
        let slab = &mut self.slab;
        let parked = parked.into_iter().find_map(|track| slab.pop(&mut track.parked));
        parked.or_else(|| self.lanes.iter_mut().find_map(|queue| slab.pop(&mut queue.fresh)))
    }

    /// They count until they are released; their keys are not blocked by that.
    fn mark_in_flight(&mut self, entries: &[Entry]) {
        let flight = |entry: &Entry| (entry.id, Flight { accepted: entry.accepted, holds_key: false });
        self.in_flight.extend(entries.iter().map(flight));
    }
}

fn old_slots<K: Copy>(slab: &Slab, map: &BTreeMap<K, u32>, is_older: impl Fn(&Entry) -> bool) -> Vec<K> {
    map.iter().filter(|(_, slot)| slab.get(**slot).is_some_and(&is_older)).map(|(key, _)| *key).collect()
}

/// What an entry adds to the memory of bodies.
fn body_bytes(entry: &Entry) -> u64 {
    entry.notification.as_ref().map_or(0, |_| entry.bytes.into())
}
