//! All stages of one destination in the order of the pipeline, over random alerts, clocks, failed commits and restarts:
//! nothing is held back that is not counted, and nothing counted that is not told.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use prometheus::IntCounter;
use proptest::prelude::*;
use tercel_alert::{Alert, Priority};
use uuid::Uuid;

use crate::condition::Condition;
use crate::dedup::{Candidate, Closed, Dedup, First, FirstEnd, Stored, Verdict};
use crate::fingerprint::{Fingerprint, KeyField};
use crate::held_back::Held;
use crate::inhibit::{Inhibition, Inhibitor};
use crate::limit::Limit;
use crate::routing::{LimitSettings, Over};
use crate::schedule::{Muted, Schedule, TimeWindow, parse_minute};
use crate::silence::{NewSilence, Silences};

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

const DESTINATION: &str = "pager";
const WINDOW: Duration = Duration::from_mins(5);

/// One table for each stage, as the store keeps them.
#[derive(Default, Clone, PartialEq, Debug)]
struct Tables {
    windows: Table,
    digests: Table,
    silences: Table,
    inhibitions: Table,
    muted: Table,
}

struct Stages {
    inhibitor: Inhibitor,
    silences: Silences,
    muted: Muted,
    dedup: Dedup,
    limit: Limit,
}

/// What was decided and told; what is not committed is forgotten with it.
#[derive(Default, Clone, PartialEq, Debug)]
struct Ledger {
    received: u64,
    passed: u64,
    inhibited: u64,
    silenced: u64,
    muted: u64,
    counted: u64,
    limited: u64,
    told_repeats: u64,
    told_muted: u64,
    told_limited: u64,
    ids: Vec<Uuid>,
    waiting: Vec<(u64, Fingerprint)>,
    deliveries: u64,
    /// First alerts in the store, by the number of their delivery.
    firsts: BTreeMap<u64, Arc<Alert>>,
}

struct Bench {
    stages: Stages,
    tables: Tables,
    ledger: Ledger,
    committed: Ledger,
    now: Timestamp,
}

#[derive(Debug, Clone)]
enum Event {
    Alert { rule: u8, priority: Priority },
    Clock { seconds: i64 },
    Silence { rule: u8, minutes: i64 },
    End { which: usize, is_dead: bool },
    Commit,
    FailedCommit,
    Restart,
}

fn mismatches() -> IntCounter {
    IntCounter::new("m", "m").unwrap()
}

fn inhibitions() -> Arc<[Inhibition]> {
    Arc::from([Inhibition {
        name: "i".into(),
        source: Condition::parse("rule = r0").unwrap(),
        target: Condition::parse("rule in (r1, r0)").unwrap(),
        equal: Vec::new(),
        lasts: Duration::from_mins(10),
    }])
}

/// Muted for the first quarter of each even hour of the day, from midnight to four.
fn schedule() -> Schedule {
    let times = ["00", "02"].map(|hour| [format!("{hour}:00"), format!("{hour}:15")]);
    let times = times.iter().map(|[from, to]| (parse_minute(from).unwrap(), parse_minute(to).unwrap())).collect();
    let (weekdays, days_of_month, months) = (Vec::new(), Vec::new(), Vec::new());
    let window = TimeWindow { name: "w".into(), times, weekdays, days_of_month, months, zone: TimeZone::UTC };
    Schedule { mute: vec![Arc::new(window)], active: Vec::new(), break_through: Some(Priority::Critical) }
}

fn limit_settings() -> LimitSettings {
    LimitSettings {
        rate: NonZeroU32::MIN,
        per: Duration::from_mins(1),
        burst: NonZeroU32::new(2).unwrap(),
        by: vec![KeyField::Rule],
        over: Over::Digest,
        exempt: Some(Priority::Critical),
        digest_interval: Duration::from_mins(1),
    }
}

fn alert(rule: u8, priority: Priority) -> Arc<Alert> {
    let value = serde_json::json!({
        "time": "2026-01-01T00:00:00Z", "rule": format!("r{rule}"), "priority": priority.name()
    });
    Arc::new(serde_json::from_value(value).unwrap())
}

impl Stages {
    fn load(tables: &Tables, ledger: &Ledger) -> Self {
        Self {
            inhibitor: Inhibitor::load(
                DESTINATION,
                inhibitions(),
                tables.inhibitions.clone().into_iter(),
                mismatches(),
            ),
            silences: Silences::load(tables.silences.clone().into_iter(), mismatches()),
            muted: Muted::load(DESTINATION, None, &schedule(), tables.muted.clone().into_iter()),
            dedup: Dedup::load(&DESTINATION.into(), tables.windows.clone().into_iter(), ledger),
            limit: Limit::load(DESTINATION, "r", &limit_settings(), tables.digests.clone().into_iter()),
        }
    }

