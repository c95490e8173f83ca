//! The flow of one request through the stages: [`Pipeline::handle`].
//!
//! One lock is held from the first decision to the commit, so that of two equal alerts exactly one is the first. What is
//! decided takes effect only when every queue has room; a refused request leaves no trace.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tercel_alert::Alert;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use crate::dedup::{Candidate, Closed, Dedup, OpenWindow, Plan, Verdict};
use crate::destination::{Notification, NotificationKind, Receive};
use crate::fingerprint::{self, Fingerprint};
use crate::limit::Limit;
use crate::metrics::{DestinationMetrics, Metrics, Suppressed};
use crate::queue::{Entry, Need, Queue};
use crate::route::{Route, RouteParts, Routes, Target};
use crate::routing::Routing;
use crate::store::Store;

pub(crate) use crate::store::Refused;

/// How often limits say what they held back.
const DIGEST_PERIOD: Duration = Duration::from_mins(1);

/// Name of the route of alerts that no other wanted.
const UNROUTED: &str = "unrouted";

/// What a summary or digest weighs in a queue: its samples and names, at most.
const NOTICE_BYTES: usize = 4 * 1024;

/// An alert as ingest hands it over: normalised, with its uuid.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) alert: Arc<Alert>,
    /// Bytes of memory.
    pub(crate) weight: usize,
}

/// All stages between ingest and delivery.
pub(crate) struct Pipeline {
    routes: Routes,
    unrouted: Route,
    desks: Vec<Desk>,
    store: Store,
    metrics: Arc<Metrics>,
    decisions: Mutex<Decisions>,
}

/// What is known about one destination here.
struct Desk {
    name: Arc<str>,
    receive: Receive,
    metrics: DestinationMetrics,
}

/// The state that decisions depend on.
struct Decisions {
    /// One for every destination.
    dedups: Vec<Dedup>,
    limits: Vec<Limit>,
    /// Route and destination of every limit.
    limit_owners: Vec<(Arc<str>, usize)>,
}

/// One alert on its way to one destination.
struct Delivery<'a> {
    received: &'a Received,
    route: &'a Route,
    target: Target,
    key: Option<Fingerprint>,
    step: Step,
}

/// What was decided about a delivery so far.
enum Step {
    /// It goes out.
    Deliver,
    /// It goes out if its limit allows, and then opens this window.
    First(OpenWindow),
    /// It is counted in this window; where the window's first alert was held back, it may be the first itself.
    Repeat(OpenWindow),
    Suppressed(Suppressed),
}

impl Pipeline {
    /// Takes the routes and limits out of `routing`; its destinations stay.
    pub(crate) fn new(routing: &mut Routing, metrics: &Arc<Metrics>) -> Self {
        let desks: Vec<_> = routing
            .destinations
            .iter()
            .map(|destination| Desk {
                name: destination.name.as_str().into(),
                receive: destination.receive,
                metrics: metrics.destination(&destination.name),
            })
            .collect();
        let store = Store::new(desks.iter().map(|desk| Queue::new(desk.metrics.clone())).collect());
        let tree = std::mem::take(&mut routing.routes);
        let catalog = std::mem::take(&mut routing.catalog);
        let mut limit_owners = vec![(Arc::from(UNROUTED), 0); routing.limits.len()];
        for route in tree.iter().flat_map(Route::with_children) {
            for target in &route.targets {
                if let Some(limit) = target.limit {
                    limit_owners[limit] = (Arc::clone(&route.name), target.destination);
                }
            }
        }
        let decisions = Decisions {
            dedups: desks.iter().map(|_| Dedup::new()).collect(),
            limits: routing.limits.iter().map(Limit::new).collect(),
            limit_owners,
        };
        Self {
            routes: Routes::new(tree, catalog, metrics.filter_mismatches.clone()),
            unrouted: unrouted(routing.archive),
            desks,
            store,
            metrics: Arc::clone(metrics),
            decisions: Mutex::new(decisions),
        }
    }

    /// Takes all alerts of a request, or none. When it returns `Ok`, they may be acknowledged.
    ///
    /// # Errors
    /// A destination's queue has no room for alerts of this priority, or the router is stopping.
    pub(crate) fn handle(&self, alerts: &[Received]) -> Result<(), Refused> {
        let mut deliveries = self.route(alerts);
        // Inhibition, silences and time windows have their seat here.
        let mut decisions = self.decisions();
        self.dedup(&decisions, &mut deliveries);
        self.admit(&deliveries)?;
        self.limit(&mut decisions, &mut deliveries);
        self.commit(&deliveries);
        self.notify_evicted(&mut decisions);
        drop(decisions);
        self.count_received(alerts);
        Ok(())
    }

