//! One window: what it counted, what of that was told, and its records.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tercel_alert::{Alert, Priority};

use super::{Candidate, Closed};
use crate::destination::Summary;
use crate::fingerprint::Fingerprint;
use crate::record::{Owner, Records, after, derived_id, from_json, to_json};

/// What a window costs beside its alert and samples.
const WINDOW_BYTES: usize = 512;

/// Differing outputs that a summary shows.
pub(super) const SAMPLES_MAX: usize = 3;

/// Bytes of one of them.
pub(super) const SAMPLE_BYTES_MAX: usize = 1_024;

/// The count at which a window that is still open says so for the first time; then at each tenfold of it.
const EARLY_FIRST: u64 = 1_000;

/// The last byte of a record's key: what the record holds. In this order, so that loading reads the opening first.
const OPENING: u8 = b'a';
const COUNTS: u8 = b'b';
const SAMPLES: u8 = b'c';

/// What a summary's id is derived from in place of an early step.
const FINAL_STEP: u64 = 0;

#[derive(Debug)]
pub(super) struct Window {
    pub(super) key: Fingerprint,
    /// The delivery of the first alert: what tells this window from an earlier one of the same key.
    pub(super) id: u64,
    pub(super) route: Arc<str>,
    /// The first one. `None` once the window is handed over and recorded: its delivery has it.
    pub(super) alert: Option<Arc<Alert>>,
    /// Bytes of memory of the alert.
    alert_bytes: usize,
    first_priority: Priority,
    first: Timestamp,
    opened: Timestamp,
    length: Duration,
    pub(super) counts: Counts,
    samples: Vec<String>,
    /// What the delivery of the first alert says when it goes out; behind `counts` until the commit.
    pub(super) repeats: Arc<AtomicU64>,
    /// What the next [`Window::record`] has to write beside the counts.
    is_new: bool,
    has_new_samples: bool,
    /// In the list of what changed.
    pub(super) is_listed: bool,
}

/// What changes while a window is open. One small record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Repeats beyond the first alert.
    pub(super) count: u64,
    /// How many of them a notification has told of.
    pub(super) told: u64,
    pub(super) last: Timestamp,
    pub(super) closes: Timestamp,
    /// The highest that passed.
    pub(super) priority: Priority,
    /// The delivery that raised the priority and has not ended.
    pub(super) raised_by: Option<u64>,
    /// The first delivery has not ended and tells what is counted.
    pub(super) is_pending: bool,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    Open,
    /// Over, and its first delivery still has to tell the count.
    HandedOver,
    Gone,
}

/// What a window is from its first alert on.
#[derive(Serialize, Deserialize)]
struct Opening<A> {
    opened: Timestamp,
    length: Duration,
    route: Arc<str>,
    alert_bytes: usize,
    alert: A,
}

impl Window {
    pub(super) fn new(first: &Candidate<'_>, now: Timestamp, id: u64) -> Self {
        let opening = Opening {
            opened: now,
            length: first.window,
            route: Arc::clone(first.route),
            alert_bytes: first.weight,
            alert: Arc::clone(first.alert),
        };
        Self { is_new: true, ..Self::from_opening(first.key, id, opening) }
    }

    fn from_opening(key: Fingerprint, id: u64, opening: Opening<Arc<Alert>>) -> Self {
        let Opening { opened, length, route, alert_bytes, alert } = opening;
        let counts = Counts {
            count: 0,
            told: 0,
            last: alert.time,
            closes: after(opened, length),
            priority: alert.priority,
            raised_by: None,
            is_pending: true,
            state: State::Open,
        };
        Self {
            key,
            id,
            route,
            first_priority: alert.priority,
            first: alert.time,
            alert: Some(alert),
            alert_bytes,
            opened,
            length,
            counts,
            samples: Vec::new(),
            repeats: Arc::new(AtomicU64::new(0)),
            is_new: false,
            has_new_samples: false,
            is_listed: false,
        }
    }

    /// Bytes of memory, with all samples that may come.
    pub(super) fn weight(&self) -> usize {
        self.alert_bytes + WINDOW_BYTES + SAMPLES_MAX * SAMPLE_BYTES_MAX
    }

    pub(super) fn add(&mut self, alert: &Alert) {
        self.counts.count += 1;
        self.counts.last = self.counts.last.max(alert.time);
        let sample = cut(&alert.output);
        let is_first = self.alert.as_ref().is_some_and(|first| first.output == alert.output);
        if !is_first && self.samples.len() < SAMPLES_MAX && !self.samples.iter().any(|known| known == sample) {
            self.samples.push(sample.to_owned());
            self.has_new_samples = true;
        }
    }

    /// The wall clock went back to `now`: the window lasts no longer than its length from there. True: it closes earlier
    /// than it would have.
    pub(super) fn clamp(&mut self, now: Timestamp) -> bool {
        let latest = after(now, self.length);
        let is_later = self.counts.closes > latest;
        self.counts.closes = self.counts.closes.min(latest);
        is_later
    }

    /// Repeats that nobody was told of.
    pub(super) fn untold(&self) -> u64 {
        self.counts.count.saturating_sub(self.counts.told)
    }

