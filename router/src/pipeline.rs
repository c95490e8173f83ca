//! The flow of alerts through the stages. `stages` is their list; this is what the rest of the router sees
//! of it: requests go in by [`Pipeline::handle`], deliveries come out at the stations' outboxes, and their outcomes come
//! back.
//!
//! ```text
//! ingest ──► handle ──► decider (one thread, owns all decisions) ──► outbox ──► worker ──► destination
//!    ◄── after the commit ──┘  │ one write a group      ▲                          │
//!                              ▼                        └──────── Finished ◄───────┘
//!                            store
//! ```

mod alive;
mod ask;
mod burial;
mod decider;
mod explain;
mod group;
mod next;
mod outgoing;
mod plan;
mod record;
mod recovery;
mod rehearsal;
mod reload;
mod replay;
mod resolve;
mod show;
mod stages;
mod station;
mod tail;
mod thread;
mod trail;

use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tercel_alert::Alert;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::StartError;
use crate::audit::Audit;
use crate::deliver::{Finished, Loader};
use crate::incident::Incidents;
use crate::inhibit::Inhibitor;
use crate::metrics::Metrics;
use crate::post::Posts;
use crate::routing::Routing;
use crate::seen::{Seen, Sent};
use crate::silence::Silences;
use crate::store::{Store, StoreError};
use decider::Decider;
pub(crate) use explain::Explainer;
pub(crate) use next::Next;
pub(crate) use rehearsal::Rehearsal;
pub(crate) use station::Station;
pub(crate) use tail::Reader;
use tail::Tail;
use thread::{Inbox, Message};

/// Requests that wait for the decider; more wait at their sockets.
const REQUESTS_MAX: usize = 1_024;

/// Outcomes that wait for the decider; workers wait when there are more.
const OUTCOMES_MAX: usize = 16_384;

/// How often the store looks whether it holds much that is gone.
const TIDY_PERIOD: Duration = Duration::from_mins(1);

/// An alert as ingest hands it over: normalised, with its uuid.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) alert: Arc<Alert>,
    /// Bytes of memory.
    pub(crate) weight: usize,
    /// Where the sender gave an id: what [`crate::seen`] asks for.
    pub(crate) sent: Option<Sent>,
}

/// Why a request was refused; nothing of it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The store, or what waits for this destination, has no room for alerts of this priority.
    Full { destination: Option<Arc<str>> },
    /// The store takes nothing: the log says why.
    Store,
    /// The router is stopping: nobody would answer.
    Closed,
}

/// The way to the decider.
#[derive(Clone)]
pub(crate) struct Pipeline {
    messages: mpsc::Sender<Message>,
    stations: Arc<RwLock<Vec<Arc<Station>>>>,
    tail: Tail,
}

/// A pipeline that runs, as whoever stops it sees it.
pub(crate) struct Running {
    pub(crate) pipeline: Pipeline,
    /// For the workers.
    pub(crate) finished: mpsc::Sender<Finished>,
    pub(crate) load: Loader,
    /// Ends after every sender is gone.
    pub(crate) thread: std::thread::JoinHandle<()>,
}

impl Pipeline {
    /// Takes the routes and limits out of `routing`; its destinations stay. What the store owes is in the outboxes when
    /// this returns. `bytes_max`: what may be owed.
    ///
    /// # Errors
    /// The store cannot be read, or there is no thread to be had.
    pub(crate) fn start(
        routing: &mut Routing,
        metrics: &Arc<Metrics>,
        store: &Arc<Store>,
        bytes_max: u64,
        audit: Audit,
    ) -> Result<Running, StartError> {
        let mut decider = decider(routing, metrics, store, bytes_max, jiff::Timestamp::now())?;
        decider.audit = audit;
        let (stations, tail) = (decider.stations.clone(), decider.tail.clone());
        let (messages, messages_of) = mpsc::channel(REQUESTS_MAX);
        let (finished, finished_of) = mpsc::channel(OUTCOMES_MAX);
        let inbox = Inbox { messages: messages_of, finished: finished_of };
        let thread = spawn(decider, inbox).map_err(StartError::Thread)?;
        let pipeline = Self { messages, stations: Arc::new(RwLock::new(stations)), tail };
        Ok(Running { pipeline, finished, load: loader(store), thread })
    }

