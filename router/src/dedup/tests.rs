use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use jiff::SignedDuration;
use proptest::prelude::*;
use tercel_alert::Priority;

use super::window::{SAMPLE_BYTES_MAX, SAMPLES_MAX, cut};
use super::*;
use crate::record::{Before, Records};

const WINDOW: Duration = Duration::from_mins(5);

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

/// A machine with its table; everything that is done is committed at once.
struct Bench {
    dedup: Dedup,
    table: Table,
    /// First alerts in the store, by the number of their delivery.
    alerts: HashMap<u64, Arc<Alert>>,
    now: Timestamp,
    delivery: u64,
}

/// What a window is read with: which deliveries wait, and the alerts.
struct InStore<'a, W>(W, &'a HashMap<u64, Arc<Alert>>);

impl<W: Fn(u64) -> bool> Stored for InStore<'_, W> {
    fn waits(&self, delivery: u64) -> bool {
        self.0(delivery)
    }

    fn alert(&self, number: u64) -> Option<Arc<Alert>> {
        self.1.get(&number).cloned()
    }
}

const fn first(delivery: u64) -> First {
    First { delivery, alert: delivery, bytes: 100 }
}

fn alert(priority: Priority, output: &str) -> Arc<Alert> {
    let value = serde_json::json!({
        "time": "2026-01-01T00:00:00Z", "rule": "R", "priority": priority.name(), "output": output
    });
    Arc::new(serde_json::from_value(value).unwrap())
}

fn key(number: u8) -> Fingerprint {
    Fingerprint([number; 32])
}

