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

/// A request that was refused because a queue is full; nothing of it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// Index of the destination.
    pub(crate) destination: usize,
}

impl Store {
    pub(crate) fn new(queues: Vec<Queue>) -> Self {
        Self { queues: queues.into_iter().map(Arc::new).collect() }
    }

    /// Whether every queue has room for what a request needs of it, one need for every destination.
    ///
    /// # Errors
    /// The first that has not.
    pub(crate) fn admit(&self, needs: &[Need]) -> Result<(), Full> {
        match self.queues.iter().zip(needs).position(|(queue, need)| !queue.has_room_for(*need)) {
            Some(destination) => Err(Full { destination }),
            None => Ok(()),
        }
    }

    /// Takes an alert for which [`Store::admit`] found room.
    pub(crate) fn commit(&self, destination: usize, entry: Entry) {
        self.queues[destination].commit(entry);
    }

    /// Takes a summary or digest. False: too many wait already.
    pub(crate) fn add_notice(&self, destination: usize, entry: Entry) -> bool {
        self.queues[destination].add_notice(entry)
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
        assert_eq!(store().admit(&[small, large]), Err(Full { destination: 1 }));
        assert_eq!(store().admit(&[small, small]), Ok(()));
    }

    #[test]
    fn a_destination_of_which_nothing_is_needed_is_not_asked() {
        assert_eq!(store().admit(&[Need::default(), Need::default()]), Ok(()));
    }
}
