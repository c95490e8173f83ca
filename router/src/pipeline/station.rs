//! What is known here about one destination, whatever the configuration says about it at the moment.

use std::sync::Arc;

use crate::metrics::DestinationMetrics;
use crate::outbox::Outbox;
use crate::post::Board;

/// A destination's place in the pipeline. It keeps its position for the life of the process, so that what is under way
/// finds its own: a reload adds stations, and opens or removes their outboxes.
pub(crate) struct Station {
    pub(crate) name: Arc<str>,
    pub(crate) metrics: DestinationMetrics,
    pub(crate) outbox: Arc<Outbox>,
    /// Messages that others may follow.
    pub(crate) board: Arc<Board>,
}

impl Station {
    pub(super) fn new(name: &str, metrics: DestinationMetrics, outbox: Outbox) -> Self {
        Self { name: name.into(), metrics, outbox: Arc::new(outbox), board: Arc::default() }
    }
}