fn with_candidate<T>(number: u8, alert: &Arc<Alert>, action: impl FnOnce(&Candidate<'_>) -> T) -> T {
    let route = Arc::from("route");
    action(&Candidate { alert, weight: 1_000, key: key(number), route: &route, window: WINDOW })
}

impl Bench {
    fn new() -> Self {
        Self::with_bounds(Bounds::USUAL)
    }

    fn with_bounds(bounds: Bounds) -> Self {
        let dedup = Dedup::empty(&Arc::from("hook"), bounds);
        Self {
            dedup,
            table: Table::new(),
            alerts: HashMap::new(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            delivery: 0,
        }
    }

    fn commit(&mut self) {
        self.dedup.record(&mut self.table);
        for alert in self.dedup.take_released() {
            assert!(self.alerts.remove(&alert).is_some(), "{alert} was given back before");
        }
        self.dedup.committed();
        assert_eq!(
            self.dedup.windows.len(),
            self.dedup.open.len() + self.dedup.handed_over,
            "nothing stays that is gone"
        );
    }

    fn open(&mut self, candidate: &Candidate<'_>) {
        self.alerts.insert(self.delivery, Arc::clone(candidate.alert));
        self.dedup.open(candidate, self.now, first(self.delivery));
    }

    fn restart(&mut self, waits: impl Fn(u64) -> bool) {
        self.dedup = Dedup::load(&Arc::from("hook"), self.table.clone().into_iter(), &InStore(waits, &self.alerts));
        self.hold();
    }

    fn reload(&mut self, waits: impl Fn(u64) -> bool) {
        self.dedup.reload(self.table.clone().into_iter(), &InStore(waits, &self.alerts));
        self.hold();
    }

    fn hold(&mut self) {
        assert!(self.dedup.hold().iter().all(|held| self.alerts.contains_key(&held.0) && held.1 == 100));
    }

    fn advance(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn push_alert(&mut self, number: u8, alert: &Arc<Alert>) -> Verdict {
        let verdict = with_candidate(number, alert, |candidate| {
            let verdict = self.dedup.decide(candidate, self.now);
            self.delivery += u64::from(matches!(verdict, Verdict::First | Verdict::Escalated));
            match verdict {
                Verdict::First => self.open(candidate),
                Verdict::Escalated => self.dedup.escalate(candidate, self.delivery),
                Verdict::Repeat | Verdict::Early(_) => {}
            }
            verdict
        });
        self.commit();
        verdict
    }

    fn push(&mut self, number: u8, output: &str) -> Verdict {
        self.push_alert(number, &alert(Priority::Error, output))
    }

    fn push_many(&mut self, number: u8, count: u64) {
        let alert = alert(Priority::Error, "o");
        let now = self.now;
        for _ in 0..count {
            with_candidate(number, &alert, |candidate| self.dedup.decide(candidate, now));
        }
        self.commit();
    }

    fn closed(&mut self) -> Vec<Closed> {
        let closed = self.dedup.closed(self.now);
        self.commit();
        closed
    }

    fn end(&mut self, number: u8, delivery: u64, end: FirstEnd) -> Option<Closed> {
        let closed = self.dedup.first_ended(key(number), delivery, end, || Some(alert(Priority::Error, "read back")));
        self.commit();
        closed
    }

    fn delivered(&mut self, number: u8, delivery: u64) -> Option<Closed> {
        let repeats = &self.dedup.repeats()[&delivery];
        let repeats_told = repeats.load(Ordering::Relaxed);
        self.end(number, delivery, FirstEnd::Delivered { repeats_told })
    }
}

fn counts(closed: &[Closed]) -> Vec<u64> {
    closed.iter().map(|closed| closed.summary.count).collect()
}

#[test]
fn the_first_passes_and_the_window_tells_of_the_other_ninety_nine() {
    let mut bench = Bench::new();
    assert!(matches!(bench.push(1, "output 0"), Verdict::First));
    bench.delivered(1, 1);
    for number in 1..100 {
        assert!(matches!(bench.push(1, &format!("output {}", number % 6)), Verdict::Repeat));
    }
    bench.advance(299);
    assert!(bench.closed().is_empty());
    bench.advance(1);
    let closed = bench.closed();
    assert_eq!(counts(&closed), [99]);
    assert_eq!(closed[0].summary.samples, ["output 1", "output 2", "output 3"]);
    assert_eq!(closed[0].summary.window, WINDOW);
    assert!(matches!(bench.push(1, "o"), Verdict::First), "the window is closed, so the next one is a first");
}

#[test]
fn the_window_is_fixed_repeats_do_not_prolong_it() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.delivered(1, 1);
    for _ in 0..4 {
        bench.advance(70);
        assert!(matches!(bench.push(1, "o"), Verdict::Repeat));
    }
    assert_eq!(bench.dedup.next_closing(), Some("2026-01-01T00:05:00Z".parse().unwrap()));
    bench.advance(20);
    assert!(matches!(bench.push(1, "o"), Verdict::First), "also before the timer came");
    assert_eq!(counts(&bench.closed()), [4]);
}

#[test]
fn a_window_without_repeats_says_nothing_and_leaves_no_record() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.advance(600);
    assert!(bench.closed().is_empty());
    assert_eq!((bench.dedup.len(), bench.table.len(), bench.dedup.next_closing()), (0, 0, None));
}

#[test]
fn a_more_urgent_repeat_passes_and_raises_the_bar() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    let urgent = alert(Priority::Critical, "o");
    assert!(matches!(bench.push_alert(1, &urgent), Verdict::Escalated));
    bench.restart(|_| true);
    assert!(matches!(bench.push_alert(1, &urgent), Verdict::Repeat));
    assert!(matches!(bench.push_alert(1, &alert(Priority::Alert, "o")), Verdict::Escalated));
}

#[test]
fn a_summary_is_as_urgent_as_the_most_urgent_alert_that_it_stands_for() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.delivered(1, 1);
    for _ in 0..3 {
        bench.push_alert(1, &alert(Priority::Critical, "o"));
    }
    bench.advance(600);
    let closed = bench.closed();
    assert_eq!((closed[0].alert.priority, closed[0].summary.count), (Priority::Critical, 2));
}

#[test]
fn an_escalation_that_died_raised_nothing() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    let urgent = alert(Priority::Critical, "o");
    bench.push_alert(1, &urgent);
    assert!(bench.end(1, 2, FirstEnd::Dead).is_none());
    assert!(matches!(bench.push_alert(1, &urgent), Verdict::Escalated));
    assert!(matches!(bench.push(1, "o"), Verdict::Repeat), "the first one is still there");
}

