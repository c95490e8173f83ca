//! Destinations that fail, and a router that is told to stop.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use e2e::receivers::{Answer, Received, Webhook};
use jiff::SignedDuration;
use serde_json::json;

use crate::harness::{SOON, TestRouter, alert, all_to};

/// A destination has 15 s to answer; the retry follows within a second.
const TIMEOUT_AND_RETRY: Duration = Duration::from_secs(30);

/// Many MiB are parsed, sent and received by unoptimised code.
const MANY_BYTES: Duration = Duration::from_mins(1);

/// A small store, and large alerts that fill it.
const STORE_BYTES: u64 = 64 << 20;
const LARGE_BYTES: usize = 900_000;

#[tokio::test]
async fn a_service_that_fails_twice_gets_the_alert_once_it_is_well() {
    let hook = Webhook::start().await;
    hook.fail_next(500, 2);
    let router = TestRouter::start(&all_to(&hook, "")).await;
    let alert = alert("Rule", "Error", "cat");
    router.send(&alert).await;
    let received = hook.wait_for(3, SOON).await;
    assert_eq!(received.iter().map(|request| request.status).collect::<Vec<_>>(), [Some(500), Some(500), Some(200)]);
    assert!(received.iter().all(|request| request.json() == alert), "each attempt sends the same");
    assert!(received.iter().all(|request| request.header("idempotency-key") == alert["uuid"].as_str().unwrap()));
    let metrics = router.settled().await;
    assert_eq!((metrics.of("hook", "delivered_total"), metrics.of("hook", "retries_total")), (1, 2));
    assert_eq!(metrics.sum("tercel_router_send_failures_total", &[("reason", "server_error")]), 2);
}

#[tokio::test]
async fn a_pause_that_a_service_asks_for_is_kept() {
    let hook = Webhook::start().await;
    hook.answer_next([Answer::RetryAfter(429, "3")]);
    let router = TestRouter::start(&all_to(&hook, "")).await;
    router.send(&alert("Rule", "Error", "cat")).await;
    let received = hook.wait_for(2, SOON).await;
    let pause = received[1].time.duration_since(received[0].time);
    assert!(pause >= SignedDuration::from_millis(2_900), "asked for 3 s, came back after {pause}");
    assert_eq!(router.settled().await.of("hook", "delivered_total"), 1);
}

#[tokio::test]
async fn a_service_that_never_answers_is_left_and_asked_again() {
    let hook = Webhook::start().await;
    hook.answer_next([Answer::Hang]);
    let router = TestRouter::start(&all_to(&hook, "")).await;
    router.send(&alert("Rule", "Error", "cat")).await;
    assert_eq!(hook.wait_for(2, TIMEOUT_AND_RETRY).await.len(), 2);
    let metrics = router.settled().await;
    assert_eq!(metrics.of("hook", "delivered_total"), 1);
    assert_eq!(metrics.sum("tercel_router_send_failures_total", &[("reason", "timeout")]), 1);
}

#[tokio::test]
async fn what_a_service_refuses_for_good_is_dead_and_does_not_block_the_rest() {
    let hook = Webhook::start().await;
    hook.fail_next(400, 1);
    let router = TestRouter::start(&all_to(&hook, "")).await;
    for process in ["refused", "taken"] {
        router.send(&alert("Rule", "Error", process)).await;
    }
    let metrics = router.settled().await;
    let dead = [("destination", "hook"), ("reason", "client_error")];
    assert_eq!(metrics.sum("tercel_router_dead_total", &dead), 1);
    assert_eq!((metrics.of("hook", "delivered_total"), metrics.of("hook", "retries_total")), (1, 0));
}

#[tokio::test]
async fn one_service_that_is_down_does_not_hold_up_another() {
    let (down, up) = (Webhook::start().await, Webhook::start().await);
    down.answer_always(Answer::Status(503));
    let routing = all_to(&up, "").replace("[\"hook\"]", "[\"down\", \"hook\"]");
    let router = TestRouter::start(&format!("{routing}{}", crate::harness::webhook("down", &down))).await;
    for number in 0..20 {
        router.send(&alert("Rule", "Error", &format!("p{number}"))).await;
    }
    assert_eq!(up.wait_for(20, SOON).await.len(), 20);
    let metrics = router.metrics().await;
    assert_eq!((metrics.of("down", "queued"), metrics.of("down", "delivered_total")), (20, 0));
    down.answer_always(Answer::Normal);
    assert_eq!(router.settled().await.of("down", "delivered_total"), 20);
}

