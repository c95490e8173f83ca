//! Every decision about every alert, one after the other: [`Decider::take_alert`] and [`Decider::suppress`] are the list of
//! stages.
//!
//! One thread owns all state, so nothing is locked. What a group of requests decides is written by one commit and takes
//! effect with it: acknowledgements, deliveries and counts come after. Where the commit fails, the state is read again
//! from the store, and every request of the group is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tercel_alert::{Alert, Priority};
use tracing::error;
use uuid::Uuid;

use super::alive::{Alive, Live};
use super::group::{Count, Group};
use super::plan::{Plan, Way};
use super::record::{self, Record};
use super::station::Station;
use super::tail::{Decided, Fate, Tail};
use super::thread::Message;
use super::{Received, Refused};
use crate::audit::{Audit, Event};
use crate::dedup::{Closed, Dedup, FirstEnd, Verdict};
use crate::deliver::{Finished, Outcome};
use crate::destination::{Notification, NotificationKind};
use crate::fingerprint::Fingerprint;
use crate::held_back::Held;
use crate::incident::{Ended, Incidents};
use crate::inhibit::Inhibitor;
use crate::limit::Limit;
use crate::metrics::{Dropped, Metrics, REMOVED, Suppressed};
use crate::normalise;
use crate::outbox::{Kind, Lane, Waiting};
use crate::record::after;
use crate::schedule::Muted;
use crate::seen::{self, Seen};
use crate::silence::{Silences, State};
use crate::store::{Batch, Store, StoreError, Table};

/// After a commit that failed requests are refused for so long without another try: each failure costs a look at
/// everything that is stored.
const PAUSE: Duration = Duration::from_secs(1);

/// How often gauges are brought up to date that cost something.
const SHOW_PERIOD: Duration = Duration::from_secs(1);

/// How often the log says that requests are refused.
const TELL_PERIOD: Duration = Duration::from_mins(1);

/// The state that decisions depend on, and what they are about.
pub(super) struct Decider {
    pub(super) store: Arc<Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) plan: Arc<Plan>,
    pub(super) stations: Vec<Arc<Station>>,
    pub(super) seen: Seen,
    pub(super) silences: Silences,
    /// One for every station.
    pub(super) dedups: Vec<Dedup>,
    /// One for every route × destination that has one; see [`Way::limit`].
    pub(super) limits: Vec<RouteLimit>,
    /// One for every station.
    pub(super) inhibitors: Vec<Inhibitor>,
    /// One for every station that keeps incidents.
    pub(super) incidents: Vec<Option<Incidents>>,
    /// What the destinations' own time windows mute, and those of routes; see [`Way::schedule`].
    pub(super) muted: Vec<Mute>,
    pub(super) alive: Alive,
    pub(super) tail: Tail,
    pub(super) audit: Audit,
    /// Of the next alert or delivery.
    pub(super) next_number: u64,
    /// Bytes that may be owed.
    pub(super) bytes_max: u64,
    /// Outcomes whose commit failed.
    pub(super) owed: Vec<Finished>,
    /// The store takes nothing before.
    pub(super) paused_until: Option<Timestamp>,
    /// Memory holds decisions that the store does not, and they could not be read again yet.
    pub(super) is_astray: bool,
    /// When the gauges that cost something were last brought up to date.
    pub(super) shown: Option<Instant>,
    /// When the log last said that there is no room.
    pub(super) told: Option<Instant>,
}

/// A group: from its messages to its commit.
impl Decider {
    pub(super) fn decide(
        &mut self,
        messages: impl Iterator<Item = Message>,
        finished: impl Iterator<Item = Finished>,
        now: Timestamp,
    ) {
        let mut group = Group::default();
        if !self.can_decide(now) {
            self.owed.extend(finished);
            return refuse_all(messages);
        }
        for outcome in std::mem::take(&mut self.owed).into_iter().chain(finished) {
            self.end(&mut group, outcome, now);
        }
        for message in messages {
            match message {
                Message::Alerts(alerts, answer) => {
                    let result = self.take(&mut group, &alerts, now);
                    group.answers.push((answer, result));
                }
                Message::Ask(ask) => self.answer(&mut group, ask, now),
                // A reload stands between two groups.
                Message::Reload(..) | Message::Close => {}
            }
        }
        self.fall_due(&mut group, now);
        self.commit(group, now);
    }

    /// False: the store takes nothing at the moment, or what it holds cannot be read.
    pub(super) fn can_decide(&mut self, now: Timestamp) -> bool {
        self.paused_until = self.paused_until.filter(|until| *until > now && *until <= after(now, PAUSE));
        self.paused_until.is_none() && self.is_sound(now)
    }