#[test]
fn early_summaries_come_at_each_power_of_ten_and_no_repeat_is_told_twice() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.delivered(1, 1);
    let mut told = Vec::new();
    let mut ids = Vec::new();
    for number in 1..=12_345_u64 {
        if let Verdict::Early(closed) = bench.push_alert(1, &alert(Priority::Error, "o")) {
            told.push((number, closed.summary.count));
            ids.push(closed.id);
        }
    }
    assert_eq!(told, [(1_000, 1_000), (10_000, 9_000)]);
    bench.advance(300);
    let closed = bench.closed();
    assert_eq!(counts(&closed), [2_345]);
    ids.push(closed[0].id);
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn while_the_first_waits_its_delivery_tells_the_repeats() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.push_many(1, 2_000);
    assert!(bench.delivered(1, 1).is_none(), "it showed 2,000");
    bench.push_many(1, 7);
    bench.advance(300);
    assert_eq!(counts(&bench.closed()), [7]);
}

#[test]
fn a_window_whose_repeats_were_all_told_closes_without_a_summary() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.push_many(1, 5);
    bench.delivered(1, 1);
    bench.advance(300);
    assert!(bench.closed().is_empty());
    assert!(bench.table.is_empty());
}

#[test]
fn a_count_is_shown_to_the_delivery_only_when_it_is_committed() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    let repeats = Arc::clone(&bench.dedup.repeats()[&1]);
    let (alert, now) = (alert(Priority::Error, "o"), bench.now);
    with_candidate(1, &alert, |candidate| bench.dedup.decide(candidate, now));
    assert_eq!(repeats.load(Ordering::Relaxed), 0);
    bench.reload(|_| true);
    bench.push_many(1, 3);
    assert_eq!(repeats.load(Ordering::Relaxed), 3, "after a failed commit the delivery keeps its counter");
}

#[test]
fn a_window_that_closes_before_its_first_is_delivered_hands_its_count_over() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.push_many(1, 4);
    bench.advance(300);
    assert!(bench.closed().is_empty());
    assert!(matches!(bench.push(1, "o"), Verdict::First));
    bench.push_many(1, 2);
    bench.restart(|_| true);
    let repeats = bench.dedup.repeats();
    assert_eq!([1, 2].map(|id| repeats[&id].load(Ordering::Relaxed)), [4, 2]);
    assert!(bench.delivered(1, 1).is_none());
    let rest = bench.end(1, 2, FirstEnd::Delivered { repeats_told: 1 });
    assert!(rest.is_none(), "its window is still open");
    bench.advance(300);
    assert_eq!(counts(&bench.closed()), [1]);
    assert!(bench.table.is_empty());
}

#[test]
fn a_window_that_is_opened_and_handed_over_in_one_group_survives_a_restart() {
    let mut bench = Bench::new();
    let (alert, now) = (alert(Priority::Error, "o"), bench.now);
    bench.delivery = 1;
    with_candidate(1, &alert, |candidate| bench.open(candidate));
    with_candidate(1, &alert, |candidate| bench.dedup.decide(candidate, now));
    bench.advance(300);
    assert!(bench.closed().is_empty());
    bench.restart(|_| true);
    assert_eq!(bench.dedup.repeats()[&1].load(Ordering::Relaxed), 1);
    assert_eq!(bench.end(1, 1, FirstEnd::Dead).map(|told| told.summary.count), Some(1));
}

#[test]
fn a_handed_over_count_that_its_delivery_did_not_tell_is_told_at_its_end() {
    for (end, count) in [(FirstEnd::Delivered { repeats_told: 3 }, 1), (FirstEnd::Dead, 4)] {
        let mut bench = Bench::new();
        bench.push(1, "o");
        bench.push_many(1, 4);
        bench.advance(300);
        bench.closed();
        let told = bench.end(1, 1, end).unwrap();
        assert_eq!((told.summary.count, told.alert.output.as_str()), (count, "read back"));
        assert!(bench.table.is_empty());
    }
}

#[test]
fn a_handed_over_count_whose_alert_is_gone_is_counted_as_untold() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.push_many(1, 4);
    bench.advance(300);
    bench.closed();
    assert!(bench.dedup.first_ended(key(1), 1, FirstEnd::Dead, || None).is_none());
    assert_eq!(bench.dedup.take_tally(), Tally { untold: 4, ..Tally::default() });
}

#[test]
fn when_the_first_dies_its_repeats_are_told_and_the_next_occurrence_passes() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.push_many(1, 4);
    let told = bench.end(1, 1, FirstEnd::Dead).unwrap();
    assert_eq!(told.summary.count, 4);
    assert!(bench.table.is_empty() && bench.closed().is_empty());
    assert!(matches!(bench.push(1, "o"), Verdict::First));
}

