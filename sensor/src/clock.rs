//! The kernel tells times since boot; alerts tell them since 1970.

use rustix::time::{ClockId, Timespec, clock_gettime};

const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;

/// `CLOCK_BOOTTIME`, nanoseconds.
pub(crate) fn since_boot_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Boottime)).try_into().unwrap_or(0)
}

/// What must be added to a time since boot. Changes when the clock is set: to be asked for about once a second.
pub(crate) fn wall_offset_ns() -> i64 {
    nanoseconds(clock_gettime(ClockId::Realtime)) - nanoseconds(clock_gettime(ClockId::Boottime))
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * NANOSECONDS_PER_SECOND + time.tv_nsec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_since_boot_and_the_offset_make_the_time_of_day() {
        let before = std::time::SystemTime::now();
        let now_ns = wall_offset_ns().saturating_add_unsigned(since_boot_ns());
        let before_ns = before.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        // Somebody may set the clock, or hold this process up, between two questions.
        assert!(u128::try_from(now_ns).unwrap().abs_diff(before_ns) < 60_000_000_000);
    }
}
