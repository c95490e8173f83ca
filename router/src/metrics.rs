//! Every metric of the router, once: name, help, labels.
//!
//! Labels are enums or names out of routing.toml. The two exceptions, `rule` and `namespace`, are bounded: see [`by_name`].
//!
//! **Conservation.** The unit is one alert at one destination, counted once at its final outcome. When nothing moves,
//! for every destination:
//!
//! ```text
//! recovered + deliveries_received + replayed = delivered + suppressed + dropped + dead + moved_to_fallback + queued
//! ```
//!
//! Summaries and digests are notifications of their own: `notifications_total` and `notifications_lost_total` count them
//! by kind, outside this equation.

mod by_name;
mod destination;
mod labels;
mod register;

use jiff::Timestamp;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder};
use serde_json::Value;
use tercel_alert::{Alert, Priority};

use crate::store::Statistics;
use by_name::ByName;
use destination::DestinationFamilies;
pub(crate) use destination::DestinationMetrics;
pub(crate) use labels::{BREAKER, Dropped, MAX_AGE, REMOVED, Rejected, Reload, STORE, SUPPRESSED_NAMES, Suppressed};
use register::{PREFIX, Register, counter, counters, gauge, gauges, histogram};

/// The output field whose values are the label `namespace`.
const NAMESPACE: &str = "k8s.ns.name";

/// Seconds of reading a body's alerts: a short one to the largest.
const PARSE_BUCKETS: &[f64] = &[0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1];

/// All metrics of one router.
pub(crate) struct Metrics {
    registry: Registry,
    received: IntCounterVec,
    rules: ByName,
    namespaces: ByName,
    counts_namespaces: bool,
    rejected: IntCounterVec,
    pub(crate) unrouted: IntCounter,
    pub(crate) seen_evictions: IntCounter,
    pub(crate) seen_entries: IntGauge,
    pub(crate) inhibit_sources: IntGauge,
    pub(crate) inhibit_evictions: IntCounter,
    pub(crate) repeats_untold: IntCounter,
    pub(crate) records_skipped: IntCounter,
    silences: IntGaugeVec,
    store: IntGaugeVec,
    store_bytes: IntGauge,
    pub(crate) commits_failed: IntCounter,
    pub(crate) seen_repeats: IntCounter,
    pub(crate) seen_reused: IntCounter,
    pub(crate) stored_bytes: IntGauge,
    pub(crate) stored_bytes_max: IntGauge,
    pub(crate) dead_letters: IntGauge,
    pub(crate) audit_missed: IntCounter,
    pub(crate) tail_readers: IntGauge,
    pub(crate) tail_missed: IntCounter,
    pub(crate) filter_mismatches: IntCounter,
    pub(crate) connections: IntGauge,
    pub(crate) ingest: IngestMetrics,
    pub(crate) config: ConfigMetrics,
    destinations: DestinationFamilies,
}

/// What is known of the configuration.
pub(crate) struct ConfigMetrics {
    reloads: IntCounterVec,
    success: IntGauge,
    succeeded: IntGauge,
}

