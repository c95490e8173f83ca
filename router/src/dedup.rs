//! Deduplication at one destination: the first of equal alerts passes at once, its repeats within a fixed window are
//! counted, and when the window closes one summary says how many there were that nobody was told of yet.
//!
//! - A repeat that is more urgent than what passed before passes too.
//! - While the first alert's delivery has not ended, that delivery tells the count when it goes out. Where the window
//!   closes before it, the count is *handed over*: it stays until the delivery ends, so that it is told exactly once.
//! - When that delivery dies its window goes with it, and the next occurrence is a first again.
//!
//! A plain state machine: it neither waits nor reads a clock. For each group of requests it is asked [`Dedup::decide`]
//! and told [`Dedup::open`] or [`Dedup::escalate`] for what passes the limit too; then [`Dedup::closed`] and
//! [`Dedup::record`] fill the commit, and [`Dedup::committed`] makes it known to the deliveries. After a commit that
//! failed, [`Dedup::reload`] takes back what it decided since the last one.
//!
//! The look-up is bounded; what has to make room closes at once and still tells what it counted.

mod records;
mod window;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use lru::LruCache;
use tercel_alert::Alert;
use uuid::Uuid;

use crate::destination::Summary;
use crate::fingerprint::Fingerprint;
use crate::record::Owner;
pub(crate) use records::Stored;
use window::{State, Window};

/// Memory of one destination's open windows, with their first alerts and all the samples they may come to hold: some
/// 2,000 alerts of usual size.
const WINDOWS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Windows that closed before their first alert was delivered and whose count it still has to tell: some 10 MiB. One
/// beyond it tells its count in a summary at once.
const HANDED_OVER_MAX: usize = 40_000;

/// The windows of one destination.
pub(crate) struct Dedup {
    destination: Arc<str>,
    owner: Owner,
    bounds: Bounds,
    /// By id, those that are gone too until the commit that says so. Each apart: a table that was large once stays so.
    windows: HashMap<u64, Box<Window>>,
    /// Ids of those that are open. Has no bound of its own: [`Dedup::insert`] keeps it within `bounds`.
    open: LruCache<Fingerprint, u64>,
    open_bytes: u64,
    /// Closing time and id of every open window.
    closing: BTreeSet<(Timestamp, u64)>,
    /// How many are handed over.
    handed_over: usize,
    ready: Vec<Closed>,
    changed: Vec<u64>,
    /// Recorded, and perhaps not committed yet.
    recorded: Vec<u64>,
    /// Alerts of windows that are not open any more.
    released: Vec<u64>,
    /// Records that made no sense; removed with the next commit.
    senseless: Vec<Vec<u8>>,
    /// The last `now`.
    latest: Timestamp,
    tally: Tally,
}

#[derive(Clone, Copy)]
struct Bounds {
    windows_bytes: u64,
    handed_over: usize,
}

impl Bounds {
    const USUAL: Self = Self { windows_bytes: WINDOWS_BYTES_MAX, handed_over: HANDED_OVER_MAX };
}

/// What happened since the last look, for the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Open windows that had to make room.
    pub(crate) evicted: u64,
    /// Counts that were told at once because too many waited for their first delivery.
    pub(crate) handed_over_overflow: u64,
    /// Records that made no sense at the start.
    pub(crate) senseless: u64,
    /// Repeats of which nobody will be told: the first alert was not in the store any more.
    pub(crate) untold: u64,
}

/// An alert that may open a window.
pub(crate) struct Candidate<'a> {
    pub(crate) alert: &'a Arc<Alert>,
    /// Bytes of memory.
    pub(crate) weight: usize,
    pub(crate) key: Fingerprint,
    pub(crate) route: &'a Arc<str>,
    /// Longer than zero.
    pub(crate) window: Duration,
}

/// An alert that opens a window, as it lies in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) delivery: u64,
    /// Number of the alert, which must stay in the store until [`Dedup::take_released`] gives it.
    pub(crate) alert: u64,
    /// Of its record.
    pub(crate) bytes: u32,
}

/// What an alert is to its destination.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Passes, if the limit allows it; then [`Dedup::open`].
    First,
    /// More urgent than what passed so far: passes, if the limit allows it; then [`Dedup::escalate`].
    Escalated,
    /// Counted, and told later.
    Repeat,
    /// Counted, and this tells of it and of the others since the last telling.
    Early(Box<Closed>),
}

