//! What operators ask of the decider, which owns the state that they want to see or change. An answer means that the change
//! is on the disk.

use jiff::Timestamp;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::decider::Decider;
use super::group::Group;
use super::thread::Message;
use super::{Pipeline, Refused};
use crate::silence::{Listed, NewSilence, SilenceError, State};

/// Where the one who asked waits.
type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// One question or order.
pub(super) enum Ask {
    AddSilence(NewSilence, Reply<Result<Listed, SilenceError>>),
    ExpireSilence(Uuid, Reply<Result<Listed, SilenceError>>),
    /// Those in this state, or all.
    Silences(Option<State>, Reply<Vec<Listed>>),
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
                let is_known = |name: &str| {
                    stations
                        .iter()
                        .position(|station| *station.name == *name)
                        .is_some_and(|place| plan.place(place).is_some())
                };
                let added = self.silences.add(Uuid::now_v7(), new, now, is_known);
                group.is_promised |= added.is_ok();
                group.promises.push(promise(reply, added));
            }
            Ask::ExpireSilence(id, reply) => {
                let expired = self.silences.expire(id, now);
                group.is_promised |= expired.is_ok();
                group.promises.push(promise(reply, expired));
            }
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
        }
    }
}

fn promise<T: Send + 'static>(reply: Reply<T>, answer: T) -> Promise {
    // Who hung up has no use for the answer.
    Box::new(move |committed| drop(reply.send(committed.map(|()| answer))))
}
