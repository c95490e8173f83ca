//! What is known here about one destination.

use std::sync::Arc;

use crate::destination::Receive;
use crate::metrics::DestinationMetrics;
use crate::outbox::Outbox;

/// A destination's place in the pipeline. It keeps its position for the life of the process: a reload adds stations and
/// closes them, so that what is under way finds its own.
pub(crate) struct Station {
    pub(crate) name: Arc<str>,
    pub(crate) metrics: DestinationMetrics,
    pub(crate) outbox: Arc<Outbox>,
    pub(super) receive: Receive,
    /// Position of the station that takes what this one cannot deliver.
    fallback: Option<usize>,
}

impl Station {
    pub(super) fn new(
        name: &str,
        metrics: DestinationMetrics,
        outbox: Outbox,
        receive: Receive,
        fallback: Option<usize>,
    ) -> Self {
        Self { name: name.into(), metrics, outbox: Arc::new(outbox), receive, fallback }
    }

    /// Whether suppression applies; history stays whole.
    pub(super) fn is_thinned(&self) -> bool {
        self.receive == Receive::Notifications
    }

    pub(super) fn fallback(&self) -> Option<usize> {
        self.fallback
    }
}