/// How the delivery of a window's first alert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstEnd {
    /// Also by way of a fallback. `repeats_told`: the count that it showed.
    Delivered {
        repeats_told: u64,
    },
    Dead,
}

/// A summary to be sent.
#[derive(Debug)]
pub(crate) struct Closed {
    /// The same when it is made again.
    pub(crate) id: Uuid,
    pub(crate) key: Fingerprint,
    pub(crate) route: Arc<str>,
    /// The first one, as urgent as the most urgent.
    pub(crate) alert: Arc<Alert>,
    pub(crate) summary: Summary,
}

/// Deciding.
impl Dedup {
    /// Counts a repeat. Nothing is opened yet.
    pub(crate) fn decide(&mut self, candidate: &Candidate<'_>, now: Timestamp) -> Verdict {
        self.observe(now);
        let Some(&id) = self.open.get(&candidate.key) else { return Verdict::First };
        let Some(window) = self.windows.get_mut(&id) else { return Verdict::First };
        if window.counts.closes <= now {
            self.close(id);
            return Verdict::First;
        }
        if candidate.alert.priority > window.counts.priority {
            return Verdict::Escalated;
        }
        window.add(candidate.alert);
        let early = window.early(&self.destination, now);
        self.note(id);
        early.map_or(Verdict::Repeat, |closed| Verdict::Early(Box::new(closed)))
    }

    /// Repeats in the open window of this key, and when it closes.
    pub(crate) fn window(&self, key: &Fingerprint, now: Timestamp) -> Option<(u64, Timestamp)> {
        let counts = &self.windows.get(self.open.peek(key)?)?.counts;
        (counts.closes > now).then_some((counts.count, counts.closes))
    }

    /// From now on, for the window's length, equal alerts are repeats of this one. Gives what its delivery shows as its
    /// count.
    pub(crate) fn open(&mut self, candidate: &Candidate<'_>, now: Timestamp, first: First) -> Arc<AtomicU64> {
        self.observe(now);
        let window = Window::new(candidate, now, first);
        let repeats = Arc::clone(&window.repeats);
        self.insert(window);
        self.note(first.delivery);
        repeats
    }

    /// This alert passes as well, by this delivery; from now on only a more urgent one does.
    pub(crate) fn escalate(&mut self, candidate: &Candidate<'_>, delivery: u64) {
        let Some(&id) = self.open.get(&candidate.key) else { return };
        let Some(window) = self.windows.get_mut(&id) else { return };
        window.counts.priority = window.counts.priority.max(candidate.alert.priority);
        window.counts.raised_by = Some(delivery);
        self.note(id);
    }

    /// A delivery with this key has ended. `first_alert` reads the alert of the delivery from the store; it is asked only
    /// where the window closed before. Gives what is to be told now.
    pub(crate) fn first_ended(
        &mut self,
        key: Fingerprint,
        delivery: u64,
        end: FirstEnd,
        first_alert: impl FnOnce() -> Option<Arc<Alert>>,
    ) -> Option<Closed> {
        if self.windows.get(&delivery).is_some_and(|window| window.counts.state == State::HandedOver) {
            return self.end_handed_over(delivery, end, first_alert);
        }
        let id = *self.open.peek(&key)?;
        let window = self.windows.get_mut(&id)?;
        let is_dead = end == FirstEnd::Dead;
        if window.counts.raised_by == Some(delivery) {
            window.raise_ended(is_dead);
        } else if window.id != delivery || !window.counts.is_pending {
            return None;
        } else {
            window.counts.is_pending = false;
            if let FirstEnd::Delivered { repeats_told } = end {
                window.counts.told = repeats_told.min(window.counts.count);
            } else {
                self.close(id);
                return self.ready.pop_if(|closed| closed.key == key);
            }
        }
        self.note(id);
        None
    }

    /// What is to be told by now: windows whose time is over, and those that had to make room. Asked once for each group,
    /// and when [`Dedup::next_closing`] says so.
    pub(crate) fn closed(&mut self, now: Timestamp) -> Vec<Closed> {
        self.observe(now);
        while let Some((_, id)) = self.closing.first().copied().filter(|(closes, _)| *closes <= now) {
            self.close(id);
        }
        std::mem::take(&mut self.ready)
    }

    /// Closes every window; for a destination that a new configuration does not have. Counts that wait for the first
    /// delivery are told when that ends, as always.
    pub(crate) fn close_all(&mut self, now: Timestamp) -> Vec<Closed> {
        self.observe(now);
        for id in self.open_ids() {
            self.close(id);
        }
        std::mem::take(&mut self.ready)
    }

