//! Rate limits: how many alerts of a route a destination gets, and the digest of what it does not get.
//!
//! A plain state machine that is told the time. Its buckets live in memory and are full after a start; what it held back
//! is recorded.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use jiff::Timestamp;
use tercel_alert::Alert;

use crate::fingerprint::Fingerprint;
use crate::held_back::{Held, HeldBack};
use crate::record::{Owner, Record, Records, after};
use crate::routing::{LimitSettings, Over};

/// Keys that one limit tells apart: about 2 MiB. Those beyond share one bucket.
const KEYS_MAX: usize = 10_000;

/// Checks between two sweeps of the keys that are back to a full bucket.
const SWEEP_CHECKS: usize = 1_000;

/// What the id of a digest is derived from, beside its owner and time: no other stage's digest has the same.
const STAGE: &[u8] = b"limit";

type Bucket = RateLimiter<NotKeyed, InMemoryState, ToldClock, NoOpMiddleware<Nanos>>;

/// The limit of one route at one destination.
pub(crate) struct Limit {
    owner: Owner,
    settings: LimitSettings,
    quota: Quota,
    clock: ToldClock,
    latest: Timestamp,
    buckets: HashMap<Fingerprint, Bucket>,
    /// The bucket of all keys beyond [`KEYS_MAX`].
    overflow: Bucket,
    /// Checks until the next sweep.
    until_sweep: usize,
    held_back: HeldBack,
}

/// What the limit decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) passes: bool,
    /// The alert shared the bucket of the keys beyond the bound.
    pub(crate) overflowed: bool,
}

/// Nanoseconds that the wall clock went forward since the start.
#[derive(Debug, Clone, Default)]
struct ToldClock(Arc<AtomicU64>);

impl Limit {
    /// `records`: those of the digests' table, in the order of their keys; others' are passed over.
    pub(crate) fn load(
        destination: &str,
        route: &str,
        settings: &LimitSettings,
        records: impl Iterator<Item = Record>,
    ) -> Self {
        let period = settings.per / settings.rate.get();
        // Zero only above a thousand million a second, which is no limit.
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(std::num::NonZeroU32::MAX));
        let (quota, clock) = (quota.allow_burst(settings.burst), ToldClock::default());
        let owner = Owner::new(&[destination, route]);
        Self {
            held_back: HeldBack::load(owner.clone(), records),
            owner,
            settings: settings.clone(),
            quota,
            overflow: Bucket::direct_with_clock(quota, clock.clone()),
            clock,
            latest: Timestamp::MAX,
            buckets: HashMap::new(),
            until_sweep: SWEEP_CHECKS,
        }
    }

    /// What was held back is what the records say, after a commit that failed; buckets keep what was taken.
    pub(crate) fn reload(&mut self, records: impl Iterator<Item = Record>) {
        self.held_back = HeldBack::load(self.owner.clone(), records);
    }

    /// Goes on where `old`, of the same route and destination, was: with its buckets too where the settings are the same.
    pub(crate) fn take_over(&mut self, old: Self) {
        if self.settings == old.settings {
            *self = old;
        } else {
            self.held_back = old.held_back;
        }
    }

    /// Takes one from the alert's bucket, unless it is too urgent to be limited. What does not pass is remembered for the
    /// digest, where one is wanted.
    pub(crate) fn check(&mut self, alert: &Arc<Alert>, now: Timestamp) -> Verdict {
        if self.settings.exempt.is_some_and(|exempt| alert.priority >= exempt) {
            return Verdict { passes: true, overflowed: false };
        }
        self.observe(now);
        self.sweep();
        let key = Fingerprint::of(alert, &self.settings.by);
        let overflowed = self.buckets.len() >= KEYS_MAX && !self.buckets.contains_key(&key);
        let passes = if overflowed { self.overflow.check().is_ok() } else { self.bucket(key).check().is_ok() };
        if !passes && self.settings.over == Over::Digest {
            self.held_back.add(alert, now);
        }
        Verdict { passes, overflowed }
    }

    /// The digest, if its interval is over.
    pub(crate) fn due(&mut self, now: Timestamp) -> Option<Held> {
        let since = self.held_back.since(now)?;
        if after(since, self.settings.digest_interval) <= now { self.close() } else { None }
    }

    /// The digest of what was held back so far; for a limit that a new configuration does not have.
    pub(crate) fn close(&mut self) -> Option<Held> {
        self.held_back.take(&[STAGE])
    }

    /// When [`Limit::due`] will give something.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.held_back.recorded_since().map(|since| after(since, self.settings.digest_interval))
    }

    /// Puts all that changed since the last call.
    pub(crate) fn record(&mut self, records: &mut dyn Records) {
        self.held_back.record(records);
    }

    /// Records that made no sense at the start.
    pub(crate) fn senseless(&self) -> u64 {
        self.held_back.senseless()
    }

    /// Time goes on for the buckets by as much as the wall clock went forward; not at all where it went back.
    fn observe(&mut self, now: Timestamp) {
        let passed = u64::try_from(now.duration_since(self.latest).as_nanos()).unwrap_or(0);
        self.clock.0.fetch_add(passed, Ordering::Relaxed);
        self.latest = now;
    }

    fn bucket(&mut self, key: Fingerprint) -> &Bucket {
        let (quota, clock) = (self.quota, &self.clock);
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
}

