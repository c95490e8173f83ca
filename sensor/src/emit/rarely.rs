//! What may happen a thousand times a second is said once a second.

use std::time::{Duration, Instant};

/// Between two lines of the log about the same trouble.
const INTERVAL: Duration = Duration::from_secs(1);

/// One trouble; the counters tell how often it happened.
#[derive(Debug, Default)]
pub(super) struct Rarely {
    last: Option<Instant>,
}

impl Rarely {
    /// Whether it is to be said now.
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if is_due {
            self.last = Some(Instant::now());
        }
        is_due
    }
}

#[test]
fn a_trouble_is_said_at_once_and_then_not_for_a_second() {
    let mut trouble = Rarely::default();
    assert_eq!((trouble.is_due(), trouble.is_due()), (true, false));
    trouble.last = Instant::now().checked_sub(INTERVAL);
    assert!(trouble.is_due());
}
