//! One JSON object per line on standard output.

use std::io;

use tercel_alert::Alert;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::Receiver;

use super::write_line;
use crate::metrics::Metrics;

/// Alerts written at once.
const BATCH_ALERTS_MAX: usize = 64;

pub(super) async fn run(mut alerts: Receiver<Alert>, metrics: &Metrics) -> io::Result<()> {
    let mut stdout = tokio::io::stdout();
    let mut batch = Vec::with_capacity(BATCH_ALERTS_MAX);
    let mut lines = Vec::new();
    while alerts.recv_many(&mut batch, BATCH_ALERTS_MAX).await > 0 {
        lines.clear();
        for alert in &batch {
            write_line(&mut lines, alert);
        }
        stdout.write_all(&lines).await?;
        stdout.flush().await?;
        metrics.sent.inc_by(batch.len() as u64);
        metrics.queued.set(alerts.len().try_into().unwrap_or(i64::MAX));
        batch.clear();
    }
    Ok(())
}
