//! What the sensor counts, for Prometheus. Every number has its one place here.

mod containers;
mod description;
mod ledger;
mod names;
mod serve;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use tercel_sensor_abi::{Counters, KindCounters, RecordKind};

use crate::enrich::State;
use crate::enrich::process::Counts;
use crate::kernel::{EntryPoint, PROGRAMS, Status};
use crate::losses::Losses;
use crate::watch::HoldCounts;
use containers::Containers;
use description::{
    BUILD_INFO, COMPAT_CALLS, DROPPED, Description, ENTRY_INFO, ENTRY_SWITCHES, EVENTS, EVICTIONS, FILTER_OVERFLOWS,
    FILTERED_OPENS, KERNEL_SEEN, LOOKUPS, LOST, MALFORMED, MUTED, OPEN_PREFIXES, OUTPUT_LOOKUPS, PROCESSES,
    READ_FAULTS, RECURSION_MISSES, RETRIES, RULE_MATCHES, RULES, SOCKET_EVICTIONS, SOCKETS, X32_CALLS,
};
use names::Names;

use ledger::LedgerCollector;

pub use description::{ALL, reference};
pub use ledger::{Balance, Ledger, Reason};
pub use serve::{SampleKernel, serve};

/// Values of the label `rule`; further rules are counted together as `other`.
const RULES_MAX: usize = 256;
const OTHER: &str = "other";

/// The counters, and what `/livez` and `/readyz` tell.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// In the order of [`RecordKind::ALL`].
    events: Vec<IntCounter>,
    kernel_seen: IntCounterVec,
    dropped: IntCounterVec,
    lost: IntCounter,
    /// `lost` of the last second.
    lost_before: AtomicU64,
    malformed: IntCounter,
    read_faults: IntCounter,
    compat_calls: IntCounter,
    x32_calls: IntCounter,
    filtered_opens: IntCounter,
    open_prefixes: IntGaugeVec,
    sockets: IntGauge,
    socket_evictions: IntCounter,
    recursion_misses: IntCounterVec,
    entry_info: IntGaugeVec,
    pub entry_switches: IntCounter,
    filter_overflows: IntCounter,
    rule_matches: IntCounterVec,
    rules_seen: Mutex<HashSet<String>>,
    /// What became of the alerts that were made.
    pub alerts: Ledger,
    pub retries: IntCounter,
    processes: IntGauge,
    evictions: IntCounter,
    lookups: IntCounterVec,
    containers: Containers,
    names: Names,
    pub muted: IntGauge,
    output_lookups: IntCounterVec,
    pub rules: IntGauge,
    ready: AtomicBool,
    /// Seconds since boot when the watching thread last said that it lives.
    alive_s: AtomicU64,
}

