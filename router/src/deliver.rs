//! One worker for every destination: takes the oldest notification, sends it, and tries again until it arrived, was
//! refused for good, or has become too old.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::destination::{Destination, NotificationKind, Reason, Retry, SendError};
use crate::metrics::{DestinationMetrics, Dropped, MAX_AGE};
use crate::queue::{Entry, Queue};

/// The wait before the first retry; it doubles with each further one.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(500);

/// The longest wait, unless the destination asks for more.
const RETRY_WAIT_MAX: Duration = Duration::from_mins(1);

/// The longest pause that a destination gets by asking for it: one wrong header must not silence it for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// A delivery that is older, counted from the acknowledgement, has failed.
const AGE_MAX: Duration = Duration::from_hours(24);

/// One attempt. Destinations have shorter limits of their own; this one bounds what they forgot.
const ATTEMPT_MAX: Duration = Duration::from_mins(2);

/// What one worker works with.
pub(crate) struct Worker {
    pub(crate) destination: Arc<Destination>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) metrics: DestinationMetrics,
    /// The time to drain is over: whatever is left is given up.
    pub(crate) abandon: CancellationToken,
}

/// How a notification ended.
#[derive(Debug)]
enum Outcome {
    Delivered,
    /// The label of the counter: why the last attempt failed, or [`MAX_AGE`].
    Dead(&'static str),
    Abandoned,
}

impl Worker {
    /// Ends when the queue is closed and empty.
    pub(crate) async fn run(self) {
        while let Some(entry) = self.queue.next().await {
            let outcome = tokio::select! {
                biased;
                () = self.abandon.cancelled() => Outcome::Abandoned,
                outcome = self.deliver(&entry) => outcome,
            };
            self.record(&entry, &outcome);
            self.queue.release(&entry);
        }
    }

    async fn deliver(&self, entry: &Entry) -> Outcome {
        let mut retry = 0;
        loop {
            let Err(failure) = self.attempt(entry).await else { return Outcome::Delivered };
            self.metrics.count_failure(failure.reason.name());
            let Some(wait) = retry_wait(retry, failure.retry, fastrand::f64()) else {
                self.log_dead(entry, failure.reason.name(), &failure);
                return Outcome::Dead(failure.reason.name());
            };
            let left = AGE_MAX.saturating_sub(entry.accepted.elapsed());
            if left.is_zero() {
                self.log_dead(entry, MAX_AGE, &failure);
                return Outcome::Dead(MAX_AGE);
            }
            let wait = wait.min(left);
            self.log_retry(retry, wait, &failure);
            sleep(wait).await;
            self.metrics.retries.inc();
            retry += 1;
        }
    }

    async fn attempt(&self, entry: &Entry) -> Result<(), SendError> {
        let start = Instant::now();
        let result = timeout(ATTEMPT_MAX, self.destination.send(&entry.notification)).await;
        self.metrics.delivery_seconds.observe(start.elapsed().as_secs_f64());
        self.metrics.fallbacks.set(i64::try_from(self.destination.render_fallbacks()).unwrap_or(i64::MAX));
        result.unwrap_or_else(|_elapsed| {
            Err(SendError::new(Reason::Timeout, Retry::Backoff, "the destination did not answer in time"))
        })
    }

    fn record(&self, entry: &Entry, outcome: &Outcome) {
        let kind = &entry.notification.kind;
        match (outcome, kind) {
            (Outcome::Delivered, NotificationKind::Alert) => {
                self.metrics.delivered.inc();
                self.metrics.end_to_end_seconds.observe(seconds_since(entry.notification.alert.time));
            }
            (Outcome::Delivered, _) => {}
            (Outcome::Dead(reason), NotificationKind::Alert) => self.metrics.count_dead(reason),
            (Outcome::Abandoned, NotificationKind::Alert) => self.metrics.count_dropped(Dropped::Shutdown),
            (Outcome::Dead(_) | Outcome::Abandoned, _) => self.metrics.count_lost(kind.name()),
        }
        if matches!(outcome, Outcome::Delivered) {
            self.metrics.count_notification(kind.name());
        }
    }

    /// Rule and id only: the alert's text is for the destination, not for the log.
    fn log_dead(&self, entry: &Entry, reason: &str, failure: &SendError) {
        let alert = &entry.notification.alert;
        error!(destination = self.destination.name(), reason, rule = ?alert.rule, id = %entry.notification.id, %failure, "delivery failed for good");
    }

