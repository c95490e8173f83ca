//! What the kernel side counts, per CPU: nothing is lost without a number.

use crate::RecordKind;
use crate::record::Program;

/// One CPU's counters; user space adds them up. In cache lines of its own, since those of all CPUs lie in a row.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Indexed by [`RecordKind`]; entry 0 stays empty. Each kind belongs to one program, which alone counts it.
    pub kinds: [KindCounters; RecordKind::COUNT],
    /// Strings that could not be read from the caller's memory, and stand empty in their record. By program.
    pub read_faults: [u64; Program::COUNT],
    /// The last sequence number given out on this CPU. By program.
    pub sequence: [u64; Program::COUNT],
    /// System calls through the x32 entry, which are not decoded.
    pub x32_calls: u64,
    /// System calls through the 32-bit entry that were reported.
    pub compat_calls: u64,
    /// Opens that no rule could match, and that were therefore not reported.
    pub filtered_opens: u64,
}

/// seen = sent + `dropped_full` + `dropped_long`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindCounters {
    /// Records that should have been sent.
    pub seen: u64,
    pub sent: u64,
    /// The ring buffer was full.
    pub dropped_full: u64,
    /// The record was longer than the scratch buffer.
    pub dropped_long: u64,
}

impl Counters {
    /// Size in 64-bit words: as such user space reads one CPU's counters.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// Missing words count as 0.
    pub fn from_words(words: impl IntoIterator<Item = u64>) -> Self {
        let mut words = words.into_iter();
        let mut next = || words.next().unwrap_or_default();
        let mut counters = Self::default();
        for kind in &mut counters.kinds {
            kind.seen = next();
            kind.sent = next();
            kind.dropped_full = next();
            kind.dropped_long = next();
        }
        counters.read_faults.fill_with(&mut next);
        counters.sequence.fill_with(&mut next);
        counters.x32_calls = next();
        counters.compat_calls = next();
        counters.filtered_opens = next();
        counters
    }

    /// Adds another CPU's counters; the sequence, which has no sum, is left alone.
    pub fn add(&mut self, other: &Self) {
        for (sum, kind) in self.kinds.iter_mut().zip(&other.kinds) {
            sum.seen += kind.seen;
            sum.sent += kind.sent;
            sum.dropped_full += kind.dropped_full;
            sum.dropped_long += kind.dropped_long;
        }
        for (sum, faults) in self.read_faults.iter_mut().zip(other.read_faults) {
            *sum += faults;
        }
        self.x32_calls += other.x32_calls;
        self.compat_calls += other.compat_calls;
        self.filtered_opens += other.filtered_opens;
    }
}

// As many words as `from_words` takes, and no more behind them than fill the last cache line.
const _: () = assert!(Counters::WORDS == (RecordKind::COUNT * 4 + 2 * Program::COUNT + 3).next_multiple_of(8));