impl Metrics {
    /// # Errors
    ///
    /// Only if two metrics had the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let register = Register(&registry);
        let events = register.counters(EVENTS)?;
        let alerts = Ledger::new()?;
        registry.register(Box::new(LedgerCollector::new(alerts.clone())))?;
        registry.register(Box::new(ProcessCollector::new(std::process::id().cast_signed(), "tercel_sensor")))?;
        let build_info = register.add(IntGaugeVec::new(options(BUILD_INFO), BUILD_INFO.1)?)?;
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            events: RecordKind::ALL.iter().map(|kind| events.with_label_values(&[kind.name()])).collect(),
            kernel_seen: register.counters(KERNEL_SEEN)?,
            dropped: register.counters(DROPPED)?,
            lost: register.counter(LOST)?,
            lost_before: AtomicU64::new(0),
            malformed: register.counter(MALFORMED)?,
            read_faults: register.counter(READ_FAULTS)?,
            compat_calls: register.counter(COMPAT_CALLS)?,
            x32_calls: register.counter(X32_CALLS)?,
            filtered_opens: register.counter(FILTERED_OPENS)?,
            open_prefixes: register.add(IntGaugeVec::new(options(OPEN_PREFIXES), OPEN_PREFIXES.1)?)?,
            sockets: register.gauge(SOCKETS)?,
            socket_evictions: register.counter(SOCKET_EVICTIONS)?,
            recursion_misses: register.counters(RECURSION_MISSES)?,
            entry_info: register.add(IntGaugeVec::new(options(ENTRY_INFO), ENTRY_INFO.1)?)?,
            entry_switches: register.counter(ENTRY_SWITCHES)?,
            filter_overflows: register.counter(FILTER_OVERFLOWS)?,
            rule_matches: register.counters(RULE_MATCHES)?,
            rules_seen: Mutex::default(),
            alerts,
            retries: register.counter(RETRIES)?,
            processes: register.gauge(PROCESSES)?,
            evictions: register.counter(EVICTIONS)?,
            lookups: register.counters(LOOKUPS)?,
            containers: Containers::new(&register)?,
            names: Names::new(&register)?,
            muted: register.gauge(MUTED)?,
            output_lookups: register.counters(OUTPUT_LOOKUPS)?,
            rules: register.gauge(RULES)?,
            ready: AtomicBool::new(false),
            alive_s: AtomicU64::new(crate::clock::since_boot_ns() / 1_000_000_000),
            registry,
        };
        for program in PROGRAMS {
            metrics.recursion_misses.with_label_values(&[program]);
        }
        Ok(metrics)
    }

    pub fn count_event(&self, kind: RecordKind) {
        // Kinds are numbered from 1, in that order.
        if let Some(counter) = self.events.get(kind as usize - 1) {
            counter.inc();
        }
    }

    /// The alert itself is counted by the queue that it is put in.
    pub fn count_match(&self, rule: &str) {
        self.matches_of(rule).inc();
    }

    /// The rules that are loaded: each begins at 0, or Prometheus would take no notice of its first match.
    pub fn set_rules<'a>(&self, names: impl ExactSizeIterator<Item = &'a str>) {
        self.rules.set(names.len().try_into().unwrap_or(i64::MAX));
        for name in names {
            self.matches_of(name);
        }
    }

    fn matches_of(&self, rule: &str) -> IntCounter {
        let mut seen = self.rules_seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_known = seen.contains(rule) || (seen.len() < RULES_MAX && seen.insert(rule.to_owned()));
        self.rule_matches.with_label_values(&[if is_known { rule } else { OTHER }])
    }

    /// What the kernel side counted since the start.
    pub fn set_kernel(&self, counters: &Counters) {
        for kind in RecordKind::ALL {
            let counted = &counters.kinds[kind as usize];
            raise(&self.kernel_seen.with_label_values(&[kind.name()]), counted.seen);
            for (reason, dropped) in drops(counted) {
                raise(&self.dropped.with_label_values(&[kind.name(), reason]), dropped);
            }
        }
        raise(&self.read_faults, counters.read_faults.iter().sum());
        raise(&self.filtered_opens, counters.filtered_opens);
        raise(&self.x32_calls, counters.x32_calls);
        raise(&self.compat_calls, counters.compat_calls);
    }

    /// What is attached, and what it missed since the start.
    pub fn set_status(&self, status: &Status) {
        self.set_entry(status.entry);
        for misses in &status.misses {
            raise(&self.recursion_misses.with_label_values(&[misses.program.as_str()]), misses.count);
        }
    }

    /// `result`: of the metric's label.
    pub(crate) fn count_output_lookup(&self, result: &'static str) {
        self.output_lookups.with_label_values(&[result]).inc();
    }

    /// How many beginnings of paths the kernel side compares opens with, and how many more there should be.
    pub fn set_prefixes(&self, compared: usize, refused: usize) {
        for (state, count) in [("compared", compared), ("refused", refused)] {
            self.open_prefixes.with_label_values(&[state]).set(count.try_into().unwrap_or(i64::MAX));
        }
    }

    pub fn set_entry(&self, used: EntryPoint) {
        for entry in EntryPoint::ALL {
            self.entry_info.with_label_values(&[entry.name()]).set(i64::from(entry == used));
        }
    }

    /// What is known to be lost on the way from the kernel so far.
    pub fn losses(&self) -> Losses {
        let reasons = drops(&KindCounters::default()).map(|(reason, _)| reason);
        let series = RecordKind::ALL.into_iter().flat_map(|kind| reasons.map(|reason| (kind.name(), reason)));
        let dropped = series
            .map(|(kind, reason)| (format!("{kind}.{reason}"), self.dropped.with_label_values(&[kind, reason]).get()));
        let misses =
            PROGRAMS.map(|program| (program.to_owned(), self.recursion_misses.with_label_values(&[program]).get()));
        Losses { dropped: dropped.collect(), gaps: self.lost.get(), recursion_misses: misses.into() }
    }

    /// To be called once a second. A late record takes its gap back, and a counter cannot go down: a loss counts when it
    /// is still one a second later.
    pub fn set_ring(&self, lost: u64, malformed: u64) {
        let before = self.lost_before.swap(lost, Ordering::Relaxed);
        raise(&self.lost, lost.min(before));
        raise(&self.malformed, malformed);
    }

    pub fn set_filter_overflows(&self, count: u64) {
        raise(&self.filter_overflows, count);
    }

    pub fn set_processes(&self, known: usize, counts: Counts) {
        self.processes.set(known.try_into().unwrap_or(i64::MAX));
        raise(&self.evictions, counts.evicted);
        let lookups = [
            ("found", counts.looked_up),
            ("gone", counts.gone),
            ("over_budget", counts.over_budget),
            ("compared", counts.compared),
        ];
        for (result, count) in lookups {
            raise(&self.lookups.with_label_values(&[result]), count);
        }
    }

    pub fn set_sockets(&self, known: usize, evicted: u64) {
        self.sockets.set(known.try_into().unwrap_or(i64::MAX));
        raise(&self.socket_evictions, evicted);
    }

    pub fn set_names(&self, state: &State) {
        self.names.set(state);
        self.containers.set(&state.inventory);
    }

    pub fn set_held(&self, counts: HoldCounts) {
        self.containers.set_held(counts);
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => text,
            Err(error) => format!("# {error}\n").into_bytes(),
        }
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// `now_s`: seconds since boot.
    pub fn set_alive(&self, now_s: u64) {
        self.alive_s.store(now_s, Ordering::Relaxed);
    }

    pub fn alive_s(&self) -> u64 {
        self.alive_s.load(Ordering::Relaxed)
    }
}

