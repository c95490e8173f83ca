//! What goes out, and how it ends.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use tercel_alert::Alert;
use tracing::error;
use uuid::Uuid;

use super::alive::Live;
use super::decider::{Decider, Mute, RouteLimit};
use super::group::{Count, Group};
use super::record::{self, Record};
use crate::audit::Event;
use crate::dedup::{Closed, FirstEnd};
use crate::deliver::{Finished, Outcome};
use crate::destination::{Notification, NotificationKind};
use crate::fingerprint::Fingerprint;
use crate::held_back::Held;
use crate::incident::Ended;
use crate::outbox::{Kind, Lane, Waiting};
use crate::store::{Store, Table};

/// One delivery to be made.
pub(super) struct Part<'a> {
    pub(super) station: usize,
    pub(super) alert: &'a Arc<Alert>,
    /// Of the alert, which weighs so much.
    pub(super) number: u64,
    pub(super) bytes: u32,
    pub(super) key: Option<Fingerprint>,
    pub(super) id: Uuid,
    pub(super) kind: NotificationKind,
}

impl Decider {
    pub(super) fn deliver(
        &mut self,
        group: &mut Group,
        part: Part<'_>,
        route: &Arc<str>,
        delivery: u64,
        repeats: Option<Arc<AtomicU64>>,
        now: Timestamp,
    ) {
        let Part { station, alert, number, bytes, key, id, kind } = part;
        let lane = Lane::of(alert.priority);
        let destination = &self.stations[station].name;
        self.note(group, id, now, || Event::Queued { destination: Arc::clone(destination), route: Arc::clone(route) });
        let record = Record {
            destination: Arc::clone(&self.stations[station].name),
            route: Arc::clone(route),
            alert: number,
            id,
            key,
            accepted: now,
            bytes,
            urgent: lane == Lane::Urgent,
            kind,
        };
        group.batch.put(Table::Deliveries, &record::key(delivery), crate::record::to_json(&record));
        self.alive.add(delivery, Live { station, alert: number, key, bytes });
        let kind = Kind::from(&record.kind);
        let notification: Notification = record.notification(Arc::clone(alert));
        if let Some(open) = &mut self.incidents[station] {
            open.told(&notification, now);
        }
        let waiting = Waiting {
            id: delivery,
            key,
            lane,
            accepted: now,
            bytes,
            kind,
            notification: Some(Arc::new(notification)),
            repeats,
        };
        group.waiting.entry(station).or_default().push(waiting);
    }

    /// A summary of repeats. Who silences an alert need not hear how often it came before; the silence counts a hit.
    pub(super) fn tell_summary(&mut self, group: &mut Group, station: usize, closed: Closed, now: Timestamp) {
        if self.silences.decide(&closed.alert, &self.stations[station].name, now).is_some() {
            return;
        }
        let Closed { id, key, route, alert, summary } = closed;
        self.tell(group, station, &alert, &route, Some(key), id, NotificationKind::Summary(summary), now);
    }

    /// What a limit held back.
    pub(super) fn tell_digest(&mut self, group: &mut Group, limit: usize, held: Held, now: Timestamp) {
        let RouteLimit { route, station, .. } = &self.limits[limit];
        let (route, station) = (Arc::clone(route), *station);
        self.tell_held(group, station, &route, held, now);
    }

    /// What a time window muted.
    pub(super) fn tell_muted(&mut self, group: &mut Group, mute: usize, held: Held, now: Timestamp) {
        let Mute { route, station, .. } = &self.muted[mute];
        let (station, own) = (*station, &self.stations[*station].name);
        let route = Arc::clone(route.as_ref().unwrap_or(own));
        self.tell_held(group, station, &route, held, now);
    }

    fn tell_held(&mut self, group: &mut Group, station: usize, route: &Arc<str>, held: Held, now: Timestamp) {
        let Held { id, alert, digest } = held;
        self.tell(group, station, &alert, route, None, id, NotificationKind::Digest(digest), now);
    }

    /// An incident is over.
    pub(super) fn tell_end(&mut self, group: &mut Group, station: usize, ended: Ended, now: Timestamp) {
        let Ended { id, route, alert, resolve } = ended;
        // Behind what the same key still waits with.
        let key = Fingerprint::parse(&resolve.dedup_key);
        self.tell(group, station, &alert, &route, key, id, NotificationKind::Resolve(resolve), now);
    }

