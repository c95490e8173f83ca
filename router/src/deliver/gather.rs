//! When a request goes out: when it is full, or when the first that goes with it has waited long enough for others.

use tokio::time::Instant;

use crate::destination::Batch;
use crate::outbox::Stock;

/// Waits for company on behalf of one destination.
#[derive(Default)]
pub(super) struct Gathering {
    /// Since when there is something that could go out.
    since: Option<Instant>,
}

impl Gathering {
    /// Whether what is there goes out now; then the next look starts a new wait. What waits for a retry counts for being
    /// full: at worst a request is smaller than it could be.
    pub(super) fn is_over(&mut self, stock: Stock, batch: &Batch, now: Instant) -> bool {
        if !stock.is_ready {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_full = stock.count >= batch.count || stock.bytes >= batch.bytes;
        let is_over = is_full || now >= since + batch.wait;
        if is_over {
            self.since = None;
        }
        is_over
    }

    /// When the wait is over if nothing comes; `None`: nothing waits.
    pub(super) fn until(&self, batch: &Batch) -> Option<Instant> {
        self.since.map(|since| since + batch.wait)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BATCH: Batch = Batch { count: 3, bytes: 1_000, wait: Duration::from_secs(1) };

    fn stock(count: usize, bytes: u64) -> Stock {
        Stock { is_ready: count > 0, count, bytes }
    }

    #[test]
    fn it_ends_with_the_last_that_fits_or_with_the_wait_of_the_first() {
        let start = Instant::now();
        let almost = start + Duration::from_millis(999);
        let mut gathering = Gathering::default();
        assert!(!gathering.is_over(stock(1, 100), &BATCH, start));
        assert!(!gathering.is_over(stock(2, 200), &BATCH, almost));
        assert_eq!(gathering.until(&BATCH), Some(start + BATCH.wait));
        assert!(gathering.is_over(stock(3, 300), &BATCH, almost), "by count");
        assert!(!gathering.is_over(stock(1, 999), &BATCH, almost), "a new wait");
        assert!(gathering.is_over(stock(1, 1_000), &BATCH, almost), "by size");
        assert!(!gathering.is_over(stock(1, 1), &BATCH, start));
        assert!(gathering.is_over(stock(1, 1), &BATCH, start + BATCH.wait), "by time");
    }

    #[test]
    fn nothing_waits_where_there_is_nothing_or_where_one_is_enough() {
        let now = Instant::now();
        let mut gathering = Gathering::default();
        assert!(!gathering.is_over(stock(0, 0), &Batch::ONE, now));
        assert!(gathering.is_over(stock(1, 1), &Batch::ONE, now));
        assert_eq!(gathering.until(&Batch::ONE), None);
    }
}
