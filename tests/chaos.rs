//! The router is killed again and again while alerts come in: what it acknowledged is delivered, and what it held back is
//! told, to the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use e2e::receivers::{Received, Webhook};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use uuid::Uuid;

use crate::harness::{eventually, free_address, http_client, listening_router, scrape};

/// How often the router is killed; 200 in the soak.
const KILLS_VARIABLE: &str = "TERCEL_TEST_KILLS";
const KILLS_DEFAULT: u64 = 20;

/// A router lives for up to so long under load.
const LIFE_MAX_MS: u64 = 300;

/// Alerts of one request.
const BATCH: u64 = 5;

/// Requests of one webhook at once, which may all be under way at a kill.
const IN_FLIGHT: u64 = 8;

/// Until everything has arrived after the last start; windows close after a few seconds.
const SETTLE: Duration = Duration::from_mins(2);

const WINDOW_S: u64 = 3;

/// Ids of the alerts of one kind, and of those of them that were acknowledged.
#[derive(Default)]
struct Sent {
    ids: BTreeSet<Uuid>,
    requests_again: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_survives_every_kill() {
    let kills = std::env::var(KILLS_VARIABLE).ok().map_or(KILLS_DEFAULT, |text| text.parse().unwrap());
    let (each, thinned) = (Webhook::start().await, Webhook::start().await);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("routing.toml"), routing(&each, &thinned)).unwrap();
    let listen = free_address();
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let sender = send_until(Arc::clone(&stop), listen, Arc::clone(&acknowledged));

    for _ in 0..kills {
        let (mut router, _admin) = listening_router(folder.path(), listen).await;
        sleep(Duration::from_millis(fastrand::u64(0..LIFE_MAX_MS))).await;
        router.signal(Signal::KILL);
        assert!(router.wait(SETTLE).await.is_some());
    }
    let (_router, admin) = listening_router(folder.path(), listen).await;
    stop.store(true, Ordering::Relaxed);
    let sent = sender.await.unwrap();
    eventually("everything is delivered and every window closed", SETTLE, async || {
        let metrics = scrape(admin).await;
        let open = metrics.sum("tercel_router_queued", &[]) + metrics.sum("tercel_router_dedup_entries", &[]);
        if open == 0 { Ok(()) } else { Err(format!("{open} queued or open")) }
    })
    .await;

    let times = times_delivered(&each.received());
    let missing: Vec<_> = sent.ids.iter().filter(|id| !times.contains_key(id)).collect();
    assert!(missing.is_empty(), "{} of {} never arrived, such as {}", missing.len(), sent.ids.len(), missing[0]);
    assert_eq!(times.len(), sent.ids.len(), "nothing arrives that nobody sent");
    let twice: u64 = times.values().map(|times| times - 1).sum();
    let told = told(&thinned.received());
    println!(
        "{kills} kills, {} alerts, {} requests repeated; {twice} delivered twice; {told} told by first alerts and summaries",
        sent.ids.len(),
        sent.requests_again
    );
    assert!(twice <= kills * IN_FLIGHT, "{twice} delivered twice, of {kills} kills");
    assert_eq!(told, sent.ids.len() as u64, "every alert is told of exactly once");
}

/// Every alert to one webhook, and to another what deduplication by the rule leaves.
fn routing(each: &Webhook, thinned: &Webhook) -> String {
    format!(
        r#"
        [[route]]
        to = ["each"]
        dedup = {{ window = "0s" }}
        continue = true
        [[route]]
        to = ["thinned"]
        dedup = {{ window = "{WINDOW_S}s", by = ["rule"] }}
        [destination.each]
        type = "webhook"
        url = "{}"
        [destination.thinned]
        type = "webhook"
        url = "{}"
        "#,
        each.url(),
        thinned.url()
    )
}

/// Sends batch after batch, each again and again until it is acknowledged: the router knows an id that it has seen.
fn send_until(stop: Arc<AtomicBool>, listen: SocketAddr, acknowledged: Arc<AtomicU64>) -> JoinHandle<Sent> {
    tokio::spawn(async move {
        let client = http_client();
        let mut sent = Sent::default();
        while !stop.load(Ordering::Relaxed) {
            let alerts: Vec<_> = (0..BATCH).map(alert).collect();
            let body = serde_json::to_string(&alerts).unwrap();
            while !is_acknowledged(&client, listen, &body).await {
                sent.requests_again += 1;
                sleep(Duration::from_millis(5)).await;
            }
            acknowledged.fetch_add(BATCH, Ordering::Relaxed);
            sent.ids.extend(alerts.iter().map(|alert| alert["uuid"].as_str().unwrap().parse::<Uuid>().unwrap()));
        }
        sent
    })
}

async fn is_acknowledged(client: &reqwest::Client, listen: SocketAddr, body: &str) -> bool {
    let request = client.post(format!("http://{listen}/v1/alerts")).body(body.to_owned());
    match request.send().await {
        Ok(answer) => {
            answer.status() == 202 && answer.json::<Value>().await.is_ok_and(|body| body["accepted"] == BATCH)
        }
        Err(_) => false,
    }
}

/// Some rules are alike, so that there is something to hold back.
fn alert(number: u64) -> Value {
    json!({
        "uuid": Uuid::now_v7().to_string(),
        "time": jiff::Timestamp::now().to_string(),
        "rule": format!("rule {}", number % 3),
        "priority": "Warning",
        "output": format!("output {number}"),
        "output_fields": {"proc.name": "x"},
    })
}

/// How often each alert arrived.
fn times_delivered(received: &[Received]) -> BTreeMap<Uuid, u64> {
    let mut times = BTreeMap::new();
    for request in received.iter().filter(|request| request.status == Some(200)) {
        let id = request.json()["uuid"].as_str().unwrap().parse().unwrap();
        *times.entry(id).or_default() += 1;
    }
    times
}

/// Alerts that the notifications speak of, each notification counted once: first alerts with the repeats told with them,
/// and summaries with what was not told before.
pub(crate) fn told(received: &[Received]) -> u64 {
    let mut by_id = BTreeMap::new();
    for request in received.iter().filter(|request| request.status == Some(200)) {
        let body = request.json();
        by_id.insert(request.header("idempotency-key").to_owned(), body);
    }
    let told = |body: &Value| match body["notification"]["count"].as_u64() {
        Some(count) => count,
        None => 1 + body["repeats"].as_u64().unwrap_or(0),
    };
    by_id.values().map(told).sum()
}