#[test]
fn a_first_delivery_that_is_not_in_the_store_any_more_leaves_its_count_to_the_window() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.push_many(1, 4);
    bench.advance(300);
    bench.closed();
    bench.push(2, "o");
    bench.push_many(2, 5);
    bench.alerts.insert(1, alert(Priority::Error, "o")); // its delivery had kept it
    bench.restart(|_| false);
    assert!(bench.dedup.repeats().is_empty());
    assert_eq!(bench.dedup.next_closing(), Some(Timestamp::MIN));
    assert_eq!(counts(&bench.closed()), [4]);
    bench.advance(300);
    assert_eq!(counts(&bench.closed()), [5]);
    assert!(bench.table.is_empty());
}

#[test]
fn a_window_whose_alert_is_not_in_the_store_any_more_goes_and_what_it_counted_is_counted() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.delivered(1, 1);
    bench.push_many(1, 4);
    bench.alerts.clear();
    bench.restart(|_| false);
    assert_eq!(bench.dedup.take_tally(), Tally { untold: 4, ..Tally::default() });
    assert!(bench.closed().is_empty() && bench.table.is_empty() && bench.dedup.len() == 0);
    assert!(matches!(bench.push(1, "o"), Verdict::First));
}

#[test]
fn an_evicted_window_tells_at_once_what_it_counted() {
    let mut bench = Bench::with_bounds(Bounds { windows_bytes: 15_000, handed_over: 10 });
    bench.push(0, "o");
    bench.delivered(0, 1);
    bench.push_many(0, 1);
    let mut told = Vec::new();
    for key in 1..10 {
        bench.push(key, "o");
        told.extend(bench.closed());
    }
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].key, told[0].summary.count), (key(0), 1));
    let open = bench.dedup.len();
    assert!((1..=3).contains(&open), "{open}");
    assert_eq!(bench.dedup.take_tally().evicted, 10 - open as u64);
    assert_eq!((bench.table.len(), bench.alerts.len()), (open, open), "what was evicted leaves no record");
}

#[test]
fn the_memory_of_all_windows_with_their_samples_lies_within_the_bound() {
    const BYTES_MAX: usize = 50_000;
    let mut bench = Bench::with_bounds(Bounds { windows_bytes: BYTES_MAX as u64, handed_over: 0 });
    for key in 0..50 {
        bench.push(key, "first");
        for sample in 0..SAMPLES_MAX {
            bench.push(key, &format!("{sample}{}", "x".repeat(SAMPLE_BYTES_MAX)));
        }
        bench.closed();
    }
    let weights: Vec<_> = bench.dedup.windows.values().map(|window| window.weight()).collect();
    assert!(weights.len() > 5 && weights.iter().sum::<u64>() <= BYTES_MAX as u64, "{weights:?}");
    assert!(weights[0] > (SAMPLES_MAX * SAMPLE_BYTES_MAX) as u64);
}

#[test]
fn beyond_the_bound_of_handed_over_counts_a_window_tells_its_own_and_its_delivery_none() {
    let mut bench = Bench::with_bounds(Bounds { windows_bytes: WINDOWS_BYTES_MAX, handed_over: 1 });
    for key in [1, 2] {
        bench.push(key, "o");
        bench.push_many(key, 3);
    }
    let second = Arc::clone(&bench.dedup.repeats()[&2]);
    assert_eq!(second.load(Ordering::Relaxed), 3);
    bench.advance(300);
    assert_eq!(counts(&bench.closed()), [3]);
    assert_eq!(second.load(Ordering::Relaxed), 0);
    assert_eq!(bench.dedup.take_tally().handed_over_overflow, 1);
}

#[test]
fn a_clock_that_jumps_back_prolongs_no_window_beyond_its_length_from_then() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.delivered(1, 1);
    bench.push(1, "o");
    bench.advance(-86_400);
    assert!(bench.closed().is_empty());
    bench.restart(|_| true);
    bench.advance(299);
    assert!(matches!(bench.push(1, "o"), Verdict::Repeat));
    bench.advance(1);
    assert_eq!(counts(&bench.closed()), [2]);
}

