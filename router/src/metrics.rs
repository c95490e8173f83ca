//! Every metric of the router, once: name, help, labels.
//!
//! Labels are enums or names out of routing.toml. The one exception is `rule`, bounded by [`RULES_MAX`].
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

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use tercel_alert::{Alert, Priority};

use crate::destination::Reason;
use crate::store::Statistics;

/// Rule names that get a label of their own; later ones are counted as `other`.
const RULES_MAX: usize = 256;

/// What rules beyond [`RULES_MAX`] are counted as.
const OTHER: &str = "other";

/// Why an alert is dead that its destination never refused for good.
pub(crate) const MAX_AGE: &str = "max_age";

/// Why an alert is dead whose destination a reload removed.
pub(crate) const REMOVED: &str = "removed";

/// Why an alert went to the fallback that its destination was not even asked about.
pub(crate) const BREAKER: &str = "breaker";

/// Why an alert was not sent that the store did not give back.
pub(crate) const STORE: &str = "store";

/// All of these.
const OWN_REASONS: [&str; 4] = [MAX_AGE, REMOVED, BREAKER, STORE];

/// Kinds of notifications; all but the first are the router's own.
const KINDS: [&str; 4] = ["alert", "summary", "digest", "resolve"];

/// Seconds of reading a body's alerts: a short one to the largest.
const PARSE_BUCKETS: &[f64] = &[0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1];

/// Seconds of one delivery attempt: a local file to a slow service.
const DELIVERY_BUCKETS: &[f64] = &[0.000_1, 0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Seconds from the kernel event to the destination's answer: up to the day after which deliveries die.
const END_TO_END_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0, 21_600.0, 86_400.0];

/// Why an alert did not go to a destination although its route says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suppressed {
    /// A repeat within an open window; its summary says how many there were.
    Dedup,
    /// A source of an inhibition was there not long ago.
    Inhibit,
    /// A silence says so.
    Silence,
    /// A time window says so; its digest says how many there were.
    Mute,
    /// Above its route's limit; the digest, where wanted, says how many there were.
    Limit,
}

/// Why the router gave up an alert that it had taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It went on to the fallback, and the store did not give its body.
    Store,
}

/// Why a request, or an alert in it, was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// Not JSON.
    InvalidJson,
    /// JSON, but not an alert.
    InvalidAlert,
    /// A name, tag or their number beyond its bound.
    TooLong,
    /// More alerts in one request than allowed.
    TooMany,
    /// A body beyond its bound.
    BodySize,
    /// A body that did not arrive in time or broke off.
    BodyRead,
    /// An encoding that is not understood, or gzip that is none.
    Encoding,
    Unauthorized,
    Method,
    Path,
    /// More connections than allowed.
    Connections,
    /// What a connection sent is not HTTP, or its head is too large.
    Head,
    /// A connection that sent too little, or took no answer, for too long.
    Slow,
    /// A connection without the TLS, or the certificate, that the listener asks for.
    Tls,
    /// More bodies at once than there is memory for.
    Busy,
    /// A destination's queue is full for alerts of this priority.
    Full,
    /// The store takes nothing.
    Store,
    /// The router is stopping.
    Stopping,
}

/// What the reasons for holding an alert back are called.
pub(crate) const SUPPRESSED_NAMES: [&str; 5] = ["inhibit", "silence", "mute", "dedup", "limit"];

impl Suppressed {
    const ALL: [Self; 5] = [Self::Inhibit, Self::Silence, Self::Mute, Self::Dedup, Self::Limit];

    pub(crate) const fn name(self) -> &'static str {
        let [inhibit, silence, mute, dedup, limit] = SUPPRESSED_NAMES;
        match self {
            Self::Inhibit => inhibit,
            Self::Silence => silence,
            Self::Mute => mute,
            Self::Dedup => dedup,
            Self::Limit => limit,
        }
    }
}

impl Dropped {
    const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
        }
    }
}

impl Rejected {
    const ALL: [Self; 18] = [
        Self::InvalidJson,
        Self::InvalidAlert,
        Self::TooLong,
        Self::TooMany,
        Self::BodySize,
        Self::BodyRead,
        Self::Encoding,
        Self::Unauthorized,
        Self::Method,
        Self::Path,
        Self::Connections,
        Self::Head,
        Self::Slow,
        Self::Tls,
        Self::Busy,
        Self::Full,
        Self::Store,
        Self::Stopping,
    ];

