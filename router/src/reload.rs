//! Another configuration while the router runs: all of it, or nothing. It is read again when somebody asks for it, and
//! when one of its files has changed.

mod draft;
mod files;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tercel_alert::Alert;
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use crate::deliver::{Crew, Current, Terms};
use crate::explain::Explanation;
use crate::ingest::Ingest;
use crate::metrics::{Metrics, Reload};
use crate::normalise::Enrich;
use crate::pipeline::{Explainer, Next, Received, Refused, Station};
use crate::routing::{Problem, RoutingError};
pub(crate) use draft::Draft;
use draft::InForce;
use files::Seen;

/// Destinations of different names in the life of one process: each keeps its counters, its worker and its place. A
/// configuration with one more is refused.
const STATIONS_MAX: usize = 1_024;

/// How often the files are looked at. Their content is compared: a ConfigMap changes by renaming a folder above them,
/// which notifications of the kernel miss easily and a look never.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Looks after which files that never come to rest are read all the same.
const LOOKS_MAX: u32 = 10;

/// Reads the configuration again.
pub(crate) struct Reloader {
    routing: PathBuf,
    state: PathBuf,
    ingest: Arc<Ingest>,
    metrics: Arc<Metrics>,
    /// Held while one is on its way. `None`: the router stops.
    standing: Mutex<Option<Standing>>,
    /// Of what is in force.
    explainer: std::sync::Mutex<Explainer>,
}

/// What is in force.
struct Standing {
    in_force: InForce,
    seen: Seen,
    crew: Crew,
}

/// What a reload has changed.
#[derive(Debug, Clone, Serialize)]
pub struct Reloaded {
    pub routes: usize,
    pub destinations: usize,
    pub added: Vec<String>,
    /// Its table, its template or a secret is another one.
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    pub warnings: Vec<Problem>,
}

/// Why a configuration was not taken; the one from before is in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Routing(#[from] RoutingError),
    #[error(
        "more than {STATIONS_MAX} names of destinations since the start; restart the router to forget those that are gone"
    )]
    TooMany,
    #[error("the store takes nothing at the moment, the log says why; try again")]
    Store,
    #[error("the router is stopping")]
    Stopping,
    #[error("the reload broke off, the log says why")]
    BrokeOff,
}

impl Reloader {
    /// With what the router starts with; the stations of the pipeline get their workers.
    pub(crate) fn start(
        (routing, state): (PathBuf, PathBuf),
        ingest: Arc<Ingest>,
        metrics: Arc<Metrics>,
        (draft, seen): (Draft, Seen),
        mut crew: Crew,
    ) -> Self {
        let Draft { mut routing_file, in_force, explainer } = draft;
        let stations = ingest.pipeline.stations();
        hire(&mut crew, &stations, in_force.currents(&routing_file));
        ingest.set_enrich(std::mem::replace(&mut routing_file.enrich, Enrich::new()));
        metrics.config.count(Reload::Success, Timestamp::now());
        let standing = Mutex::new(Some(Standing { in_force, seen, crew }));
        Self { routing, state, ingest, metrics, standing, explainer: explainer.into() }
    }

    /// What the configuration in force says about an alert.
    pub(crate) fn explain(&self, alert: &Alert, at: Timestamp) -> Explanation {
        // A panic while the lock was held left the explainer as it was.
        self.explainer.lock().unwrap_or_else(PoisonError::into_inner).explain(alert, at)
    }

    /// The file of an archive; `None`: of the built-in one.
    ///
    /// # Errors
    /// The configuration in force has no such archive.
    pub(crate) fn archive(&self, destination: Option<&str>) -> Result<PathBuf, String> {
        self.explainer.lock().unwrap_or_else(PoisonError::into_inner).archive(destination, &self.state)
    }

    /// Alerts as they would be taken, with what the configuration in force adds.
    ///
    /// # Errors
    /// The first that would not be taken.
    pub(crate) fn read_alerts(&self, json: &[u8]) -> Result<Vec<Received>, String> {
        crate::tools::read_alerts(json, &self.ingest.enrich())
    }

    /// `trigger`: for the log.
    ///
    /// # Errors
    /// The new configuration cannot be used; see [`ReloadError`].
    pub(crate) async fn reload(self: &Arc<Self>, trigger: &'static str) -> Result<Reloaded, ReloadError> {
        let this = Arc::clone(self);
        // In a task of its own: whoever asks may go away in the middle.
        let reload = tokio::spawn(async move {
            let result = this.replace().await;
            this.tell(trigger, &result);
            result
        });
        reload.await.unwrap_or(Err(ReloadError::BrokeOff))
    }

    /// Reloads when a file has changed and come to rest; never ends.
    pub(crate) async fn watch(self: Arc<Self>) {
        let (mut found, mut looks) = (None, 0);
        loop {
            tokio::time::sleep(LOOK_PERIOD).await;
            let before = found.take();
            found = self.changed_files().await;
            looks = if found.is_some() { looks + 1 } else { 0 };
            if found.is_some() && (found == before || looks >= LOOKS_MAX) {
                // The log tells how it ended.
                drop(self.reload("file").await);
                (found, looks) = (None, 0);
            }
        }
    }

