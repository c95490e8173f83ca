//! The list of stages: [`Decider::take_alert`] and [`Decider::suppress`] are what happens to an alert, in this order.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tercel_alert::{Alert, Priority};
use tracing::error;
use uuid::Uuid;

use super::decider::Decider;
use super::group::{Count, Group};
use super::outgoing::{Part, store_alert};
use super::plan::Way;
use super::tail::{Decided, Fate};
use super::{Received, Refused};
use crate::audit::Event;
use crate::dedup::{First, Verdict};
use crate::destination::NotificationKind;
use crate::metrics::Suppressed;
use crate::normalise;
use crate::seen;
use crate::store::StoreError;

/// How often the log says that requests are refused.
const TELL_PERIOD: Duration = Duration::from_mins(1);

impl Decider {
    pub(super) fn take(&mut self, group: &mut Group, alerts: &[Received], now: Timestamp) -> Result<(), Refused> {
        self.admit(alerts)?;
        group.is_promised = true;
        for received in alerts {
            self.take_alert(group, received, now);
        }
        Ok(())
    }

    /// Room in the store and in the outboxes for all of a request, or for none of it: what is accepted is never shed.
    fn admit(&mut self, alerts: &[Received]) -> Result<(), Refused> {
        let Some(priority) = alerts.iter().map(|received| received.alert.priority).min() else { return Ok(()) };
        let bytes: u64 = alerts.iter().map(|received| received.weight as u64).sum();
        let share = share(priority);
        // What is owed counts before it is committed; the store counts dead letters and decisions too.
        let is_full = self.alive.bytes() + bytes > self.bytes_max / 100 * u64::from(share);
        if is_full || self.store.fullness() * 100.0 > f64::from(share) {
            return Err(Refused::Full { destination: None });
        }
        if let Err(error) = self.store.check_room(bytes) {
            self.tell_refusal(&error);
            return Err(Refused::Store);
        }
        let full = self.stations.iter().position(|station| !station.outbox.has_room_for(alerts.len(), priority));
        full.map_or(Ok(()), |station| {
            Err(Refused::Full { destination: Some(Arc::clone(&self.stations[station].name)) })
        })
    }