    /// A notification of the router's own.
    #[expect(clippy::too_many_arguments, reason = "each is one part of the notification")]
    fn tell(
        &mut self,
        group: &mut Group,
        station: usize,
        alert: &Arc<Alert>,
        route: &Arc<str>,
        key: Option<Fingerprint>,
        id: Uuid,
        kind: NotificationKind,
        now: Timestamp,
    ) {
        let (number, delivery) = (self.number(), self.number());
        let bytes = store_alert(group, number, alert);
        self.deliver(group, Part { station, alert, number, bytes, key, id, kind }, route, delivery, None, now);
        group.is_promised = true;
    }

    /// A delivery has ended: nothing is owed of it any more, or something else is.
    pub(super) fn end(&mut self, group: &mut Group, finished: Finished, now: Timestamp) {
        if finished.outcome == Outcome::Abandoned {
            return;
        }
        let Some(live) = self.alive.end(finished.id) else { return };
        let fallback = self.plan.place(live.station).and_then(|place| place.fallback);
        self.note_end(group, &live, &finished, fallback, now);
        if let Some(pinned) = &finished.pinned {
            self.posts[live.station].keep(pinned.clone());
        }
        let end = match (&finished.outcome, fallback) {
            (Outcome::Fallback { .. }, Some(fallback)) => {
                self.move_on(group, &live, finished.id, fallback, now);
                FirstEnd::Delivered { repeats_told: finished.repeats_told }
            }
            // A reload has taken the fallback away in the meantime.
            (Outcome::Dead { reason, detail } | Outcome::Fallback { reason, detail }, _) => {
                self.bury(group, &live, &finished, (reason, detail), now);
                FirstEnd::Dead
            }
            (Outcome::Delivered | Outcome::Abandoned, _) => FirstEnd::Delivered { repeats_told: finished.repeats_told },
        };
        if let Some(key) = live.key.filter(|_| finished.kind == Kind::Alert) {
            let store = Arc::clone(&self.store);
            let first = || read_alert(&store, live.alert);
            if let Some(closed) = self.dedups[live.station].first_ended(key, finished.id, end, first) {
                self.tell_summary(group, live.station, closed, now);
            }
        }
        group.batch.remove(Table::Deliveries, &record::key(finished.id));
        if self.alive.release(live.alert) {
            group.batch.remove(Table::Alerts, &record::key(live.alert));
        }
        group.finished.push(finished);
    }

    /// To the destination that takes what this one cannot deliver.
    fn move_on(&mut self, group: &mut Group, live: &Live, delivery: u64, station: usize, now: Timestamp) {
        // Its age counts anew: what one destination did not take in time is worth as much to the other.
        let Some((record, alert)) = read_delivery(&self.store, delivery) else {
            error!(number = delivery, "what goes on to the fallback is not in the store");
            group.counts.extend([Count::Received(station), Count::Dropped(station)]);
            return;
        };
        let Record { route, id, key, kind, .. } = record;
        if matches!(kind, NotificationKind::Alert) {
            group.counts.push(Count::Received(station));
        }
        let number = self.number();
        let part = Part { station, alert: &alert, number: live.alert, bytes: live.bytes, key, id, kind };
        self.deliver(group, part, &route, number, None, now);
    }
}

/// What it weighs.
pub(super) fn store_alert(group: &mut Group, number: u64, alert: &Alert) -> u32 {
    let json = crate::record::to_json(alert);
    let bytes = u32::try_from(json.len()).unwrap_or(u32::MAX);
    group.batch.put(Table::Alerts, &record::key(number), json);
    bytes
}

/// `None`: it is not there, or cannot be read; the log says which.
pub(super) fn read_alert(store: &Store, number: u64) -> Option<Arc<Alert>> {
    match store.get(Table::Alerts, &record::key(number)) {
        Ok(json) => crate::record::from_json(&json?).map(Arc::new),
        Err(error) => {
            error!(%error, number, "an alert cannot be read from the store");
            None
        }
    }
}

pub(super) fn read_delivery(store: &Store, number: u64) -> Option<(Record, Arc<Alert>)> {
    let json = store.get(Table::Deliveries, &record::key(number)).ok()??;
    let record: Record = crate::record::from_json(&json)?;
    let alert = read_alert(store, record.alert)?;
    Some((record, alert))
}
