//! A configuration on its way into force: what the decider needs of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::decider::{Mute, RouteLimit};
use super::plan::{Place, Plan};
use super::station::Station;
use crate::deliver::Current;
use crate::incident::IncidentTerms;
use crate::inhibit::Inhibition;
use crate::limit::Limit;
use crate::metrics::Metrics;
use crate::outbox::{Order, Outbox};
use crate::route::{Route, RouteParts, Routes, Target};
use crate::routing::Routing;
use crate::schedule::{Muted, Schedule};

/// Name of the route of alerts that no other wanted.
const UNROUTED: &str = "unrouted";

/// Limits and time windows know nothing yet of what was held back.
pub(crate) struct Next {
    /// All of the life of the process; new ones stand last.
    pub(super) stations: Vec<Arc<Station>>,
    pub(super) plan: Plan,
    pub(super) limits: Vec<RouteLimit>,
    pub(super) muted: Vec<Mute>,
    pub(super) inhibitions: Arc<[Inhibition]>,
    /// By station: how it tells incidents apart, where it keeps any.
    pub(super) incidents: Vec<Option<IncidentTerms>>,
    /// What workers that run already are told when it comes into force.
    pub(crate) workers: Vec<(watch::Sender<Current>, Current)>,
}

impl Next {
    /// Takes the routes out of `routing`; its destinations stay. `known`: the stations up to now.
    pub(crate) fn new(routing: &mut Routing, metrics: &Metrics, known: &[Arc<Station>]) -> Self {
        let (stations, places) = stations(routing, metrics, known);
        Self {
            limits: limits(routing, &stations, &places),
            muted: muted(routing, &stations, &places),
            inhibitions: Arc::clone(&routing.inhibitions),
            incidents: incidents(routing, &places, stations.len()),
            plan: plan(routing, metrics, places, stations.len()),
            stations,
            workers: Vec::new(),
        }
    }

    /// The position of each destination's station, by its position in the configuration.
    pub(crate) fn places(&self) -> &[usize] {
        &self.plan.stations
    }
}

/// What an explanation asks: a plan on its own.
pub(super) fn plan_alone(routing: &mut Routing, metrics: &Metrics) -> Plan {
    let places: Vec<_> = (0..routing.destinations.len()).collect();
    let count = places.len();
    plan(routing, metrics, places, count)
}

/// Destinations find their station by name.
fn stations(routing: &Routing, metrics: &Metrics, known: &[Arc<Station>]) -> (Vec<Arc<Station>>, Vec<usize>) {
    let mut stations = known.to_vec();
    let mut place = |index: usize| {
        let destination = &routing.destinations[index];
        if let Some(known) = stations.iter().position(|station| *station.name == *destination.name) {
            return known;
        }
        let metrics = metrics.destination(&destination.name);
        let outbox = Outbox::new(Order::from(&destination.delivery), metrics.clone());
        stations.push(Arc::new(Station::new(&destination.name, metrics, outbox)));
        stations.len() - 1
    };
    let places = (0..routing.destinations.len()).map(&mut place).collect();
    (stations, places)
}

/// `stations`: how many there are.
fn incidents(routing: &Routing, places: &[usize], stations: usize) -> Vec<Option<IncidentTerms>> {
    let mut terms = vec![None; stations];
    for (destination, &station) in routing.destinations.iter().zip(places) {
        terms[station] = destination.config.incidents();
    }
    terms
}

/// Each with its route and destination, which is one of the route's.
fn limits(routing: &Routing, stations: &[Arc<Station>], places: &[usize]) -> Vec<RouteLimit> {
    let targets = routing.routes.iter().flat_map(Route::with_children).flat_map(|route| {
        route.targets.iter().filter_map(move |target| Some((target.limit?, (&route.name, places[target.destination]))))
    });
    let owners: BTreeMap<_, _> = targets.collect();
    (owners.into_values().zip(&routing.limits))
        .map(|((route, station), settings)| RouteLimit {
            route: Arc::clone(route),
            station,
            limit: Limit::load(&stations[station].name, route, settings, std::iter::empty()),
        })
        .collect()
}

/// First what routes' time windows mute, in the order in which targets count them, then what the destinations' own do.
fn muted(routing: &Routing, stations: &[Arc<Station>], places: &[usize]) -> Vec<Mute> {
    let targets = routing.routes.iter().flat_map(Route::with_children).flat_map(|route| {
        let target = move |target: &Target| Some((target.schedule?, (&route.name, places[target.destination])));
        route.targets.iter().filter_map(target)
    });
    let owners: BTreeMap<_, _> = targets.collect();
    let of_routes = owners.into_values().zip(&routing.schedules).map(|((route, station), schedule)| Mute {
        route: Some(Arc::clone(route)),
        station,
        muted: Muted::load(&stations[station].name, Some(route), schedule, std::iter::empty()),
    });
    let of_destinations = routing.destination_schedules.iter().zip(places).filter_map(|(schedule, &station)| {
        let muted = Muted::load(&stations[station].name, None, schedule.as_ref()?, std::iter::empty());
        Some(Mute { route: None, station, muted })
    });
    of_routes.chain(of_destinations).collect()
}

/// `stations`: how many there are.
fn plan(routing: &mut Routing, metrics: &Metrics, places: Vec<usize>, stations: usize) -> Plan {
    let tree = std::mem::take(&mut routing.routes);
    let catalog = std::mem::take(&mut routing.catalog);
    let mut of_stations = vec![None; stations];
    for ((destination, schedule), &station) in routing.destinations.iter().zip(schedules(routing)).zip(&places) {
        of_stations[station] = Some(Place {
            receive: destination.receive,
            order: Order::from(&destination.delivery),
            schedule,
            fallback: destination.fallback.map(|fallback| places[fallback]),
        });
    }
    Plan {
        routes: Routes::new(tree, catalog, metrics.filter_mismatches.clone()),
        unrouted: unrouted(routing.archive),
        stations: places,
        places: of_stations,
    }
}

/// Where [`muted`] put what each destination's own time windows mute.
fn schedules(routing: &Routing) -> Vec<Option<usize>> {
    let mut next = routing.schedules.len();
    let place = |schedule: &Option<Schedule>| {
        schedule.as_ref().map(|_| {
            next += 1;
            next - 1
        })
    };
    routing.destination_schedules.iter().map(place).collect()
}

/// The route of alerts that no other wants: to the archive, as they are.
fn unrouted(archive: usize) -> Route {
    Route::new(RouteParts {
        name: UNROUTED.into(),
        when: None,
        condition: None,
        targets: vec![Target { destination: archive, limit: None, schedule: None }],
        by: Vec::new(),
        window: Duration::ZERO,
        goes_on: false,
        children: Vec::new(),
    })
}
