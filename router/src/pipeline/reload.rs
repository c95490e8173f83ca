//! Another configuration takes the place of the one in force, between two groups.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::Refused;
use super::decider::{Decider, Mute, RouteLimit};
use super::group::Group;
use super::next::Next;
use super::plan::Place;
use super::station::Station;
use crate::dedup::Dedup;
use crate::incident::{IncidentTerms, Incidents};
use crate::inhibit::Inhibitor;
use crate::post::Posts;

impl Decider {
    /// All of `next` is in force when this returns, or nothing of it.
    ///
    /// # Errors
    /// The store does not take what has to be told first.
    pub(super) fn reload(&mut self, next: Next, now: Timestamp) -> Result<(), Refused> {
        if !self.can_decide(now) || !self.tell_what_ends(&next, now) {
            return Err(Refused::Store);
        }
        self.put_in_force(next);
        Ok(())
    }

    /// What was held back for a route × destination that `next` does not have is told now, since nobody would tell it
    /// later: the digests of limits and time windows, and the summaries of a whole destination's windows.
    fn tell_what_ends(&mut self, next: &Next, now: Timestamp) -> bool {
        let mut group = Group::default();
        let limits: HashSet<_> = next.limits.iter().map(|limit| (&limit.route, limit.station)).collect();
        for index in 0..self.limits.len() {
            let RouteLimit { route, station, .. } = &self.limits[index];
            if !limits.contains(&(route, *station))
                && let Some(held) = self.limits[index].limit.close()
            {
                self.tell_digest(&mut group, index, held, now);
            }
        }
        let muted: HashSet<_> = next.muted.iter().map(|mute| (&mute.route, mute.station)).collect();
        for index in 0..self.muted.len() {
            let Mute { route, station, .. } = &self.muted[index];
            if !muted.contains(&(route, *station))
                && let Some(held) = self.muted[index].muted.close()
            {
                self.tell_muted(&mut group, index, held, now);
            }
        }
        for station in 0..self.stations.len() {
            if self.plan.place(station).is_some() && next.plan.place(station).is_none() {
                for closed in self.dedups[station].close_all(now) {
                    self.tell_summary(&mut group, station, closed, now);
                }
            }
        }
        self.commit(group, now)
    }

    /// Cannot fail. What stays keeps what it counts.
    fn put_in_force(&mut self, next: Next) {
        let Next { stations, plan, limits, muted, inhibitions, incidents, workers } = next;
        self.limits = keep_limits(std::mem::take(&mut self.limits), limits);
        self.muted = keep_muted(std::mem::take(&mut self.muted), muted);
        for inhibitor in &mut self.inhibitors {
            inhibitor.replace(Arc::clone(&inhibitions));
        }
        for station in &stations[self.stations.len()..] {
            self.posts.push(Posts::load(&station.name, &station.board, std::iter::empty()));
            let mismatches = self.metrics.filter_mismatches.clone();
            self.dedups.push(Dedup::new(&station.name));
            let inhibitions = Arc::clone(&inhibitions);
            self.inhibitors.push(Inhibitor::load(&station.name, inhibitions, std::iter::empty(), mismatches));
        }
        self.keep_incidents(&stations, incidents);
        // Before the outboxes open: a destination that comes back is not to be sent to as it was.
        for (worker, current) in workers {
            worker.send_replace(current);
        }
        for (number, station) in stations.iter().enumerate() {
            match plan.place(number) {
                Some(Place { order, .. }) => station.outbox.open(*order),
                None => station.outbox.remove(),
            }
        }
        self.stations = stations;
        self.plan = Arc::new(plan);
    }

    /// Open incidents of a destination that is gone, or keeps none any more, are ended by hand only.
    fn keep_incidents(&mut self, stations: &[Arc<Station>], terms: Vec<Option<IncidentTerms>>) {
        self.incidents.resize_with(stations.len(), || None);
        for ((open, station), terms) in self.incidents.iter_mut().zip(stations).zip(terms) {
            match (open, terms) {
                (Some(open), terms) => open.replace(terms.unwrap_or_default()),
                (open, Some(terms)) => *open = Some(Incidents::load(&station.name, terms, std::iter::empty())),
                (None, None) => {}
            }
        }
    }
}

fn keep_limits(old: Vec<RouteLimit>, mut next: Vec<RouteLimit>) -> Vec<RouteLimit> {
    let old = old.into_iter().map(|RouteLimit { route, station, limit }| ((route, station), limit));
    let mut old: HashMap<_, _> = old.collect();
    for RouteLimit { route, station, limit } in &mut next {
        if let Some(old) = old.remove(&(Arc::clone(route), *station)) {
            limit.take_over(old);
        }
    }
    next
}

fn keep_muted(old: Vec<Mute>, mut next: Vec<Mute>) -> Vec<Mute> {
    let old = old.into_iter().map(|Mute { route, station, muted }| ((route, station), muted));
    let mut old: HashMap<_, _> = old.collect();
    for Mute { route, station, muted } in &mut next {
        if let Some(old) = old.remove(&(route.clone(), *station)) {
            muted.take_over(old);
        }
    }
    next
}
