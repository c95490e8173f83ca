//! One window: what it counted, what of that was told, and its records.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tercel_alert::{Alert, Priority};

use super::{Candidate, Closed, First};
use crate::destination::Summary;
use crate::fingerprint::Fingerprint;
use crate::record::{Before, Owner, Records, after, derived_id, from_json, to_json};

/// What a window costs beside its alert and samples.
const WINDOW_BYTES: usize = 512;

/// Differing outputs that a summary shows.
pub(super) const SAMPLES_MAX: usize = 3;

/// Bytes of one of them.
pub(super) const SAMPLE_BYTES_MAX: usize = 1_024;

/// The count at which a window that is still open says so for the first time; then at each tenfold of it.
const EARLY_FIRST: u64 = 1_000;

/// What one of a window's records holds: the last byte of its key is `a`, `b` or `c`, so that loading reads the opening
/// first.
#[derive(Debug, Clone, Copy)]
enum Part {
    Opening,
    /// None while it would say what the opening and the first delivery say already: see [`Window::is_plain`].
    Counts,
    Samples,
}

/// What a summary's id is derived from in place of an early step.
const FINAL_STEP: u64 = 0;

#[derive(Debug)]
pub(super) struct Window {
    pub(super) key: Fingerprint,
    /// The delivery of the first alert: what tells this window from an earlier one of the same key.
    pub(super) id: u64,
    pub(super) route: Arc<str>,
    /// The first one. `None` once the window is handed over: its delivery has it.
    pub(super) alert: Option<Arc<Alert>>,
    /// Its number in the store, where it stays for as long as the window is open.
    pub(super) alert_number: u64,
    /// Bytes of its record there.
    pub(super) alert_stored: u32,
    /// Somebody was told to keep it there.
    pub(super) is_alert_held: bool,
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
    has_new_samples: bool,
    /// Bytes of its records, by [`Part`].
    stored: [Option<usize>; 3],
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
struct Opening {
    key: Fingerprint,
    opened: Timestamp,
    length: Duration,
    route: Arc<str>,
    alert: u64,
    alert_stored: u32,
    alert_bytes: usize,
    time: Timestamp,
    priority: Priority,
}

impl Window {
    pub(super) fn new(candidate: &Candidate<'_>, now: Timestamp, first: First) -> Self {
        let opening = Opening {
            key: candidate.key,
            opened: now,
            length: candidate.window,
            route: Arc::clone(candidate.route),
            alert: first.alert,
            alert_stored: first.bytes,
            alert_bytes: candidate.weight,
            time: candidate.alert.time,
            priority: candidate.alert.priority,
        };
        let alert = Some(Arc::clone(candidate.alert));
        Self { alert, is_alert_held: true, ..Self::from_opening(first.delivery, opening) }
    }

    fn from_opening(id: u64, opening: Opening) -> Self {
        let Opening { key, opened, length, route, alert, alert_stored, alert_bytes, time, priority } = opening;
        let counts = Counts {
            count: 0,
            told: 0,
            last: time,
            closes: after(opened, length),
            priority,
            raised_by: None,
            is_pending: true,
            state: State::Open,
        };
        Self {
            key,
            id,
            route,
            first_priority: priority,
            first: time,
            alert: None,
            alert_number: alert,
            alert_stored,
            is_alert_held: false,
            alert_bytes,
            opened,
            length,
            counts,
            samples: Vec::new(),
            repeats: Arc::new(AtomicU64::new(0)),
            has_new_samples: false,
            stored: [None; 3],
            is_listed: false,
        }
    }

