//! How much of a table is alive.
//!
//! Of most tables every change looks up what was there before. Of alerts and deliveries, each of which comes and goes once,
//! that would take as long as the commit itself: there a removed record counts as the average one.

use std::sync::atomic::{AtomicI64, Ordering};

/// What a record takes beside key and value: its head, sequence number, lengths, share of indexes.
const RECORD_BYTES: i64 = 24;

/// Changed by one thread at a time.
pub(super) struct Alive {
    records: AtomicI64,
    bytes: AtomicI64,
}

/// What a batch does to one table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    pub(super) records: i64,
    pub(super) bytes: i64,
    /// Records whose size nobody looked up.
    pub(super) removed: i64,
}

impl Alive {
    pub(super) const fn new() -> Self {
        Self { records: AtomicI64::new(0), bytes: AtomicI64::new(0) }
    }

    pub(super) fn set(&self, records: i64, bytes: i64) {
        self.records.store(records, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn grow(&self, growth: &Growth) {
        let records = self.records.load(Ordering::Relaxed) + growth.records;
        let bytes = self.bytes.load(Ordering::Relaxed) + growth.bytes;
        let left = (records - growth.removed).max(0);
        let average = bytes.checked_div(records).unwrap_or(0);
        self.set(left, if left == 0 { 0 } else { (bytes - average * growth.removed).max(0) });
    }

    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed).unsigned_abs()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed).unsigned_abs()
    }
}

/// What a record counts for.
pub(super) fn size(key: &[u8], value: usize) -> i64 {
    i64::try_from(key.len() + value).unwrap_or(i64::MAX / 2) + RECORD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_count_as_the_average_and_nothing_is_left_when_all_are_gone() {
        let alive = Alive::new();
        alive.grow(&Growth { records: 3, bytes: 300, removed: 0 });
        alive.grow(&Growth { records: 1, bytes: 100, removed: 1 });
        assert_eq!(alive.bytes(), 300);
        alive.grow(&Growth { records: 0, bytes: 0, removed: 2 });
        assert_eq!(alive.bytes(), 100);
        alive.grow(&Growth { records: 0, bytes: 0, removed: 7 });
        assert_eq!(alive.bytes(), 0);
    }
}