/// What comes in, beside what is refused of it.
pub(crate) struct IngestMetrics {
    pub(crate) requests: IntCounter,
    pub(crate) in_flight: IntGauge,
    pub(crate) bytes: IntCounter,
    pub(crate) parse_seconds: Histogram,
    pub(crate) not_utf8: IntCounter,
    pub(crate) enrich_failures: IntCounter,
    /// 1: the certificates' files have changed to what cannot be used.
    pub(crate) tls_stale: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self::registered(&Register::default())
    }

    /// Rows of a table for docs/metrics.md.
    pub(crate) fn reference() -> String {
        let register = Register::default();
        Self::registered(&register);
        if let Some(fsync) = &Statistics::at_start().fsync {
            register.describe("histogram", fsync);
        }
        register.rows()
    }

    fn registered(r: &Register) -> Self {
        r.add_process(ProcessCollector::new(std::process::id().cast_signed(), PREFIX));
        let metrics = Self {
            received: counters(r, "alerts_received_total", "Alerts taken, by priority.", &["priority"]),
            rules: by_rule(r),
            namespaces: by_namespace(r),
            counts_namespaces: false,
            rejected: counters(r, "ingest_rejected_total", "Requests, connections and alerts not taken.", &["reason"]),
            unrouted: counter(r, "unrouted_total", "Alerts that no route wanted; they went to the built-in archive."),
            seen_repeats: counter(
                r,
                "repeated_uuid_total",
                "Alerts acknowledged again and not delivered again: their sender had sent them before.",
            ),
            seen_reused: counter(
                r,
                "reused_uuid_total",
                "Alerts that got an id of their own, because another one had theirs.",
            ),
            seen_evictions: counter(
                r,
                "seen_uuid_evictions_total",
                "Ids forgotten early, because there were too many.",
            ),
            seen_entries: gauge(r, "seen_uuids", "Ids of the last quarter of an hour that are remembered."),
            inhibit_sources: gauge(
                r,
                "inhibit_sources",
                "Sources that mute others at the moment, at all destinations.",
            ),
            inhibit_evictions: counter(
                r,
                "inhibit_evictions_total",
                "Sources that had to make room while they still muted.",
            ),
            repeats_untold: counter(
                r,
                "repeats_untold_total",
                "Repeats of which no notification tells: the first alert was not in the store any more.",
            ),
            records_skipped: counter(
                r,
                "store_records_skipped_total",
                "Records that this version does not understand, and removes.",
            ),
            silences: gauges(r, "silences", "Silences in force (active) and to come (pending).", &["state"]),
            store: gauges(
                r,
                "store_faults",
                "What the store met since the start: failures (of the device), refusals (no space), corrupt (records), torn_tails, quarantines.",
                &["kind"],
            ),
            store_bytes: gauge(r, "store_disk_bytes", "Size of the store's files."),
            commits_failed: counter(
                r,
                "store_commits_failed_total",
                "Commits that failed; their requests were refused.",
            ),
            stored_bytes: gauge(
                r,
                "stored_bytes",
                "Alerts and deliveries that are owed, as the store's bound counts them.",
            ),
            dead_letters: gauge(r, "dead_letters", "Dead letters in the store, until they are replayed or purged."),
            audit_missed: counter(
                r,
                "audit_missed_total",
                "Lines that the audit trail does not have: its file could not be written, or not fast enough.",
            ),
            tail_readers: gauge(r, "tail_readers", "Who reads along what is decided."),
            tail_missed: counter(
                r,
                "tail_missed_total",
                "Decisions that one who read along missed, being too slow; each such reader was told.",
            ),
            stored_bytes_max: gauge(
                r,
                "stored_bytes_max",
                "What may be owed; from 80 % of it on alerts are refused, the least urgent first.",
            ),
            filter_mismatches: counter(
                r,
                "filter_type_mismatches_total",
                "Comparisons in route conditions that were false because the field had another type.",
            ),
            connections: gauge(r, "connections", "Open connections, admin ones included."),
            ingest: IngestMetrics::new(r),
            config: ConfigMetrics::new(r),
            destinations: DestinationFamilies::new(r),
            registry: r.registry(),
        };
        // A counter that is there from the start can be alerted on at its first increment.
        for priority in Priority::ALL {
            metrics.received.with_label_values(&[priority.name()]);
        }
        for reason in Rejected::ALL {
            metrics.rejected.with_label_values(&[reason.name()]);
        }
        metrics
    }

    /// Counts alerts by the namespace of their pod, too.
    pub(crate) fn with_namespaces(self) -> Self {
        Self { counts_namespaces: true, ..self }
    }

    /// One alert that is going to be acknowledged.
    pub(crate) fn count_received(&self, alert: &Alert) {
        self.received.with_label_values(&[alert.priority.name()]).inc();
        self.rules.count(&alert.rule, alert.priority);
        if self.counts_namespaces
            && let Some(Value::String(namespace)) = alert.output_fields.get(NAMESPACE)
        {
            self.namespaces.count(namespace, alert.priority);
        }
    }

    pub(crate) fn count_rejected(&self, reason: Rejected) {
        self.rejected.with_label_values(&[reason.name()]).inc();
    }

    /// The time of every fsync of this store, from now on.
    pub(crate) fn add_store(&self, statistics: &Statistics) {
        if let Some(fsync) = &statistics.fsync {
            // It is registered once, under a name of its own.
            drop(self.registry.register(Box::new(fsync.clone())));
        }
    }

    pub(crate) fn show_silences(&self, state: &str, count: usize) {
        self.silences.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn show_store(&self, statistics: &Statistics, bytes: u64) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let Statistics { failures, refusals, corrupt, torn_tails, quarantines, fsync: _ } = *statistics;
        for (kind, count) in [
            ("failures", failures),
            ("refusals", refusals),
            ("corrupt", corrupt),
            ("torn_tails", torn_tails),
            ("quarantines", quarantines),
        ] {
            self.store.with_label_values(&[kind]).set(gauge(count));
        }
        self.store_bytes.set(gauge(bytes));
    }

    /// Everything in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// The metrics of the destination with this name, all present from now on.
    pub(crate) fn destination(&self, name: &str) -> DestinationMetrics {
        self.destinations.of(name)
    }
}

