//! A destination is dead for the whole of a long run: the healthy one beside it gets everything meanwhile, memory stays small,
//! and when the dead one returns it gets everything too, in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use e2e::receivers::{Received, Webhook};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::harness::{Metrics, Process, Usage, eventually, free_address, http_client, listening_router, scrape};

/// Alerts of the run; 100,000 in the soak.
const ALERTS_VARIABLE: &str = "TERCEL_TEST_OUTAGE_ALERTS";
const ALERTS_DEFAULT: u64 = 5_000;

/// Alerts of one request.
const BATCH: u64 = 50;

/// Alerts of a key keep their order.
const KEYS: u64 = 64;

/// The healthy destination is never so many alerts behind: what is measured is the way through the router, not a backlog of
/// the test's own making.
const BEHIND_MAX: u64 = 200;

/// Resident memory of the router with all of it queued.
const RESIDENT_MIB_MAX: f64 = 100.0;

/// For the healthy destination to get a batch, and for the one that returns to get all.
const BATCH_WITHIN: Duration = Duration::from_mins(1);
const CATCH_UP: Duration = Duration::from_mins(10);

/// A router of its own process.
struct Stage {
    router: Process,
    listen: SocketAddr,
    admin: SocketAddr,
    _folder: TempDir,
}

impl Stage {
    async fn start(destinations: &[(&str, SocketAddr)]) -> Self {
        let (folder, listen) = (tempfile::tempdir().unwrap(), free_address());
        std::fs::write(folder.path().join("routing.toml"), routing(destinations)).unwrap();
        let (router, admin) = listening_router(folder.path(), listen).await;
        Self { router, listen, admin, _folder: folder }
    }

    /// Sends alerts batch by batch, as fast as the healthy destination takes them.
    async fn send(&self, alerts: u64, healthy: &Webhook) {
        let (client, url) = (http_client(), format!("http://{}/v1/alerts", self.listen));
        for first in (0..alerts).step_by(BATCH.try_into().unwrap()) {
            let batch: Vec<_> = (first..alerts.min(first + BATCH)).map(alert).collect();
            let answer = client.post(&url).body(Value::from(batch).to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
            self.wait_for(healthy, first.saturating_sub(BEHIND_MAX), BATCH_WITHIN).await;
        }
        self.wait_for(healthy, alerts, BATCH_WITHIN).await;
    }

    async fn wait_for(&self, receiver: &Webhook, count: u64, within: Duration) {
        let start = Instant::now();
        while (receiver.count() as u64) < count {
            assert!(start.elapsed() < within, "{} of {count}\n{}", receiver.count(), self.router.stderr());
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn metrics(&self) -> Metrics {
        scrape(self.admin).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_dead_for_a_whole_run_disturbs_nobody_and_gets_all_in_order_when_it_returns() {
    let alerts = std::env::var(ALERTS_VARIABLE).ok().map_or(ALERTS_DEFAULT, |text| text.parse().unwrap());
    let alone = Webhook::start().await;
    let stage = Stage::start(&[("healthy", alone.address())]).await;
    stage.send(alerts, &alone).await;
    drop(stage);

    let (healthy, dead) = (Webhook::start().await, free_address());
    let stage = Stage::start(&[("healthy", healthy.address()), ("dead", dead)]).await;
    stage.send(alerts, &healthy).await;
    let resident = Usage::of(stage.router.pid()).unwrap().resident_mib();
    assert_eq!(stage.metrics().await.of("dead", "queued"), alerts);
    println!(
        "{alerts} alerts queued for the dead destination: {resident:.0} MiB resident; the healthy one got an alert within \
         {} beside it, {} without it (p50, p99)",
        latencies(&healthy.received()),
        latencies(&alone.received())
    );
    assert!(resident < RESIDENT_MIB_MAX, "{resident:.0} MiB with {alerts} queued");

    let start = Instant::now();
    let returned = Webhook::start_at(dead).await;
    let metrics = eventually("the destination that returned gets all", CATCH_UP, async || {
        let metrics = stage.metrics().await;
        let queued = metrics.sum("tercel_router_queued", &[]);
        if queued == 0 { Ok(metrics) } else { Err(format!("{queued} queued\n{}", stage.router.stderr())) }
    })
    .await;
    println!("it got them within {:.0} s of its return", start.elapsed().as_secs_f64());
    metrics.conservation().unwrap();
    for (name, receiver) in [("healthy", &healthy), ("dead", &returned)] {
        assert_eq!(metrics.of(name, "delivered_total"), alerts, "{name}");
        assert_complete_and_in_order(name, &receiver.received(), alerts);
    }
}

/// Every alert to every destination.
fn routing(destinations: &[(&str, SocketAddr)]) -> String {
    let names: Vec<_> = destinations.iter().map(|(name, _)| *name).collect();
    let webhook = |(name, address): &(&str, SocketAddr)| {
        format!("[destination.{name}]\ntype = \"webhook\"\nurl = \"http://{address}/\"\n")
    };
    let tables: String = destinations.iter().map(webhook).collect();
    format!("[[route]]\nto = {names:?}\ndedup = {{ window = \"0s\", by = [\"rule\"] }}\n{tables}")
}

/// Alerts of one rule have one key.
fn alert(number: u64) -> Value {
    json!({
        "uuid": Uuid::now_v7(),
        "time": jiff::Timestamp::now(),
        "rule": format!("rule {}", number % KEYS),
        "priority": "Warning",
        "output": format!("{number} {}", "x".repeat(500)),
        "output_fields": {"number": number, "proc.name": "cat"},
    })
}

fn assert_complete_and_in_order(name: &str, received: &[Received], alerts: u64) {
    let mut latest = BTreeMap::new();
    for request in received {
        let body = request.json();
        let number = body["output_fields"]["number"].as_u64().unwrap();
        let before = latest.insert(number % KEYS, number);
        assert!(before.is_none_or(|before| before < number), "{name}: {number} came after {before:?}");
    }
    assert_eq!(received.len() as u64, alerts, "{name}: each once");
}

/// From the time in the alert to the end of its request.
fn latencies(received: &[Received]) -> String {
    let time = |request: &Received| request.json()["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let mut all: Vec<_> =
        received.iter().map(|request| request.time.duration_since(time(request)).as_secs_f64() * 1_000.0).collect();
    all.sort_by(f64::total_cmp);
    format!("{:.1} and {:.1} ms", all[all.len() / 2], all[all.len() * 99 / 100])
}
