//! Events whose rules depend on what a container's runtime has not told yet.
//!
//! Such an event is put aside as it is: what its rules read, not what that came from. It is judged as soon as the runtime
//! answers, and without the answer at the end of the wait. Everything else passes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::detect::Possible;
use crate::enrich::container::Container;
use crate::fields::Snapshot;

/// Events that are held, and bytes of their values.
const HELD_MAX: usize = 10_000;
const HELD_BYTES_MAX: usize = 8 << 20;

/// An event that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) possible: Possible,
    pub(super) values: Snapshot,
    pub(super) container: Arc<Container>,
    /// When it happened, nanoseconds since 1970.
    pub(super) time_ns: i64,
    /// The wait's end, `CLOCK_BOOTTIME`.
    pub(super) until_ns: u64,
}

/// Those that are held, in their order.
#[derive(Debug, Default)]
pub(super) struct Holding {
    events: VecDeque<Held>,
    bytes: usize,
    /// No wait ends sooner.
    soonest_ns: u64,
    pub(super) counts: Counts,
}

/// What became of events that were to be held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub holding: usize,
    pub held: u64,
    /// Judged without the runtime's answer, which did not come in time.
    pub waited: u64,
    /// Judged at once because there was no room.
    pub full: u64,
    /// Judged at once because the runtime was asked before, in vain.
    pub unanswered: u64,
}

impl Holding {
    /// `false`: there is no room.
    pub(super) fn put(&mut self, event: Held) -> bool {
        if self.events.len() >= HELD_MAX || self.bytes + event.values.bytes > HELD_BYTES_MAX {
            self.counts.full += 1;
            return false;
        }
        self.soonest_ns = if self.events.is_empty() { event.until_ns } else { self.soonest_ns.min(event.until_ns) };
        self.bytes += event.values.bytes;
        self.events.push_back(event);
        self.counts.held += 1;
        true
    }

    /// Whether some wait is over.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        !self.events.is_empty() && self.soonest_ns <= now_ns
    }

    /// Takes those out that are to be judged, in their order.
    pub(super) fn take(&mut self, is_ready: impl Fn(&Held) -> bool) -> Vec<Held> {
        let (ready, waiting): (Vec<_>, Vec<_>) = self.events.drain(..).partition(is_ready);
        self.events = waiting.into();
        self.bytes = self.events.iter().map(|event| event.values.bytes).sum();
        self.soonest_ns = self.events.iter().map(|event| event.until_ns).min().unwrap_or(0);
        ready
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { holding: self.events.len(), ..self.counts }
    }
}
