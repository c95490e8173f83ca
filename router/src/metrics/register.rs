//! Making metrics, each registered once and remembered for the reference in docs/metrics.md.

use std::cell::RefCell;
use std::fmt::Write as _;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// What every name begins with.
const PREFIX: &str = "tercel_router";

/// Where metrics are registered while they are made.
#[derive(Default)]
pub(super) struct Register {
    registry: Registry,
    described: RefCell<Vec<Described>>,
}

/// A metric as the reference tells it.
struct Described {
    name: String,
    kind: &'static str,
    labels: Vec<String>,
    help: String,
}

impl Register {
    /// What gathers them.
    pub(super) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Rows of a Markdown table, by name: name, type, unit, labels, meaning.
    pub(super) fn rows(&self) -> String {
        let mut described: Vec<_> = self.described.borrow_mut().drain(..).collect();
        described.sort_by(|a, b| a.name.cmp(&b.name));
        let mut rows = String::new();
        for Described { name, kind, labels, help } in described {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            // Writing to a string does not fail.
            writeln!(
                rows,
                "| `{name}` | {kind} | {} | {} | {} |",
                unit(&name),
                labels.join(", "),
                help.replace('|', "\\|")
            )
            .ok();
        }
        rows
    }

    /// For the reference only.
    pub(super) fn describe(&self, kind: &'static str, collector: &impl Collector) {
        self.described.borrow_mut().extend(collector.desc().into_iter().map(|description| Described {
            name: description.fq_name.clone(),
            kind,
            labels: description.variable_labels.clone(),
            help: description.help.clone(),
        }));
    }

    /// # Panics
    /// If a name is malformed or used twice: both are constants, and a test constructs them all.
    fn add<C: Collector + Clone + 'static>(&self, kind: &'static str, collector: prometheus::Result<C>) -> C {
        let collector = collector.expect("metric names and labels are well-formed");
        self.registry.register(Box::new(collector.clone())).expect("every metric name is used once");
        self.describe(kind, &collector);
        collector
    }
}

pub(super) fn counter(register: &Register, name: &str, help: &str) -> IntCounter {
    register.add("counter", IntCounter::with_opts(opts(name, help)))
}

pub(super) fn counters(register: &Register, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register.add("counter", IntCounterVec::new(opts(name, help), labels))
}

pub(super) fn gauge(register: &Register, name: &str, help: &str) -> IntGauge {
    register.add("gauge", IntGauge::with_opts(opts(name, help)))
}

pub(super) fn gauges(register: &Register, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register.add("gauge", IntGaugeVec::new(opts(name, help), labels))
}

pub(super) fn histogram(register: &Register, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let opts = HistogramOpts { common_opts: opts(name, help), buckets: buckets.to_vec() };
    register.add("histogram", Histogram::with_opts(opts))
}

/// By destination.
pub(super) fn histograms(register: &Register, name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
    let opts = HistogramOpts { common_opts: opts(name, help), buckets: buckets.to_vec() };
    register.add("histogram", HistogramVec::new(opts, &["destination"]))
}

/// As the end of the name tells it.
fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total").trim_end_matches("_max");
    [("_timestamp_seconds", "seconds since 1970"), ("_seconds", "seconds"), ("_bytes", "bytes")]
        .into_iter()
        .find_map(|(end, unit)| name.ends_with(end).then_some(unit))
        .unwrap_or_default()
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(PREFIX)
}
