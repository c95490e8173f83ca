//! Inhibition at one destination: while a greater trouble was heard of lately, the lesser ones that follow from it are not.
//!
//! `[[inhibit]]` names a source and a target. An alert that is a source mutes targets with the same values of `equal`, for
//! a while after its last occurrence. Absent, null and empty values are equal. What is source and target at once is muted
//! by sources that are no targets only: neither by itself nor by its like.
//!
//! A plain state machine that is told the time; when each source was heard of last is recorded.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tercel_alert::Alert;

use crate::condition::Condition;
use crate::fingerprint::{Fingerprint, KeyField};
use crate::record::{Dated, Ordered, Owner, Record, Records, after};

/// Sources of one destination that still mute: some 2 MiB. One more makes the one go that would end first.
const SOURCES_MAX: usize = 10_000;

/// One `[[inhibit]]`, compiled.
#[derive(Debug)]
pub(crate) struct Inhibition {
    pub(crate) name: Arc<str>,
    pub(crate) source: Condition,
    pub(crate) target: Condition,
    pub(crate) equal: Vec<KeyField>,
    /// How long a source mutes after its last occurrence.
    pub(crate) lasts: Duration,
}

/// What mutes at one destination.
pub(crate) struct Inhibitor {
    inhibitions: Arc<[Inhibition]>,
    mismatches: IntCounter,
    /// By when each of them ends.
    sources: Ordered<Key, Until>,
    sources_max: usize,
    latest: Timestamp,
    tally: Tally,
}

/// What happened since the last look, for the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Sources that had to make room while they still muted.
    pub(crate) evicted: u64,
    /// Records that made no sense at the start.
    pub(crate) senseless: u64,
}

/// Hash over the inhibition's name and the values of `equal`.
type Key = [u8; 32];

/// Until when a source mutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Until {
    /// Sources that are no targets: mute every target.
    #[serde(skip_serializing_if = "Option::is_none")]
    alone: Option<Timestamp>,
    /// Sources that are targets too: mute targets that are no sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    both: Option<Timestamp>,
    /// From one occurrence on.
    lasts: Duration,
}

/// Deciding.
impl Inhibitor {
    /// The inhibition that mutes this alert. Where the alert is a source it mutes others from now on, muted or not.
    pub(crate) fn decide(&mut self, alert: &Alert, now: Timestamp) -> Option<Arc<str>> {
        self.observe(now);
        let inhibitions = Arc::clone(&self.inhibitions);
        let mut muted_by = None;
        for inhibition in &*inhibitions {
            let is_source = inhibition.source.matches(alert, &self.mismatches);
            let is_target = inhibition.target.matches(alert, &self.mismatches);
            if !is_source && !is_target {
                continue;
            }
            let key = key(inhibition, alert);
            if is_target && muted_by.is_none() && self.is_muted(&key, is_source, now) {
                muted_by = Some(Arc::clone(&inhibition.name));
            }
            if is_source {
                self.hear(key, is_target, now, inhibition.lasts);
            }
        }
        muted_by
    }

    /// As [`Inhibitor::decide`], but nobody has heard of the alert.
    pub(crate) fn muted_by(&self, alert: &Alert, now: Timestamp) -> Option<Arc<str>> {
        let mutes = |inhibition: &&Inhibition| {
            let is_source = inhibition.source.matches(alert, &self.mismatches);
            inhibition.target.matches(alert, &self.mismatches) && self.is_muted(&key(inhibition, alert), is_source, now)
        };
        self.inhibitions.iter().find(mutes).map(|inhibition| Arc::clone(&inhibition.name))
    }

    /// Asks these from now on. Sources mute on where their inhibition keeps its name and `equal`.
    pub(crate) fn replace(&mut self, inhibitions: Arc<[Inhibition]>) {
        self.inhibitions = inhibitions;
    }

    /// Number of sources that mute.
    pub(crate) fn len(&self) -> usize {
        self.sources.len()
    }