    /// No reload from now on; one that is under way ends first.
    pub(crate) async fn close(&self) {
        self.standing.lock().await.take();
    }

    async fn replace(&self) -> Result<Reloaded, ReloadError> {
        let mut standing = self.standing.lock().await;
        let Some(Standing { in_force, seen, crew }) = standing.as_mut() else { return Err(ReloadError::Stopping) };
        let (draft, looked_at) = self.read(in_force, seen).await?;
        let seen_before = std::mem::replace(seen, looked_at);
        let Draft { mut routing_file, in_force: next_in_force, explainer } = draft?;
        let pipeline = &self.ingest.pipeline;
        let known = pipeline.stations();
        if known.len() + next_in_force.unknown_to(&known) > STATIONS_MAX {
            return Err(ReloadError::TooMany);
        }
        let reloaded = next_in_force.compared_with(in_force, &routing_file);
        let currents = next_in_force.currents(&routing_file);
        let mut next = Next::new(&mut routing_file, &self.metrics, &known);
        let mut new = Vec::new();
        for (&station, current) in next.places().to_vec().iter().zip(currents) {
            match crew.worker(station) {
                Some(worker) => next.workers.push((worker.clone(), current)),
                // Places of new stations come in their order.
                None => new.push(current),
            }
        }
        pipeline.reload(next).await.map_err(|refused| match refused {
            Refused::Closed => ReloadError::Stopping,
            Refused::Store | Refused::Full { .. } => {
                // So that the next look tries again.
                *seen = seen_before;
                ReloadError::Store
            }
        })?;
        hire(crew, &pipeline.stations()[known.len()..], new);
        self.ingest.set_enrich(std::mem::replace(&mut routing_file.enrich, Enrich::new()));
        *self.explainer.lock().unwrap_or_else(PoisonError::into_inner) = explainer;
        *in_force = next_in_force;
        Ok(reloaded)
    }

    /// The configuration as its files say now, and what they were then.
    async fn read(&self, in_force: &InForce, seen: &Seen) -> Result<(Result<Draft, RoutingError>, Seen), ReloadError> {
        let (routing, state) = (self.routing.clone(), self.state.clone());
        let (in_force, mut seen) = (in_force.clone(), seen.clone());
        let read = tokio::task::spawn_blocking(move || {
            let draft = Draft::read(&routing, &state, &in_force, &mut seen);
            (draft, seen)
        });
        read.await.map_err(|error| {
            error!(%error, "the configuration could not be read");
            ReloadError::BrokeOff
        })
    }

    /// What the files hold, where that is not what was read last.
    async fn changed_files(&self) -> Option<Seen> {
        let seen = self.standing.lock().await.as_ref()?.seen.clone();
        let look = move || {
            let now = seen.look_again();
            (now != seen).then_some(now)
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    fn tell(&self, trigger: &str, result: &Result<Reloaded, ReloadError>) {
        let outcome = match result {
            Ok(Reloaded { routes, destinations, added, changed, removed, warnings }) => {
                for warning in warnings {
                    warn!("{warning}");
                }
                info!(trigger, routes, destinations, ?added, ?changed, ?removed, "another configuration is in force");
                Reload::Success
            }
            Err(ReloadError::Stopping) => return,
            Err(error) => {
                error!(trigger, %error, "the new configuration was not taken, the one from before stays in force");
                if matches!(error, ReloadError::Routing(_)) { Reload::Invalid } else { Reload::Failed }
            }
        };
        self.metrics.config.count(outcome, Timestamp::now());
    }
}

/// `currents`: of these stations, in their order.
fn hire(crew: &mut Crew, stations: &[Arc<Station>], currents: Vec<Current>) {
    for (station, current) in stations.iter().zip(currents) {
        crew.hire(&station.outbox, &station.board, &station.metrics, current);
    }
}

impl InForce {
    /// By position in the configuration.
    fn currents(&self, routing: &crate::routing::Routing) -> Vec<Current> {
        let settings = routing.destinations.iter();
        let currents = self.destinations.iter().zip(settings).map(|(built, settings)| Current {
            destination: Arc::clone(&built.destination),
            terms: Terms::from(&settings.delivery),
        });
        currents.collect()
    }

    /// How many destinations have no station.
    fn unknown_to(&self, known: &[Arc<Station>]) -> usize {
        let known: BTreeSet<_> = known.iter().map(|station| &*station.name).collect();
        self.destinations.iter().filter(|built| !known.contains(&*built.name)).count()
    }

    fn compared_with(&self, before: &Self, routing: &crate::routing::Routing) -> Reloaded {
        let names = |of: &Self, wanted: &dyn Fn(&draft::Built) -> bool| {
            of.destinations.iter().filter(|built| wanted(built)).map(|built| built.name.clone()).collect()
        };
        Reloaded {
            routes: routing.routes_count,
            destinations: self.destinations.len(),
            added: names(self, &|built| before.find(&built.name).is_none()),
            changed: names(self, &|built| before.find(&built.name).is_some_and(|old| old.mark != built.mark)),
            removed: names(before, &|built| self.find(&built.name).is_none()),
            warnings: routing.warnings.clone(),
        }
    }
}