#[tokio::test]
async fn a_full_queue_refuses_new_alerts_and_keeps_every_acknowledged_one() {
    let hook = Webhook::start().await;
    hook.answer_always(Answer::Status(503));
    let router = TestRouter::start_with(&all_to(&hook, ""), |settings| settings.store_bytes = STORE_BYTES).await;
    let mut acknowledged = BTreeSet::new();
    let refusal = loop {
        let mut large = alert("Large", "Critical", "cat");
        large["output"] = json!("x".repeat(LARGE_BYTES));
        let answer = router.post("/", large.to_string()).await;
        match answer.status {
            202 => acknowledged.insert(large["uuid"].as_str().unwrap().to_owned()),
            _ => break answer,
        };
        assert!(acknowledged.len() < 100, "64 MiB should be full");
    };
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert!(refusal.retry_after.as_deref().is_some_and(|after| after.parse::<u64>().unwrap() > 0), "{refusal:?}");
    assert!(refusal.body.contains("the store is full"), "{refusal:?}");
    assert!(acknowledged.len() > 50, "only {} were taken", acknowledged.len());
    for (priority, status) in [("Debug", 503), ("Error", 503), ("Critical", 202)] {
        let small = alert("Small", priority, "cat");
        assert_eq!(router.post("/", small.to_string()).await.status, status, "{priority}: room is kept for the urgent");
        if status == 202 {
            acknowledged.insert(small["uuid"].as_str().unwrap().to_owned());
        }
    }
    let metrics = router.metrics().await;
    assert_eq!(metrics.conservation(), Ok(()));
    assert_eq!(metrics.of("hook", "queued"), acknowledged.len() as u64);
    assert_eq!(metrics.sum("tercel_router_ingest_rejected_total", &[("reason", "full")]), 3);

    hook.answer_always(Answer::Normal);
    let metrics = router.settled_within(MANY_BYTES).await;
    assert_eq!(metrics.of("hook", "delivered_total"), acknowledged.len() as u64);
    assert_eq!(ids(&hook.accepted()), acknowledged);
}

#[tokio::test]
async fn a_window_that_is_open_when_the_router_stops_is_still_open_when_it_starts_again() {
    let hook = Webhook::start().await;
    let router = TestRouter::start(&all_to(&hook, "dedup = { window = \"5s\" }")).await;
    router.send(&alert("Rule", "Error", "cat")).await;
    hook.wait_for(1, SOON).await;
    router.settled().await;
    for _ in 0..3 {
        router.send(&alert("Rule", "Error", "cat")).await;
    }
    let router = router.restart().await;
    router.send(&alert("Rule", "Error", "cat")).await;
    let received = hook.wait_for(2, SOON).await;
    assert_eq!(received[1].json()["notification"]["count"], 4);
    let metrics = router.settled().await;
    assert_eq!((metrics.of("hook", "recovered_total"), metrics.of("hook", "suppressed_total")), (0, 1));
}

#[tokio::test]
async fn what_is_owed_when_the_router_stops_goes_out_when_it_starts_again() {
    let hook = Webhook::start().await;
    hook.answer_always(Answer::Status(503));
    let router = TestRouter::start(&all_to(&hook, "dedup = { window = \"0s\" }")).await;
    let alerts: Vec<_> = (0..20).map(|number| alert("Rule", "Error", &format!("p{number}"))).collect();
    for alert in &alerts {
        router.send(alert).await;
    }
    let router = router.restart().await;
    hook.answer_always(Answer::Normal);
    let metrics = router.settled().await;
    assert_eq!((metrics.of("hook", "recovered_total"), metrics.of("hook", "delivered_total")), (20, 20));
    let expected: BTreeSet<_> = alerts.iter().map(|alert| alert["uuid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids(&hook.accepted()), expected);
}

#[tokio::test]
async fn an_alert_that_is_sent_again_is_acknowledged_and_not_delivered_again() {
    let hook = Webhook::start().await;
    let router = TestRouter::start(&all_to(&hook, "dedup = { window = \"0s\" }")).await;
    let (first, mut other) = (alert("Rule", "Error", "cat"), alert("Rule", "Error", "dd"));
    other["uuid"] = first["uuid"].clone();
    router.send(&first).await;
    let router = router.restart().await;
    router.send(&first).await;
    router.send(&other).await;
    let received = hook.wait_for(2, SOON).await;
    router.settled().await;
    assert_eq!((received.len(), hook.received().len()), (2, 2));
    let renamed = received[1].json();
    assert_eq!((&renamed["original_uuid"], &renamed["output_fields"]), (&first["uuid"], &other["output_fields"]));
    assert_ne!(renamed["uuid"], first["uuid"]);
}

#[tokio::test]
async fn a_router_that_stops_does_not_wait_forever_for_a_service_that_hangs() {
    let hook = Webhook::start().await;
    hook.answer_always(Answer::Hang);
    let router =
        TestRouter::start_with(&all_to(&hook, ""), |settings| settings.drain = Duration::from_millis(300)).await;
    router.send(&alert("Rule", "Error", "cat")).await;
    hook.wait_for(1, SOON).await;
    let start = Instant::now();
    router.shutdown().await;
    assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());
}

fn ids(received: &[Received]) -> BTreeSet<String> {
    received.iter().map(|request| request.json()["uuid"].as_str().unwrap().to_owned()).collect()
}