    /// When [`Dedup::closed`] will have something to do.
    pub(crate) fn next_closing(&self) -> Option<Timestamp> {
        let first = self.closing.first().map(|(closes, _)| *closes);
        if self.ready.is_empty() { first } else { Some(Timestamp::MIN) }
    }

    /// The first alerts of all windows that were loaded, by number, and the bytes of their records: they must stay in the
    /// store until [`Dedup::take_released`] gives them.
    pub(crate) fn hold(&mut self) -> Vec<(u64, u32)> {
        let open = self.windows.values_mut().filter(|window| window.counts.state == State::Open);
        open.map(|window| {
            window.is_alert_held = true;
            (window.alert_number, window.alert_stored)
        })
        .collect()
    }

    /// Alerts that were held for windows which are not open any more, by number.
    pub(crate) fn take_released(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.released)
    }

    /// Number of open windows.
    pub(crate) fn len(&self) -> usize {
        self.closing.len()
    }

    /// What happened since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
}

/// Ending.
impl Dedup {
    fn insert(&mut self, window: Window) {
        let (key, id) = (window.key, window.id);
        if let Some(&old) = self.open.peek(&key) {
            self.close(old);
        }
        self.closing.insert((window.counts.closes, id));
        self.open_bytes += window.weight();
        self.windows.insert(id, Box::new(window));
        self.open.put(key, id);
        while self.open_bytes > self.bounds.windows_bytes
            && let Some((_key, &oldest)) = self.open.peek_lru()
        {
            self.tally.evicted += 1;
            self.close(oldest);
        }
    }

    fn open_ids(&self) -> Vec<u64> {
        self.open.iter().map(|(_key, id)| *id).collect()
    }

    /// The clock stands at `now`. Where it went back, no window lasts longer than its length from there.
    fn observe(&mut self, now: Timestamp) {
        if now < self.latest {
            for id in self.open_ids() {
                let Some(window) = self.windows.get_mut(&id) else { continue };
                let closes = window.counts.closes;
                if window.clamp(now) {
                    self.closing.remove(&(closes, id));
                    self.closing.insert((window.counts.closes, id));
                    self.note(id);
                }
            }
        }
        self.latest = now;
    }

    fn close(&mut self, id: u64) {
        if let Some(window) = self.windows.get(&id)
            && self.open.pop(&window.key).is_some()
        {
            self.open_bytes -= window.weight();
        }
        self.end(id);
    }

    /// The window is not open any more: it tells its count, or leaves that to its first delivery.
    fn end(&mut self, id: u64) {
        let Some(window) = self.windows.get_mut(&id) else { return };
        self.closing.remove(&(window.counts.closes, id));
        if std::mem::take(&mut window.is_alert_held) {
            self.released.push(window.alert_number);
        }
        if window.counts.is_pending && window.untold() > 0 {
            if self.handed_over < self.bounds.handed_over {
                window.hand_over();
                self.handed_over += 1;
                return self.note(id);
            }
            self.tally.handed_over_overflow += 1;
        }
        self.ready.extend(window.last_words(&self.destination, self.latest));
        self.forget(id);
    }

    fn end_handed_over(
        &mut self,
        id: u64,
        end: FirstEnd,
        first_alert: impl FnOnce() -> Option<Arc<Alert>>,
    ) -> Option<Closed> {
        let window = self.windows.get_mut(&id)?;
        self.handed_over -= 1;
        if let FirstEnd::Delivered { repeats_told } = end {
            window.counts.told = repeats_told.min(window.counts.count);
        }
        if window.untold() > 0 {
            window.alert = first_alert();
        }
        let closed = window.last_words(&self.destination, self.latest);
        self.tally.untold += window.untold();
        self.forget(id);
        closed
    }

    fn forget(&mut self, id: u64) {
        let Some(window) = self.windows.get_mut(&id) else { return };
        window.counts.state = State::Gone;
        window.counts.is_pending = false;
        self.note(id);
    }

    /// It is written with the next commit.
    fn note(&mut self, id: u64) {
        if let Some(window) = self.windows.get_mut(&id)
            && !std::mem::replace(&mut window.is_listed, true)
        {
            self.changed.push(id);
        }
    }
}

#[cfg(test)]
mod tests;
