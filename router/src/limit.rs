//! Rate limits: how many alerts of a route a destination gets, and the digest of what it does not get.

use std::collections::HashMap;
use std::sync::Arc;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use jiff::Timestamp;
use tercel_alert::Alert;

use crate::destination::Digest;
use crate::fingerprint::{Fingerprint, KeyField};
use crate::routing::{LimitSettings, Over};

/// Keys that one limit tells apart: about 2 MiB. Those beyond share one bucket.
const KEYS_MAX: usize = 10_000;

/// Checks between two sweeps of the keys that are back to a full bucket.
const SWEEP_CHECKS: usize = 1_000;

/// Rules that a digest names; the rest is summed.
const DIGEST_RULES_MAX: usize = 10;

/// Rules that are counted one by one between two digests.
const COUNTED_RULES_MAX: usize = 256;

/// What rules beyond the bounds are summed as.
const OTHER: &str = "other";

type Bucket<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The limit of one route at one destination.
pub(crate) struct Limit<C: Clock = DefaultClock> {
    by: Vec<KeyField>,
    over: Over,
    quota: Quota,
    buckets: HashMap<Fingerprint, Bucket<C>>,
    /// The bucket of all keys beyond [`KEYS_MAX`].
    overflow: Bucket<C>,
    /// Checks until the next sweep.
    until_sweep: usize,
    held_back: Option<HeldBack>,
}

/// What the limit decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) passes: bool,
    /// The alert shared the bucket of the keys beyond the bound.
    pub(crate) overflowed: bool,
}

/// What was held back since the last digest.
struct HeldBack {
    since: Timestamp,
    until: Timestamp,
    count: u64,
    rules: HashMap<String, u64>,
    last: Arc<Alert>,
}

