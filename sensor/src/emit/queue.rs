//! The queue between watching and emitting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tercel_alert::Alert;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::warn;

use crate::metrics::Metrics;

/// Alerts that wait for the output: at some 2 KiB, as is usual, 4 MiB; at 30 KiB, with every text as long as an attacker can
/// make it, 60 MiB.
const QUEUE_ALERTS_MAX: usize = 2_048;

/// A full queue is said at most this often.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// The end that alerts are put in. Dropping it lets the output come to its end.
#[derive(Debug)]
pub struct AlertQueue {
    sender: Sender<Alert>,
    metrics: Arc<Metrics>,
    last_warning: Option<Instant>,
    /// Since the last warning.
    dropped: u64,
}

pub fn queue(metrics: Arc<Metrics>) -> (AlertQueue, Receiver<Alert>) {
    let (sender, receiver) = mpsc::channel(QUEUE_ALERTS_MAX);
    (AlertQueue { sender, metrics, last_warning: None, dropped: 0 }, receiver)
}

impl AlertQueue {
    /// Does not wait: where the queue is full the alert is dropped, and counted.
    pub fn push(&mut self, alert: Alert) {
        if self.sender.try_send(alert).is_err() {
            self.metrics.dropped_queue_full.inc();
            self.dropped += 1;
            self.warn();
        }
        self.metrics.queued.set((self.sender.max_capacity() - self.sender.capacity()).try_into().unwrap_or(i64::MAX));
    }

    fn warn(&mut self) {
        if self.last_warning.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            warn!(dropped = self.dropped, bound = QUEUE_ALERTS_MAX, "the output is too slow, alerts are dropped");
            self.last_warning = Some(Instant::now());
            self.dropped = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (mut queue, receiver) = queue(Arc::clone(&metrics));
        let alert: Alert =
            serde_json::from_str(r#"{"time":"2026-01-01T00:00:00Z","rule":"r","priority":"info"}"#).unwrap();
        for _ in 0..QUEUE_ALERTS_MAX + 5 {
            queue.push(alert.clone());
        }
        assert_eq!((receiver.len(), metrics.dropped_queue_full.get()), (QUEUE_ALERTS_MAX, 5));
        assert_eq!(usize::try_from(metrics.queued.get()), Ok(QUEUE_ALERTS_MAX));
    }
}
