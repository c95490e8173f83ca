//! How the events lie in time. All are `CLOCK_BOOTTIME` nanoseconds.

/// When the first event was, the one before, and the one that was taken in last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Timeline {
    first: u64,
    before: u64,
    last: u64,
}

impl Timeline {
    pub(super) fn take(&mut self, time_ns: u64) {
        if self.first == 0 {
            (self.first, self.last) = (time_ns, time_ns);
        }
        (self.before, self.last) = (self.last, time_ns);
    }

    /// From the first event to the one that was taken in last. 0 where processors disagree on what was first.
    pub(crate) fn since_first_ns(self) -> u64 {
        self.last.saturating_sub(self.first)
    }

    /// From the event before to the one that was taken in last; 0 of the first, and where processors disagree.
    pub(crate) fn since_before_ns(self) -> u64 {
        self.last.saturating_sub(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_its_distance_from_the_first_and_from_the_one_before() {
        let mut timeline = Timeline::default();
        let mut take = |time_ns| {
            timeline.take(time_ns);
            (timeline.since_first_ns(), timeline.since_before_ns())
        };
        assert_eq!(
            [take(100), take(130), take(125), take(90), take(200)],
            [(0, 0), (30, 30), (25, 0), (0, 0), (100, 110)]
        );
    }
}