    /// As the metric and the answer to the sender print it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidAlert => "invalid_alert",
            Self::TooLong => "too_long",
            Self::TooMany => "too_many",
            Self::BodySize => "body_size",
            Self::BodyRead => "body_read",
            Self::Encoding => "encoding",
            Self::Unauthorized => "unauthorized",
            Self::Method => "method",
            Self::Path => "path",
            Self::Connections => "connections",
            Self::Head => "head",
            Self::Slow => "slow",
            Self::Tls => "tls",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Store => "store",
            Self::Stopping => "stopping",
        }
    }
}

/// All metrics of one router.
pub(crate) struct Metrics {
    registry: Registry,
    received: IntCounterVec,
    rules: IntCounterVec,
    rules_seen: Mutex<HashSet<Box<str>>>,
    rules_overflow: IntCounter,
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

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    Success,
    /// Something is wrong with the routing file or with what it names.
    Invalid,
    /// The file is good, and could not be put into force.
    Failed,
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

/// The metrics that have a `destination` label.
struct DestinationFamilies {
    recovered: IntCounterVec,
    received: IntCounterVec,
    replayed: IntCounterVec,
    delivered: IntCounterVec,
    suppressed: IntCounterVec,
    dropped: IntCounterVec,
    dead: IntCounterVec,
    queued: IntGaugeVec,
    queue_bytes: IntGaugeVec,
    oldest: IntGaugeVec,
    notifications: IntCounterVec,
    lost: IntCounterVec,
    attempts: IntCounterVec,
    retries: IntCounterVec,
    failures: IntCounterVec,
    in_flight: IntGaugeVec,
    breaker: IntGaugeVec,
    moved: IntCounterVec,
    delivery_seconds: HistogramVec,
    end_to_end_seconds: HistogramVec,
    windows: IntGaugeVec,
    incidents: IntGaugeVec,
    incident_evictions: IntCounterVec,
    evictions: IntCounterVec,
    no_key: IntCounterVec,
    limit_overflow: IntCounterVec,
    fallbacks: IntGaugeVec,
}

/// The metrics of one destination, ready to count.
#[derive(Clone)]
pub(crate) struct DestinationMetrics {
    pub(crate) recovered: IntCounter,
    pub(crate) received: IntCounter,
    pub(crate) replayed: IntCounter,
    pub(crate) delivered: IntCounter,
    pub(crate) queued: IntGauge,
    pub(crate) queue_bytes: IntGauge,
    /// Whole seconds.
    pub(crate) oldest: IntGauge,
    pub(crate) attempts: IntCounter,
    pub(crate) retries: IntCounter,
    pub(crate) in_flight: IntGauge,
    /// 0 closed, 1 half-open, 2 open.
    pub(crate) breaker: IntGauge,
    /// Alerts that went on to the fallback.
    pub(crate) moved: IntCounter,
    pub(crate) delivery_seconds: Histogram,
    pub(crate) end_to_end_seconds: Histogram,
    /// Open incidents, of destinations that keep them.
    pub(crate) incidents: IntGauge,
    pub(crate) incident_evictions: IntCounter,
    /// Open dedup windows.
    pub(crate) windows: IntGauge,
    pub(crate) evictions: IntCounter,
    pub(crate) no_key: IntCounter,
    pub(crate) limit_overflow: IntCounter,
    pub(crate) fallbacks: IntGauge,
    name: String,
    suppressed: IntCounterVec,
    dropped: IntCounterVec,
    dead: IntCounterVec,
    notifications: IntCounterVec,
    lost: IntCounterVec,
    failures: IntCounterVec,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let r = &registry;
        let metrics = Self {
            received: counters(r, "alerts_received_total", "Alerts taken, by priority.", &["priority"]),
            rules: counters(
                r,
                "rule_alerts_total",
                "Alerts taken, by rule; the 257th and later rules as `other`.",
                &["rule", "priority"],
            ),
            rules_seen: Mutex::default(),
            rules_overflow: counter(r, "rule_label_overflow_total", "Alerts counted as rule `other`."),
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
            filter_mismatches: counter(
                r,
                "filter_type_mismatches_total",
                "Comparisons in route conditions that were false because the field had another type.",
            ),
            connections: gauge(r, "connections", "Open connections, admin ones included."),
            ingest: IngestMetrics::new(r),
            config: ConfigMetrics::new(r),
            destinations: DestinationFamilies::new(r),
            registry,
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

    /// One alert that is going to be acknowledged.
    pub(crate) fn count_received(&self, alert: &Alert) {
        let priority = alert.priority.name();
        self.received.with_label_values(&[priority]).inc();
        let rule = if self.has_label(&alert.rule) { alert.rule.as_str() } else { OTHER };
        self.rules.with_label_values(&[rule, priority]).inc();
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
        let families = &self.destinations;
        let label = &[name];
        families.show_zeros(name);
        DestinationMetrics {
            recovered: families.recovered.with_label_values(label),
            received: families.received.with_label_values(label),
            replayed: families.replayed.with_label_values(label),
            delivered: families.delivered.with_label_values(label),
            queued: families.queued.with_label_values(label),
            queue_bytes: families.queue_bytes.with_label_values(label),
            oldest: families.oldest.with_label_values(label),
            attempts: families.attempts.with_label_values(label),
            retries: families.retries.with_label_values(label),
            in_flight: families.in_flight.with_label_values(label),
            breaker: families.breaker.with_label_values(label),
            moved: families.moved.with_label_values(label),
            delivery_seconds: families.delivery_seconds.with_label_values(label),
            end_to_end_seconds: families.end_to_end_seconds.with_label_values(label),
            windows: families.windows.with_label_values(label),
            incidents: families.incidents.with_label_values(label),
            incident_evictions: families.incident_evictions.with_label_values(label),
            evictions: families.evictions.with_label_values(label),
            no_key: families.no_key.with_label_values(label),
            limit_overflow: families.limit_overflow.with_label_values(label),
            fallbacks: families.fallbacks.with_label_values(label),
            name: name.to_owned(),
            suppressed: families.suppressed.clone(),
            dropped: families.dropped.clone(),
            dead: families.dead.clone(),
            notifications: families.notifications.clone(),
            lost: families.lost.clone(),
            failures: families.failures.clone(),
        }
    }

    fn has_label(&self, rule: &str) -> bool {
        let mut seen = self.rules_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(rule) {
            return true;
        }
        if seen.len() < RULES_MAX {
            return seen.insert(rule.into());
        }
        self.rules_overflow.inc();
        false
    }
}

impl Reload {
    const ALL: [Self; 3] = [Self::Success, Self::Invalid, Self::Failed];

