mod batch;
mod http;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::task::JoinHandle;
use tokio::time::sleep;
use uuid::Uuid;

use super::*;
use crate::destination::{Reason, Retry, SendError};
use crate::fingerprint::Fingerprint;
use crate::metrics::{Metrics, STORE};
use crate::outbox::{Lane, Order, Waiting};

/// A worker under test, with all that it works with.
struct Bench {
    outbox: Arc<Outbox>,
    metrics: DestinationMetrics,
    all_metrics: Metrics,
    abandon: CancellationToken,
    current: watch::Sender<Current>,
    finished: mpsc::Receiver<Finished>,
    running: JoinHandle<()>,
}

const TERMS: Terms =
    Terms { concurrency: 1, batch: Batch::ONE, max_age: Duration::from_hours(24), has_fallback: false, interval: None };

/// The number of an alert, out of its id.
fn number(notification: &Notification) -> u64 {
    notification.id.as_u64_pair().1
}

fn notification(id: u64) -> Notification {
    Notification { id: Uuid::from_u64_pair(0, id), ..Notification::minimal() }
}

/// `key` 0: none. Its body has to be loaded.
fn waiting(id: u64, key: u8) -> Waiting {
    Waiting {
        id,
        key: (key > 0).then_some(Fingerprint([key; 32])),
        lane: Lane::Usual,
        accepted: Timestamp::now(),
        bytes: 100,
        kind: Kind::Alert,
        notification: None,
        repeats: None,
    }
}

fn failure(reason: Reason, retry: Retry) -> Result<(), SendError> {
    Err(SendError::new(reason, retry, "as the test wants"))
}

fn down() -> Result<(), SendError> {
    failure(Reason::Connect, Retry::Backoff)
}

fn refused() -> Result<(), SendError> {
    failure(Reason::ClientError, Retry::Never)
}

/// Starts a worker; `script` says what comes of each notification, without taking time.
fn bench(terms: Terms, script: impl Fn(u64) -> Result<(), SendError> + Send + Sync + 'static) -> Bench {
    bench_with(terms, Destination::scripted(move |notification| std::future::ready(script(number(&notification)))))
}

fn bench_with(terms: Terms, destination: Destination) -> Bench {
    bench_loading(terms, destination, Arc::new(|id| Ok(Some(notification(id)))))
}

fn bench_loading(terms: Terms, destination: Destination, load: Loader) -> Bench {
    let all_metrics = Metrics::new();
    let metrics = all_metrics.destination("d");
    let outbox = Arc::new(Outbox::new(Order::ByKey, metrics.clone()));
    let (current, current_seen) = watch::channel(Current { destination: Arc::new(destination), terms });
    let (sender, finished) = mpsc::channel(1_000);
    let abandon = CancellationToken::new();
    let worker = Worker {
        number: 3,
        current: current_seen,
        outbox: Arc::clone(&outbox),
        board: Arc::default(),
        metrics: metrics.clone(),
        load,
        finished: sender,
        audit: Audit::off(&all_metrics.audit_missed),
        abandon: abandon.clone(),
    };
    let running = tokio::spawn(worker.run());
    Bench { outbox, metrics, all_metrics, abandon, current, finished, running }
}

impl Bench {
    fn push(&self, entries: impl IntoIterator<Item = Waiting>) -> &Self {
        self.outbox.push(entries);
        self
    }

    /// The next that ended.
    async fn next(&mut self) -> Finished {
        self.finished.recv().await.unwrap()
    }

    /// So many that ended.
    async fn ended(&mut self, count: usize) -> Vec<(u64, Outcome)> {
        let mut ended = Vec::new();
        for _ in 0..count {
            let Finished { id, outcome, .. } = self.next().await;
            ended.push((id, outcome));
        }
        ended
    }

