//! What the store counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts};

/// Seconds of one fsync: a fast SSD to a disk that is busy.
const FSYNC_BUCKETS: &[f64] = &[0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

pub(super) struct Counters {
    pub(super) failures: AtomicU64,
    pub(super) refusals: AtomicU64,
    pub(super) corrupt: AtomicU64,
    pub(super) torn_tails: AtomicU64,
    pub(super) quarantines: AtomicU64,
    fsync: Option<Histogram>,
}

/// Counts since the start; the histogram is a handle to register.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statistics {
    /// Commits that the engine or the device failed.
    pub(crate) failures: u64,
    /// Commits that were not tried: no space.
    pub(crate) refusals: u64,
    /// Records, batches of a journal and stretches of a table that are damaged.
    pub(crate) corrupt: u64,
    /// Batches that were being written when the process or the machine died.
    pub(crate) torn_tails: u64,
    /// Folders that were put aside as a whole.
    pub(crate) quarantines: u64,
    /// Seconds of each fsync.
    pub(crate) fsync: Option<Histogram>,
}

impl Default for Counters {
    fn default() -> Self {
        let options = HistogramOpts::new("tercel_router_store_fsync_seconds", "Time of each fsync of the store");
        Self {
            failures: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
            torn_tails: AtomicU64::new(0),
            quarantines: AtomicU64::new(0),
            // Fails for a malformed name only.
            fsync: Histogram::with_opts(options.buckets(FSYNC_BUCKETS.to_vec())).ok(),
        }
    }
}

impl Statistics {
    /// Of a store that has done nothing yet.
    pub(crate) fn at_start() -> Self {
        Counters::default().read()
    }
}

impl Counters {
    pub(super) fn synced(&self, time: Duration) {
        if let Some(fsync) = &self.fsync {
            fsync.observe(time.as_secs_f64());
        }
    }

    pub(super) fn read(&self) -> Statistics {
        Statistics {
            failures: self.failures.load(Ordering::Relaxed),
            refusals: self.refusals.load(Ordering::Relaxed),
            corrupt: self.corrupt.load(Ordering::Relaxed),
            torn_tails: self.torn_tails.load(Ordering::Relaxed),
            quarantines: self.quarantines.load(Ordering::Relaxed),
            fsync: self.fsync.clone(),
        }
    }
}