    /// False: what the store holds cannot be read, so nothing can be decided.
    fn is_sound(&mut self, now: Timestamp) -> bool {
        if !self.is_astray {
            return true;
        }
        if let Err(error) = self.read_again() {
            error!(%error, "the store cannot be read, requests are refused");
            self.paused_until = Some(after(now, PAUSE));
            return false;
        }
        self.is_astray = false;
        true
    }

    /// When [`Decider::decide`] has something to do without being asked.
    pub(super) fn next_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        let muted = self.muted.iter_mut().filter_map(|mute| mute.muted.next_due(now)).min();
        let windows = self.dedups.iter().filter_map(Dedup::next_closing).min();
        let digests = self.limits.iter().filter_map(|limit| limit.limit.next_due()).min();
        let incidents = self.incidents.iter().flatten().filter_map(Incidents::next_due).min();
        [windows, digests, muted, incidents, self.seen.due(), self.paused_until].into_iter().flatten().min()
    }

    fn fall_due(&mut self, group: &mut Group, now: Timestamp) {
        for station in 0..self.stations.len() {
            for closed in self.dedups[station].closed(now) {
                self.tell_summary(group, station, closed, now);
            }
        }
        for index in 0..self.limits.len() {
            if let Some(held) = self.limits[index].limit.due(now) {
                self.tell_digest(group, index, held, now);
            }
        }
        for index in 0..self.muted.len() {
            if let Some(held) = self.muted[index].muted.due(now) {
                self.tell_muted(group, index, held, now);
            }
        }
        // After the summaries: one that came later would open its incident again.
        for station in 0..self.stations.len() {
            for ended in self.incidents[station].as_mut().map(|open| open.quiet(now)).unwrap_or_default() {
                self.tell_end(group, station, ended, now);
            }
        }
        self.seen.expire(now);
    }

    /// False: nothing of the group holds.
    pub(super) fn commit(&mut self, mut group: Group, now: Timestamp) -> bool {
        self.record(&mut group);
        let durability = group.durability();
        let batch = std::mem::replace(&mut group.batch, Batch::new());
        let result = if batch.is_empty() { Ok(()) } else { self.store.commit(batch, durability) };
        match result {
            Ok(()) => {
                self.take_effect(group, now);
                true
            }
            Err(error) => {
                error!(%error, requests = group.answers.len(), "the store takes nothing, requests are refused");
                self.metrics.commits_failed.inc();
                self.owed = group.finished;
                self.paused_until = Some(after(now, PAUSE));
                self.is_astray = true;
                for (answer, _) in group.answers {
                    drop(answer.send(Err(Refused::Store)));
                }
                group.promises.into_iter().for_each(|promise| promise(Err(Refused::Store)));
                false
            }
        }
    }

    /// What the stages changed.
    fn record(&mut self, group: &mut Group) {
        for dedup in &mut self.dedups {
            dedup.record(&mut group.rows(Table::Windows));
        }
        for limit in &mut self.limits {
            limit.limit.record(&mut group.rows(Table::Digests));
        }
        for inhibitor in &mut self.inhibitors {
            inhibitor.record(&mut group.rows(Table::Inhibitions));
        }
        for open in self.incidents.iter_mut().flatten() {
            open.record(&mut group.rows(Table::Incidents));
        }
        for mute in &mut self.muted {
            mute.muted.record(&mut group.rows(Table::Muted));
        }
        self.silences.record(&mut group.rows(Table::Silences));
        self.seen.record(&mut group.rows(Table::Seen));
    }

    fn take_effect(&mut self, group: Group, now: Timestamp) {
        // First, or an attempt would be told before what is tried.
        group.audit.into_iter().for_each(|line| self.audit.write(line));
        for (station, waiting) in group.waiting {
            self.stations[station].outbox.push(waiting);
        }
        self.dedups.iter_mut().for_each(Dedup::committed);
        group.counts.iter().for_each(|count| self.count(count));
        for (answer, result) in group.answers {
            // Who hung up has no use for the answer.
            drop(answer.send(result));
        }
        group.promises.into_iter().for_each(|promise| promise(Ok(())));
        group.decided.into_iter().for_each(|decided| self.tail.tell(decided));
        self.show(now);
    }

    fn count(&self, count: &Count) {
        let metrics = |station: usize| &self.stations[station].metrics;
        match *count {
            Count::Accepted(ref alert) => self.metrics.count_received(alert),
            Count::Unrouted => self.metrics.unrouted.inc(),
            Count::Received(station) => metrics(station).received.inc(),
            Count::Replayed(station) => metrics(station).replayed.inc(),
            Count::Suppressed(station, reason) => metrics(station).count_suppressed(reason),
            Count::Dropped(station) => metrics(station).count_dropped(Dropped::Store),
            Count::NoKey(station) => metrics(station).no_key.inc(),
            Count::Stranger(ref name) => self.metrics.destination(name).count_dead(REMOVED),
            Count::LimitOverflow(station) => metrics(station).limit_overflow.inc(),
        }
    }

    /// Brings the gauges up to date.
    fn show(&mut self, now: Timestamp) {
        for (station, dedup) in self.stations.iter().zip(&mut self.dedups) {
            station.metrics.windows.set(i64::try_from(dedup.len()).unwrap_or(i64::MAX));
            let tally = dedup.take_tally();
            station.metrics.evictions.inc_by(tally.evicted);
            self.metrics.records_skipped.inc_by(tally.senseless);
            self.metrics.repeats_untold.inc_by(tally.untold);
        }
        for (station, open) in self.stations.iter().zip(&mut self.incidents) {
            let Some(open) = open else { continue };
            station.metrics.incidents.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
            let tally = open.take_tally();
            station.metrics.incident_evictions.inc_by(tally.evicted);
            self.metrics.records_skipped.inc_by(tally.senseless);
        }
        if self.shown.is_some_and(|shown| shown.elapsed() < SHOW_PERIOD) {
            return;
        }
        self.shown = Some(Instant::now());
        let sources: usize = self.inhibitors.iter().map(Inhibitor::len).sum();
        self.metrics.inhibit_sources.set(i64::try_from(sources).unwrap_or(i64::MAX));
        for tally in self.inhibitors.iter_mut().map(Inhibitor::take_tally) {
            self.metrics.inhibit_evictions.inc_by(tally.evicted);
            self.metrics.records_skipped.inc_by(tally.senseless);
        }
        for state in [State::Pending, State::Active] {
            self.metrics.show_silences(state.name(), self.silences.count(state, now));
        }
        self.metrics.seen_entries.set(i64::try_from(self.seen.len()).unwrap_or(i64::MAX));
        self.metrics.dead_letters.set(i64::try_from(self.store.records(Table::Dead)).unwrap_or(i64::MAX));
        self.metrics.show_store(&self.store.statistics(), self.store.disk_bytes());
        let tally = self.seen.take_tally();
        self.metrics.seen_evictions.inc_by(tally.evicted);
        self.metrics.records_skipped.inc_by(tally.senseless);
        self.metrics.seen_repeats.inc_by(tally.repeats);
        self.metrics.seen_reused.inc_by(tally.reused);
        self.metrics.stored_bytes.set(i64::try_from(self.alive.bytes()).unwrap_or(i64::MAX));
    }
}