    /// The first failure of a notification is worth a warning; its retries would only repeat it.
    fn log_retry(&self, retry: u32, wait: Duration, failure: &SendError) {
        let (destination, wait) = (self.destination.name(), wait.as_secs_f64());
        if retry == 0 {
            warn!(destination, wait, %failure, "delivery failed, will retry");
        } else {
            debug!(destination, retry, wait, %failure, "delivery failed again, will retry");
        }
    }
}

/// The wait before retry number `retry` (from 0): doubling from [`RETRY_WAIT_MIN`] to [`RETRY_WAIT_MAX`], of which the
/// upper half is random (`jitter` from 0 to 1). What the destination asks for is honoured beyond that bound.
/// `None`: there is no point in another attempt.
fn retry_wait(retry: u32, decision: Retry, jitter: f64) -> Option<Duration> {
    let doubling = RETRY_WAIT_MIN.saturating_mul(2_u32.saturating_pow(retry)).min(RETRY_WAIT_MAX);
    let usual = doubling.mul_f64(0.5 + jitter / 2.0).max(RETRY_WAIT_MIN);
    match decision {
        Retry::Never => None,
        Retry::Backoff => Some(usual),
        Retry::After(asked) => Some(asked.min(RETRY_AFTER_MAX).max(usual)),
    }
}

/// Never negative: clocks of senders may be ahead.
fn seconds_since(time: Timestamp) -> f64 {
    Timestamp::now().duration_since(time).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use uuid::Uuid;

    use super::*;
    use crate::destination::Notification;
    use crate::metrics::Metrics;

    #[track_caller]
    fn check(retry: u32, decision: Retry, jitter: f64, expected_ms: Option<u64>) {
        assert_eq!(retry_wait(retry, decision, jitter), expected_ms.map(Duration::from_millis));
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        check(0, Retry::Backoff, 1.0, Some(500));
        check(1, Retry::Backoff, 1.0, Some(1_000));
        check(6, Retry::Backoff, 1.0, Some(32_000));
        check(7, Retry::Backoff, 1.0, Some(60_000));
        check(u32::MAX, Retry::Backoff, 1.0, Some(60_000));
    }

    #[test]
    fn chance_takes_up_to_half_of_a_wait_but_never_below_the_least() {
        check(7, Retry::Backoff, 0.0, Some(30_000));
        check(0, Retry::Backoff, 0.0, Some(500));
    }

    #[test]
    fn what_the_destination_asks_for_is_honoured_beyond_the_bound() {
        check(0, Retry::After(Duration::from_mins(10)), 1.0, Some(600_000));
        check(3, Retry::After(Duration::ZERO), 1.0, Some(4_000));
        check(0, Retry::After(Duration::MAX), 1.0, Some(3_600_000));
    }

    #[test]
    fn a_final_refusal_is_not_retried() {
        check(0, Retry::Never, 0.5, None);
    }

    /// A queue with so many alerts, and a worker whose destination nobody listens at.
    fn unreachable(alerts: usize) -> (Arc<Queue>, DestinationMetrics, Worker) {
        at("http://127.0.0.1:1/", alerts)
    }

    fn at(url: &str, alerts: usize) -> (Arc<Queue>, DestinationMetrics, Worker) {
        let config = toml::from_str(&format!("type = \"webhook\"\nurl = \"{url}\"")).unwrap();
        drop(rustls::crypto::ring::default_provider().install_default());
        let destination = Arc::new(Destination::build("d", &config, Path::new(""), Path::new("")).unwrap());
        let metrics = Metrics::new().destination("d");
        let queue = Arc::new(Queue::new(metrics.clone()));
        for _ in 0..alerts {
            let value = serde_json::json!({"time": "2026-01-01T00:00:00Z", "rule": "R", "priority": "error"});
            let alert = Arc::new(serde_json::from_value(value).unwrap());
            let kind = NotificationKind::Alert;
            let notification = Notification { id: Uuid::now_v7(), alert, route: "r".into(), dedup_key: None, kind };
            queue.commit(Entry { notification, weight: 1, accepted: Instant::now() });
        }
        queue.close();
        let worker = Worker {
            destination,
            queue: Arc::clone(&queue),
            metrics: metrics.clone(),
            abandon: CancellationToken::new(),
        };
        (queue, metrics, worker)
    }

    #[tokio::test]
    async fn what_is_left_when_draining_ends_is_dropped_and_counted() {
        let (_queue, metrics, worker) = unreachable(3);
        let abandon = worker.abandon.clone();
        let running = tokio::spawn(worker.run());
        sleep(Duration::from_millis(100)).await;
        abandon.cancel();
        running.await.unwrap();
        assert_eq!((metrics.dropped(Dropped::Shutdown), metrics.queued.get()), (3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_destination_is_tried_for_a_day_and_the_alert_is_then_dead() {
        let (_queue, metrics, worker) = unreachable(1);
        let start = Instant::now();
        worker.run().await;
        assert_eq!((metrics.dead(MAX_AGE), metrics.queued.get()), (1, 0));
        let age = start.elapsed();
        assert!(age >= AGE_MAX && age < AGE_MAX + RETRY_WAIT_MAX, "{age:?}");
        assert!(metrics.retries.get() > 1_000, "{}", metrics.retries.get());
    }

    /// Answers every request with 503 and asks for two days of peace.
    async fn asks_for_days() -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _peer) = listener.accept().await.unwrap();
                let mut request = [0; 4_096];
                drop(stream.read(&mut request).await);
                let answer = b"HTTP/1.1 503 x\r\nretry-after: 172800\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                drop(stream.write_all(answer).await);
            }
        });
        url
    }

    #[tokio::test]
    async fn a_long_retry_after_makes_a_fresh_alert_wait_and_not_die() {
        let (_queue, metrics, worker) = at(&asks_for_days().await, 1);
        let abandon = worker.abandon.clone();
        let running = tokio::spawn(worker.run());
        sleep(Duration::from_millis(300)).await;
        assert_eq!((metrics.dead(MAX_AGE), metrics.queued.get()), (0, 1));
        abandon.cancel();
        running.await.unwrap();
        assert_eq!(metrics.dropped(Dropped::Shutdown), 1);
    }

    #[test]
    fn a_time_in_the_future_counts_as_now() {
        assert!(seconds_since(Timestamp::MAX).abs() < f64::EPSILON);
    }
}