impl Clock for ToldClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.load(Ordering::Relaxed).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU32;
    use std::time::Duration;

    use jiff::SignedDuration;
    use tercel_alert::Priority;

    use super::*;
    use crate::fingerprint::KeyField;

    struct Bench {
        limit: Limit,
        table: BTreeMap<Vec<u8>, Vec<u8>>,
        now: Timestamp,
    }

    impl Bench {
        fn new(rate: u32, burst: u32, over: Over) -> Self {
            let settings = LimitSettings {
                rate: NonZeroU32::new(rate).unwrap(),
                per: Duration::from_mins(1),
                burst: NonZeroU32::new(burst).unwrap(),
                by: vec![KeyField::Rule],
                over,
                exempt: Some(Priority::Critical),
                digest_interval: Duration::from_mins(1),
            };
            let limit = Limit::load("hook", "route", &settings, std::iter::empty());
            Self { limit, table: BTreeMap::new(), now: "2026-01-01T00:00:00Z".parse().unwrap() }
        }

        fn advance(&mut self, seconds: i64) {
            self.now += SignedDuration::from_secs(seconds);
        }

        fn passing(&mut self, rule: &str, times: usize) -> usize {
            (0..times).filter(|_| self.check(rule).passes).count()
        }

        fn check(&mut self, rule: &str) -> Verdict {
            self.limit.check(&alert(rule, "error"), self.now)
        }

        fn restart(&mut self) {
            let settings = self.limit.settings.clone();
            self.limit.record(&mut self.table);
            self.limit = Limit::load("hook", "route", &settings, self.table.clone().into_iter());
        }
    }

    fn alert(rule: &str, priority: &str) -> Arc<Alert> {
        let value = serde_json::json!({"time": "2026-01-01T00:00:00Z", "rule": rule, "priority": priority});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        let mut bench = Bench::new(30, 3, Over::Digest);
        assert_eq!(bench.passing("a", 10), 3);
        bench.advance(4);
        assert_eq!(bench.passing("a", 10), 2);
    }

    #[test]
    fn a_clock_that_jumps_back_neither_fills_nor_blocks_a_bucket() {
        let mut bench = Bench::new(30, 3, Over::Digest);
        assert_eq!(bench.passing("a", 10), 3);
        bench.advance(-86_400);
        assert_eq!(bench.passing("a", 10), 0);
        bench.advance(4);
        assert_eq!(bench.passing("a", 10), 2);
        assert!(bench.limit.next_due().unwrap() <= bench.now + SignedDuration::from_mins(1));
        bench.advance(60);
        assert_eq!(bench.limit.due(bench.now).unwrap().digest.count, 7 + 10 + 8);
    }

    #[test]
    fn keys_have_buckets_of_their_own() {
        let mut bench = Bench::new(1, 1, Over::Drop);
        assert_eq!((bench.passing("a", 5), bench.passing("b", 5)), (1, 1));
    }

    #[test]
    fn the_limit_does_not_apply_at_and_above_the_exempt_priority() {
        let mut bench = Bench::new(1, 1, Over::Digest);
        bench.passing("a", 5);
        for priority in ["critical", "emergency"] {
            assert!((0..100).all(|_| bench.limit.check(&alert("a", priority), bench.now).passes));
        }
        assert!(!bench.check("a").passes);
    }

    #[test]
    fn the_digest_comes_when_its_interval_is_over_and_counts_anew() {
        let mut bench = Bench::new(1, 1, Over::Digest);
        assert_eq!(bench.limit.next_due(), None);
        bench.passing("a", 5);
        bench.advance(30);
        bench.passing("b", 3);
        assert_eq!(bench.limit.next_due(), Some("2026-01-01T00:01:00Z".parse().unwrap()));
        bench.advance(29);
        assert!(bench.limit.due(bench.now).is_none());
        bench.advance(1);
        let held = bench.limit.due(bench.now).unwrap();
        assert_eq!(held.digest.rules, [("a".to_owned(), 4), ("b".to_owned(), 2)]);
        assert_eq!(
            (held.digest.since.to_string(), held.digest.until.to_string()),
            ("2026-01-01T00:00:00Z".to_owned(), "2026-01-01T00:00:30Z".to_owned())
        );
        assert!(bench.limit.due(bench.now).is_none() && bench.limit.next_due().is_none());
    }

    #[test]
    fn what_was_held_back_survives_a_restart_and_keeps_the_digest_s_id() {
        let mut bench = Bench::new(1, 1, Over::Digest);
        bench.passing("a", 5);
        bench.restart();
        bench.passing("b", 3);
        bench.restart();
        bench.advance(60);
        let first = bench.limit.due(bench.now).unwrap();
        bench.limit.reload(bench.table.clone().into_iter()); // the digest was never committed
        let again = bench.limit.due(bench.now).unwrap();
        assert_eq!((first.id, first.digest.count), (again.id, 6));
        bench.restart();
        assert!(bench.table.is_empty() && bench.limit.due(bench.now).is_none());
    }

    #[test]
    fn a_failed_commit_forgets_what_was_held_back_in_it_and_keeps_the_buckets() {
        let mut bench = Bench::new(1, 1, Over::Digest);
        bench.passing("a", 5);
        bench.limit.reload(bench.table.clone().into_iter());
        assert_eq!((bench.limit.close().is_none(), bench.passing("a", 5)), (true, 0));
    }

    #[test]
    fn no_digest_where_none_is_wanted() {
        let mut bench = Bench::new(1, 1, Over::Drop);
        bench.passing("a", 5);
        assert!(bench.limit.close().is_none());
    }

    #[test]
    fn keys_are_bounded_and_those_beyond_share_a_bucket() {
        let mut bench = Bench::new(1, 1, Over::Drop);
        for key in 0..KEYS_MAX {
            assert_eq!(bench.check(&key.to_string()), Verdict { passes: true, overflowed: false });
        }
        assert_eq!(bench.check("x"), Verdict { passes: true, overflowed: true });
        assert_eq!(bench.check("y"), Verdict { passes: false, overflowed: true });
        bench.advance(60);
        let known = [bench.check("0"), bench.check("0"), bench.check("1")];
        assert_eq!(known.map(|verdict| verdict.passes), [true, false, true], "known keys keep their own");
        assert!(known.iter().all(|verdict| !verdict.overflowed));
        bench.advance(120);
        bench.passing("y", SWEEP_CHECKS);
        assert_eq!(bench.check("z"), Verdict { passes: true, overflowed: false });
        assert!(bench.limit.buckets.len() < 10, "{}", bench.limit.buckets.len());
    }
}
