//! What the configuration in force says about alerts: which ways they take. A reload puts another one in its place.

use tercel_alert::Alert;

use super::Received;
use super::station::Station;
use crate::dedup::Candidate;
use crate::fingerprint::{self, Fingerprint};
use crate::route::{Route, Routes};
use std::sync::Arc;

pub(super) struct Plan {
    pub(super) routes: Routes,
    /// Takes what no other route wants.
    pub(super) unrouted: Route,
    /// The station of each destination, by its position in the configuration.
    pub(super) stations: Vec<usize>,
    /// What mutes each station by its own time windows.
    pub(super) schedules: Vec<Option<usize>>,
}

/// One alert on its way to one destination.
pub(super) struct Way<'a> {
    pub(super) route: &'a Route,
    pub(super) station: usize,
    /// Index into the limits.
    pub(super) limit: Option<usize>,
    /// Index into what time windows mute.
    pub(super) schedule: Option<usize>,
    /// `None`: nobody needs it, or the alert says too little to be told from others.
    pub(super) key: Option<Fingerprint>,
    pub(super) is_unrouted: bool,
}

impl Plan {
    /// Each destination once, under the first route that leads to it.
    pub(super) fn ways(&self, alert: &Alert, stations: &[Arc<Station>]) -> Vec<Way<'_>> {
        let mut routes = self.routes.of(alert);
        let is_unrouted = routes.is_empty();
        if is_unrouted {
            routes.push(&self.unrouted);
        }
        let mut ways: Vec<Way<'_>> = Vec::new();
        for route in routes {
            let mut key = None;
            for target in &route.targets {
                let station = self.stations[target.destination];
                if ways.iter().any(|way| way.station == station) {
                    continue;
                }
                let key = if stations[station].is_thinned() {
                    *key.get_or_insert_with(|| key_of(route, alert))
                } else {
                    None
                };
                ways.push(Way { route, station, limit: target.limit, schedule: target.schedule, key, is_unrouted });
            }
        }
        ways
    }
}

impl Way<'_> {
    /// `None`: it is not deduplicated.
    pub(super) fn candidate<'a>(&'a self, received: &'a Received) -> Option<Candidate<'a>> {
        let route = self.route;
        if route.window.is_zero() {
            return None;
        }
        Some(Candidate {
            alert: &received.alert,
            weight: received.weight,
            key: self.key?,
            route: &route.name,
            window: route.window,
        })
    }
}

fn key_of(route: &Route, alert: &Alert) -> Option<Fingerprint> {
    fingerprint::is_specific(alert, &route.by).then(|| Fingerprint::of(alert, &route.by))
}