    /// Bytes of memory, with all samples that may come.
    pub(super) fn weight(&self) -> u64 {
        (self.alert_bytes + WINDOW_BYTES + SAMPLES_MAX * SAMPLE_BYTES_MAX) as u64
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
            alert: self.as_urgent(alert),
            summary: Summary {
                count,
                first: self.first,
                last: self.counts.last,
                samples: self.samples.clone(),
                window: self.open_for(now),
            },
        })
    }

    /// The first alert, as urgent as the most urgent one that it stands for.
    fn as_urgent(&self, first: &Arc<Alert>) -> Arc<Alert> {
        let priority = first.priority.max(self.counts.priority);
        if priority == first.priority { Arc::clone(first) } else { Arc::new(Alert { priority, ..Alert::clone(first) }) }
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
        self.alert = None;
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
        if self.counts.state == State::Gone {
            return [Part::Opening, Part::Counts, Part::Samples]
                .into_iter()
                .for_each(|part| self.write(part, None, owner, records));
        }
        if self.stored[Part::Opening as usize].is_none() {
            let opening = to_json(&self.opening());
            self.write(Part::Opening, Some(opening), owner, records);
        }
        if !self.is_plain() || self.stored[Part::Counts as usize].is_some() {
            let counts = to_json(&self.counts);
            self.write(Part::Counts, Some(counts), owner, records);
        }
        if self.counts.state == State::HandedOver {
            self.write(Part::Samples, None, owner, records);
        } else if self.has_new_samples {
            let samples = to_json(&self.samples);
            self.write(Part::Samples, Some(samples), owner, records);
        }
        self.has_new_samples = false;
    }

    fn write(&mut self, part: Part, value: Option<Vec<u8>>, owner: &Owner, records: &mut dyn Records) {
        let before = std::mem::replace(&mut self.stored[part as usize], value.as_ref().map(Vec::len));
        if before.is_some() || value.is_some() {
            let key = owner.key(&[&self.id.to_be_bytes(), &[part.letter()]]);
            records.change(&key, before.map_or(Before::Absent, Before::Bytes), value);
        }
    }

    fn opening(&self) -> Opening {
        Opening {
            key: self.key,
            opened: self.opened,
            length: self.length,
            route: Arc::clone(&self.route),
            alert: self.alert_number,
            alert_stored: self.alert_stored,
            alert_bytes: self.alert_bytes,
            time: self.first,
            priority: self.first_priority,
        }
    }

    /// Nothing has happened since it was opened but perhaps that its first delivery ended, which deliveries tell.
    fn is_plain(&self) -> bool {
        let Counts { count, told, last, closes, priority, raised_by, is_pending: _, state } = &self.counts;
        (*count, *told, *last, *closes) == (0, 0, self.first, after(self.opened, self.length))
            && (*priority, *raised_by, *state) == (self.first_priority, None, State::Open)
    }

    /// Takes one record, in the order of their keys. `rest`: the key without its owner. False: it makes no sense. The
    /// first alert of what is still open is not there yet.
    pub(super) fn load(windows: &mut Vec<Self>, rest: &[u8], value: &[u8]) -> bool {
        Self::parse(windows, rest, value).is_some()
    }

    fn parse(windows: &mut Vec<Self>, rest: &[u8], value: &[u8]) -> Option<()> {
        let (id, letter) = rest.split_first_chunk::<8>()?;
        let (id, part) = (u64::from_be_bytes(*id), Part::from_letter(letter)?);
        if matches!(part, Part::Opening) {
            windows.push(Self::from_opening(id, from_json(value)?));
        }
        let window = windows.last_mut().filter(|window| window.id == id)?;
        match part {
            Part::Opening => {}
            Part::Counts => window.counts = from_json(value)?,
            Part::Samples => window.samples = from_json(value)?,
        }
        window.stored[part as usize] = Some(value.len());
        Some(())
    }

    pub(super) fn opened(&self) -> Timestamp {
        self.opened
    }
}

impl Part {
    const fn letter(self) -> u8 {
        match self {
            Self::Opening => b'a',
            Self::Counts => b'b',
            Self::Samples => b'c',
        }
    }

    fn from_letter(letter: &[u8]) -> Option<Self> {
        match letter {
            b"a" => Some(Self::Opening),
            b"b" => Some(Self::Counts),
            b"c" => Some(Self::Samples),
            _ => None,
        }
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
