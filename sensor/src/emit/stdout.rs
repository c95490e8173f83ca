//! One JSON object per line on standard output.
//!
//! A reader that stops blocks one batch; the alerts behind it wait in the queue, whose bound is all the memory they take.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::Alerts;
use crate::metrics::{Ledger, Reason};

/// Alerts written at once, and their bytes.
const BATCH_ALERTS_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Alerts count as acknowledged when they have been written and flushed.
pub(super) async fn run(mut output: impl AsyncWrite + Unpin, mut alerts: Alerts, ledger: &Ledger) -> io::Result<()> {
    loop {
        let lines = alerts.next(BATCH_ALERTS_MAX, BATCH_BYTES_MAX).await;
        if lines.is_empty() {
            return Ok(());
        }
        let written: Vec<u8> = lines.concat();
        output.write_all(&written).await?;
        output.flush().await?;
        let bytes = lines.iter().map(Bytes::len).sum();
        ledger.settle(bytes, lines.len() as u64, (Reason::Refused, 0));
    }
}

#[cfg(test)]
mod tests {
    use tercel_alert::Alert;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::emit::{Bound, queue};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_reader_that_stops_fills_the_queue_to_its_bound_and_gets_all_that_was_kept() {
        let metrics = Metrics::new().unwrap();
        let bound = Bound::try_from(300_000).unwrap();
        let (mut queue, alerts) = queue(bound, &metrics);
        let (writer, mut reader) = tokio::io::duplex(1_000);
        let ledger = metrics.alerts.clone();
        let output = tokio::spawn(async move { run(writer, alerts, &ledger).await });
        let text = r#"{"time":"2026-01-01T00:00:00Z","rule":"r","priority":"info"}"#;
        let alert: Alert = serde_json::from_str(text).unwrap();
        for number in 0..10_000 {
            queue.push(&alert);
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let balance = metrics.alerts.balance();
        assert!(balance.acknowledged * text.len() as u64 <= 1_000, "acknowledged before it was written: {balance:?}");
        assert!(balance.queue_bytes <= bound.bytes() && balance.dropped > 0, "{balance:?}");
        drop(queue);
        let mut read = String::new();
        reader.read_to_string(&mut read).await.unwrap();
        output.await.unwrap().unwrap();
        assert_eq!(read.lines().count() as u64, balance.acknowledged + balance.queued);
        assert_eq!(metrics.alerts.balance().acknowledged, 10_000 - balance.dropped);
    }
}