/// The stages.
impl Decider {
    fn take(&mut self, group: &mut Group, alerts: &[Received], now: Timestamp) -> Result<(), Refused> {
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
                    let repeats = self.open(&way, received, opening, now, delivery);
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
        delivery: u64,
    ) -> Option<Arc<std::sync::atomic::AtomicU64>> {
        let candidate = way.candidate(received)?;
        let dedup = &mut self.dedups[way.station];
        match opening {
            Opening::None => None,
            Opening::First => Some(dedup.open(&candidate, now, delivery)),
            Opening::Escalated => {
                dedup.escalate(&candidate, delivery);
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

/// A limit and whose it is.
pub(super) struct RouteLimit {
    pub(super) route: Arc<str>,
    pub(super) station: usize,
    pub(super) limit: Limit,
}

/// What a schedule mutes, and whose it is.
pub(super) struct Mute {
    /// `None`: the destination's own.
    pub(super) route: Option<Arc<str>>,
    pub(super) station: usize,
    pub(super) muted: Muted,
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

/// What goes out, and how it ends.
impl Decider {
    pub(super) fn deliver(
        &mut self,
        group: &mut Group,
        part: Part<'_>,
        route: &Arc<str>,
        delivery: u64,
        repeats: Option<Arc<std::sync::atomic::AtomicU64>>,
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
        group.waiting.push((station, waiting));
    }

    /// A summary of repeats.
    pub(super) fn tell_summary(&mut self, group: &mut Group, station: usize, closed: Closed, now: Timestamp) {
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
    fn end(&mut self, group: &mut Group, finished: Finished, now: Timestamp) {
        if finished.outcome == Outcome::Abandoned {
            return;
        }
        let Some(live) = self.alive.end(finished.id) else { return };
        let fallback = self.plan.place(live.station).and_then(|place| place.fallback);
        self.note_end(group, &live, &finished, fallback, now);
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

/// Percent of the store that alerts of this priority may fill. The rest is kept for the more urgent.
pub(super) const fn share(priority: Priority) -> u32 {
    match priority {
        Priority::Debug | Priority::Informational => 80,
        Priority::Notice | Priority::Warning | Priority::Error => 90,
        Priority::Critical | Priority::Alert | Priority::Emergency => 100,
    }
}

fn refuse_all(messages: impl Iterator<Item = Message>) {
    for message in messages {
        match message {
            Message::Alerts(_, answer) => drop(answer.send(Err(Refused::Store))),
            Message::Ask(ask) => ask.refuse(),
            Message::Reload(..) | Message::Close => {}
        }
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