#[test]
fn a_clock_that_jumps_back_while_the_router_is_down_is_noticed_at_the_start() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.advance(-86_400);
    bench.restart(|_| true);
    bench.closed();
    assert!(bench.dedup.next_closing().unwrap() <= bench.now + SignedDuration::from_mins(5));
}

#[test]
fn a_restart_makes_the_same_summary_again_under_the_same_id() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.delivered(1, 1);
    bench.push(1, "p");
    bench.advance(300);
    let first = bench.dedup.closed(bench.now);
    bench.restart(|_| true); // what was closed was never committed
    let again = bench.closed();
    assert_eq!((first[0].id, first[0].summary.count), (again[0].id, again[0].summary.count));
    assert_eq!(first[0].summary.samples, again[0].summary.samples);
    assert_eq!(first[0].id.get_version_num(), 8);
    assert!(bench.table.is_empty());
}

#[test]
fn records_that_make_no_sense_are_counted_removed_and_hurt_no_other() {
    let mut bench = Bench::new();
    bench.push(1, "o");
    bench.delivered(1, 1);
    bench.push_many(1, 3);
    let owner = Owner::new(&["hook"]);
    bench.table.insert(owner.key(&[b"short"]), b"{}".to_vec());
    bench.table.insert(owner.key(&[&[9; 8], b"a"]), b"not json".to_vec());
    bench.table.insert(owner.key(&[&[9; 8], b"b"]), b"{}".to_vec());
    bench.table.insert(Owner::new(&["other"]).key(&[b"x"]), b"somebody else's".to_vec());
    bench.restart(|_| true);
    assert_eq!(bench.dedup.take_tally(), Tally { senseless: 3, ..Tally::default() });
    bench.commit();
    assert_eq!(bench.table.len(), 3, "the window's two and somebody else's");
    bench.advance(300);
    assert_eq!(counts(&bench.closed()), [3]);
}

#[test]
fn a_group_writes_small_counts_once_however_many_repeats_it_has() {
    struct Sizes(Vec<usize>);
    impl Records for Sizes {
        fn change(&mut self, _key: &[u8], _before: Before, value: Option<Vec<u8>>) {
            self.0.extend(value.map(|value| value.len()));
        }
    }
    let mut bench = Bench::new();
    bench.push(1, &"x".repeat(100_000));
    bench.push(1, "a sample");
    let (repeat, now) = (alert(Priority::Error, "a sample"), bench.now);
    for _ in 0..500 {
        with_candidate(1, &repeat, |candidate| bench.dedup.decide(candidate, now));
    }
    let mut sizes = Sizes(Vec::new());
    bench.dedup.record(&mut sizes);
    assert!(sizes.0.len() == 1 && sizes.0[0] < 300, "{:?}", sizes.0);
}

#[test]
fn samples_are_cut_at_a_character() {
    let text = format!("{}é", "x".repeat(SAMPLE_BYTES_MAX - 1));
    assert_eq!(cut(&text).len(), SAMPLE_BYTES_MAX - 1);
}

#[derive(Debug, Clone)]
enum Event {
    Alert {
        key: u8,
        priority: Priority,
        output: u8,
    },
    /// Decided, and then the commit fails.
    Refused {
        key: u8,
    },
    Clock {
        seconds: i64,
    },
    End {
        which: usize,
        told: u64,
        is_dead: bool,
    },
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let priority = prop_oneof![Just(Priority::Notice), Just(Priority::Error), Just(Priority::Critical)];
    let event = prop_oneof![
        8 => (0..4_u8, priority, 0..5_u8).prop_map(|(key, priority, output)| Event::Alert { key, priority, output }),
        1 => (0..4_u8).prop_map(|key| Event::Refused { key }),
        3 => (-400..400_i64).prop_map(|seconds| Event::Clock { seconds }),
        2 => (0..8_usize, 0..4_u64, prop::bool::weighted(0.3)).prop_map(|(which, told, is_dead)| Event::End { which, told, is_dead }),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..200)
}

/// What was seen from outside.
#[derive(Default)]
struct Ledger {
    received: u64,
    passed: u64,
    counted: u64,
    told: u64,
    ids: Vec<Uuid>,
    /// Deliveries that have not ended.
    waiting: Vec<(u64, u8)>,
}