    /// What happened since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn is_muted(&self, key: &Key, is_source: bool, now: Timestamp) -> bool {
        let mutes = |until: Option<Timestamp>| until.is_some_and(|until| now < until);
        self.sources.get(key).is_some_and(|until| mutes(until.alone) || (!is_source && mutes(until.both)))
    }

    fn hear(&mut self, key: Key, is_target: bool, now: Timestamp, lasts: Duration) {
        let old = self.sources.get(&key).copied();
        let mut until = Until { lasts, ..old.unwrap_or(Until { alone: None, both: None, lasts }) };
        let last = if is_target { &mut until.both } else { &mut until.alone };
        *last = (*last).max(Some(after(now, lasts)));
        self.sources.put(key, until);
        while self.sources.len() > self.sources_max {
            self.sources.pop_first();
            self.tally.evicted += 1;
        }
    }

    /// Forgets what is over. Where the clock went back, nothing lasts longer than it would from now on.
    fn observe(&mut self, now: Timestamp) {
        if now < self.latest {
            self.clamp(now);
        }
        self.latest = now;
        while self.sources.first().is_some_and(|(end, _)| *end <= now) {
            self.sources.pop_first();
        }
    }

    fn clamp(&mut self, now: Timestamp) {
        let sources: Vec<_> = self.sources.iter().map(|(key, until)| (*key, *until)).collect();
        for (key, until) in sources {
            let clamped = until.clamped(now);
            if clamped != until {
                self.sources.put(key, clamped);
            }
        }
    }
}

/// Records.
impl Inhibitor {
    /// `records`: those of the inhibitions' table; others' are passed over. `mismatches`: counts comparisons of values with
    /// something of another type.
    pub(crate) fn load(
        destination: &str,
        inhibitions: Arc<[Inhibition]>,
        records: impl Iterator<Item = Record>,
        mismatches: IntCounter,
    ) -> Self {
        let mut inhibitor = Self {
            inhibitions,
            mismatches,
            sources: Ordered::new(Owner::new(&[destination])),
            sources_max: SOURCES_MAX,
            latest: Timestamp::MAX,
            tally: Tally::default(),
        };
        inhibitor.reload(records);
        inhibitor
    }

    /// As the records say, at the start and after a commit that failed.
    pub(crate) fn reload(&mut self, records: impl Iterator<Item = Record>) {
        // So that the first `now` counts as a step back and bounds what was loaded.
        self.latest = Timestamp::MAX;
        self.tally.senseless += self.sources.load(records);
    }

    /// Puts all that changed since the last call.
    pub(crate) fn record(&mut self, records: &mut dyn Records) {
        self.sources.record(records);
    }
}

impl Dated for Until {
    fn time(&self) -> Timestamp {
        self.end()
    }
}

impl Until {
    fn clamped(self, now: Timestamp) -> Self {
        let latest = after(now, self.lasts);
        let clamp = |end: Option<Timestamp>| end.map(|end| end.min(latest));
        Self { alone: clamp(self.alone), both: clamp(self.both), ..self }
    }

    fn end(self) -> Timestamp {
        self.alone.max(self.both).unwrap_or(Timestamp::MIN)
    }
}