impl ConfigMetrics {
    fn new(r: &Register) -> Self {
        let metrics = Self {
            reloads: counters(
                r,
                "config_reloads_total",
                "Times the configuration was read, at the start too: success, invalid (it cannot be used) or failed (the store took nothing, or there were too many names of destinations).",
                &["result"],
            ),
            success: gauge(
                r,
                "config_reload_success",
                "1: the configuration was taken when it was last read; 0: an older one is in force.",
            ),
            succeeded: gauge(
                r,
                "config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read, in seconds since 1970.",
            ),
        };
        for result in Reload::ALL {
            metrics.reloads.with_label_values(&[result.name()]);
        }
        metrics
    }

    pub(crate) fn count(&self, result: Reload, now: Timestamp) {
        self.reloads.with_label_values(&[result.name()]).inc();
        self.success.set(i64::from(result == Reload::Success));
        if result == Reload::Success {
            self.succeeded.set(now.as_second());
        }
    }
}

fn by_rule(r: &Register) -> ByName {
    let help = "Alerts taken, by rule; the 257th and later rules as `other`.";
    ByName::new(
        counters(r, "rule_alerts_total", help, &["rule", "priority"]),
        counter(r, "rule_label_overflow_total", "Alerts counted as rule `other`."),
    )
}

fn by_namespace(r: &Register) -> ByName {
    let help = "Alerts taken that name the namespace of their pod, where the setting `namespace_label` wants it; the 257th and later namespaces as `other`.";
    ByName::new(
        counters(r, "namespace_alerts_total", help, &["namespace", "priority"]),
        counter(r, "namespace_label_overflow_total", "Alerts counted as namespace `other`."),
    )
}

impl IngestMetrics {
    fn new(r: &Register) -> Self {
        Self {
            requests: counter(r, "ingest_requests_total", "Requests with alerts, refused ones included."),
            in_flight: gauge(r, "ingest_in_flight", "Requests with alerts that are not answered yet."),
            bytes: counter(r, "ingest_bytes_total", "Bytes of bodies that were read, after decompression."),
            parse_seconds: histogram(r, "ingest_parse_seconds", "A body → its alerts.", PARSE_BUCKETS),
            not_utf8: counter(
                r,
                "ingest_not_utf8_total",
                "Bodies with bytes that are no UTF-8; each was replaced by U+FFFD.",
            ),
            enrich_failures: counter(
                r,
                "enrich_failures_total",
                "Templated fields that are missing in an alert because their template failed on it.",
            ),
            tls_stale: gauge(
                r,
                "tls_certificates_stale",
                "1 while the certificates' files hold what cannot be used, and those from before are in force.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(rule: &str) -> Alert {
        serde_json::from_value(serde_json::json!({"time": "2026-01-01T00:00:00Z", "rule": rule, "priority": "error"}))
            .unwrap()
    }

    #[test]
    fn what_can_be_counted_is_there_before_it_happens() {
        let metrics = Metrics::new();
        metrics.destination("hook");
        let text = metrics.text();
        for line in [
            r#"tercel_router_alerts_received_total{priority="Debug"} 0"#,
            r#"tercel_router_ingest_rejected_total{reason="full"} 0"#,
            r#"tercel_router_deliveries_received_total{destination="hook"} 0"#,
            r#"tercel_router_suppressed_total{destination="hook",reason="dedup"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn rules_beyond_the_bound_share_a_label_and_are_counted() {
        let metrics = Metrics::new();
        for rule in 0..by_name::NAMES_MAX + 3 {
            metrics.count_received(&alert(&format!("rule {rule}")));
        }
        let text = metrics.text();
        assert!(text.contains(r#"tercel_router_rule_alerts_total{priority="Error",rule="other"} 3"#), "{text}");
        assert!(text.contains("tercel_router_rule_label_overflow_total 3"), "{text}");
        assert!(!text.contains("rule 256"), "{text}");
    }

    #[test]
    fn namespaces_are_counted_where_the_settings_want_it() {
        let alert: Alert = serde_json::from_value(serde_json::json!({
            "time": "2026-01-01T00:00:00Z", "rule": "r", "priority": "error",
            "output_fields": {"k8s.ns.name": "payments"},
        }))
        .unwrap();
        let (without, with) = (Metrics::new(), Metrics::new().with_namespaces());
        without.count_received(&alert);
        with.count_received(&alert);
        with.count_received(&self::alert("on the host"));
        assert!(!without.text().contains("namespace_alerts_total"));
        let text = with.text();
        let counted: Vec<_> = text.lines().filter(|line| line.contains("namespace_alerts_total{")).collect();
        assert_eq!(counted, [r#"tercel_router_namespace_alerts_total{namespace="payments",priority="Error"} 1"#]);
    }

    #[test]
    fn the_process_tells_its_memory_and_processor_time() {
        let text = Metrics::new().text();
        for name in ["tercel_router_process_resident_memory_bytes", "tercel_router_process_cpu_seconds_total"] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{text}");
        }
    }
}
