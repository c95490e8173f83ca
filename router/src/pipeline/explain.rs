//! What the stages would say to an alert, without deciding anything: no store, no thread, no counting.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tercel_alert::Alert;

use super::decider::Decider;
use super::plan::{Plan, Way};
use crate::condition::why;
use crate::explain::{
    DedupStep, DeliveryStep, Explanation, InhibitionStep, KeyPart, LimitStep, MutingStep, OFF, RouteStep, RouteVerdict,
    StateStep, WindowStep,
};
use crate::fingerprint::KeyField;
use crate::inhibit::Inhibition;
use crate::metrics::Metrics;
use crate::route::{Asked, Route};
use crate::routing::{LimitSettings, Over, Routing};
use crate::schedule::Schedule;

/// A configuration to be asked about alerts.
pub(crate) struct Explainer {
    plan: Plan,
    routing: Routing,
    metrics: Metrics,
}

impl Explainer {
    pub(crate) fn new(mut routing: Routing) -> Self {
        let metrics = Metrics::new();
        Self { plan: super::next::plan_alone(&mut routing, &metrics), routing, metrics }
    }

    /// What became of `alert` if it came `at` that time.
    pub(crate) fn explain(&self, alert: &Alert, at: Timestamp) -> Explanation {
        let ways = self.plan.ways(alert);
        Explanation {
            alert: serde_json::to_value(alert).unwrap_or_default(),
            at,
            routes: self.routes(alert),
            deliveries: ways.iter().map(|way| self.delivery(alert, way, at)).collect(),
        }
    }

    /// The name of the route by which `alert` comes to a destination, and its key there.
    pub(crate) fn way(&self, alert: &Alert, destination: usize) -> Option<(Arc<str>, Option<Arc<str>>)> {
        let ways = self.plan.ways(alert);
        let way = ways.into_iter().find(|way| way.station == destination)?;
        Some((Arc::clone(&way.route.name), way.key.map(|key| key.hex())))
    }

    /// The file of the archive of this name, or of the built-in one. `state`: the router's folder.
    ///
    /// # Errors
    /// There is no archive of this name.
    pub(crate) fn archive(&self, name: Option<&str>, state: &Path) -> Result<PathBuf, String> {
        let Routing { destinations, archive, .. } = &self.routing;
        let is_wanted = |index: usize| name.map_or(index == *archive, |name| destinations[index].name == name);
        let wanted = (0..destinations.len()).find(|index| is_wanted(*index));
        let file = wanted.and_then(|index| destinations[index].config.archive_file(state));
        file.ok_or_else(|| format!("there is no archive `{}`", name.unwrap_or_default()))
    }

    fn routes(&self, alert: &Alert) -> Vec<RouteStep> {
        let mut wanted: HashMap<*const Route, bool> = HashMap::new();
        let mut see = |Asked { route, wants }: Asked<'_>| {
            wanted.insert(std::ptr::from_ref(route), wants);
        };
        let taken = self.plan.routes.ask(alert, &mut see);
        let verdict = |route: &Route| match wanted.get(&std::ptr::from_ref(route)) {
            None => RouteVerdict::NotAsked,
            Some(false) => RouteVerdict::NoMatch,
            Some(true) if taken.iter().any(|taken| std::ptr::eq(*taken, route)) => RouteVerdict::Takes,
            Some(true) => RouteVerdict::ChildTakes,
        };
        let mut steps = Vec::new();
        self.add_routes(&self.plan.routes.tree, 0, alert, &verdict, &mut steps);
        steps
    }

    fn add_routes(
        &self,
        routes: &[Route],
        depth: usize,
        alert: &Alert,
        verdict: &dyn Fn(&Route) -> RouteVerdict,
        steps: &mut Vec<RouteStep>,
    ) {
        for route in routes {
            let (verdict_here, when) = (verdict(route), route.condition.as_deref());
            let because = match when {
                Some(when) if verdict_here != RouteVerdict::NotAsked => {
                    why(when, alert, &self.metrics.filter_mismatches)
                }
                _ => Vec::new(),
            };
            steps.push(RouteStep {
                route: route.name.to_string(),
                depth,
                verdict: verdict_here,
                r#continue: route.goes_on,
                when: when.map(str::to_owned),
                because,
            });
            self.add_routes(&route.children, depth + 1, alert, verdict, steps);
        }
    }

    fn delivery(&self, alert: &Alert, way: &Way<'_>, at: Timestamp) -> DeliveryStep {
        let destination = &self.routing.destinations[way.station];
        let receives_all = !self.plan.is_thinned(way.station);
        let limit = way.limit.filter(|_| !receives_all).map(|limit| limit_step(&self.routing.limits[limit], alert));
        let muting = if receives_all { Vec::new() } else { self.muting(alert, way, at) };
        let inhibitions = self.routing.inhibitions.iter().filter(|_| !receives_all);
        DeliveryStep {
            destination: destination.name.clone(),
            r#type: destination.config.type_name(),
            route: way.route.name.to_string(),
            unrouted: way.is_unrouted,
            receives_all,
            inhibitions: inhibitions.filter_map(|inhibition| self.inhibition(inhibition, alert)).collect(),
            muting,
            dedup: (!receives_all).then(|| dedup_step(way, alert)),
            limit,
            state: None,
            fallback: destination.fallback.map(|fallback| self.routing.destinations[fallback].name.clone()),
            max_age: span(destination.delivery.max_age),
        }
    }

    /// First the route's time windows, then the destination's own.
    fn muting(&self, alert: &Alert, way: &Way<'_>, at: Timestamp) -> Vec<MutingStep> {
        let of_route = way.schedule.map(|schedule| ("route", &self.routing.schedules[schedule]));
        let of_destination =
            self.routing.destination_schedules[way.station].as_ref().map(|schedule| ("destination", schedule));
        let schedules = of_route.into_iter().chain(of_destination);
        schedules.map(|(of, schedule)| muting_step(of, schedule, alert, at)).collect()
    }

    fn inhibition(&self, inhibition: &Inhibition, alert: &Alert) -> Option<InhibitionStep> {
        let mismatches = &self.metrics.filter_mismatches;
        let is_source = inhibition.source.matches(alert, mismatches);
        let is_target = inhibition.target.matches(alert, mismatches);
        (is_source || is_target).then(|| InhibitionStep {
            inhibition: inhibition.name.to_string(),
            is_source,
            is_target,
            equal: key_parts(&inhibition.equal, alert),
            r#for: span(inhibition.lasts),
        })
    }
}

