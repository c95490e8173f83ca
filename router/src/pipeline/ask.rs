//! What operators ask of the decider, which owns the state that they want to see or change. An answer means that the change
//! is on the disk.

use std::sync::Arc;

use jiff::Timestamp;
use tercel_alert::Alert;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::decider::Decider;
use super::group::Group;
use super::thread::Message;
use super::{Pipeline, Refused};
use crate::dead_letter::Replayed;
use crate::explain::StateStep;
use crate::incident::{self, OrderError};
use crate::silence::{Listed, NewSilence, SilenceError, State};

/// Where the one who asked waits.
type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// One question or order.
pub(super) enum Ask {
    AddSilence(NewSilence, Reply<Result<Listed, SilenceError>>),
    ExpireSilence(Uuid, Reply<Result<Listed, SilenceError>>),
    /// Those in this state, or all.
    Silences(Option<State>, Reply<Vec<Listed>>),
    /// What is held against an alert, by destination.
    States(Arc<Alert>, Reply<Vec<(Arc<str>, StateStep)>>),
    /// Dead letters by their numbers.
    Replay(Vec<u64>, Option<String>, Reply<Replayed>),
    Purge(Vec<u64>, Reply<u64>),
    Incidents(Reply<Vec<incident::Listed>>),
    Resolve(incident::Order, Reply<Result<Vec<incident::Listed>, OrderError>>),
}

/// An answer that is given once the commit has ended.
pub(super) type Promise = Box<dyn FnOnce(Result<(), Refused>) + Send>;

impl Pipeline {
    /// The silence, in force and on the disk.
    pub(crate) async fn add_silence(&self, new: NewSilence) -> Result<Result<Listed, SilenceError>, Refused> {
        self.ask(|reply| Ask::AddSilence(new, reply)).await
    }

    /// The silence as it is now: over.
    pub(crate) async fn expire_silence(&self, id: Uuid) -> Result<Result<Listed, SilenceError>, Refused> {
        self.ask(|reply| Ask::ExpireSilence(id, reply)).await
    }

    pub(crate) async fn silences(&self, state: Option<State>) -> Result<Vec<Listed>, Refused> {
        self.ask(|reply| Ask::Silences(state, reply)).await
    }

    /// What is held against this alert at the moment, by destination.
    pub(crate) async fn states(&self, alert: Arc<Alert>) -> Result<Vec<(Arc<str>, StateStep)>, Refused> {
        self.ask(|reply| Ask::States(alert, reply)).await
    }

    /// Sends dead letters again, to the destination of this name or each to its own. As many as may hold up all decisions.
    pub(crate) async fn replay(&self, letters: Vec<u64>, to: Option<String>) -> Result<Replayed, Refused> {
        self.ask(|reply| Ask::Replay(letters, to, reply)).await
    }

    /// Takes dead letters away; gives how many there were.
    pub(crate) async fn purge(&self, letters: Vec<u64>) -> Result<u64, Refused> {
        self.ask(|reply| Ask::Purge(letters, reply)).await
    }

    /// Those that are open.
    pub(crate) async fn incidents(&self) -> Result<Vec<incident::Listed>, Refused> {
        self.ask(Ask::Incidents).await
    }

    /// The incidents as they were; that their destinations are told of the end is on the disk.
    pub(crate) async fn resolve(
        &self,
        order: incident::Order,
    ) -> Result<Result<Vec<incident::Listed>, OrderError>, Refused> {
        self.ask(|reply| Ask::Resolve(order, reply)).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, Refused> {
        let (reply, answered) = oneshot::channel();
        self.messages.send(Message::Ask(ask(reply))).await.map_err(|_closed| Refused::Closed)?;
        answered.await.unwrap_or(Err(Refused::Closed))
    }
}

impl Decider {
    pub(super) fn answer(&mut self, group: &mut Group, ask: Ask, now: Timestamp) {
        match ask {
            Ask::AddSilence(new, reply) => {
                let (stations, plan) = (&self.stations, &self.plan);
                let is_known = |name: &str| plan.find(stations, name).is_some();
                let added = self.silences.add(Uuid::now_v7(), new, now, is_known);
                group.is_promised |= added.is_ok();
                group.promises.push(promise(reply, added));
            }
            Ask::ExpireSilence(id, reply) => {
                let expired = self.silences.expire(id, now);
                group.is_promised |= expired.is_ok();
                group.promises.push(promise(reply, expired));
            }
            Ask::Replay(numbers, to, reply) => {
                let replayed = self.replay(group, &numbers, to.as_deref(), now);
                group.promises.push(promise(reply, replayed));
            }
            Ask::Purge(numbers, reply) => {
                let purged = self.purge(group, &numbers);
                group.is_promised |= purged > 0;
                group.promises.push(promise(reply, purged));
            }
            Ask::Incidents(reply) => group.promises.push(promise(reply, self.list_incidents())),
            Ask::Resolve(order, reply) => {
                let resolved = self.resolve(group, &order, now);
                group.promises.push(promise(reply, resolved));
            }
            Ask::States(alert, reply) => group.promises.push(promise(reply, self.states(&alert, now))),
            Ask::Silences(state, reply) => group.promises.push(promise(reply, self.silences.list(state, now))),
        }
    }
}

impl Ask {
    /// The store takes nothing.
    pub(super) fn refuse(self) {
        match self {
            Self::AddSilence(_, reply) | Self::ExpireSilence(_, reply) => drop(reply.send(Err(Refused::Store))),
            Self::Silences(_, reply) => drop(reply.send(Err(Refused::Store))),
            Self::States(_, reply) => drop(reply.send(Err(Refused::Store))),
            Self::Replay(_, _, reply) => drop(reply.send(Err(Refused::Store))),
            Self::Purge(_, reply) => drop(reply.send(Err(Refused::Store))),
            Self::Incidents(reply) => drop(reply.send(Err(Refused::Store))),
            Self::Resolve(_, reply) => drop(reply.send(Err(Refused::Store))),
        }
    }
}

fn promise<T: Send + 'static>(reply: Reply<T>, answer: T) -> Promise {
    // Who hung up has no use for the answer.
    Box::new(move |committed| drop(reply.send(committed.map(|()| answer))))
}