    /// Alert × destination: each destination once, under the first route that leads to it.
    fn route<'a>(&'a self, alerts: &'a [Received]) -> Vec<Delivery<'a>> {
        let mut deliveries = Vec::with_capacity(alerts.len());
        let mut reached = vec![usize::MAX; self.desks.len()];
        for (number, received) in alerts.iter().enumerate() {
            let mut routes = self.routes.of(&received.alert);
            if routes.is_empty() {
                routes.push(&self.unrouted);
            }
            for route in routes {
                let key = self.key(route, &received.alert);
                for &target in &route.targets {
                    if std::mem::replace(&mut reached[target.destination], number) != number {
                        deliveries.push(Delivery { received, route, target, key, step: Step::Deliver });
                    }
                }
            }
        }
        deliveries
    }

    /// `None`: nobody needs it, or the alert says too little to be told from others.
    fn key(&self, route: &Route, alert: &Alert) -> Option<Fingerprint> {
        let is_wanted = route.targets.iter().any(|target| self.desks[target.destination].is_thinned());
        (is_wanted && fingerprint::is_specific(alert, &route.by)).then(|| Fingerprint::of(alert, &route.by))
    }

    fn dedup(&self, decisions: &Decisions, deliveries: &mut [Delivery<'_>]) {
        let mut plan = Plan::default();
        for delivery in deliveries {
            let desk = &self.desks[delivery.target.destination];
            if !desk.is_thinned() || delivery.route.window.is_zero() {
                continue;
            }
            let Some(candidate) = delivery.candidate() else { continue };
            let destination = delivery.target.destination;
            delivery.step = match decisions.dedups[destination].plan(&mut plan, destination, &candidate) {
                Verdict::First(window) => Step::First(window),
                Verdict::Repeat(window) => Step::Repeat(window),
            };
        }
    }

    /// Room for everything that may go out. After this nothing can fail.
    fn admit(&self, deliveries: &[Delivery<'_>]) -> Result<(), Refused> {
        let mut needs = vec![Need::default(); self.desks.len()];
        for delivery in deliveries.iter().filter(|delivery| delivery.may_go_out()) {
            let need = &mut needs[delivery.target.destination];
            *need = need.add(delivery.received.weight, delivery.received.alert.priority);
        }
        self.store.admit(&needs)
    }

    fn limit(&self, decisions: &mut Decisions, deliveries: &mut [Delivery<'_>]) {
        for delivery in deliveries {
            delivery.step = match self.suppress(decisions, delivery) {
                Some(reason) => Step::Suppressed(reason),
                None => Step::Deliver,
            };
        }
    }

    /// Counts a repeat, asks the limit, opens the window of what passes; `None`: it passes.
    fn suppress(&self, decisions: &mut Decisions, delivery: &Delivery<'_>) -> Option<Suppressed> {
        let (alert, destination) = (&delivery.received.alert, delivery.target.destination);
        let window = match &delivery.step {
            Step::Repeat(window) if window.is_open() => {
                window.add(alert);
                return Some(Suppressed::Dedup);
            }
            // Also a repeat whose first was held back by the limit of another route: it is the first now.
            Step::First(window) | Step::Repeat(window) => Some(window),
            Step::Deliver | Step::Suppressed(_) => None,
        };
        let desk = &self.desks[destination];
        if let Some(limit) = delivery.target.limit.filter(|_| desk.is_thinned()) {
            let verdict = decisions.limits[limit].check(alert);
            desk.metrics.limit_overflow.inc_by(u64::from(verdict.overflowed));
            if !verdict.passes {
                return Some(Suppressed::Limit);
            }
        }
        if let Some((window, first)) = window.zip(delivery.candidate()) {
            decisions.dedups[destination].open(window.clone(), &first);
        }
        None
    }

    fn commit(&self, deliveries: &[Delivery<'_>]) {
        let accepted = Instant::now();
        for delivery in deliveries {
            let destination = delivery.target.destination;
            let desk = &self.desks[destination];
            let metrics = &desk.metrics;
            metrics.received.inc();
            if std::ptr::eq(delivery.route, &raw const self.unrouted) {
                self.metrics.unrouted.inc();
            }
            if desk.is_thinned() && !delivery.route.window.is_zero() && delivery.key.is_none() {
                metrics.no_key.inc();
            }
            if let Step::Suppressed(reason) = delivery.step {
                metrics.count_suppressed(reason);
                continue;
            }
            let (notification, weight) = (delivery.notification(), delivery.received.weight);
            self.store.commit(destination, Entry { notification, weight, accepted });
        }
    }

    fn count_received(&self, alerts: &[Received]) {
        for Received { alert, .. } in alerts {
            self.metrics.count_received(alert);
        }
    }
}

/// What happens without a request: windows close, digests fall due.
impl Pipeline {
    /// Closes windows and sends digests; never ends.
    pub(crate) async fn keep_time(&self) {
        tokio::join!(self.keep_windows(), self.keep_digests());
    }

    async fn keep_windows(&self) {
        loop {
            let (destination, closed) = poll_fn(|context| self.poll_closed(context)).await;
            for closed in closed {
                self.notify_closed(destination, closed);
            }
        }
    }

    async fn keep_digests(&self) {
        let mut ticks = tokio::time::interval_at(Instant::now() + DIGEST_PERIOD, DIGEST_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.notify_held_back(&mut self.decisions());
        }
    }

    /// Sends the summaries of all open windows and the digests that are owed, then closes the queues. Under the lock of
    /// [`Pipeline::handle`], so that a request is either in time for all of it or refused.
    pub(crate) fn close(&self) {
        let mut decisions = self.decisions();
        for (destination, dedup) in decisions.dedups.iter_mut().enumerate() {
            for closed in dedup.close_all() {
                self.notify_closed(destination, closed);
            }
        }
        self.notify_held_back(&mut decisions);
        self.store.close();
    }

    /// Brings the gauges up to date that nobody counts along.
    pub(crate) fn observe(&self) {
        let decisions = self.decisions();
        for ((desk, queue), dedup) in self.desks.iter().zip(self.store.queues()).zip(&decisions.dedups) {
            desk.metrics.windows.set(i64::try_from(dedup.len()).unwrap_or(i64::MAX));
            desk.metrics.oldest.set(i64::try_from(queue.oldest_age().as_secs()).unwrap_or(i64::MAX));
        }
    }

    /// Queue and metrics of every destination, for the workers.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (&Arc<Queue>, &DestinationMetrics)> {
        self.store.queues().iter().zip(self.desks.iter().map(|desk| &desk.metrics))
    }

    /// Name of the destination with this index.
    pub(crate) fn destination_name(&self, index: usize) -> &str {
        &self.desks[index].name
    }

    fn poll_closed(&self, context: &mut Context<'_>) -> Poll<(usize, Vec<Closed>)> {
        let mut decisions = self.decisions();
        for (destination, dedup) in decisions.dedups.iter_mut().enumerate() {
            if let Poll::Ready(closed) = dedup.poll_closed(context) {
                return Poll::Ready((destination, closed));
            }
        }
        Poll::Pending
    }

    fn notify_evicted(&self, decisions: &mut Decisions) {
        for (destination, dedup) in decisions.dedups.iter_mut().enumerate() {
            let (closed, count) = dedup.evicted();
            self.desks[destination].metrics.evictions.inc_by(count);
            for closed in closed {
                self.notify_closed(destination, closed);
            }
        }
    }

    fn notify_held_back(&self, decisions: &mut Decisions) {
        let Decisions { limits, limit_owners, .. } = decisions;
        for (limit, (route, destination)) in limits.iter_mut().zip(limit_owners) {
            if let Some((digest, alert)) = limit.digest() {
                self.notify(*destination, alert, Arc::clone(route), None, NotificationKind::Digest(digest));
            }
        }
    }

    fn notify_closed(&self, destination: usize, closed: Closed) {
        let Closed { key, route, alert, summary } = closed;
        self.notify(destination, alert, route, Some(key.hex()), NotificationKind::Summary(summary));
    }

    fn notify(
        &self,
        destination: usize,
        alert: Arc<Alert>,
        route: Arc<str>,
        dedup_key: Option<Arc<str>>,
        kind: NotificationKind,
    ) {
        let name = kind.name();
        let notification = Notification { id: Uuid::now_v7(), alert, route, dedup_key, kind };
        let entry = Entry { notification, weight: NOTICE_BYTES, accepted: Instant::now() };
        if !self.store.add_notice(destination, entry) {
            self.desks[destination].metrics.count_lost(name);
        }
    }

    fn decisions(&self) -> MutexGuard<'_, Decisions> {
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// Whether suppression applies; history stays whole.
    fn is_thinned(&self) -> bool {
        self.receive == Receive::Notifications
    }
}

impl Delivery<'_> {
    fn may_go_out(&self) -> bool {
        match &self.step {
            Step::Deliver | Step::First(_) => true,
            Step::Repeat(window) => !window.is_open(),
            Step::Suppressed(_) => false,
        }
    }

    /// `None`: it has no key.
    fn candidate(&self) -> Option<Candidate<'_>> {
        Some(Candidate {
            alert: &self.received.alert,
            weight: self.received.weight,
            key: self.key?,
            route: &self.route.name,
            window: self.route.window,
        })
    }

    fn notification(&self) -> Notification {
        let alert = Arc::clone(&self.received.alert);
        Notification {
            id: alert.uuid.unwrap_or_else(Uuid::now_v7),
            alert,
            route: Arc::clone(&self.route.name),
            dedup_key: self.key.map(|key| key.hex()),
            kind: NotificationKind::Alert,
        }
    }
}

/// The route of alerts that no other wants: to the archive, as they are.
fn unrouted(archive: usize) -> Route {
    Route::new(RouteParts {
        name: UNROUTED.into(),
        when: None,
        targets: vec![Target { destination: archive, limit: None }],
        by: Vec::new(),
        window: Duration::ZERO,
        goes_on: false,
        children: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