impl Decider {
    /// What is held against this alert, by destination. Nothing is counted.
    pub(super) fn states(&self, alert: &Alert, now: Timestamp) -> Vec<(Arc<str>, StateStep)> {
        let ways = self.plan.ways(alert).into_iter().filter(|way| self.plan.is_thinned(way.station));
        ways.map(|way| (Arc::clone(&self.stations[way.station].name), self.state(alert, &way, now))).collect()
    }

    fn state(&self, alert: &Alert, way: &Way<'_>, now: Timestamp) -> StateStep {
        let key = way.key.filter(|_| !way.route.window.is_zero());
        let window = key.and_then(|key| self.dedups[way.station].window(&key, now));
        StateStep {
            inhibited_by: self.inhibitors[way.station].muted_by(alert, now).map(|name| name.to_string()),
            silenced_by: self.silences.silenced_by(alert, &self.stations[way.station].name, now),
            window: window.map(|(repeats, closes)| WindowStep { repeats, closes }),
        }
    }
}

fn muting_step(of: &'static str, schedule: &Schedule, alert: &Alert, at: Timestamp) -> MutingStep {
    let until = Some(schedule.next_change(at)).filter(|until| *until < Timestamp::MAX);
    MutingStep {
        of,
        muted_by: schedule.muted_by(at).map(ToString::to_string),
        breaks_through: schedule.break_through.is_some_and(|priority| alert.priority >= priority),
        until,
    }
}

fn dedup_step(way: &Way<'_>, alert: &Alert) -> DedupStep {
    let window = way.route.window;
    DedupStep {
        window: if window.is_zero() { OFF.to_owned() } else { span(window) },
        by: key_parts(&way.route.by, alert),
        key: way.key.map(|key| key.hex().to_string()),
    }
}

fn limit_step(settings: &LimitSettings, alert: &Alert) -> LimitStep {
    let LimitSettings { rate, per, burst, by, over, exempt, .. } = settings;
    LimitStep {
        rate: format!("{rate} in {}", span(*per)),
        burst: burst.get(),
        by: key_parts(by, alert),
        over: match over {
            Over::Digest => "digest",
            Over::Drop => "drop",
        },
        exempt: exempt.is_some_and(|exempt| alert.priority >= exempt),
    }
}

fn key_parts(fields: &[KeyField], alert: &Alert) -> Vec<KeyPart> {
    let part = |field: &KeyField| {
        let value = field.value(alert);
        KeyPart { field: field.name().to_owned(), present: value.is_some(), value: value.unwrap_or_default() }
    };
    fields.iter().map(part).collect()
}

/// `5m`, `1h 30m`.
fn span(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |duration| format!("{duration:#}"))
}
