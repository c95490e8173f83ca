use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::metrics::Balance;

fn alert(rule: &str, priority: Priority) -> Alert {
    let text = r#"{"time":"2026-01-01T00:00:00Z","rule":"","priority":"info"}"#;
    Alert { rule: rule.to_owned(), priority, ..serde_json::from_str(text).unwrap() }
}

fn rule(line: &[u8]) -> String {
    serde_json::from_slice::<Alert>(line).unwrap().rule
}

/// Pushes alerts of this priority until one is dropped; how many were taken.
fn fill(queue: &mut AlertQueue, priority: Priority) -> u64 {
    let (before, alert) = (queue.ledger.balance(), alert(&"r".repeat(1_000), priority));
    while queue.ledger.balance().dropped == before.dropped {
        queue.push(&alert);
    }
    queue.ledger.balance().queued - before.queued
}

#[test]
fn the_last_quarter_is_for_critical_alerts_and_above() {
    let metrics = Metrics::new().unwrap();
    let bound = Bound(QUEUE_BYTES_MIN);
    let (mut queue, _alerts) = queue(bound, &metrics);
    let line_bytes = line(&alert(&"r".repeat(1_000), Priority::Error)).unwrap().len();
    assert_eq!(fill(&mut queue, Priority::Error), (bound.bytes() * 3 / 4 / line_bytes) as u64);
    assert!(fill(&mut queue, Priority::Critical) > 0);
    assert_eq!(fill(&mut queue, Priority::Emergency), 0, "the bound is everybody's");
    let balance = metrics.alerts.balance();
    assert!(balance.queue_bytes <= bound.bytes() && balance.queue_bytes > bound.bytes() - 2 * line_bytes);
    assert_eq!((balance.dropped, metrics.alerts.dropped(Reason::QueueFull)), (3, 3));
}

#[test]
fn the_bytes_that_wait_are_those_of_the_lines() {
    let metrics = Metrics::new().unwrap();
    let (mut queue, mut alerts) = queue(Bound::default(), &metrics);
    for rule in ["a", "bc", "\u{1b}"] {
        queue.push(&alert(rule, Priority::Notice));
    }
    let lines: Vec<_> = std::iter::from_fn(|| alerts.try_next()).collect();
    assert_eq!(metrics.alerts.balance().queue_bytes, lines.iter().map(Bytes::len).sum::<usize>());
    assert!(lines.iter().all(|line| line.iter().position(|&byte| byte == b'\n') == Some(line.len() - 1)));
}

#[tokio::test]
async fn a_batch_ends_before_the_line_that_would_be_too_much() {
    let metrics = Metrics::new().unwrap();
    let (mut queue, mut alerts) = queue(Bound::default(), &metrics);
    (0..5).for_each(|number| queue.push(&alert(&number.to_string(), Priority::Notice)));
    let line_bytes = line(&alert("0", Priority::Notice)).unwrap().len();
    drop(queue);
    let mut batches = Vec::new();
    for (count_max, bytes_max) in [(2, usize::MAX), (9, line_bytes * 2 - 1), (9, 1), (9, usize::MAX), (9, usize::MAX)] {
        batches.push(alerts.next(count_max, bytes_max).await.iter().map(|line| rule(line)).collect::<Vec<_>>());
    }
    assert_eq!(batches, [vec!["0", "1"], vec!["2"], vec!["3"], vec!["4"], vec![]]);
}

#[tokio::test]
async fn the_output_waits_for_an_alert_and_for_the_end() {
    let metrics = Metrics::new().unwrap();
    let (mut queue, mut alerts) = queue(Bound::default(), &metrics);
    let output = tokio::spawn(async move { (alerts.next(1, 1).await.len(), alerts.next(1, 1).await.len()) });
    tokio::time::sleep(Duration::from_millis(20)).await;
    queue.push(&alert("r", Priority::Notice));
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(queue);
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), output).await.unwrap().unwrap(), (1, 0));
}