    /// Closes the outbox and gives all that ended until the worker did.
    async fn rest(mut self) -> Vec<(u64, Outcome)> {
        self.outbox.close();
        let mut ended = Vec::new();
        while let Some(Finished { id, outcome, .. }) = self.finished.recv().await {
            ended.push((id, outcome));
        }
        self.running.await.unwrap();
        assert_eq!(self.metrics.in_flight.get(), 0);
        ended
    }
}

fn delivered(ids: impl IntoIterator<Item = u64>) -> Vec<(u64, Outcome)> {
    ids.into_iter().map(|id| (id, Outcome::Delivered)).collect()
}

fn reason(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Dead { reason, .. } | Outcome::Fallback { reason, .. } => reason,
        Outcome::Delivered | Outcome::Abandoned => "",
    }
}

/// Fails each number so many times with `failure`, then takes it; and notes the order of what it took.
struct Moody {
    failures: Mutex<HashMap<u64, u32>>,
    taken: Mutex<Vec<u64>>,
}

impl Moody {
    fn new(failures: &[(u64, u32)]) -> Arc<Self> {
        Arc::new(Self { failures: Mutex::new(failures.iter().copied().collect()), taken: Mutex::default() })
    }

    fn take(&self, number: u64, failure: Result<(), SendError>) -> Result<(), SendError> {
        if let Some(left) = self.failures.lock().unwrap().get_mut(&number).filter(|left| **left > 0) {
            *left -= 1;
            return failure;
        }
        self.taken.lock().unwrap().push(number);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_is_told_once_and_counted() {
    let mut bench = bench(TERMS, |_| Ok(()));
    bench.push([waiting(1, 1), waiting(2, 1)]);
    let first = bench.next().await;
    assert_eq!((first.destination, first.id, first.kind, first.outcome), (3, 1, Kind::Alert, Outcome::Delivered));
    assert_eq!(first.attempts.unwrap().count, 1);
    assert_eq!(bench.next().await.id, 2);
    let metrics = bench.metrics.clone();
    assert_eq!((metrics.delivered.get(), metrics.attempts.get(), metrics.retries.get()), (2, 2, 0));
    assert_eq!((metrics.queued.get(), metrics.end_to_end_seconds.get_sample_count()), (0, 2));
    assert!(bench.rest().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_fails_keeps_its_order_and_holds_up_no_other() {
    let moody = Moody::new(&[(1, 3)]);
    let bench = bench(TERMS, {
        let moody = Arc::clone(&moody);
        move |number| moody.take(number, failure(Reason::ServerError, Retry::Backoff))
    });
    bench.push([waiting(1, 1), waiting(2, 1), waiting(3, 2), waiting(4, 0), waiting(5, 1)]);
    let ended = bench.rest().await;
    assert_eq!(ended, delivered([3, 4, 1, 2, 5]));
    assert_eq!(*moody.taken.lock().unwrap(), [3, 4, 1, 2, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_between_half_a_second_and_a_growing_bound() {
    let moody = Moody::new(&[(1, 3)]);
    let bench = bench(TERMS, move |number| moody.take(number, failure(Reason::ClientError, Retry::Backoff)));
    let start = Instant::now();
    bench.push([waiting(1, 1)]);
    let metrics = bench.metrics.clone();
    assert_eq!(bench.rest().await, delivered([1]));
    let waited = start.elapsed();
    assert!((1_500..=7_100).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!((metrics.attempts.get(), metrics.retries.get()), (4, 3));
}

/// Holds every delivery for a second; notes how many were under way at most.
fn slow(most: &Arc<AtomicUsize>) -> Destination {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::clone(most));
    Destination::scripted(move |_| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_secs(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn as_many_are_under_way_as_allowed_and_one_of_each_key() {
    for (concurrency, keyed, expected) in [(1, false, 1), (8, false, 8), (8, true, 3)] {
        let most = Arc::default();
        let bench = bench_with(Terms { concurrency, ..TERMS }, slow(&most));
        bench.push((0..24).map(|id| waiting(id, if keyed { u8::try_from(id % 3).unwrap() + 1 } else { 0 })));
        assert_eq!(bench.rest().await.len(), 24);
        assert_eq!(most.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_urgent_alert_waits_for_the_request_in_flight_only() {
    let mut bench = bench_with(TERMS, slow(&Arc::default()));
    bench.push((1..=100).map(|id| waiting(id, 0)));
    sleep(Duration::from_millis(500)).await;
    bench.push([Waiting { lane: Lane::Urgent, ..waiting(500, 0) }]);
    let ended = bench.ended(2).await;
    assert_eq!(ended, delivered([1, 500]));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_one_destination_asks_for_stops_this_one_only() {
    let asks = Moody::new(&[(1, 1)]);
    let again = failure(Reason::RateLimited, Retry::After(Duration::from_secs(100)));
    let mut paused = bench(TERMS, move |number| asks.take(number, again.clone()));
    let mut other = bench(TERMS, |_| Ok(()));
    let start = Instant::now();
    for bench in [&paused, &other] {
        bench.push([waiting(1, 1), waiting(2, 2), Waiting { lane: Lane::Urgent, ..waiting(3, 3) }]);
    }
    assert_eq!(other.ended(3).await.len(), 3);
    assert!(start.elapsed() < Duration::from_secs(1));
    // The urgent one went first, then the pause began.
    assert_eq!(paused.ended(1).await, delivered([3]));
    sleep(Duration::from_secs(99)).await;
    assert!(paused.finished.try_recv().is_err());
    let mut ended = paused.ended(2).await;
    ended.sort_by_key(|(id, _)| *id);
    assert_eq!(ended, delivered([1, 2]));
    assert!((100..102).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(paused.metrics.breaker.get(), 0, "it works, it only wants less");
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_an_hour_at_most() {
    let days = failure(Reason::ServerError, Retry::After(Duration::from_hours(48)));
    let moody = Moody::new(&[(1, 1)]);
    let bench = bench(TERMS, move |number| moody.take(number, days.clone()));
    bench.push([waiting(1, 1)]);
    let start = Instant::now();
    assert_eq!(bench.rest().await, delivered([1]));
    assert!((3_600..=3_601).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_wants_less_and_does_not_say_how_long_gets_growing_pauses() {
    let moody = Moody::new(&[(1, 4)]);
    let mut bench = bench(TERMS, move |number| moody.take(number, failure(Reason::RateLimited, Retry::Backoff)));
    bench.push([waiting(1, 1), waiting(2, 2)]);
    let start = Instant::now();
    assert_eq!(bench.ended(1).await, delivered([2]));
    assert_eq!(start.elapsed().as_secs(), 1, "all of it waits");
    assert_eq!(bench.ended(1).await, delivered([1]));
    assert!((15..=19).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_is_down_is_only_probed_and_gets_all_when_it_is_back() {
    let (is_up, attempts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut bench = bench(Terms { concurrency: 8, ..TERMS }, {
        let (is_up, attempts) = (Arc::clone(&is_up), Arc::clone(&attempts));
        move |_| {
            attempts.fetch_add(1, Ordering::SeqCst);
            if is_up.load(Ordering::SeqCst) == 1 { Ok(()) } else { down() }
        }
    });
    bench.push((0..1_000).map(|id| waiting(id, u8::try_from(id % 50).unwrap() + 1)));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.metrics.breaker.get(), 2);
    sleep(Duration::from_mins(10)).await;
    let tried = attempts.load(Ordering::SeqCst);
    assert!((13..40).contains(&tried), "{tried} attempts in ten minutes");
    assert!(bench.finished.try_recv().is_err());
    is_up.store(1, Ordering::SeqCst);
    let mut last = HashMap::new();
    for (id, outcome) in bench.ended(1_000).await {
        assert_eq!(outcome, Outcome::Delivered);
        assert!(last.insert(id % 50, id).is_none_or(|before| before < id), "{id} overtook");
    }
    assert_eq!((bench.metrics.breaker.get(), bench.metrics.queued.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_breaker_is_half_open_while_the_probe_is_under_way() {
    let moody = Moody::new(&[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]);
    let bench = bench_with(
        TERMS,
        Destination::scripted(move |notification| {
            let moody = Arc::clone(&moody);
            async move {
                moody.take(number(&notification), down())?;
                sleep(Duration::from_secs(20)).await;
                Ok(())
            }
        }),
    );
    bench.push((0..10).map(|id| waiting(id, 0)));
    sleep(Duration::from_secs(6)).await;
    assert_eq!((bench.metrics.breaker.get(), bench.metrics.in_flight.get()), (1, 1));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(bench.metrics.breaker.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_the_destination_always_chokes_on_keeps_no_other_from_it() {
    let mut bench =
        bench(TERMS, |number| if number == 1 { failure(Reason::ServerError, Retry::Backoff) } else { Ok(()) });
    bench.push([waiting(1, 1)]);
    sleep(Duration::from_mins(30)).await;
    assert_eq!(bench.metrics.breaker.get(), 2);
    bench.push([waiting(2, 2), waiting(3, 3)]);
    let start = Instant::now();
    assert_eq!(bench.ended(2).await, delivered([2, 3]));
    assert!(start.elapsed() <= Duration::from_secs(61), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_dead_with_reason_and_attempts() {
    let mut bench = bench(TERMS, |_| refused());
    bench.push([waiting(1, 1), Waiting { kind: Kind::Digest, ..waiting(2, 0) }]);
    let Finished { outcome, attempts, .. } = bench.next().await;
    assert_eq!(outcome, Outcome::Dead { reason: "client_error", detail: "as the test wants".to_owned() });
    assert_eq!(attempts.unwrap().count, 1);
    bench.next().await;
    assert_eq!(bench.metrics.dead("client_error"), 1, "a digest is counted apart");
    let text = bench.all_metrics.text();
    assert!(text.contains(r#"notifications_lost_total{destination="d",kind="digest"} 1"#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_delivered_within_its_maximum_age_is_dead_although_it_was_not_tried() {
    let max_age = Duration::from_hours(1);
    let mut bench = bench(Terms { max_age, ..TERMS }, |_| down());
    let hour_ago = Timestamp::now() - jiff::SignedDuration::from_mins(50);
    bench.push([Waiting { accepted: hour_ago, ..waiting(1, 1) }]).push((2..8).map(|id| waiting(id, 1)));
    let start = Instant::now();
    let first = bench.next().await;
    assert_eq!((first.id, reason(&first.outcome)), (1, MAX_AGE));
    let age = start.elapsed();
    assert!((600..=661).contains(&age.as_secs()), "{age:?}");
    let ended = bench.ended(6).await;
    assert!(ended.iter().all(|(_, outcome)| reason(outcome) == MAX_AGE), "{ended:?}");
    let age = start.elapsed();
    assert!((3_600..=3_661).contains(&age.as_secs()), "{age:?}");
    assert_eq!((bench.metrics.dead(MAX_AGE), bench.metrics.queued.get()), (7, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_when_it_comes_is_not_sent() {
    let max_age = Duration::from_hours(1);
    let mut bench = bench(Terms { max_age, ..TERMS }, |_| Ok(()));
    sleep(Duration::from_secs(10)).await;
    let two_hours_ago = Timestamp::now() - jiff::SignedDuration::from_hours(2);
    bench.push([Waiting { accepted: two_hours_ago, ..waiting(1, 1) }, waiting(2, 1)]);
    let ended = bench.ended(2).await;
    assert_eq!((reason(&ended[0].1), ended[1].clone()), (MAX_AGE, (2, Outcome::Delivered)));
    assert_eq!(bench.metrics.attempts.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn with_a_fallback_what_is_refused_or_too_old_goes_there() {
    let terms = Terms { has_fallback: true, max_age: Duration::from_mins(10), ..TERMS };
    let mut bench =
        bench(terms, |number| if number == 1 { refused() } else { failure(Reason::ClientError, Retry::Backoff) });
    bench.push([waiting(1, 1), waiting(2, 2)]);
    let ended = bench.ended(2).await;
    let reasons: Vec<_> = ended.iter().map(|(id, outcome)| (*id, reason(outcome))).collect();
    assert_eq!(reasons, [(1, "client_error"), (2, MAX_AGE)]);
    assert!(ended.iter().all(|(_, outcome)| matches!(outcome, Outcome::Fallback { .. })));
    assert_eq!((bench.metrics.moved.get(), bench.metrics.dead("client_error"), bench.metrics.queued.get()), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn with_a_fallback_nothing_waits_for_an_outage_of_more_than_five_minutes() {
    let is_up = Arc::new(AtomicUsize::new(0));
    let mut bench = bench(Terms { has_fallback: true, ..TERMS }, {
        let is_up = Arc::clone(&is_up);
        move |_| if is_up.load(Ordering::SeqCst) == 1 { Ok(()) } else { down() }
    });
    bench.push((0..900).map(|id| waiting(id, u8::try_from(id % 9).unwrap() + 1)));
    sleep(Duration::from_mins(5) - Duration::from_secs(1)).await;
    assert!(bench.finished.try_recv().is_err());
    let ended = bench.ended(899).await;
    assert!(ended.iter().all(|(_, outcome)| matches!(outcome, Outcome::Fallback { reason: BREAKER, .. })));
    let mut last = HashMap::new();
    assert!(ended.iter().all(|(id, _)| last.insert(id % 9, *id).is_none_or(|before| before < *id)), "out of order");
    // The last one may be a probe; new ones either are one or go to the fallback at once.
    bench.ended(1).await;
    bench.push([waiting(1_000, 1), waiting(1_001, 2)]);
    let start = Instant::now();
    assert_eq!(bench.ended(2).await.len(), 2);
    assert!(start.elapsed() <= Duration::from_secs(61), "{:?}", start.elapsed());
    is_up.store(1, Ordering::SeqCst);
    sleep(Duration::from_mins(2)).await;
    bench.push([waiting(1_002, 1)]);
    assert_eq!(bench.ended(1).await, delivered([1_002]));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_when_the_time_to_drain_is_over_is_abandoned_and_stays_counted() {
    let bench = bench_with(Terms { concurrency: 2, ..TERMS }, slow(&Arc::default()));
    bench.push((1..=5).map(|id| waiting(id, 0)));
    bench.outbox.close();
    sleep(Duration::from_millis(1_500)).await;
    bench.abandon.cancel();
    let metrics = bench.metrics.clone();
    let mut ended = Vec::new();
    let Bench { mut finished, running, .. } = bench;
    while let Some(Finished { id, outcome, .. }) = finished.recv().await {
        ended.push((id, outcome));
    }
    running.await.unwrap();
    assert_eq!(ended[..2], delivered([1, 2]));
    assert_eq!(ended[2..], [3, 4, 5].map(|id| (id, Outcome::Abandoned)));
    assert_eq!((metrics.queued.get(), metrics.delivered.get(), metrics.in_flight.get()), (3, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn deliveries_to_a_removed_destination_are_dead_with_that_reason() {
    let mut bench = bench_with(TERMS, slow(&Arc::default()));
    bench.push((1..=600).map(|id| waiting(id, 1)));
    sleep(Duration::from_millis(100)).await;
    bench.outbox.remove();
    let ended = bench.ended(600).await;
    let dead = ended.iter().filter(|(_, outcome)| reason(outcome) == REMOVED).count();
    assert_eq!((dead, ended.iter().filter(|(_, outcome)| *outcome == Outcome::Delivered).count()), (599, 1));
    bench.outbox.open(Order::ByKey);
    bench.push([waiting(601, 1)]);
    assert_eq!(bench.ended(1).await[0].1, Outcome::Delivered, "it came back");
    bench.outbox.close();
    bench.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_is_removed_while_it_is_down_is_not_shown_as_down() {
    let mut bench = bench(TERMS, |_| down());
    bench.push((0..20).map(|id| waiting(id, 0)));
    sleep(Duration::from_mins(3)).await;
    assert_eq!(bench.metrics.breaker.get(), 2);
    bench.outbox.remove();
    bench.ended(20).await;
    sleep(Duration::from_mins(1)).await;
    assert_eq!(bench.metrics.breaker.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_used_by_the_next_attempt_and_closes_the_breaker() {
    let mut bench = bench(TERMS, |_| down());
    bench.push((0..20).map(|id| waiting(id, 0)));
    sleep(Duration::from_mins(3)).await;
    assert_eq!(bench.metrics.breaker.get(), 2);
    let destination = Arc::new(Destination::scripted(|_| std::future::ready(Ok(()))));
    let start = Instant::now();
    bench.current.send(Current { destination, terms: Terms { concurrency: 4, ..TERMS } }).unwrap();
    assert!(bench.ended(10).await.iter().all(|(_, outcome)| *outcome == Outcome::Delivered));
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn repeats_that_came_while_it_waited_are_rendered_at_the_attempt_and_told() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let destination = Destination::scripted({
        let seen = Arc::clone(&seen);
        move |notification: Notification| {
            seen.lock().unwrap().push(notification.repeats);
            std::future::ready(if seen.lock().unwrap().len() == 1 {
                failure(Reason::Io, Retry::Backoff)
            } else {
                Ok(())
            })
        }
    });
    let mut bench = bench_with(TERMS, destination);
    let repeats = Arc::new(AtomicU64::new(2));
    bench.push([Waiting { repeats: Some(Arc::clone(&repeats)), ..waiting(1, 1) }]);
    sleep(Duration::from_millis(100)).await;
    repeats.store(40, Ordering::Relaxed);
    assert_eq!(bench.next().await.repeats_told, 40);
    assert_eq!(*seen.lock().unwrap(), [2, 40]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_the_store_cannot_read_is_tried_again_and_one_that_it_lost_is_dead() {
    let reads = AtomicUsize::new(0);
    let load: Loader = Arc::new(move |id| match (id, reads.fetch_add(1, Ordering::SeqCst)) {
        (1, _) => Ok(None),
        (2, ..3) => Err("the disk is away".into()),
        _ => Ok(Some(notification(id))),
    });
    let mut bench = bench_loading(TERMS, Destination::scripted(|_| std::future::ready(Ok(()))), load);
    bench.push([waiting(1, 1), waiting(2, 1)]);
    let lost = bench.next().await;
    assert_eq!((lost.id, reason(&lost.outcome)), (1, STORE));
    assert_eq!(bench.ended(1).await, delivered([2]));
    assert_eq!((bench.metrics.dead(STORE), bench.metrics.breaker.get()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_panics_is_dead_and_the_next_one_goes_out() {
    let mut bench = bench(TERMS, |number| {
        assert_ne!(number, 1, "as the test wants");
        Ok(())
    });
    bench.push([waiting(1, 1), waiting(2, 1)]);
    let ended = bench.ended(2).await;
    assert_eq!((reason(&ended[0].1), &ended[1]), ("other", &(2, Outcome::Delivered)));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_never_answers_is_given_up_after_two_minutes() {
    let bench = bench_with(TERMS, Destination::scripted(|_| std::future::pending()));
    bench.push([waiting(1, 1)]);
    sleep(Duration::from_secs(121)).await;
    let text = bench.all_metrics.text();
    assert!(text.contains(r#"send_failures_total{destination="d",reason="timeout"} 1"#), "{text}");
}

#[test]
fn a_time_in_the_future_counts_as_now() {
    assert!(seconds_since(Timestamp::MAX).abs() < f64::EPSILON);
}
