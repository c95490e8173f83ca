//! What the configuration in force says about alerts: which ways they take. A reload puts another one in its place.

use std::sync::Arc;

use tercel_alert::Alert;

use super::Received;
use super::station::Station;
use crate::dedup::Candidate;
use crate::destination::Receive;
use crate::fingerprint::{self, Fingerprint};
use crate::outbox::Order;
use crate::route::{Route, Routes};

pub(super) struct Plan {
    pub(super) routes: Routes,
    /// Takes what no other route wants.
    pub(super) unrouted: Route,
    /// The station of each destination, by its position in the configuration.
    pub(super) stations: Vec<usize>,
    /// By station; see [`Plan::place`].
    pub(super) places: Vec<Option<Place>>,
}

/// What is said about one station.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) receive: Receive,
    pub(super) order: Order,
    /// What mutes it by its own time windows.
    pub(super) schedule: Option<usize>,
    /// The station that takes what this one cannot deliver.
    pub(super) fallback: Option<usize>,
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
    /// `None`: the configuration has this destination no more.
    pub(super) fn place(&self, station: usize) -> Option<&Place> {
        self.places.get(station)?.as_ref()
    }

    /// The station of this name, where the configuration has it.
    pub(super) fn find(&self, stations: &[Arc<Station>], name: &str) -> Option<usize> {
        let station = stations.iter().position(|station| *station.name == *name)?;
        self.place(station).is_some().then_some(station)
    }

    /// Whether suppression applies; history stays whole.
    pub(super) fn is_thinned(&self, station: usize) -> bool {
        self.place(station).is_some_and(|place| place.receive == Receive::Notifications)
    }

    /// Each destination once, under the first route that leads to it.
    pub(super) fn ways(&self, alert: &Alert) -> Vec<Way<'_>> {
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
                let key =
                    if self.is_thinned(station) { *key.get_or_insert_with(|| key_of(route, alert)) } else { None };
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