#[test]
fn what_comes_after_the_output_has_ended_is_counted_as_stopped() {
    let metrics = Metrics::new().unwrap();
    let (mut queue, alerts) = queue(Bound::default(), &metrics);
    drop(alerts);
    queue.push(&alert("r", Priority::Notice));
    assert_eq!((metrics.alerts.dropped(Reason::Stopped), metrics.alerts.balance().queue_bytes), (1, 0));
}

#[test]
fn a_bound_that_is_none_says_what_would_be_one() {
    for bytes in [0, 262_143, 1_073_741_825, u64::MAX] {
        let error = Bound::try_from(bytes).unwrap_err().to_string();
        assert_eq!(error, format!("queue_bytes = {bytes}: use 262144 to 1073741824 bytes"));
    }
    assert_eq!(Bound::try_from(262_144).map(Bound::bytes), Ok(262_144));
}

/// What may happen to a queue.
#[derive(Debug, Clone)]
enum Step {
    Push {
        priority: Priority,
        bytes: usize,
    },
    Take {
        count_max: usize,
        bytes_max: usize,
    },
    /// The oldest of what was taken: so many acknowledged, the rest of them rejected.
    Settle {
        count: usize,
        acknowledged: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let priority = prop::sample::select(&Priority::ALL[..]);
    prop_oneof![
        4 => (priority, 0_usize..40_000).prop_map(|(priority, bytes)| Step::Push { priority, bytes }),
        1 => (1_usize..8, 0_usize..100_000).prop_map(|(count_max, bytes_max)| Step::Take { count_max, bytes_max }),
        1 => (0_usize..8, 0_usize..8).prop_map(|(count, acknowledged)| Step::Settle { count, acknowledged }),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_nothing_is_lost_out_of_order_or_beyond_the_bound(steps in prop::collection::vec(step(), 1..120)) {
        let metrics = Metrics::new().unwrap();
        let bound = Bound(QUEUE_BYTES_MIN);
        let (mut queue, mut alerts) = queue(bound, &metrics);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut admitted, mut taken, mut in_flight) = (VecDeque::new(), VecDeque::new(), VecDeque::<Bytes>::new());
        for (number, step) in steps.into_iter().enumerate() {
            let before = metrics.alerts.balance();
            match step {
                Step::Push { priority, bytes } => {
                    let alert = alert(&format!("{number} {}", "x".repeat(bytes)), priority);
                    queue.push(&alert);
                    let fits = before.queue_bytes + line(&alert).unwrap().len() <= bound.open_to(priority);
                    let after = metrics.alerts.balance();
                    prop_assert_eq!(after.queued - before.queued, u64::from(fits));
                    if fits { admitted.push_back(alert.rule); }
                }
                Step::Take { count_max, bytes_max } if taken.len() < admitted.len() => {
                    let lines = runtime.block_on(alerts.next(count_max, bytes_max));
                    taken.extend(lines.iter().map(|line| rule(line)));
                    in_flight.extend(lines);
                    prop_assert_eq!(metrics.alerts.balance(), before);
                }
                Step::Take { .. } => {}
                Step::Settle { count, acknowledged } => {
                    let lines: Vec<_> = in_flight.drain(..count.min(in_flight.len())).collect();
                    let acknowledged = acknowledged.min(lines.len());
                    let rejected = (lines.len() - acknowledged) as u64;
                    let bytes = lines.iter().map(Bytes::len).sum();
                    metrics.alerts.settle(bytes, acknowledged as u64, (Reason::Rejected, rejected));
                }
            }
            let Balance { made, acknowledged, dropped, queued, queue_bytes } = metrics.alerts.balance();
            prop_assert_eq!(made, acknowledged + dropped + queued);
            prop_assert!(queue_bytes <= bound.bytes());
            prop_assert_eq!(queued, (in_flight.len() + admitted.len() - taken.len()) as u64);
        }
        admitted.truncate(taken.len());
        prop_assert_eq!(taken, admitted);
    }
}