    /// Takes all alerts of a request, or none. When it returns `Ok`, they may be acknowledged.
    ///
    /// # Errors
    /// There is no room for alerts of this priority, the store takes nothing, or the router is stopping.
    pub(crate) async fn handle(&self, alerts: Vec<Received>) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        self.messages.send(Message::Alerts(alerts, answer)).await.map_err(|_closed| Refused::Closed)?;
        answered.await.unwrap_or(Err(Refused::Closed))
    }

    /// Puts another configuration into force, made for [`Pipeline::stations`]. Only one at a time may be on its way.
    ///
    /// # Errors
    /// The store does not take what has to be told before, or the router is stopping; nothing has changed then.
    pub(crate) async fn reload(&self, next: Next) -> Result<(), Refused> {
        let stations = next.stations.clone();
        let (answer, answered) = oneshot::channel();
        self.messages.send(Message::Reload(Box::new(next), answer)).await.map_err(|_closed| Refused::Closed)?;
        answered.await.unwrap_or(Err(Refused::Closed))?;
        *self.stations.write().unwrap_or_else(PoisonError::into_inner) = stations;
        Ok(())
    }

    /// Nothing is taken from now on; what was sent before is still decided.
    pub(crate) async fn close(&self) {
        drop(self.messages.send(Message::Close).await);
    }

    /// Brings the gauges up to date that nobody counts along.
    pub(crate) fn observe(&self) {
        for station in self.stations() {
            let age = station.outbox.oldest_age().as_secs();
            station.metrics.oldest.set(i64::try_from(age).unwrap_or(i64::MAX));
        }
    }

    /// Reads along what is decided from now on. `None`: as many do as may.
    pub(crate) fn reader(&self) -> Option<Reader> {
        self.tail.reader()
    }

    /// One for every destination since the start, also where the configuration has it no more.
    pub(crate) fn stations(&self) -> Vec<Arc<Station>> {
        self.stations.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The decider with the state that the store holds.
fn decider(
    routing: &mut Routing,
    metrics: &Arc<Metrics>,
    store: &Arc<Store>,
    bytes_max: u64,
    now: jiff::Timestamp,
) -> Result<Decider, StoreError> {
    metrics.add_store(&store.statistics());
    metrics.stored_bytes_max.set(i64::try_from(bytes_max).unwrap_or(i64::MAX));
    let Next { stations, plan, limits, muted, inhibitions, incidents, workers: _ } = Next::new(routing, metrics, &[]);
    let inhibitors = (stations.iter())
        .map(|station| {
            let (inhibitions, mismatches) = (Arc::clone(&inhibitions), metrics.filter_mismatches.clone());
            Inhibitor::load(&station.name, inhibitions, std::iter::empty(), mismatches)
        })
        .collect();
    let incidents = stations
        .iter()
        .zip(incidents)
        .map(|(station, terms)| Some(Incidents::load(&station.name, terms?, std::iter::empty())))
        .collect();
    let posts = stations.iter().map(|station| Posts::load(&station.name, &station.board, std::iter::empty())).collect();
    let plan = Arc::new(plan);
    let mut decider = Decider {
        store: Arc::clone(store),
        metrics: Arc::clone(metrics),
        plan,
        stations,
        seen: Seen::new(),
        silences: Silences::load(std::iter::empty(), metrics.filter_mismatches.clone()),
        dedups: Vec::new(),
        limits,
        inhibitors,
        incidents,
        posts,
        muted,
        alive: alive::Alive::default(),
        tail: Tail::new(metrics),
        audit: Audit::off(&metrics.audit_missed),
        next_number: 0,
        bytes_max,
        owed: Vec::new(),
        paused_until: None,
        is_astray: false,
        shown: None,
        told: None,
    };
    decider.recover(now)?;
    Ok(decider)
}

/// The decider, and beside it who gives back the room of what was removed: that may take seconds.
fn spawn(decider: Decider, inbox: Inbox) -> std::io::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let store = Arc::clone(&decider.store);
    let (running, ended) = std::sync::mpsc::sync_channel::<()>(0);
    let tidy = move || {
        while ended.recv_timeout(TIDY_PERIOD) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = store.tidy() {
                warn!(%error, "the room of what was removed from the store was not given back");
            }
        }
    };
    let tidy = std::thread::Builder::new().name("tidy".to_owned()).spawn(tidy)?;
    let run = move || {
        runtime.block_on(thread::run(decider, inbox));
        drop(running);
        // It ended, or panicked and said so.
        drop(tidy.join());
    };
    std::thread::Builder::new().name("decider".to_owned()).spawn(run)
}

/// What workers read from the store when a body is not at hand.
fn loader(store: &Arc<Store>) -> Loader {
    let store = Arc::clone(store);
    Arc::new(move |number| {
        let stored = outgoing::read_delivery(&store, number);
        Ok(stored.map(|(record, alert)| record.notification(alert)))
    })
}