    /// Not for every request: senders come again and again.
    fn tell_refusal(&mut self, error: &StoreError) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL_PERIOD) {
            self.told = Some(Instant::now());
            error!(%error, "the disk has no room for alerts, requests are refused");
        }
    }

    /// The stages, in their order; see also [`Decider::suppress`].
    fn take_alert(&mut self, group: &mut Group, received: &Received, now: Timestamp) {
        let renamed = match received.sent.map(|sent| self.seen.check(&sent, now)) {
            None | Some(seen::Verdict::New) => None,
            // Its sender did not hear that it was acknowledged.
            Some(seen::Verdict::Repeat) => return,
            Some(seen::Verdict::Reused) => Some(renamed(received)),
        };
        let received = renamed.as_ref().unwrap_or(received);
        let plan = Arc::clone(&self.plan);
        let (alert, number) = (&received.alert, self.number());
        let mut stored = None;
        let id = alert.uuid.unwrap_or_else(Uuid::now_v7);
        self.note(group, id, now, || Event::Accepted { rule: alert.rule.clone(), priority: alert.priority });
        let mut fates = self.tail.is_read().then(Vec::new);
        group.counts.push(Count::Accepted(Arc::clone(alert)));
        for way in plan.ways(alert) {
            let station = way.station;
            group.counts.push(Count::Received(station));
            if way.is_unrouted {
                group.counts.push(Count::Unrouted);
            }
            let verdict = self.suppress(group, &way, received, now);
            if let Some(fates) = &mut fates {
                let suppressed = verdict.as_ref().err().copied();
                fates.push(Fate::new(&self.stations[station].name, &way.route.name, suppressed));
            }
            match verdict {
                Err(reason) => {
                    if let Some(open) = &mut self.incidents[station] {
                        open.held_back(alert, way.key, now);
                    }
                    group.counts.push(Count::Suppressed(station, reason));
                    let (destination, route) = (&self.stations[station].name, &way.route.name);
                    self.note(group, id, now, || Event::suppressed(destination, route, reason));
                }
                Ok(opening) => {
                    let bytes = *stored.get_or_insert_with(|| store_alert(group, number, alert));
                    let delivery = self.number();
                    let first = First { delivery, alert: number, bytes };
                    let repeats = self.open(&way, received, opening, now, first);
                    let part = Part { station, alert, number, bytes, key: way.key, id, kind: NotificationKind::Alert };
                    self.deliver(group, part, &way.route.name, delivery, repeats, now);
                }
            }
        }
        if let Some(deliveries) = fates {
            let (alert, weight) = (Arc::clone(alert), received.weight);
            group.decided.push(Decided { at: now, alert, deliveries, weight });
        }
    }

    /// The stages that may hold an alert back from one destination. `Ok`: it passes, and does this to its window.
    fn suppress(
        &mut self,
        group: &mut Group,
        way: &Way<'_>,
        received: &Received,
        now: Timestamp,
    ) -> Result<Opening, Suppressed> {
        let station = way.station;
        if !self.plan.is_thinned(station) {
            return Ok(Opening::None);
        }
        let alert = &received.alert;
        if self.inhibitors[station].decide(alert, now).is_some() {
            return Err(Suppressed::Inhibit);
        }
        if self.silences.decide(alert, &self.stations[station].name, now).is_some() {
            return Err(Suppressed::Silence);
        }
        for mute in way.schedule.into_iter().chain(self.plan.place(station).and_then(|place| place.schedule)) {
            if self.muted[mute].muted.decide(alert, now).is_some() {
                return Err(Suppressed::Mute);
            }
        }
        let opening = match way.candidate(received) {
            None => {
                if !way.route.window.is_zero() {
                    group.counts.push(Count::NoKey(station));
                }
                Opening::None
            }
            Some(candidate) => match self.dedups[station].decide(&candidate, now) {
                Verdict::First => Opening::First,
                Verdict::Escalated => Opening::Escalated,
                Verdict::Repeat => return Err(Suppressed::Dedup),
                Verdict::Early(closed) => {
                    self.tell_summary(group, station, *closed, now);
                    return Err(Suppressed::Dedup);
                }
            },
        };
        let Some(limit) = way.limit else { return Ok(opening) };
        let verdict = self.limits[limit].limit.check(&received.alert, now);
        if verdict.overflowed {
            group.counts.push(Count::LimitOverflow(station));
        }
        if verdict.passes { Ok(opening) } else { Err(Suppressed::Limit) }
    }

    fn open(
        &mut self,
        way: &Way<'_>,
        received: &Received,
        opening: Opening,
        now: Timestamp,
        first: First,
    ) -> Option<Arc<AtomicU64>> {
        let candidate = way.candidate(received)?;
        let dedup = &mut self.dedups[way.station];
        match opening {
            Opening::None => None,
            Opening::First => {
                self.alive.hold(first.alert, first.bytes);
                Some(dedup.open(&candidate, now, first))
            }
            Opening::Escalated => {
                dedup.escalate(&candidate, first.delivery);
                None
            }
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }
}

/// With an id of its own, because another alert came under the one that it brought.
fn renamed(received: &Received) -> Received {
    let mut alert = Alert::clone(&received.alert);
    normalise::rename(&mut alert);
    Received { alert: Arc::new(alert), ..received.clone() }
}

/// What a passing alert does to its window.
#[derive(Clone, Copy)]
enum Opening {
    None,
    First,
    Escalated,
}

/// Percent of the store that alerts of this priority may fill. The rest is kept for the more urgent.
pub(super) const fn share(priority: Priority) -> u32 {
    match priority {
        Priority::Debug | Priority::Informational => 80,
        Priority::Notice | Priority::Warning | Priority::Error => 90,
        Priority::Critical | Priority::Alert | Priority::Emergency => 100,
    }
}
