//! What was acknowledged and is not delivered yet.
//!
//! It is the seat of the durable store. The contract is already that one's: a request's alerts are admitted for all
//! destinations or for none, and what was committed is never shed. For now it lies in memory, in one queue for every
//! destination.

use std::sync::Arc;

use crate::queue::{Entry, Need, Queue};

/// The queues of all destinations.
pub(crate) struct Store {
    queues: Vec<Arc<Queue>>,
}

/// Why a request was refused; nothing of it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue of the destination with this index has no room for alerts of this priority.
    Full { destination: usize },
    /// The router is stopping: nobody would empty the queues.
    Closed,
}

impl Store {
    pub(crate) fn new(queues: Vec<Queue>) -> Self {
        Self { queues: queues.into_iter().map(Arc::new).collect() }
    }

    /// Whether every queue is open and has room for what a request needs of it, one need for every destination.
    ///
    /// # Errors
    /// A queue is closed, or the first that has no room.
    pub(crate) fn admit(&self, needs: &[Need]) -> Result<(), Refused> {
        if self.queues.iter().zip(needs).any(|(queue, need)| need.count > 0 && queue.is_closed()) {
            return Err(Refused::Closed);
        }
        match self.queues.iter().zip(needs).position(|(queue, need)| !queue.has_room_for(*need)) {
            Some(destination) => Err(Refused::Full { destination }),
            None => Ok(()),
        }
    }

    /// Takes an alert for which [`Store::admit`] found room.
    pub(crate) fn commit(&self, destination: usize, entry: Entry) {
        self.queues[destination].commit(entry);
    }

    /// Takes a summary or digest. False: too many wait already, or the queue is closed.
    pub(crate) fn add_notice(&self, destination: usize, entry: Entry) -> bool {
        self.queues[destination].add_notice(entry)
    }

    /// From now on nothing is taken; workers end when their queue is empty.
    pub(crate) fn close(&self) {
        self.queues.iter().for_each(|queue| queue.close());
    }

    /// One queue for every destination.
    pub(crate) fn queues(&self) -> &[Arc<Queue>] {
        &self.queues
    }
}

#[cfg(test)]
mod tests {
    use tercel_alert::Priority;

    use super::*;
    use crate::metrics::Metrics;

    fn store() -> Store {
        Store::new(["a", "b"].iter().map(|name| Queue::new(Metrics::new().destination(name))).collect())
    }

    #[test]
    fn one_full_queue_refuses_the_whole_request() {
        let small = Need::default().add(1, Priority::Emergency);
        let large = Need::default().add(usize::MAX / 2, Priority::Emergency);
        assert_eq!(store().admit(&[small, large]), Err(Refused::Full { destination: 1 }));
        assert_eq!(store().admit(&[small, small]), Ok(()));
    }

    #[test]
    fn closed_queues_refuse_every_request_that_needs_one() {
        let store = store();
        store.close();
        let need = Need::default().add(1, Priority::Emergency);
        assert_eq!(store.admit(&[Need::default(), need]), Err(Refused::Closed));
    }

    #[test]
    fn a_destination_of_which_nothing_is_needed_is_not_asked() {
        assert_eq!(store().admit(&[Need::default(), Need::default()]), Ok(()));
    }
}
