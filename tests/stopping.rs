//! A router that is told to stop beside a sensor that is told the same, as in a pod that ends.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::receivers::Webhook;
use reqwest::Client;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Process, SOON, alert, all_to, binary, eventually, free_address, http_client};

/// How long the socket stays open for who does not go.
const LAST_WORDS: Duration = Duration::from_secs(10);

struct Stage {
    router: Process,
    listen: SocketAddr,
    admin: SocketAddr,
    folder: TempDir,
}

impl Stage {
    async fn start(routing: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("routing.toml"), routing).unwrap();
        let (listen, admin) = (free_address(), free_address());
        let mut command = Command::new(binary("tercel-router"));
        command.args(["run", "--listen", &listen.to_string(), "--admin", &admin.to_string()]);
        command
            .arg("--routing")
            .arg(folder.path().join("routing.toml"))
            .arg("--state")
            .arg(folder.path().join("state"));
        command.arg("--unix").arg(folder.path().join("router.sock"));
        let mut router = Process::start(&mut command);
        router.ready(admin).await;
        Self { router, listen, admin, folder }
    }

    /// A sender with a connection of its own, which it keeps.
    fn sensor(&self) -> Client {
        http_client();
        Client::builder().unix_socket(self.folder.path().join("router.sock")).timeout(SOON).build().unwrap()
    }

    /// SIGTERM, until it shows.
    async fn terminate(&self) {
        self.router.signal(Signal::TERM);
        let ready = format!("http://{}/readyz", self.admin);
        eventually("it is not ready any more", SOON, async || {
            let status = http_client().get(&ready).send().await.map_err(|error| error.to_string())?.status();
            if status == 503 { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }
}

async fn send(sensor: &Client, rule: &str) {
    let body = alert(rule, "Error", "cat").to_string();
    let answer = sensor.post("http://router/").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 202, "{rule}");
}

#[tokio::test]
async fn a_sensor_that_is_connected_hands_over_its_last_alerts_after_sigterm() {
    let hook = Webhook::start().await;
    let mut stage = Stage::start(&all_to(&hook, "")).await;
    let (sensor, other) = (stage.sensor(), stage.sensor());
    send(&sensor, "Before").await;
    stage.terminate().await;
    let by_network = http_client().post(format!("http://{}/", stage.listen)).body("{}").send().await;
    assert!(by_network.is_err() || by_network.is_ok_and(|answer| answer.status() == 503), "TCP is closed");
    send(&sensor, "After").await;
    send(&other, "On a new connection").await;
    drop((sensor, other));
    let start = Instant::now();
    let status = stage.router.wait(LAST_WORDS).await.unwrap_or_else(|| panic!("{}", stage.router.stderr()));
    assert!(status.success() && start.elapsed() < LAST_WORDS / 2, "{status} after {:?}", start.elapsed());
    let rules: Vec<_> = hook.accepted().iter().map(|request| request.json()["rule"].clone()).collect();
    assert_eq!(rules, ["Before", "After", "On a new connection"]);
}

#[tokio::test]
async fn who_stays_connected_does_not_keep_the_router() {
    let hook = Webhook::start().await;
    let mut stage = Stage::start(&all_to(&hook, "")).await;
    let sensor = stage.sensor();
    send(&sensor, "Before").await;
    let start = Instant::now();
    stage.terminate().await;
    let status = stage.router.wait(LAST_WORDS * 2).await.unwrap_or_else(|| panic!("{}", stage.router.stderr()));
    assert!(status.success() && start.elapsed() >= LAST_WORDS, "{status} after {:?}", start.elapsed());
    assert!(sensor.post("http://router/").body("{}").send().await.is_err());
    assert_eq!(hook.accepted().len(), 1);
}

#[tokio::test]
async fn a_router_at_whose_socket_nobody_was_stops_at_once() {
    let hook = Webhook::start().await;
    let mut stage = Stage::start(&all_to(&hook, "")).await;
    let start = Instant::now();
    let status = stage.router.terminate(LAST_WORDS).await.unwrap();
    assert!(status.success() && start.elapsed() < LAST_WORDS / 2, "{status} after {:?}", start.elapsed());
}