    fn record(&mut self, tables: &mut Tables) {
        self.inhibitor.record(&mut tables.inhibitions);
        self.silences.record(&mut tables.silences);
        self.muted.record(&mut tables.muted);
        self.dedup.record(&mut tables.windows);
        self.limit.record(&mut tables.digests);
    }
}

impl Bench {
    fn new() -> Self {
        Self {
            stages: Stages::load(&Tables::default(), &Ledger::default()),
            tables: Tables::default(),
            ledger: Ledger::default(),
            committed: Ledger::default(),
            now: "2026-01-01T00:20:00Z".parse().unwrap(),
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Alert { rule, priority } => self.decide(&alert(*rule, *priority)),
            Event::Clock { seconds } => self.now += SignedDuration::from_secs(*seconds),
            Event::Silence { rule, minutes } => self.silence(*rule, *minutes),
            Event::End { which, is_dead } => self.end(*which, *is_dead),
            Event::Commit => {}
            Event::FailedCommit => return self.fail(),
            Event::Restart => {
                self.commit();
                self.stages = Stages::load(&self.tables, &self.ledger);
            }
        }
        if !matches!(event, Event::Alert { .. }) {
            self.tell_due();
            self.commit();
        }
    }

    /// The order of the pipeline.
    fn decide(&mut self, alert: &Arc<Alert>) {
        let (stages, ledger, now) = (&mut self.stages, &mut self.ledger, self.now);
        ledger.received += 1;
        let id = Some(Uuid::from_u128(ledger.received.into()));
        let alert = &Arc::new(Alert { uuid: id, ..Alert::clone(alert) });
        if stages.inhibitor.decide(alert, now).is_some() {
            ledger.inhibited += 1;
        } else if stages.silences.decide(alert, DESTINATION, now).is_some() {
            ledger.silenced += 1;
        } else if stages.muted.decide(alert, now).is_some() {
            ledger.muted += 1;
        } else {
            self.dedup(alert);
        }
    }

    fn dedup(&mut self, alert: &Arc<Alert>) {
        let (key, route) = (Fingerprint::of(alert, &[KeyField::Rule]), Arc::from("r"));
        let candidate = Candidate { alert, weight: 500, key, route: &route, window: WINDOW };
        let verdict = self.stages.dedup.decide(&candidate, self.now);
        if let Verdict::Repeat | Verdict::Early(_) = verdict {
            self.ledger.counted += 1;
            return;
        }
        if !self.stages.limit.check(alert, self.now).passes {
            self.ledger.limited += 1;
            return;
        }
        self.ledger.passed += 1;
        self.ledger.deliveries += 1;
        let delivery = self.ledger.deliveries;
        self.ledger.waiting.push((delivery, key));
        if let Verdict::First = verdict {
            self.ledger.firsts.insert(delivery, Arc::clone(alert));
            self.stages.dedup.open(&candidate, self.now, First { delivery, alert: delivery, bytes: 100 });
        } else {
            self.stages.dedup.escalate(&candidate, delivery);
        }
    }

    fn silence(&mut self, rule: u8, minutes: i64) {
        let new = NewSilence {
            matcher: format!("rule = r{rule}"),
            starts_at: None,
            ends_at: Some(self.now + SignedDuration::from_mins(minutes)),
            duration: None,
            author: "ada".to_owned(),
            reason: "drill".to_owned(),
            destinations: Vec::new(),
        };
        let id = Uuid::from_u128(self.now.as_nanosecond().unsigned_abs() + u128::from(rule));
        self.stages.silences.add(id, new, self.now, |_| true).unwrap();
    }

    fn end(&mut self, which: usize, is_dead: bool) {
        self.commit();
        if self.ledger.waiting.is_empty() {
            return;
        }
        let (delivery, key) = self.ledger.waiting.remove(which % self.ledger.waiting.len());
        let end = if is_dead {
            FirstEnd::Dead
        } else {
            let shown = self.stages.dedup.repeats().get(&delivery).map_or(0, |shown| shown.load(Ordering::Relaxed));
            self.ledger.told_repeats += shown;
            FirstEnd::Delivered { repeats_told: shown }
        };
        let closed = self.stages.dedup.first_ended(key, delivery, end, || Some(alert(0, Priority::Error)));
        self.ledger.tell(closed);
    }

    fn tell_due(&mut self) {
        let closed = self.stages.dedup.closed(self.now);
        self.ledger.tell(closed);
        let muted = self.stages.muted.due(self.now);
        let limited = self.stages.limit.due(self.now);
        self.ledger.told_muted += self.ledger.digest(muted);
        self.ledger.told_limited += self.ledger.digest(limited);
    }

    fn commit(&mut self) {
        self.stages.record(&mut self.tables);
        self.stages.dedup.committed();
        self.committed = self.ledger.clone();
    }