impl Ledger {
    fn tell(&mut self, closed: impl IntoIterator<Item = Closed>) {
        for closed in closed {
            assert!(closed.summary.count > 0);
            self.told += closed.summary.count;
            self.ids.push(closed.id);
        }
    }

    fn alert(&mut self, bench: &mut Bench, key: u8, alert: &Arc<Alert>) {
        self.received += 1;
        match bench.push_alert(key, alert) {
            Verdict::First | Verdict::Escalated => {
                self.passed += 1;
                self.waiting.push((bench.delivery, key));
            }
            Verdict::Repeat => self.counted += 1,
            Verdict::Early(closed) => {
                self.counted += 1;
                self.tell([*closed]);
            }
        }
    }

    /// `told`: so many fewer than were counted when the delivery goes out.
    fn end(&mut self, bench: &mut Bench, which: usize, behind: u64, is_dead: bool) {
        if self.waiting.is_empty() {
            return;
        }
        let (delivery, key) = self.waiting.remove(which % self.waiting.len());
        let shown = bench.dedup.repeats().get(&delivery).map_or(0, |repeats| repeats.load(Ordering::Relaxed));
        let end = if is_dead {
            FirstEnd::Dead
        } else {
            let repeats_told = shown.saturating_sub(behind);
            self.told += repeats_told;
            FirstEnd::Delivered { repeats_told }
        };
        self.tell(bench.end(key, delivery, end));
    }

    fn apply(&mut self, bench: &mut Bench, event: &Event) {
        match event {
            Event::Alert { key, priority, output } => self.alert(bench, *key, &alert(*priority, &output.to_string())),
            Event::Refused { key } => {
                let (alert, now, delivery) = (alert(Priority::Error, "o"), bench.now, bench.delivery + 1);
                with_candidate(*key, &alert, |candidate| {
                    if let Verdict::First = bench.dedup.decide(candidate, now) {
                        bench.dedup.open(candidate, now, first(delivery));
                    }
                });
                let waiting = self.waiting.clone();
                bench.reload(|id| waiting.iter().any(|(waiting, _)| *waiting == id));
            }
            Event::Clock { seconds } => bench.advance(*seconds),
            Event::End { which, told, is_dead } => self.end(bench, *which, *told, *is_dead),
            Event::Restart => {
                let waiting = self.waiting.clone();
                bench.restart(|id| waiting.iter().any(|(waiting, _)| *waiting == id));
            }
        }
        self.tell(bench.closed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_alert_passes_or_is_counted_and_every_counted_one_is_told_exactly_once(events in events()) {
        let (mut bench, mut ledger) = (Bench::new(), Ledger::default());
        for event in &events {
            ledger.apply(&mut bench, event);
            prop_assert!(bench.dedup.next_closing().is_none_or(|at| at <= bench.now + SignedDuration::from_mins(5)));
        }
        while !ledger.waiting.is_empty() {
            ledger.end(&mut bench, 0, 0, false);
        }
        bench.advance(300);
        ledger.tell(bench.closed());
        prop_assert_eq!(ledger.received, ledger.passed + ledger.counted);
        prop_assert_eq!(ledger.counted, ledger.told);
        prop_assert!(bench.table.is_empty() && bench.alerts.is_empty());
        let ids: std::collections::HashSet<_> = ledger.ids.iter().collect();
        prop_assert_eq!(ids.len(), ledger.ids.len());
    }

    #[test]
    fn a_router_that_starts_anew_after_each_event_decides_as_one_that_never_stops(events in events()) {
        let (mut one, mut other) = (Bench::new(), Bench::new());
        let (mut stays, mut restarts) = (Ledger::default(), Ledger::default());
        for event in events.iter().filter(|event| !matches!(event, Event::Restart | Event::Refused { .. })) {
            stays.apply(&mut one, event);
            restarts.apply(&mut other, event);
            prop_assert_eq!(&stays.waiting, &restarts.waiting);
            prop_assert_eq!((stays.passed, stays.counted, stays.told), (restarts.passed, restarts.counted, restarts.told));
            prop_assert_eq!(&stays.ids, &restarts.ids);
            prop_assert_eq!(&one.table, &other.table);
            restarts.apply(&mut other, &Event::Restart);
        }
    }
}