fn key(inhibition: &Inhibition, alert: &Alert) -> Key {
    let mut hash = Sha256::new();
    hash.update((inhibition.name.len() as u64).to_le_bytes());
    hash.update(&*inhibition.name);
    hash.update(Fingerprint::of_present(alert, &inhibition.equal).0);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;
    use serde_json::{Value, json};

    use super::*;

    struct Bench {
        inhibitor: Inhibitor,
        table: BTreeMap<Vec<u8>, Vec<u8>>,
        now: Timestamp,
    }

    fn mismatches() -> IntCounter {
        IntCounter::new("m", "m").unwrap()
    }

    fn inhibitions(source: &str, target: &str) -> Arc<[Inhibition]> {
        Arc::from([Inhibition {
            name: "escape".into(),
            source: Condition::parse(source).unwrap(),
            target: Condition::parse(target).unwrap(),
            equal: vec![KeyField::parse("container.id").unwrap()],
            lasts: Duration::from_mins(10),
        }])
    }

    impl Bench {
        fn new(source: &str, target: &str) -> Self {
            let inhibitor = Inhibitor::load("pager", inhibitions(source, target), std::iter::empty(), mismatches());
            Self { inhibitor, table: BTreeMap::new(), now: "2026-01-01T00:00:00Z".parse().unwrap() }
        }

        fn usual() -> Self {
            Self::new("rule = Escape", "priority <= error")
        }

        fn restart(&mut self) {
            self.inhibitor.record(&mut self.table);
            let inhibitions = Arc::clone(&self.inhibitor.inhibitions);
            self.inhibitor = Inhibitor::load("pager", inhibitions, self.table.clone().into_iter(), mismatches());
        }

        fn advance(&mut self, seconds: i64) {
            self.now += SignedDuration::from_secs(seconds);
        }

        /// True: muted.
        fn push(&mut self, rule: &str, priority: &str, container: &Value) -> bool {
            let value = json!({"time": "2026-01-01T00:00:00Z", "rule": rule, "priority": priority,
                               "output_fields": {"container.id": container}});
            let muted_by = self.inhibitor.decide(&serde_json::from_value(value).unwrap(), self.now);
            assert!(muted_by.as_deref().is_none_or(|name| name == "escape"));
            muted_by.is_some()
        }
    }

    #[test]
    fn a_source_mutes_targets_with_equal_fields_until_a_while_after_its_last_occurrence() {
        let mut bench = Bench::usual();
        assert!(!bench.push("Shell", "error", &json!("abc")), "before the source");
        assert!(!bench.push("Escape", "critical", &json!("abc")));
        assert!(bench.push("Shell", "error", &json!("abc")));
        assert!(!bench.push("Shell", "error", &json!("def")), "another container");
        assert!(!bench.push("Shell", "critical", &json!("abc")), "no target");
        bench.advance(500);
        bench.push("Escape", "critical", &json!("abc"));
        bench.advance(599);
        assert!(bench.push("Shell", "error", &json!("abc")));
        bench.advance(1);
        assert!(!bench.push("Shell", "error", &json!("abc")));
        assert_eq!(bench.inhibitor.len(), 0);
    }

    #[test]
    fn what_is_source_and_target_is_not_muted_by_itself_or_its_like_but_by_a_source_alone() {
        let mut bench = Bench::new("rule in (Escape, Breakout)", "rule in (Escape, Shell)");
        for _ in 0..3 {
            assert!(!bench.push("Escape", "error", &json!("abc")));
        }
        assert!(bench.push("Shell", "error", &json!("abc")), "a mere target is muted by what is both");
        assert!(!bench.push("Breakout", "error", &json!("abc")), "no target");
        assert!(bench.push("Escape", "error", &json!("abc")), "a mere source mutes what is both");
    }

    #[test]
    fn absent_null_and_empty_values_are_equal() {
        let mut bench = Bench::usual();
        bench.push("Escape", "critical", &json!(null));
        assert!(bench.push("Shell", "error", &json!("")));
        let bare = json!({"time": "2026-01-01T00:00:00Z", "rule": "Shell", "priority": "error"});
        assert!(bench.inhibitor.decide(&serde_json::from_value(bare).unwrap(), bench.now).is_some());
        assert!(!bench.push("Shell", "error", &json!("host")) && !bench.push("Shell", "error", &json!(0)));
    }

    #[test]
    fn sources_survive_a_restart_and_leave_no_record_when_they_are_over() {
        let mut bench = Bench::usual();
        bench.push("Escape", "critical", &json!("abc"));
        bench.restart();
        bench.advance(599);
        assert!(bench.push("Shell", "error", &json!("abc")));
        bench.restart();
        bench.advance(1);
        assert!(!bench.push("Shell", "error", &json!("abc")));
        bench.restart();
        assert!(bench.table.is_empty());
    }

    #[test]
    fn a_failed_commit_forgets_the_sources_of_its_group() {
        let mut bench = Bench::usual();
        bench.push("Escape", "critical", &json!("abc"));
        bench.inhibitor.reload(bench.table.clone().into_iter());
        assert!(!bench.push("Shell", "error", &json!("abc")));
    }

    #[test]
    fn a_clock_that_jumps_back_makes_nothing_last_longer() {
        let mut bench = Bench::usual();
        bench.push("Escape", "critical", &json!("abc"));
        bench.advance(-86_400);
        assert!(bench.push("Shell", "error", &json!("abc")));
        bench.restart();
        bench.advance(600);
        assert!(!bench.push("Shell", "error", &json!("abc")));
    }

    #[test]
    fn sources_are_bounded_and_the_one_that_ends_first_makes_room() {
        let mut bench = Bench::usual();
        bench.inhibitor.sources_max = 2;
        for container in ["a", "b", "c"] {
            bench.push("Escape", "critical", &json!(container));
            bench.advance(1);
        }
        assert_eq!((bench.inhibitor.len(), bench.inhibitor.take_tally().evicted), (2, 1));
        assert!(!bench.push("Shell", "error", &json!("a")) && bench.push("Shell", "error", &json!("b")));
        bench.inhibitor.record(&mut bench.table);
        assert_eq!(bench.table.len(), 2);
    }

    #[test]
    fn records_that_make_no_sense_are_counted_and_removed() {
        let mut bench = Bench::usual();
        bench.table.insert(Owner::new(&["pager"]).key(&[b"short"]), b"{}".to_vec());
        bench.table.insert(Owner::new(&["other"]).key(&[b"short"]), b"{}".to_vec());
        bench.restart();
        assert_eq!(bench.inhibitor.take_tally().senseless, 1);
        bench.restart();
        assert_eq!(bench.table.len(), 1);
    }
}
