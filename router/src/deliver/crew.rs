//! All workers: one for each station, from its first configuration to the end of the process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Current, Finished, Loader, Worker};
use crate::audit::Audit;
use crate::metrics::DestinationMetrics;
use crate::outbox::Outbox;
use crate::post::Board;

/// What new workers are given, and what those that run are told by.
pub(crate) struct Crew {
    load: Loader,
    finished: mpsc::Sender<Finished>,
    audit: Audit,
    /// By station.
    current: Vec<watch::Sender<Current>>,
    running: Running,
}

/// Workers that run, as whoever stops them sees them.
#[derive(Clone, Default)]
pub(crate) struct Running {
    workers: TaskTracker,
    abandon: CancellationToken,
}

impl Crew {
    pub(crate) fn new(load: Loader, finished: mpsc::Sender<Finished>, audit: Audit) -> Self {
        Self { load, finished, audit, current: Vec::new(), running: Running::default() }
    }

    /// The worker of the next station.
    pub(crate) fn hire(
        &mut self,
        outbox: &Arc<Outbox>,
        board: &Arc<Board>,
        metrics: &DestinationMetrics,
        current: Current,
    ) {
        let (sender, current) = watch::channel(current);
        let worker = Worker {
            number: self.current.len(),
            current,
            outbox: Arc::clone(outbox),
            board: Arc::clone(board),
            metrics: metrics.clone(),
            load: Arc::clone(&self.load),
            finished: self.finished.clone(),
            audit: self.audit.clone(),
            abandon: self.running.abandon.clone(),
        };
        self.current.push(sender);
        self.running.workers.spawn(worker.run());
    }

    /// By which a station's worker hears of its destination; `None`: it has none yet.
    pub(crate) fn worker(&self, station: usize) -> Option<&watch::Sender<Current>> {
        self.current.get(station)
    }

    pub(crate) fn running(&self) -> Running {
        self.running.clone()
    }
}

impl Running {
    /// Waits until all have ended, whose outboxes are closed. False: not within that time.
    pub(crate) async fn ended(&self, within: Duration) -> bool {
        self.workers.close();
        timeout(within, self.workers.wait()).await.is_ok()
    }

    /// What is left stays in the store.
    pub(crate) fn abandon(&self) {
        self.abandon.cancel();
    }
}
