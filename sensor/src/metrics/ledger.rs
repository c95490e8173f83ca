//! What became of every alert: made = acknowledged + dropped + queued.
//!
//! The equation holds at every scrape: one lock is around each step that moves alerts from one side to another, and the
//! whole ledger is one collector, which reads all of its numbers under the same lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use tercel_alert::Priority;

use super::{Description, options};

pub(super) const MADE: Description = (
    "tercel_sensor_alerts_made_total",
    &["priority"],
    "Alerts made. At every scrape: made = acknowledged + dropped + queued.",
);
pub(super) const ACKNOWLEDGED: Description = (
    "tercel_sensor_alerts_acknowledged_total",
    &[],
    "Alerts that the output took: it answered 2xx, or they were written.",
);
pub(super) const DROPPED: Description = (
    "tercel_sensor_alerts_dropped_total",
    &["reason"],
    "Alerts given up: the queue was full, the output refused the request or rejected the alert in it, it could not be written as JSON, \
     the sensor was stopped first.",
);
pub(super) const QUEUED: Description =
    ("tercel_sensor_alerts_queued", &[], "Alerts that wait for the output, or for its answer.");
pub(super) const QUEUE_BYTES: Description =
    ("tercel_sensor_queue_bytes", &[], "Bytes of the alerts that wait for the output, as they are sent.");
pub(super) const QUEUE_BYTES_MAX: Description = (
    "tercel_sensor_queue_bytes_max",
    &[],
    "Bound on the bytes that wait; its last quarter is for critical alerts and above.",
);

/// Why an alert was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There was no room for an alert of this priority.
    QueueFull,
    /// The output said no to the request that held it, or to it alone.
    Refused,
    /// The output took the request, and said that it could not read this alert.
    Rejected,
    /// It could not be written as JSON.
    Unserializable,
    /// The sensor ended before the output took it.
    Stopped,
}

impl Reason {
    pub const ALL: [Self; 5] = [Self::QueueFull, Self::Refused, Self::Rejected, Self::Unserializable, Self::Stopped];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Unserializable => "unserializable",
            Self::Stopped => "stopped",
        }
    }
}

/// Shared by whoever makes alerts, the output, and the scrapes.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Mutex<Account>>);

/// All numbers of the equation; only ever changed and read under the ledger's lock.
#[derive(Debug)]
struct Account {
    made: IntCounterVec,
    acknowledged: IntCounter,
    dropped: IntCounterVec,
    queued: IntGauge,
    bytes: IntGauge,
    bytes_max: IntGauge,
}

/// One look at the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    pub made: u64,
    pub acknowledged: u64,
    pub dropped: u64,
    pub queued: u64,
    pub queue_bytes: usize,
}