impl Limit {
    pub(crate) fn new(settings: &LimitSettings) -> Self {
        Self::with_clock(settings, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limit<C> {
    fn with_clock(settings: &LimitSettings, clock: C) -> Self {
        let period = settings.per / settings.rate.get();
        // Zero only above a thousand million a second, which is no limit.
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(std::num::NonZeroU32::MAX));
        let quota = quota.allow_burst(settings.burst);
        Self {
            by: settings.by.clone(),
            over: settings.over,
            quota,
            buckets: HashMap::new(),
            overflow: Bucket::direct_with_clock(quota, clock),
            until_sweep: SWEEP_CHECKS,
            held_back: None,
        }
    }

    /// Takes one from the alert's bucket. What does not pass is remembered for the digest, where one is wanted.
    pub(crate) fn check(&mut self, alert: &Arc<Alert>) -> Verdict {
        self.sweep();
        let key = Fingerprint::of(alert, &self.by);
        let overflowed = self.buckets.len() >= KEYS_MAX && !self.buckets.contains_key(&key);
        let passes = if overflowed { self.overflow.check().is_ok() } else { self.bucket(key).check().is_ok() };
        if !passes && self.over == Over::Digest {
            self.add_to_digest(alert);
        }
        Verdict { passes, overflowed }
    }

    /// The digest of what was held back since the last one, with the newest alert of it; `None`: nothing was.
    pub(crate) fn digest(&mut self) -> Option<(Digest, Arc<Alert>)> {
        let HeldBack { since, until, count, rules, last } = self.held_back.take()?;
        Some((Digest { count, since, until, rules: most_frequent(rules) }, last))
    }

    fn bucket(&mut self, key: Fingerprint) -> &Bucket<C> {
        let (quota, clock) = (self.quota, self.overflow.clock());
        self.buckets.entry(key).or_insert_with(|| Bucket::direct_with_clock(quota, clock.clone()))
    }

    /// Forgets keys whose buckets are full again: they decide as if never seen.
    fn sweep(&mut self) {
        self.until_sweep -= 1;
        if self.until_sweep == 0 {
            self.until_sweep = SWEEP_CHECKS;
            let burst = self.quota.burst_size();
            // Only a full bucket gives a whole burst; one that does not keeps what it has.
            self.buckets.retain(|_key, bucket| !matches!(bucket.check_n(burst), Ok(Ok(()))));
            self.buckets.shrink_to_fit();
        }
    }

    fn add_to_digest(&mut self, alert: &Arc<Alert>) {
        let now = Timestamp::now();
        let held = self.held_back.get_or_insert_with(|| HeldBack {
            since: now,
            until: now,
            count: 0,
            rules: HashMap::new(),
            last: Arc::clone(alert),
        });
        held.until = now;
        held.count += 1;
        held.last = Arc::clone(alert);
        let is_counted = held.rules.len() < COUNTED_RULES_MAX || held.rules.contains_key(&alert.rule);
        let rule = if is_counted { alert.rule.as_str() } else { OTHER };
        *held.rules.entry(rule.to_owned()).or_default() += 1;
    }
}

/// The most frequent first; what is beyond the bound is summed in one more.
fn most_frequent(rules: HashMap<String, u64>) -> Vec<(String, u64)> {
    let mut rules: Vec<_> = rules.into_iter().collect();
    rules.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let rest: u64 = rules.iter().skip(DIGEST_RULES_MAX).map(|(_, count)| count).sum();
    rules.truncate(DIGEST_RULES_MAX);
    if rest > 0 {
        match rules.iter_mut().find(|(rule, _)| rule == OTHER) {
            Some((_, count)) => *count += rest,
            None => rules.push((OTHER.to_owned(), rest)),
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limit(rate: u32, burst: u32, over: Over) -> (Limit<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let settings = LimitSettings {
            rate: NonZeroU32::new(rate).unwrap(),
            per: Duration::from_mins(1),
            burst: NonZeroU32::new(burst).unwrap(),
            by: vec![KeyField::Rule],
            over,
        };
        (Limit::with_clock(&settings, clock.clone()), clock)
    }

    fn alert(rule: &str) -> Arc<Alert> {
        let value = serde_json::json!({"time": "2026-01-01T00:00:00Z", "rule": rule, "priority": "error"});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn passing(limit: &mut Limit<FakeRelativeClock>, rule: &str, times: usize) -> usize {
        (0..times).filter(|_| limit.check(&alert(rule)).passes).count()
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        let (mut limit, clock) = limit(30, 3, Over::Digest);
        assert_eq!(passing(&mut limit, "a", 10), 3);
        clock.advance(Duration::from_secs(4));
        assert_eq!(passing(&mut limit, "a", 10), 2);
    }

    #[test]
    fn keys_have_buckets_of_their_own() {
        let (mut limit, _clock) = limit(1, 1, Over::Drop);
        assert_eq!((passing(&mut limit, "a", 5), passing(&mut limit, "b", 5)), (1, 1));
    }

    #[test]
    fn the_digest_counts_all_that_was_held_back_and_starts_anew() {
        let (mut limit, _clock) = limit(1, 1, Over::Digest);
        for rule in 0..12 {
            passing(&mut limit, &format!("r{rule:02}"), 2 + usize::from(rule == 7) * 5);
        }
        let (digest, last) = limit.digest().unwrap();
        assert_eq!((digest.count, digest.rules.len(), last.rule.as_str()), (17, 11, "r11"));
        assert_eq!(digest.rules[0], ("r07".to_owned(), 6));
        assert_eq!(digest.rules[10], ("other".to_owned(), 2));
        assert_eq!(digest.rules.iter().map(|(_, count)| count).sum::<u64>(), digest.count);
        assert!(limit.digest().is_none());
    }

    #[test]
    fn no_digest_where_none_is_wanted() {
        let (mut limit, _clock) = limit(1, 1, Over::Drop);
        passing(&mut limit, "a", 5);
        assert!(limit.digest().is_none());
    }

    #[test]
    fn keys_are_bounded_and_those_beyond_share_a_bucket() {
        let (mut limit, clock) = limit(1, 1, Over::Drop);
        for key in 0..KEYS_MAX {
            assert_eq!(limit.check(&alert(&key.to_string())), Verdict { passes: true, overflowed: false });
        }
        assert_eq!(limit.check(&alert("x")), Verdict { passes: true, overflowed: true });
        assert_eq!(limit.check(&alert("y")), Verdict { passes: false, overflowed: true });
        clock.advance(Duration::from_mins(1));
        let known = [limit.check(&alert("0")), limit.check(&alert("0")), limit.check(&alert("1"))];
        assert_eq!(known.map(|verdict| verdict.passes), [true, false, true], "known keys keep their own");
        assert!(known.iter().all(|verdict| !verdict.overflowed));
        clock.advance(Duration::from_mins(2));
        passing(&mut limit, "y", SWEEP_CHECKS);
        assert_eq!(limit.check(&alert("z")), Verdict { passes: true, overflowed: false });
        assert!(limit.buckets.len() < 10, "{}", limit.buckets.len());
    }
}
