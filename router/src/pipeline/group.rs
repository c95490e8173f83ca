//! What one commit holds: decisions that take effect together or not at all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tercel_alert::Alert;
use tokio::sync::oneshot;

use super::Refused;
use super::ask::Promise;
use super::tail::Decided;
use crate::audit::Line;
use crate::deliver::Finished;
use crate::metrics::Suppressed;
use crate::outbox::{Kind, Waiting};
use crate::record::{Before, Records};
use crate::store::{Batch, Durability, Table};

/// Where the sender of a request waits.
pub(super) type Answer = oneshot::Sender<Result<(), Refused>>;

/// Requests and outcomes that are decided one after the other and stored by one write.
#[derive(Default)]
pub(super) struct Group {
    pub(super) batch: Batch,
    /// Somebody is told that this is safe once it is written.
    pub(super) is_promised: bool,
    /// Deliveries for the outboxes, by station.
    pub(super) waiting: HashMap<usize, Vec<Waiting>>,
    /// What is counted once it is true.
    pub(super) counts: Vec<Count>,
    pub(super) answers: Vec<(Answer, Result<(), Refused>)>,
    /// For the audit trail.
    pub(super) audit: Vec<Line>,
    /// For those who read along.
    pub(super) decided: Vec<Decided>,
    /// Dead letters that this group takes away, by number: nobody else may.
    pub(super) letters: HashSet<u64>,
    /// What operators are told.
    pub(super) promises: Vec<Promise>,
    /// Outcomes in this group; they are owed again where the commit fails, for what happened has happened.
    pub(super) finished: Vec<Finished>,
}

/// One thing to count.
pub(super) enum Count {
    /// An alert that is acknowledged.
    Accepted(Arc<Alert>),
    /// No route wanted it.
    Unrouted,
    /// It is to go to this station.
    Received(usize),
    /// A dead letter goes there again.
    Replayed(usize),
    Suppressed(usize, Suppressed),
    /// The store did not give its body.
    Dropped(usize),
    /// It says too little to be told from others.
    NoKey(usize),
    /// It was owed to a destination of this name when the router ended, and the configuration has none such.
    Stranger {
        destination: Arc<str>,
        kind: Kind,
        /// As a dead letter.
        is_kept: bool,
    },
    /// It shared the bucket of the keys beyond a limit's bound.
    LimitOverflow(usize),
}

/// The rows of one table in a batch, as the stages write them.
pub(super) struct Rows<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) table: Table,
}

impl Group {
    pub(super) fn durability(&self) -> Durability {
        if self.is_promised { Durability::Synced } else { Durability::Written }
    }

    pub(super) fn rows(&mut self, table: Table) -> Rows<'_> {
        Rows { batch: &mut self.batch, table }
    }
}

impl Records for Rows<'_> {
    fn change(&mut self, key: &[u8], before: Before, value: Option<Vec<u8>>) {
        self.batch.change(self.table, key, before, value);
    }
}