impl Ledger {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let account = Account {
            made: IntCounterVec::new(options(MADE), MADE.1)?,
            acknowledged: IntCounter::with_opts(options(ACKNOWLEDGED))?,
            dropped: IntCounterVec::new(options(DROPPED), DROPPED.1)?,
            queued: IntGauge::with_opts(options(QUEUED))?,
            bytes: IntGauge::with_opts(options(QUEUE_BYTES))?,
            bytes_max: IntGauge::with_opts(options(QUEUE_BYTES_MAX))?,
        };
        for priority in Priority::ALL {
            account.made.with_label_values(&[priority.name()]);
        }
        for reason in Reason::ALL {
            account.dropped.with_label_values(&[reason.name()]);
        }
        Ok(Self(Arc::new(Mutex::new(account))))
    }

    /// For the scrape; the bound itself is the queue's.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.account().bytes_max.set(gauge(bytes_max as u64));
    }

    /// A new alert of `bytes`, where `bytes_max` may wait. `false`: there is no room, it is dropped.
    pub fn admit(&self, priority: Priority, bytes: usize, bytes_max: usize) -> bool {
        let account = self.account();
        account.make(priority);
        let fits = account.bytes().saturating_add(bytes) <= bytes_max;
        if fits {
            account.queued.inc();
            account.bytes.add(gauge(bytes as u64));
        } else {
            account.give_up(Reason::QueueFull, 1);
        }
        fits
    }

    /// A new alert that never gets into the queue.
    pub fn make_and_drop(&self, priority: Priority, reason: Reason) {
        let account = self.account();
        account.make(priority);
        account.give_up(reason, 1);
    }

    /// Queued alerts of `bytes` together have their outcome: these many were taken, these many were given up. Never more
    /// than are queued: what was given up before stays given up.
    pub fn settle(&self, bytes: usize, acknowledged: u64, (reason, dropped): (Reason, u64)) {
        let account = self.account();
        let queued = count(&account.queued);
        let acknowledged = acknowledged.min(queued);
        let dropped = dropped.min(queued - acknowledged);
        account.queued.sub(gauge(acknowledged + dropped));
        account.bytes.sub(gauge(bytes.min(account.bytes()) as u64));
        account.acknowledged.inc_by(acknowledged);
        account.give_up(reason, dropped);
    }

    /// Gives up everything that is queued; how many that were.
    pub fn drop_queued(&self, reason: Reason) -> u64 {
        let account = self.account();
        let left = count(&account.queued);
        account.queued.set(0);
        account.bytes.set(0);
        account.give_up(reason, left);
        left
    }

    /// How many were given up for this reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.account().dropped.with_label_values(&[reason.name()]).get()
    }

    pub fn balance(&self) -> Balance {
        let account = self.account();
        let sum = |counters: &IntCounterVec, labels: &[&str]| {
            labels.iter().map(|label| counters.with_label_values(&[*label]).get()).sum()
        };
        Balance {
            made: sum(&account.made, &Priority::ALL.map(Priority::name)),
            acknowledged: account.acknowledged.get(),
            dropped: sum(&account.dropped, &Reason::ALL.map(Reason::name)),
            queued: count(&account.queued),
            queue_bytes: account.bytes(),
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn make(&self, priority: Priority) {
        self.made.with_label_values(&[priority.name()]).inc();
    }

    fn give_up(&self, reason: Reason, count: u64) {
        self.dropped.with_label_values(&[reason.name()]).inc_by(count);
    }

    fn bytes(&self) -> usize {
        usize::try_from(self.bytes.get()).unwrap_or(0)
    }

    fn collectors(&self) -> [&dyn Collector; 6] {
        [&self.made, &self.acknowledged, &self.dropped, &self.queued, &self.bytes, &self.bytes_max]
    }
}

fn count(gauge: &IntGauge) -> u64 {
    u64::try_from(gauge.get()).unwrap_or(0)
}

fn gauge(value: u64) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// What the registry holds: the descriptions outlive any lock.
pub(super) struct LedgerCollector {
    ledger: Ledger,
    descriptions: Vec<Desc>,
}

impl LedgerCollector {
    pub(super) fn new(ledger: Ledger) -> Self {
        let descriptions = ledger.account().collectors().iter().flat_map(|part| part.desc()).cloned().collect();
        Self { ledger, descriptions }
    }
}

impl Collector for LedgerCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.ledger.account().collectors().iter().flat_map(|part| part.collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::metrics::Metrics;

    /// The sum of a metric's samples in a scrape.
    fn sample(text: &str, name: &str) -> u64 {
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        text.lines().filter(of_name).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    #[test]
    fn the_equation_holds_at_every_scrape_while_threads_move_alerts() {
        let metrics = Metrics::new().unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        if metrics.alerts.admit(Priority::Notice, 10, 1_000) && fastrand::bool() {
                            metrics.alerts.settle(10, 1, (Reason::Refused, 0));
                        } else if metrics.alerts.balance().queued > 90 {
                            metrics.alerts.drop_queued(Reason::Stopped);
                        }
                    }
                });
            }
            for _ in 0..300 {
                let text = String::from_utf8(metrics.render()).unwrap();
                let [made, taken, dropped, queued] =
                    [MADE, ACKNOWLEDGED, DROPPED, QUEUED].map(|(name, ..)| sample(&text, name));
                assert_eq!(made, taken + dropped + queued, "{text}");
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(metrics.alerts.balance().made > 0);
    }

    #[test]
    fn every_reason_is_exported_from_the_start() {
        let text = String::from_utf8(Metrics::new().unwrap().render()).unwrap();
        for reason in Reason::ALL {
            assert!(text.contains(&format!("{}{{reason=\"{}\"}} 0", DROPPED.0, reason.name())), "{text}");
        }
    }
}