    fn fail(&mut self) {
        self.stages.record(&mut self.tables.clone());
        self.ledger = self.committed.clone();
        let (tables, stages) = (self.tables.clone(), &mut self.stages);
        stages.inhibitor.reload(tables.inhibitions.into_iter());
        stages.silences.reload(tables.silences.into_iter());
        stages.muted.reload(tables.muted.into_iter());
        stages.dedup.reload(tables.windows.into_iter(), &self.ledger);
        stages.limit.reload(tables.digests.into_iter());
    }

    /// Until nothing is owed any more.
    fn settle(&mut self) {
        while !self.ledger.waiting.is_empty() {
            self.end(0, false);
        }
        // Past every window, and outside of the muted quarters.
        self.now = "2026-02-01T12:00:00Z".parse::<Timestamp>().unwrap().max(self.now);
        self.tell_due();
        self.commit();
    }
}

impl Stored for Ledger {
    fn waits(&self, delivery: u64) -> bool {
        self.waiting.iter().any(|(waiting, _)| *waiting == delivery)
    }

    fn alert(&self, number: u64) -> Option<Arc<Alert>> {
        self.firsts.get(&number).cloned()
    }
}

impl Ledger {
    fn tell(&mut self, closed: impl IntoIterator<Item = Closed>) {
        for closed in closed {
            self.told_repeats += closed.summary.count;
            self.ids.push(closed.id);
        }
    }

    fn digest(&mut self, held: Option<Held>) -> u64 {
        let Some(Held { id, digest, .. }) = held else { return 0 };
        assert_eq!(digest.rules.iter().map(|(_, count)| count).sum::<u64>(), digest.count);
        self.ids.push(id);
        digest.count
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let priority = prop_oneof![Just(Priority::Notice), Just(Priority::Error), Just(Priority::Critical)];
    let event = prop_oneof![
        10 => (0..5_u8, priority).prop_map(|(rule, priority)| Event::Alert { rule, priority }),
        3 => (-900..1_800_i64).prop_map(|seconds| Event::Clock { seconds }),
        1 => (2..5_u8, 1..20_i64).prop_map(|(rule, minutes)| Event::Silence { rule, minutes }),
        2 => (0..8_usize, prop::bool::weighted(0.3)).prop_map(|(which, is_dead)| Event::End { which, is_dead }),
        2 => Just(Event::Commit),
        1 => Just(Event::FailedCommit),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_received_passes_or_is_held_back_and_all_that_is_held_back_is_told_once(events in events()) {
        let mut bench = Bench::new();
        for event in &events {
            bench.apply(event);
        }
        bench.settle();
        let ledger = &bench.ledger;
        let held_back = ledger.inhibited + ledger.silenced + ledger.muted + ledger.counted + ledger.limited;
        prop_assert_eq!(ledger.received, ledger.passed + held_back);
        prop_assert_eq!(ledger.told_repeats, ledger.counted);
        prop_assert_eq!(ledger.told_muted, ledger.muted);
        prop_assert_eq!(ledger.told_limited, ledger.limited);
        prop_assert_eq!(ledger.ids.len(), ledger.ids.iter().collect::<HashSet<_>>().len());
        let Tables { windows, digests, muted, .. } = &bench.tables;
        prop_assert!(windows.is_empty() && digests.is_empty() && muted.is_empty());
    }
}

#[test]
fn every_stage_has_its_turn() {
    let mut bench = Bench::new();
    let muted_time = "2026-01-01T02:05:00Z".parse().unwrap();
    for event in
        [Event::Alert { rule: 0, priority: Priority::Error }, Event::Alert { rule: 1, priority: Priority::Error }]
    {
        bench.apply(&event); // passes, is inhibited
    }
    bench.apply(&Event::Silence { rule: 2, minutes: 5 });
    for rule in [2, 3, 3, 4] {
        bench.apply(&Event::Alert { rule, priority: Priority::Error }); // silenced, passes, counted, passes
    }
    for _ in 0..2 {
        bench.apply(&Event::End { which: 2, is_dead: true }); // the key of rule 4 is free again
        bench.apply(&Event::Alert { rule: 4, priority: Priority::Error }); // passes, then limited
    }
    bench.now = muted_time;
    bench.apply(&Event::Alert { rule: 4, priority: Priority::Error });
    bench.settle();
    let Ledger { received, passed, inhibited, silenced, muted, counted, limited, .. } = bench.ledger;
    assert_eq!((received, passed), (9, 4));
    assert_eq!((inhibited, silenced, muted, counted, limited), (1, 1, 1, 1, 1));
    assert_eq!((bench.ledger.told_repeats, bench.ledger.told_muted, bench.ledger.told_limited), (1, 1, 1));
}
