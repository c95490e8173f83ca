//! What the runtimes tell of containers.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::{Description, Register, raise};
use crate::enrich::container::Inventory;
use crate::watch::HoldCounts;

pub(super) const RUNTIMES: Description =
    ("tercel_sensor_container_runtimes", &[], "Container runtimes that the sensor is connected to.");
pub(super) const KNOWN: Description =
    ("tercel_sensor_containers", &[], "Containers whose name, image and pod are remembered.");
pub(super) const ANSWERS: Description =
    ("tercel_sensor_container_answers_total", &[], "Answers of runtimes about a container.");
pub(super) const CUT: Description = (
    "tercel_sensor_container_answers_cut_total",
    &[],
    "Answers of which labels, mounts or texts were cut because they were too long.",
);
pub(super) const FAILURES: Description = (
    "tercel_sensor_container_failures_total",
    &[],
    "Questions about a container to which no answer came, or none that could be read.",
);
pub(super) const REFUSED: Description = (
    "tercel_sensor_container_questions_refused_total",
    &[],
    "Containers that a runtime was not asked about because too many waited.",
);
pub(super) const EVICTIONS: Description = (
    "tercel_sensor_container_evictions_total",
    &[],
    "Containers that were forgotten because there were too many, or too much was told of them.",
);

pub(super) const HOLDING: Description = (
    "tercel_sensor_events_held",
    &[],
    "Events that wait for what a container's runtime tells, because a rule depends on it.",
);
pub(super) const HELD: Description = ("tercel_sensor_events_held_total", &[], "Events that had to wait for that.");
pub(super) const LATE: Description = (
    "tercel_sensor_events_late_total",
    &["reason"],
    "Events that were judged without it: it did not come in time (waited), too many waited (full), or the runtimes had been \
     asked before in vain (unanswered).",
);

/// All of them.
#[derive(Debug)]
pub(super) struct Containers {
    runtimes: IntGauge,
    known: IntGauge,
    answers: IntCounter,
    cut: IntCounter,
    failures: IntCounter,
    refused: IntCounter,
    evictions: IntCounter,
    holding: IntGauge,
    held: IntCounter,
    late: IntCounterVec,
}

impl Containers {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            runtimes: register.gauge(RUNTIMES)?,
            known: register.gauge(KNOWN)?,
            answers: register.counter(ANSWERS)?,
            cut: register.counter(CUT)?,
            failures: register.counter(FAILURES)?,
            refused: register.counter(REFUSED)?,
            evictions: register.counter(EVICTIONS)?,
            holding: register.gauge(HOLDING)?,
            held: register.counter(HELD)?,
            late: register.counters(LATE)?,
        })
    }

    pub(super) fn set(&self, inventory: &Inventory) {
        let counts = inventory.counts();
        self.runtimes.set(counts.connected.try_into().unwrap_or(i64::MAX));
        self.known.set(counts.known.try_into().unwrap_or(i64::MAX));
        raise(&self.answers, counts.told);
        raise(&self.cut, counts.cut);
        raise(&self.failures, counts.failed);
        raise(&self.refused, counts.refused);
        raise(&self.evictions, counts.evicted);
    }

    pub(super) fn set_held(&self, counts: HoldCounts) {
        self.holding.set(counts.holding.try_into().unwrap_or(i64::MAX));
        raise(&self.held, counts.held);
        let HoldCounts { waited, full, unanswered, .. } = counts;
        for (reason, count) in [("waited", waited), ("full", full), ("unanswered", unanswered)] {
            raise(&self.late.with_label_values(&[reason]), count);
        }
    }
}