    /// A summary when the count has reached the next of 1,000, 10,000 … since the last telling; not while the first
    /// delivery is still to tell it.
    pub(super) fn early(&mut self, destination: &str, now: Timestamp) -> Option<Closed> {
        let step = early_step(self.counts.count);
        let is_due = !self.counts.is_pending && step > early_step(self.counts.told);
        is_due.then(|| self.tell(destination, step, now)).flatten()
    }

    /// The summary of what was not told yet.
    pub(super) fn last_words(&mut self, destination: &str, now: Timestamp) -> Option<Closed> {
        self.tell(destination, FINAL_STEP, now)
    }

    fn tell(&mut self, destination: &str, step: u64, now: Timestamp) -> Option<Closed> {
        let count = self.untold();
        let alert = self.alert.as_ref().filter(|_| count > 0)?;
        self.counts.told = self.counts.count;
        let parts = [
            destination.as_bytes(),
            &self.key.0,
            &self.opened.as_nanosecond().to_be_bytes(),
            &self.id.to_be_bytes(),
            &step.to_be_bytes(),
        ];
        Some(Closed {
            id: derived_id(&parts),
            key: self.key,
            route: Arc::clone(&self.route),
            alert: Arc::clone(alert),
            summary: Summary {
                count,
                first: self.first,
                last: self.counts.last,
                samples: self.samples.clone(),
                window: self.open_for(now),
            },
        })
    }

    /// The window's length; less where it is still open or closes early, in whole seconds, rounded up.
    fn open_for(&self, now: Timestamp) -> Duration {
        let open = Duration::try_from(now.duration_since(self.opened)).unwrap_or_default();
        self.length.min(Duration::from_secs(open.as_secs() + u64::from(open.subsec_nanos() > 0).max(1)))
    }

    /// From here on the first delivery's end decides what is still to be said.
    pub(super) fn hand_over(&mut self) {
        self.counts.state = State::HandedOver;
        self.samples = Vec::new();
        if !self.is_new {
            self.alert = None;
        }
    }

    /// The delivery that raised the priority ended; one that died raised nothing.
    pub(super) fn raise_ended(&mut self, is_dead: bool) {
        self.counts.raised_by = None;
        if is_dead {
            self.counts.priority = self.first_priority;
        }
    }

    /// The first delivery may now say what is committed; nothing where a summary said it already.
    pub(super) fn publish(&self) {
        let count = if self.counts.state == State::Gone { 0 } else { self.counts.count };
        self.repeats.store(count, Ordering::Relaxed);
    }
}

/// The records.
impl Window {
    pub(super) fn record(&mut self, owner: &Owner, records: &mut dyn Records) {
        self.is_listed = false;
        let key = |part: u8| owner.key(&[&self.key.0, &self.id.to_be_bytes(), &[part]]);
        if self.counts.state == State::Gone {
            // What was never written need not be looked for.
            let parts: &[u8] = match (self.is_new, self.samples.is_empty()) {
                (true, _) => &[],
                (false, true) => &[OPENING, COUNTS],
                (false, false) => &[OPENING, COUNTS, SAMPLES],
            };
            return parts.iter().for_each(|part| records.remove(&key(*part)));
        }
        if let Some(alert) = self.alert.as_ref().filter(|_| self.is_new) {
            let (route, opened) = (Arc::clone(&self.route), self.opened);
            let opening = Opening { opened, length: self.length, route, alert_bytes: self.alert_bytes, alert };
            records.put(&key(OPENING), to_json(&opening));
        }
        records.put(&key(COUNTS), to_json(&self.counts));
        if self.counts.state == State::HandedOver {
            records.remove(&key(SAMPLES));
        } else if self.has_new_samples {
            records.put(&key(SAMPLES), to_json(&self.samples));
        }
        (self.is_new, self.has_new_samples) = (false, false);
        if self.counts.state == State::HandedOver {
            self.alert = None;
        }
    }

    /// Takes one record, in the order of their keys. `rest`: the key without its owner. False: it makes no sense.
    pub(super) fn load(windows: &mut Vec<Self>, rest: &[u8], value: &[u8]) -> bool {
        Self::parse(windows, rest, value).is_some()
    }

    fn parse(windows: &mut Vec<Self>, rest: &[u8], value: &[u8]) -> Option<()> {
        let (key, rest) = rest.split_first_chunk::<32>()?;
        let (id, part) = rest.split_first_chunk::<8>()?;
        let (key, id) = (Fingerprint(*key), u64::from_be_bytes(*id));
        if part == [OPENING] {
            windows.push(Self::from_opening(key, id, from_json(value)?));
            return Some(());
        }
        let window = windows.last_mut().filter(|window| window.key == key && window.id == id)?;
        match part {
            [COUNTS] => window.counts = from_json(value)?,
            [SAMPLES] => window.samples = from_json(value)?,
            _ => return None,
        }
        Some(())
    }

    pub(super) fn opened(&self) -> Timestamp {
        self.opened
    }
}

/// The largest of 1,000, 10,000 … that `count` has reached; 0: none.
fn early_step(count: u64) -> u64 {
    if count < EARLY_FIRST { 0 } else { 10_u64.pow(count.ilog10()) }
}

/// At most [`SAMPLE_BYTES_MAX`] bytes, ending at a character.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SAMPLE_BYTES_MAX)]
}
