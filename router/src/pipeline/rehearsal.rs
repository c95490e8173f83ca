//! The decider without its thread, sockets and clock: a test of a configuration tells it the time. What it sends is
//! delivered at once, and kept to be looked at.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::decider::Decider;
use super::outgoing::read_delivery;
use super::thread::Message;
use super::{Received, Refused, Station};
use crate::StartError;
use crate::deliver::{Finished, Outcome};
use crate::destination::Notification;
use crate::metrics::Metrics;
use crate::outbox::{Choice, Entry};
use crate::routing::Routing;
use crate::store::{BYTES_MAX, Options, Store};

/// What time is advanced by where something says that it was due and is not done.
const STEP_MIN: SignedDuration = SignedDuration::from_millis(1);

/// One configuration with its own state.
pub(crate) struct Rehearsal {
    decider: Decider,
    store: Arc<Store>,
    now: Timestamp,
    performed: Vec<Performed>,
}

/// One delivery that was made.
pub(crate) struct Performed {
    pub(crate) destination: usize,
    pub(crate) notification: Arc<Notification>,
}

impl Rehearsal {
    /// Takes the routes out of `routing`. `folder`: an empty one.
    ///
    /// # Errors
    /// There is no place for its state.
    pub(crate) fn start(routing: &mut Routing, folder: &Path, now: Timestamp) -> Result<Self, StartError> {
        let options = Options { fsync: false, bytes_max: BYTES_MAX };
        let store = Arc::new(Store::open(folder, options)?);
        let decider = super::decider(routing, &Arc::new(Metrics::new()), &store, BYTES_MAX, now)?;
        Ok(Self { decider, store, now, performed: Vec::new() })
    }

    /// An alert comes.
    ///
    /// # Errors
    /// It would not be taken.
    pub(crate) fn send(&mut self, received: Received) -> Result<(), Refused> {
        let (answer, mut answered) = oneshot::channel();
        let message = Message::Alerts(vec![received], answer);
        self.decider.decide(std::iter::once(message), std::iter::empty(), self.now);
        self.deliver();
        answered.try_recv().unwrap_or(Err(Refused::Closed))
    }

    /// Time goes on; what falls due on the way is done in its time.
    pub(crate) fn advance(&mut self, until: Timestamp) {
        while let Some(due) = self.decider.next_due(self.now).filter(|due| *due <= until) {
            // A moment that is over already was not enough for whoever asked for it.
            self.now = if due > self.now { due } else { self.now.saturating_add(STEP_MIN).unwrap_or(until) }.min(until);
            self.decider.decide(std::iter::empty(), std::iter::empty(), self.now);
            self.deliver();
            if self.now == until {
                break;
            }
        }
        self.now = self.now.max(until);
    }

    /// As [`Rehearsal::advance`], until nothing is held back any more, or `latest`.
    pub(crate) fn settle(&mut self, latest: Timestamp) {
        while let Some(due) = self.decider.next_due(self.now).filter(|due| *due <= latest) {
            self.advance(due.max(self.now.saturating_add(STEP_MIN).unwrap_or(latest)));
        }
    }

    pub(crate) fn performed(&self) -> &[Performed] {
        &self.performed
    }

    /// How many alerts were held back from a destination, by reason.
    pub(crate) fn suppressed(&self, destination: usize) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.decider.stations[destination].metrics.suppressed()
    }

    /// Whatever waits arrives.
    fn deliver(&mut self) {
        loop {
            let finished: Vec<_> = (0..self.decider.stations.len()).flat_map(|station| self.empty(station)).collect();
            if finished.is_empty() {
                return;
            }
            self.decider.decide(std::iter::empty(), finished.into_iter(), self.now);
        }
    }

    fn empty(&mut self, destination: usize) -> Vec<Finished> {
        let station: Arc<Station> = Arc::clone(&self.decider.stations[destination]);
        let mut finished = Vec::new();
        while let Some(entry) = station.outbox.take(Instant::now(), Choice::Oldest) {
            station.outbox.release(&entry);
            if let Some(notification) = self.notification(&entry) {
                self.performed.push(Performed { destination, notification });
            }
            let Entry { id, kind, .. } = entry;
            let outcome = Outcome::Delivered;
            let (attempts, pinned) = (None, None);
            finished.push(Finished { destination, id, kind, outcome, repeats_told: 0, attempts, pinned });
        }
        finished
    }

    fn notification(&self, entry: &Entry) -> Option<Arc<Notification>> {
        let stored = || read_delivery(&self.store, entry.id).map(|(record, alert)| record.notification(alert).into());
        entry.notification.clone().or_else(stored)
    }
}
