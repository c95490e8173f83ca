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
