//! How long to wait before the next attempt.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderValue;

/// Before the first retry; doubles with each.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

/// What the other side may ask us to wait.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// Wait before retry number `retry` (from 0): 100 ms doubling, at most 5 s, less up to half by `jitter` (0 to 1). What the
/// other side asks for replaces it, up to a minute.
pub(super) fn retry_delay(retry: u32, wait: Option<Duration>, jitter: f64) -> Duration {
    let doubled = RETRY_DELAY_MIN.saturating_mul(2u32.saturating_pow(retry)).min(RETRY_DELAY_MAX);
    wait.map_or(doubled.mul_f64(1.0 - jitter / 2.0), |wait| wait.min(RETRY_AFTER_MAX))
}

/// Seconds, or an HTTP date, which is relative to `now`; what is neither counts as absent.
pub(super) fn retry_after(value: &HeaderValue, now: Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    text.parse().map(Duration::from_secs).ok().or_else(|| until(text, now))
}

fn until(date: &str, now: Timestamp) -> Option<Duration> {
    let date = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Duration::try_from(date.duration_since(now).max(SignedDuration::ZERO)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(retry: u32, wait_s: Option<u64>, jitter: f64, expected_ms: u64) {
        let delay = retry_delay(retry, wait_s.map(Duration::from_secs), jitter);
        assert_eq!(delay, Duration::from_millis(expected_ms));
    }

    #[test]
    fn delays_double_up_to_five_seconds() {
        check(0, None, 0.0, 100);
        check(3, None, 0.0, 800);
        check(6, None, 0.0, 5_000);
        check(u32::MAX, None, 0.0, 5_000);
        check(6, None, 1.0, 2_500);
    }

    #[test]
    fn what_the_other_side_asks_for_is_honoured_up_to_a_minute() {
        check(0, Some(7), 0.5, 7_000);
        check(9, Some(86_400), 0.5, 60_000);
    }

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_until_a_date() {
        let now = "2026-11-24T08:00:00Z".parse().unwrap();
        let table = [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Tue, 24 Nov 2026 08:00:30 GMT", Some(30)),
            ("Tue, 24 Nov 2026 07:59:30 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ];
        for (text, seconds) in table {
            let value = HeaderValue::from_static(text);
            assert_eq!(retry_after(&value, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
