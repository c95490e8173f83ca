//! When a destination is tried at all: its circuit breaker and the pauses that it asks for.
//!
//! Failures that speak of the destination, and not of what was sent, open the breaker. Then nothing is sent until a
//! growing wait is over, and then one delivery only: the probe. Whatever the destination answers closes the breaker.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 5;

/// The wait before the first probe; it doubles with each one that fails.
const PROBE_WAIT_MIN: Duration = Duration::from_secs(5);

/// The longest wait before a probe.
const PROBE_WAIT_MAX: Duration = Duration::from_mins(1);

pub(super) struct Breaker {
    state: State,
    paused_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// `failures` in a row.
    Closed {
        failures: u32,
    },
    Open(Outage),
    /// The delivery with this id is the probe.
    HalfOpen {
        probe: u64,
        outage: Outage,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outage {
    since: Instant,
    /// Probes that failed.
    probes: u32,
    next_probe: Instant,
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    All,
    /// One, to see whether the destination works again.
    Probe,
    /// Nothing before this moment; `None`: before the probe came back.
    Nothing(Option<Instant>),
}

/// What an attempt says about the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It answered, be it that it does not want this delivery.
    Up,
    Down,
    /// Nothing: it was not reached for reasons of ours.
    Silent,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self { state: State::Closed { failures: 0 }, paused_until: None }
    }

    pub(super) fn permit(&self, now: Instant) -> Permit {
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return Permit::Nothing(Some(until));
        }
        match self.state {
            State::Closed { .. } => Permit::All,
            State::Open(outage) if outage.next_probe <= now => Permit::Probe,
            State::Open(outage) => Permit::Nothing(Some(outage.next_probe)),
            State::HalfOpen { .. } => Permit::Nothing(None),
        }
    }

    /// The delivery with this id goes out on a [`Permit::Probe`].
    pub(super) fn probe(&mut self, id: u64) {
        if let State::Open(outage) = self.state {
            self.state = State::HalfOpen { probe: id, outage };
        }
    }

    /// The destination wants to be left alone for so long. Of several pauses the one that ends last counts.
    pub(super) fn pause(&mut self, now: Instant, asked: Duration) {
        self.paused_until = self.paused_until.max(Some(now + asked));
    }

    /// The attempt for the delivery with this id ended. `jitter`: from 0 to 1.
    pub(super) fn note(&mut self, id: u64, sign: Sign, now: Instant, jitter: f64) {
        self.state = match (sign, self.state) {
            (Sign::Up, _) => State::Closed { failures: 0 },
            (Sign::Down, State::Closed { failures }) if failures + 1 >= FAILURES_MAX => {
                State::Open(Outage { since: now, probes: 0, next_probe: now + probe_wait(0, jitter) })
            }
            (Sign::Down, State::Closed { failures }) => State::Closed { failures: failures + 1 },
            (sign, State::HalfOpen { probe, outage }) if probe == id => {
                let probes = outage.probes.saturating_add(u32::from(sign == Sign::Down));
                State::Open(Outage { probes, next_probe: now + probe_wait(probes, jitter), ..outage })
            }
            // What was under way when it opened tells nothing new.
            (Sign::Down | Sign::Silent, state) => state,
        };
    }

    /// Since when the destination is not tried but with probes.
    pub(super) fn open_since(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open(outage) | State::HalfOpen { outage, .. } => Some(outage.since),
        }
    }

    /// As the metric shows it: 0 closed, 1 half-open, 2 open.
    pub(super) fn gauge(&self) -> i64 {
        match self.state {
            State::Closed { .. } => 0,
            State::HalfOpen { .. } => 1,
            State::Open(_) => 2,
        }
    }
}

/// Doubles with the probes that failed; up to half of it is left to chance, so that many routers do not ask at once.
fn probe_wait(probes: u32, jitter: f64) -> Duration {
    let doubling = PROBE_WAIT_MIN.saturating_mul(2_u32.saturating_pow(probes)).min(PROBE_WAIT_MAX);
    doubling.mul_f64(1.0 - jitter / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new();
        for id in 0..5 {
            breaker.note(id, Sign::Down, now, 0.0);
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_an_answer_between_them_starts_anew() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for sign in [Sign::Down, Sign::Down, Sign::Down, Sign::Down, Sign::Up, Sign::Down, Sign::Down, Sign::Down] {
            breaker.note(1, sign, now, 0.0);
        }
        breaker.note(1, Sign::Silent, now, 0.0);
        breaker.note(1, Sign::Down, now, 0.0);
        assert_eq!((breaker.permit(now), breaker.gauge(), breaker.open_since()), (Permit::All, 0, None));
        breaker.note(1, Sign::Down, now, 0.0);
        assert_eq!(breaker.permit(now), Permit::Nothing(Some(now + second(5))));
        assert_eq!((breaker.gauge(), breaker.open_since()), (2, Some(now)));
    }

    #[test]
    fn one_probe_goes_out_after_a_wait_that_doubles_up_to_a_minute() {
        let start = Instant::now();
        let (mut now, mut breaker) = (start, opened(start));
        for wait in [5, 10, 20, 40, 60, 60] {
            assert_eq!(breaker.permit(now + second(wait - 1)), Permit::Nothing(Some(now + second(wait))));
            now += second(wait);
            assert_eq!(breaker.permit(now), Permit::Probe);
            breaker.probe(7);
            assert_eq!((breaker.permit(now), breaker.gauge()), (Permit::Nothing(None), 1));
            breaker.note(3, Sign::Down, now, 0.0);
            assert_eq!(breaker.gauge(), 1, "another one's failure is no word of the probe");
            breaker.note(7, Sign::Down, now, 0.0);
        }
        assert_eq!(breaker.open_since(), Some(start));
    }

    #[test]
    fn an_answer_closes_it_whoever_gets_it() {
        let now = Instant::now();
        let (mut probed, mut late) = (opened(now), opened(now));
        probed.probe(9);
        probed.note(9, Sign::Up, now, 0.0);
        late.note(1, Sign::Up, now, 0.0);
        assert_eq!((probed.permit(now), late.permit(now)), (Permit::All, Permit::All));
    }

    #[test]
    fn a_probe_that_was_not_sent_is_made_again_after_the_same_wait() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.probe(9);
        breaker.note(9, Sign::Silent, now, 0.0);
        assert_eq!(breaker.permit(now), Permit::Nothing(Some(now + second(5))));
    }

    #[test]
    fn chance_takes_up_to_half_of_the_wait() {
        assert_eq!(probe_wait(0, 1.0), Duration::from_millis(2_500));
        assert_eq!(probe_wait(u32::MAX, 0.0), PROBE_WAIT_MAX);
    }

    #[test]
    fn of_two_pauses_the_one_that_ends_last_counts() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        breaker.pause(now, second(20));
        breaker.pause(now, second(3));
        assert_eq!(breaker.permit(now), Permit::Nothing(Some(now + second(20))));
        assert_eq!(breaker.permit(now + second(20)), Permit::All);
    }
}
