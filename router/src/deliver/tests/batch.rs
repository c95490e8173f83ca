//! Many alerts in one request.

use super::*;

const BATCH: Batch = Batch { count: 10, bytes: 100_000, wait: Duration::from_secs(5) };
const BULK: Terms = Terms { batch: BATCH, ..TERMS };

/// A bulk destination that notes the alerts of each request; `script` says how one fares.
fn bulk(
    terms: Terms,
    script: impl Fn(u64) -> Result<(), SendError> + Send + Sync + 'static,
) -> (Bench, Arc<Mutex<Vec<Vec<u64>>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&requests);
    let destination = Destination::scripted_bulk(move |notifications| {
        let numbers: Vec<u64> = notifications.iter().map(number).collect();
        let results = numbers.iter().map(|number| script(*number)).collect();
        noted.lock().unwrap().push(numbers);
        std::future::ready(results)
    });
    (bench_with(terms, destination), requests)
}

fn entries(ids: impl IntoIterator<Item = u64>) -> Vec<Waiting> {
    ids.into_iter().map(|id| waiting(id, 0)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_out_when_it_is_full_or_its_first_alert_has_waited() {
    let (mut bench, requests) = bulk(BULK, |_| Ok(()));
    let start = Instant::now();
    bench.push(entries(1..=25));
    assert_eq!(bench.ended(20).await, delivered(1..=20));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(bench.ended(5).await, delivered(21..=25));
    assert!((5..6).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(*requests.lock().unwrap(), [(1..=10).collect::<Vec<_>>(), (11..=20).collect(), (21..=25).collect()]);
    assert_eq!((bench.metrics.attempts.get(), bench.metrics.delivery_seconds.get_sample_count()), (25, 3));
}

#[tokio::test(start_paused = true)]
async fn a_router_that_stops_waits_for_no_company() {
    let (bench, _requests) =
        bulk(Terms { batch: Batch { wait: Duration::from_mins(1), ..BATCH }, ..TERMS }, |_| Ok(()));
    bench.push(entries(1..=3));
    let start = Instant::now();
    assert_eq!(bench.rest().await, delivered(1..=3));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn each_alert_of_a_request_ends_by_its_own_result_and_once() {
    let moody = Moody::new(&[(2, 1), (5, 3)]);
    let (mut bench, requests) = bulk(BULK, {
        let moody = Arc::clone(&moody);
        move |number| match number {
            4 => refused(),
            number => moody.take(number, failure(Reason::RateLimited, Retry::Backoff)),
        }
    });
    bench.push(entries(1..=10));
    let mut ended = bench.ended(10).await;
    ended.sort_by_key(|(id, _)| *id);
    let (dead, fine): (Vec<_>, Vec<_>) = ended.into_iter().partition(|(id, _)| *id == 4);
    assert_eq!(reason(&dead[0].1), "client_error");
    assert_eq!(fine, delivered((1..=10).filter(|id| *id != 4)));
    let sent: Vec<u64> = requests.lock().unwrap().concat();
    let times = |number: u64| sent.iter().filter(|sent| **sent == number).count();
    assert_eq!((times(1), times(2), times(4), times(5)), (1, 2, 1, 4), "{sent:?}");
    assert_eq!((bench.metrics.delivered.get(), bench.metrics.queued.get()), (9, 0));
    assert!(bench.rest().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_alert_that_is_taken_shows_that_the_destination_works() {
    let (mut bench, _requests) = bulk(BULK, |number| if number == 1 { Ok(()) } else { down() });
    bench.push(entries(1..=10));
    assert_eq!(bench.ended(1).await, delivered([1]));
    tokio::task::yield_now().await;
    assert_eq!(bench.metrics.breaker.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_on_one_alert_costs_no_other_of_its_request() {
    let (mut bench, _requests) = bulk(BULK, |number| if number == 3 { panic!("as the test wants") } else { Ok(()) });
    bench.push(entries(1..=10));
    let ended = bench.ended(10).await;
    let (dead, fine): (Vec<_>, Vec<_>) = ended.into_iter().partition(|(id, _)| *id == 3);
    assert_eq!((fine.len(), reason(&dead[0].1)), (9, "other"));
    assert!(fine.iter().all(|(_, outcome)| *outcome == Outcome::Delivered));
}

#[tokio::test(start_paused = true)]
async fn what_the_store_has_no_body_for_ends_alone() {
    let load: Loader = Arc::new(|id| Ok((id != 2).then(|| notification(id))));
    let destination =
        Destination::scripted_bulk(|notifications| std::future::ready(notifications.iter().map(|_| Ok(())).collect()));
    let mut bench = bench_loading(BULK, destination, load);
    bench.push(entries(1..=10));
    let ended = bench.ended(10).await;
    let (dead, fine): (Vec<_>, Vec<_>) = ended.into_iter().partition(|(id, _)| *id == 2);
    assert_eq!((fine.len(), reason(&dead[0].1)), (9, STORE));
}
