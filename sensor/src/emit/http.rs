//! Alerts by POST: to a router's Unix socket, to an address that takes batches, or one by one.
//!
//! An alert leaves the queue when a 2xx says so, or when it is refused for good. A batch that is refused as a whole is halved
//! until what nobody takes stands alone: one alert that the other side cannot bear does not cost the others.

mod client;
mod wait;

use bytes::Bytes;
use reqwest::StatusCode;
use tracing::{info, warn};

use super::Alerts;
use super::rarely::Rarely;
use crate::metrics::{Ledger, Metrics, Reason};
use client::Outcome;
use wait::retry_delay;

pub(super) use client::Client;
pub use client::{BadToken, Token};

/// Alerts of one request; usually 400 KiB.
const BATCH_ALERTS_MAX: usize = 256;

/// Bytes of one request, unless a single alert is longer. The router takes 1 MiB.
const BATCH_BYTES_MAX: usize = 512 << 10;

/// Sends until the queue is closed and empty.
pub(super) async fn run(client: &Client, mut alerts: Alerts, metrics: &Metrics) {
    client.peer.ask().await;
    let count_max = if client.takes_batches { BATCH_ALERTS_MAX } else { 1 };
    let mut sender = Sender { client, metrics, ledger: &metrics.alerts, refused: Rarely::default() };
    loop {
        let lines = alerts.next(count_max, BATCH_BYTES_MAX).await;
        if lines.is_empty() {
            return;
        }
        sender.deliver(&lines).await;
    }
}

struct Sender<'a> {
    client: &'a Client,
    metrics: &'a Metrics,
    ledger: &'a Ledger,
    refused: Rarely,
}

/// What became of lines that were sent together.
enum Verdict {
    Settled {
        acknowledged: u64,
        reason: Reason,
        dropped: u64,
    },
    /// The whole was refused; a part of it may be taken.
    Halve,
}

impl Sender<'_> {
    /// Until every line is taken or given up, in their order.
    async fn deliver(&mut self, lines: &[Bytes]) {
        let mut parts = vec![lines];
        while let Some(part) = parts.pop() {
            let outcome = self.attempt(part).await;
            match verdict(&outcome, part.len()) {
                Verdict::Halve => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Verdict::Settled { acknowledged, reason, dropped } => {
                    let bytes = part.iter().map(Bytes::len).sum();
                    self.ledger.settle(bytes, acknowledged, (reason, dropped));
                    self.tell_dropped(&outcome, reason, dropped);
                }
            }
        }
    }

    /// Tries until there is an answer that says what becomes of these lines.
    async fn attempt(&self, lines: &[Bytes]) -> Outcome {
        let body = Bytes::from(lines.concat());
        let mut retry = 0_u32;
        loop {
            let (reason, wait) = match self.client.post(body.clone()).await {
                Outcome::Retry { reason, wait } => (reason, wait),
                outcome => {
                    if retry > 0 {
                        info!(retry, "the output answers again");
                    }
                    return outcome;
                }
            };
            self.metrics.retries.inc();
            let delay = retry_delay(retry, wait, fastrand::f64());
            // Said once, then when their number has doubled: an outage of a day is not a day of log lines.
            if retry == 0 || retry.is_power_of_two() {
                let queued = self.ledger.balance().queued;
                warn!(%reason, retry, ?delay, queued, "the output does not take alerts, will try again");
            }
            tokio::time::sleep(delay).await;
            retry = retry.saturating_add(1);
        }
    }

    fn tell_dropped(&mut self, outcome: &Outcome, reason: Reason, dropped: u64) {
        if dropped > 0 && self.refused.is_due() {
            let answer = match outcome {
                Outcome::Refused { status, .. } => status.as_u16(),
                Outcome::Taken { .. } | Outcome::Retry { .. } => StatusCode::OK.as_u16(),
            };
            let in_all = self.ledger.dropped(reason);
            warn!(answer, alerts = dropped, in_all, reason = reason.name(), "the output did not take some alerts");
        }
    }
}

/// `count`: how many were sent together.
fn verdict(outcome: &Outcome, count: usize) -> Verdict {
    let sent = count as u64;
    match *outcome {
        Outcome::Taken { rejected } => {
            let dropped = rejected.min(sent);
            Verdict::Settled { acknowledged: sent - dropped, reason: Reason::Rejected, dropped }
        }
        // Each was looked at, and none was readable: parts of them would be no better.
        Outcome::Refused { rejected, .. } if rejected >= sent => {
            Verdict::Settled { acknowledged: 0, reason: Reason::Rejected, dropped: sent }
        }
        Outcome::Refused { status, .. } if count > 1 && may_take_a_part(status) => Verdict::Halve,
        Outcome::Refused { .. } | Outcome::Retry { .. } => {
            Verdict::Settled { acknowledged: 0, reason: Reason::Refused, dropped: sent }
        }
    }
}

/// Whether the refusal is about what was sent, and not about who sent it or where to.
fn may_take_a_part(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY)
}

#[cfg(test)]
mod tests;
