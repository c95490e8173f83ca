//! Every decision about every alert, one after the other. The list of stages is in `stages`, what goes out in `outgoing`.
//!
//! One thread owns all state, so nothing is locked. What a group of requests decides is written by one commit and takes
//! effect with it: acknowledgements, deliveries and counts come after. Where the commit fails, the state is read again
//! from the store, and every request of the group is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::error;

use super::Refused;
use super::alive::Alive;
use super::group::Group;
use super::plan::Plan;
use super::record;
use super::station::Station;
use super::tail::Tail;
use super::thread::Message;
use crate::audit::Audit;
use crate::dedup::Dedup;
use crate::deliver::Finished;
use crate::incident::Incidents;
use crate::inhibit::Inhibitor;
use crate::limit::Limit;
use crate::metrics::Metrics;
use crate::post::Posts;
use crate::record::after;
use crate::schedule::Muted;
use crate::seen::Seen;
use crate::silence::Silences;
use crate::store::{Batch, Store, Table};

/// After a commit that failed requests are refused for so long without another try: each failure costs a look at
/// everything that is stored.
const PAUSE: Duration = Duration::from_secs(1);

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
    /// One for every station.
    pub(super) posts: Vec<Posts>,
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
        let posts = self.posts.iter().filter_map(Posts::next_due).min();
        [windows, digests, muted, incidents, posts, self.seen.due(), self.paused_until].into_iter().flatten().min()
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
        self.posts.iter_mut().for_each(|posts| posts.expire(now));
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
            for alert in dedup.take_released() {
                if self.alive.release(alert) {
                    group.batch.remove(Table::Alerts, &record::key(alert));
                }
            }
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
        for posts in &mut self.posts {
            posts.record(&mut group.rows(Table::Posts));
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

fn refuse_all(messages: impl Iterator<Item = Message>) {
    for message in messages {
        match message {
            Message::Alerts(_, answer) => drop(answer.send(Err(Refused::Store))),
            Message::Ask(ask) => ask.refuse(),
            Message::Reload(..) | Message::Close => {}
        }
    }
}