    const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
        }
    }
}

impl ConfigMetrics {
    fn new(r: &Registry) -> Self {
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

impl IngestMetrics {
    fn new(r: &Registry) -> Self {
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

impl DestinationMetrics {
    pub(crate) fn count_suppressed(&self, reason: Suppressed) {
        self.suppressed.with_label_values(&[self.name.as_str(), reason.name()]).inc();
    }

    pub(crate) fn count_dropped(&self, reason: Dropped) {
        self.dropped.with_label_values(&[self.name.as_str(), reason.name()]).inc();
    }

    /// `reason`: why the last attempt failed, or one of the router's own, as [`MAX_AGE`].
    pub(crate) fn count_dead(&self, reason: &str) {
        self.dead.with_label_values(&[self.name.as_str(), reason]).inc();
    }

    /// Alerts held back so far, by reason.
    pub(crate) fn suppressed(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let count = |reason: Suppressed| self.suppressed.with_label_values(&[self.name.as_str(), reason.name()]).get();
        Suppressed::ALL.into_iter().map(move |reason| (reason.name(), count(reason)))
    }

    #[cfg(test)]
    pub(crate) fn dead(&self, reason: &str) -> u64 {
        self.dead.with_label_values(&[self.name.as_str(), reason]).get()
    }

    /// A notification that arrived. `kind`: alert, summary or digest.
    pub(crate) fn count_notification(&self, kind: &str) {
        self.notifications.with_label_values(&[self.name.as_str(), kind]).inc();
    }

    /// A summary or digest that will never arrive.
    pub(crate) fn count_lost(&self, kind: &str) {
        self.lost.with_label_values(&[self.name.as_str(), kind]).inc();
    }

    /// An attempt that failed.
    pub(crate) fn count_failure(&self, reason: &str) {
        self.failures.with_label_values(&[self.name.as_str(), reason]).inc();
    }
}

impl DestinationFamilies {
    fn new(r: &Registry) -> Self {
        let destination = &["destination"];
        let reason = &["destination", "reason"];
        let kind = &["destination", "kind"];
        Self {
            recovered: counters(
                r,
                "recovered_total",
                "Alerts that were owed to this destination at the start.",
                destination,
            ),
            received: counters(r, "deliveries_received_total", "Alerts taken for this destination.", destination),
            replayed: counters(
                r,
                "replayed_total",
                "Dead letters that were sent again to this destination.",
                destination,
            ),
            delivered: counters(r, "delivered_total", "Alerts that the destination confirmed.", destination),
            suppressed: counters(r, "suppressed_total", "Alerts held back; a summary or digest counts them.", reason),
            dropped: counters(r, "dropped_total", "Alerts given up by the router itself.", reason),
            dead: counters(r, "dead_total", "Alerts that the destination refused for good, or for too long.", reason),
            queued: gauges(r, "queued", "Alerts waiting for this destination or being sent.", destination),
            queue_bytes: gauges(r, "queue_bytes", "Memory of what waits for this destination.", destination),
            oldest: gauges(r, "queue_oldest_age_seconds", "Age of the oldest alert waiting.", destination),
            notifications: counters(r, "notifications_total", "Notifications that arrived, by kind.", kind),
            lost: counters(r, "notifications_lost_total", "Summaries and digests that will never arrive.", kind),
            attempts: counters(r, "attempts_total", "Attempts to deliver, the first ones included.", destination),
            retries: counters(r, "retries_total", "Attempts beyond the first.", destination),
            failures: counters(r, "send_failures_total", "Attempts that failed.", reason),
            in_flight: gauges(r, "in_flight", "Attempts under way.", destination),
            breaker: gauges(
                r,
                "breaker_state",
                "Whether the destination is tried: 0 closed (yes), 1 half-open (with one delivery), 2 open (no).",
                destination,
            ),
            moved: counters(
                r,
                "moved_to_fallback_total",
                "Alerts that went on to the fallback because this destination did not take them.",
                destination,
            ),
            delivery_seconds: histograms(r, "delivery_seconds", "One delivery attempt.", DELIVERY_BUCKETS),
            end_to_end_seconds: histograms(
                r,
                "end_to_end_seconds",
                "From the time in the alert to the destination's confirmation.",
                END_TO_END_BUCKETS,
            ),
            incidents: gauges(r, "incidents", "Open incidents, of destinations that keep them.", destination),
            incident_evictions: counters(
                r,
                "incident_evictions_total",
                "Open incidents that were forgotten to make room: the destination is not told of their end.",
                destination,
            ),
            windows: gauges(r, "dedup_entries", "Open deduplication windows.", destination),
            evictions: counters(
                r,
                "dedup_evictions_total",
                "Windows closed early because there were too many; their summaries went out.",
                destination,
            ),
            no_key: counters(r, "dedup_no_key_total", "Alerts not deduplicated for want of fields.", destination),
            limit_overflow: counters(
                r,
                "limit_key_overflow_total",
                "Alerts that shared one bucket because a limit had too many keys.",
                destination,
            ),
            fallbacks: gauges(
                r,
                "render_fallbacks",
                "Bodies, headers and links that a template failed to make, since the start: the built-in body was sent, the rest left out.",
                destination,
            ),
        }
    }
}

impl DestinationFamilies {
    /// Makes every counter of the destination present before it first counts.
    fn show_zeros(&self, name: &str) {
        for reason in Suppressed::ALL {
            self.suppressed.with_label_values(&[name, reason.name()]);
        }
        self.dropped.with_label_values(&[name, Dropped::Store.name()]);
        for reason in OWN_REASONS {
            self.dead.with_label_values(&[name, reason]);
        }
        self.failures.with_label_values(&[name, STORE]);
        for reason in Reason::ALL {
            self.dead.with_label_values(&[name, reason.name()]);
            self.failures.with_label_values(&[name, reason.name()]);
        }
        for kind in KINDS {
            self.notifications.with_label_values(&[name, kind]);
        }
        for kind in &KINDS[1..] {
            self.lost.with_label_values(&[name, kind]);
        }
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, IntCounter::with_opts(opts(name, help)))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(opts(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    registered(registry, IntGauge::with_opts(opts(name, help)))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(opts(name, help), labels))
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let opts = HistogramOpts { common_opts: opts(name, help), buckets: buckets.to_vec() };
    registered(registry, Histogram::with_opts(opts))
}

fn histograms(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
    let opts = HistogramOpts { common_opts: opts(name, help), buckets: buckets.to_vec() };
    registered(registry, HistogramVec::new(opts, &["destination"]))
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("tercel_router")
}

/// # Panics
/// If a name is malformed or used twice: both are constants above, and a test constructs them all.
fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("metric names and labels are well-formed");
    registry.register(Box::new(collector.clone())).expect("every metric name is used once");
    collector
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
        for rule in 0..RULES_MAX + 3 {
            metrics.count_received(&alert(&format!("rule {rule}")));
        }
        let text = metrics.text();
        assert!(text.contains(r#"tercel_router_rule_alerts_total{priority="Error",rule="other"} 3"#), "{text}");
        assert!(text.contains("tercel_router_rule_label_overflow_total 3"), "{text}");
        assert!(!text.contains("rule 256"), "{text}");
    }
}
