//! A real Alertmanager.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{SEEN_WITHIN, folder, listening, routing};
use crate::harness::{Process, TestRouter, alert, eventually, free_address, http_client, nasty_alert};

/// Debian's looks for its templates at one place only, so it sees its own package there, and nobody else does.
const START: &str = "mount --bind $0/usr/share /usr/share && exec $0/usr/bin/prometheus-alertmanager \"$@\"";

struct Alertmanager {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Alertmanager {
    async fn start() -> Self {
        let (data, address) = (tempfile::tempdir().unwrap(), free_address());
        let config = data.path().join("config.yml");
        std::fs::write(&config, "route: { receiver: nobody }\nreceivers: [ { name: nobody } ]\n").unwrap();
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", START]).arg(folder().join("newest"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.path={}", data.path().display()));
        command.args([format!("--web.listen-address={address}"), "--cluster.listen-address=".to_owned()]);
        let process = Process::start(&mut command);
        listening(&process, address).await;
        Self { _process: process, _folder: data, address }
    }

    /// Those that fire.
    async fn alerts(&self) -> Vec<Value> {
        let url = format!("http://{}/api/v2/alerts", self.address);
        let text = http_client().get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Vec<Value>>(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

#[tokio::test]
#[ignore = "needs a real Alertmanager: cargo xtask test --components"]
async fn one_attack_is_one_alert_of_alertmanager_until_it_is_resolved() {
    let server = Alertmanager::start().await;
    let table = format!("type = \"alertmanager\"\nurl = \"http://{}\"\nresolve_after = \"4s\"", server.address);
    let router = TestRouter::start(&routing(&table)).await;
    for number in 0..20 {
        let mut alert = alert("Shell", "Critical", "bash");
        alert["output_fields"]["proc.pid"] = json!(number);
        alert["output_fields"]["k8s.pod.name"] = json!("shop-1");
        router.send(&alert).await;
    }
    router.send(&alert("Miner", "Error", "xmrig")).await;
    eventually("Alertmanager has both", SEEN_WITHIN, async || {
        let alerts = server.alerts().await;
        if alerts.len() == 2 { Ok(()) } else { Err(format!("{alerts:?}")) }
    })
    .await;
    let alerts = server.alerts().await;
    let shell = alerts.iter().find(|alert| alert["labels"]["alertname"] == "Shell").unwrap();
    for (label, value) in [("severity", "critical"), ("priority", "Critical"), ("k8s_pod_name", "shop-1")] {
        assert_eq!(shell["labels"][label], value, "{shell}");
    }
    assert_eq!(shell["labels"].get("proc_pid"), None, "{shell}");
    eventually("Alertmanager knows that both are over", SEEN_WITHIN, async || {
        let alerts = server.alerts().await;
        if alerts.is_empty() { Ok(()) } else { Err(format!("{alerts:?}")) }
    })
    .await;
    let metrics = router.metrics().await;
    assert_eq!(metrics.sum("tercel_router_dead_total", &[]), 0, "{metrics}");
}

#[tokio::test]
#[ignore = "needs a real Alertmanager: cargo xtask test --components"]
async fn alertmanager_takes_a_hostile_alert() {
    let server = Alertmanager::start().await;
    let table = format!("type = \"alertmanager\"\nurl = \"http://{}\"", server.address);
    let router = TestRouter::start(&routing(&table)).await;
    router.send(&nasty_alert()).await;
    eventually("Alertmanager has it", SEEN_WITHIN, async || match server.alerts().await.len() {
        1 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    assert_eq!(router.metrics().await.of("there", "delivered_total"), 1);
}
