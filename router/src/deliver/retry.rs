//! The wait between two attempts for the same delivery.

use std::time::Duration;

/// The shortest wait, and the one that doubling starts from.
const WAIT_MIN: Duration = Duration::from_millis(500);

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// The wait after so many attempts, from [`WAIT_MIN`] to a bound that doubles with each attempt up to [`WAIT_MAX`]; where
/// in between is left to chance (`jitter` from 0 to 1), so that what failed together does not come again together.
pub(super) fn wait(attempts: u32, jitter: f64) -> Duration {
    let bound = WAIT_MIN.saturating_mul(2_u32.saturating_pow(attempts)).min(WAIT_MAX);
    WAIT_MIN + bound.saturating_sub(WAIT_MIN).mul_f64(jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attempts: u32, jitter: f64, expected_ms: u64) {
        assert_eq!(wait(attempts, jitter), Duration::from_millis(expected_ms));
    }

    #[test]
    fn the_bound_doubles_up_to_a_minute() {
        check(1, 1.0, 1_000);
        check(2, 1.0, 2_000);
        check(6, 1.0, 32_000);
        check(7, 1.0, 60_000);
        check(u32::MAX, 1.0, 60_000);
    }

    #[test]
    fn chance_takes_all_of_a_wait_but_the_least() {
        check(1, 0.0, 500);
        check(7, 0.0, 500);
        check(7, 0.5, 30_250);
    }
}
