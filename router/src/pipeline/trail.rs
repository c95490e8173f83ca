//! What the decider says in the audit trail.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::alive::Live;
use super::decider::Decider;
use super::group::Group;
use super::outgoing::read_delivery;
use crate::audit::{Event, Line};
use crate::deliver::{Finished, Outcome};

impl Decider {
    /// Says in the audit trail, once it is true, what happened to the notification with this id.
    pub(super) fn note(&self, group: &mut Group, uuid: Uuid, at: Timestamp, event: impl FnOnce() -> Event) {
        if self.audit.is_on() {
            group.audit.push(Line { at, uuid, event: event() });
        }
    }

    /// The same of a delivery that has ended. `fallback`: the station that it moves on to, if it moves on.
    pub(super) fn note_end(
        &self,
        group: &mut Group,
        live: &Live,
        finished: &Finished,
        fallback: Option<usize>,
        at: Timestamp,
    ) {
        if !self.audit.is_on() {
            return;
        }
        // Only the store knows the id of what was never tried.
        let Some((record, _)) = read_delivery(&self.store, finished.id) else { return };
        let destination = Arc::clone(&self.stations[live.station].name);
        let event = match (&finished.outcome, fallback) {
            (Outcome::Delivered, _) => {
                Event::Delivered { destination, attempts: finished.attempts.map_or(0, |attempts| attempts.count) }
            }
            (Outcome::Fallback { reason, .. }, Some(to)) => {
                Event::Moved { destination, to: Arc::clone(&self.stations[to].name), reason }
            }
            (Outcome::Dead { reason, .. } | Outcome::Fallback { reason, .. }, _) => Event::Dead { destination, reason },
            (Outcome::Abandoned, _) => return,
        };
        group.audit.push(Line { at, uuid: record.id, event });
    }
}