/// Why events were dropped, as the label `reason` names it, and how many.
fn drops(counted: &KindCounters) -> [(&'static str, u64); 2] {
    [("ring_full", counted.dropped_full), ("too_long", counted.dropped_long)]
}

/// Lifts a counter to a number that is counted elsewhere.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn options((name, _, help): Description) -> Opts {
    Opts::new(name, help)
}

struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, description: Description) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::with_opts(options(description))?)
    }

    fn counters(&self, description: Description) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(options(description), description.1)?)
    }

    fn gauge(&self, description: Description) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::with_opts(options(description))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ProgramMisses;

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render()).unwrap()
    }

    #[test]
    fn every_metric_without_labels_is_there_from_the_start() {
        let text = text(&Metrics::new().unwrap());
        for (name, _, _) in ALL.iter().filter(|(_, labels, _)| labels.is_empty()) {
            assert!(text.contains(&format!("\n{name} ")) || text.starts_with(name), "{name}");
        }
    }

    #[test]
    fn names_tell_product_and_unit_and_counters_end_with_total() {
        for (name, labels, help) in ALL {
            assert!(name.starts_with("tercel_sensor_") && help.ends_with('.') || name.ends_with("_info"), "{name}");
            assert!(!labels.contains(&"le"), "{name}");
        }
    }

    #[test]
    fn every_kind_of_record_has_its_own_counter() {
        let metrics = Metrics::new().unwrap();
        for kind in RecordKind::ALL {
            metrics.count_event(kind);
        }
        let text = text(&metrics);
        for kind in RecordKind::ALL {
            assert!(text.contains(&format!("tercel_sensor_events_total{{kind=\"{}\"}} 1", kind.name())), "{kind:?}");
        }
    }

    #[test]
    fn a_loss_that_was_only_a_late_record_is_none() {
        let metrics = Metrics::new().unwrap();
        for lost in [5, 2, 2, 9] {
            metrics.set_ring(lost, 0);
        }
        assert!(text(&metrics).contains("tercel_sensor_lost_total 2"));
    }

    #[test]
    fn a_rule_that_is_loaded_begins_at_0() {
        let metrics = Metrics::new().unwrap();
        metrics.set_rules(["a", "b"].into_iter());
        metrics.count_match("b");
        let text = text(&metrics);
        for line in ["tercel_sensor_rules 2", "matches_total{rule=\"a\"} 0", "matches_total{rule=\"b\"} 1"] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn the_257th_rule_is_other() {
        let metrics = Metrics::new().unwrap();
        for number in 0..RULES_MAX + 3 {
            metrics.count_match(&format!("rule {number}"));
        }
        metrics.count_match("rule 0");
        let text = text(&metrics);
        assert!(text.contains("tercel_sensor_rule_matches_total{rule=\"other\"} 3"));
        assert!(text.contains("tercel_sensor_rule_matches_total{rule=\"rule 0\"} 2"));
    }

    #[test]
    fn the_kernel_s_numbers_replace_the_last_ones() {
        let metrics = Metrics::new().unwrap();
        let mut counters = Counters::default();
        counters.kinds[RecordKind::Open as usize].dropped_full = 5;
        metrics.set_kernel(&counters);
        counters.kinds[RecordKind::Open as usize].dropped_full = 7;
        metrics.set_kernel(&counters);
        let text = text(&metrics);
        assert!(text.contains("tercel_sensor_dropped_total{kind=\"open\",reason=\"ring_full\"} 7"), "{text}");
        assert_eq!(metrics.losses().dropped["open.ring_full"], 7);
    }

    #[test]
    fn prefixes_that_are_refused_stand_beside_those_that_are_compared() {
        let metrics = Metrics::new().unwrap();
        metrics.set_prefixes(512, 3);
        let text = text(&metrics);
        assert!(text.contains("tercel_sensor_open_prefixes{state=\"compared\"} 512"), "{text}");
        assert!(text.contains("tercel_sensor_open_prefixes{state=\"refused\"} 3"), "{text}");
    }

    #[test]
    fn the_entry_point_in_use_is_1_and_misses_stand_by_program() {
        let metrics = Metrics::new().unwrap();
        metrics.set_entry(EntryPoint::TpBtf);
        let misses = vec![ProgramMisses { program: "process_fork".to_owned(), count: 3 }];
        metrics.set_status(&Status { entry: EntryPoint::Classic, hooks: Vec::new(), misses });
        let text = text(&metrics);
        for line in [
            "tercel_sensor_entry_info{entry=\"classic\"} 1",
            "tercel_sensor_entry_info{entry=\"tp_btf\"} 0",
            "tercel_sensor_recursion_misses_total{program=\"process_fork\"} 3",
            "tercel_sensor_recursion_misses_total{program=\"sys_exit\"} 0",
            "tercel_sensor_entry_switches_total 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(metrics.losses().recursion_misses["process_fork"], 3);
    }
}
