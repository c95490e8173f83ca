//! Deliveries that will never arrive: kept as dead letters, with the reason.

use jiff::Timestamp;
use std::sync::Arc;
use tercel_alert::Alert;
use tracing::error;

use super::alive::Live;
use super::decider::Decider;
use super::group::{Count, Group};
use super::outgoing;
use super::record::{self, Record};
use crate::dead_letter::DeadLetter;
use crate::deliver::Finished;
use crate::metrics::REMOVED;
use crate::outbox::Kind;
use crate::store::Table;

impl Decider {
    /// A delivery that its worker gave up.
    pub(super) fn bury(
        &self,
        group: &mut Group,
        live: &Live,
        finished: &Finished,
        (reason, detail): (&str, &str),
        now: Timestamp,
    ) {
        match outgoing::read_delivery(&self.store, finished.id) {
            Some((record, alert)) => {
                let letter = letter(&record, &alert, (reason, detail), now).with_attempts(finished.attempts);
                put(group, finished.id, &letter);
            }
            None => {
                error!(number = finished.id, alert = live.alert, reason, "a dead letter's body is not in the store");
            }
        }
    }

    /// A delivery to a destination that the configuration does not have any more.
    pub(super) fn bury_stranger(&self, group: &mut Group, number: u64, record: &Record, now: Timestamp) {
        group.batch.remove(Table::Deliveries, &record::key(number));
        let alert = outgoing::read_alert(&self.store, record.alert);
        group.counts.push(Count::Stranger {
            destination: Arc::clone(&record.destination),
            kind: Kind::from(&record.kind),
            is_kept: alert.is_some(),
        });
        let Some(alert) = alert else { return };
        let why = (REMOVED, "the configuration has this destination no more");
        put(group, number, &letter(record, &alert, why, now));
        error!(destination = %record.destination, id = %record.id, "what was owed to a destination that is gone is a dead letter");
    }
}

fn letter(record: &Record, alert: &Arc<Alert>, (reason, detail): (&str, &str), now: Timestamp) -> DeadLetter {
    DeadLetter {
        destination: Arc::clone(&record.destination),
        route: Arc::clone(&record.route),
        kind: record.kind.clone(),
        reason: reason.into(),
        detail: detail.to_owned(),
        attempts: 0,
        first_attempt: None,
        last_attempt: None,
        accepted: record.accepted,
        died: now,
        id: record.id,
        key: record.key,
        alert: Arc::clone(alert),
    }
}

/// Under the number of its delivery.
fn put(group: &mut Group, number: u64, letter: &DeadLetter) {
    group.batch.put(Table::Dead, &record::key(number), crate::record::to_json(letter));
}
