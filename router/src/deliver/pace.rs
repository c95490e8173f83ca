//! How fast a destination is sent to: attempts start at least an interval apart, so that a service that takes one message a
//! second is not asked for more.

use tokio::time::Instant;

use super::Terms;

/// When the last attempt started; `None`: there was none.
pub(super) struct Pace(Option<Instant>);

impl Pace {
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// When the next attempt may start; `None`: now.
    pub(super) fn wait(&self, terms: &Terms, now: Instant) -> Option<Instant> {
        let next = self.0? + terms.interval?;
        (next > now).then_some(next)
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.0 = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::destination::Batch;

    #[test]
    fn attempts_start_an_interval_apart() {
        let mut terms = Terms {
            concurrency: 8,
            batch: Batch::ONE,
            max_age: Duration::MAX,
            has_fallback: false,
            interval: Some(Duration::from_secs(1)),
        };
        let (mut pace, start) = (Pace::new(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(pace.wait(&terms, start), None);
        pace.start(start);
        assert_eq!(pace.wait(&terms, after(999)), Some(after(1_000)));
        assert_eq!(pace.wait(&terms, after(1_000)), None);
        terms.interval = None;
        assert_eq!(pace.wait(&terms, start), None);
    }
}
