//! The metrics that have a `destination` label.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::labels::{Dropped, KINDS, OWN_REASONS, STORE, Suppressed};
use super::register::{Register, counters, gauges, histograms};
use crate::destination::Reason;

/// Seconds of one delivery attempt: a local file to a slow service.
const DELIVERY_BUCKETS: &[f64] = &[0.000_1, 0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Seconds from the kernel event to the destination's answer: up to the day after which deliveries die.
const END_TO_END_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0, 21_600.0, 86_400.0];

/// The metrics that have a `destination` label.
pub(super) struct DestinationFamilies {
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
    posts: IntGaugeVec,
    post_evictions: IntCounterVec,
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
    /// Messages that others may follow, of destinations that have threads.
    pub(crate) posts: IntGauge,
    pub(crate) post_evictions: IntCounter,
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
    pub(super) fn new(r: &Register) -> Self {
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
            posts: gauges(
                r,
                "posts",
                "Messages that summaries and digests may follow, in a thread or by changing them.",
                destination,
            ),
            post_evictions: counters(
                r,
                "post_evictions_total",
                "Messages that were forgotten to make room: what follows them stands alone.",
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
    /// The metrics of the destination with this name, all present from now on.
    pub(super) fn of(&self, name: &str) -> DestinationMetrics {
        let (families, label) = (self, &[name]);
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
            posts: families.posts.with_label_values(label),
            post_evictions: families.post_evictions.with_label_values(label),
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
