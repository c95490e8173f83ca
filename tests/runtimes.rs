//! Real container runtimes, started here: what alerts tell of their containers and pods, from their first program on.
//!
//! The lane `runtimes` installs what they need, and asks for these tests, which nobody else runs.

mod containerd;
mod docker;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use crate::harness::{Metrics, Process, binary, eventually, free_address, kernel, scrape, workspace};

/// Every program that is started in a container, and every one whose image nobody allowed: that one depends on what the
/// runtime tells.
const RULES: &str = r"
- rule: Foreign image
  desc: d
  condition: evt.type = execve and container.id != host and proc.name in (ls, true) and not container.image.repository endswith bb
  output: foreign %proc.args
  priority: CRITICAL
- rule: Program in a container
  desc: d
  condition: evt.type = execve and container.id != host
  output: >
    started %proc.cmdline | full=%container.full_id privileged=%container.privileged label=%container.label[team]
    mounted=%container.mount.dest[/etc] digest=%container.image.digest pod=%k8s.pod.labels uid=%k8s.pod.uid ip=%k8s.pod.ip
    tty=%proc.tty
  priority: NOTICE
";

/// Until an alert is there: runtimes take seconds to start a container on a busy machine.
const WITHIN: Duration = Duration::from_mins(1);

/// The real sensor, asking these runtimes, and its alerts.
pub(crate) struct Sensor {
    process: Process,
    metrics: SocketAddr,
    /// The command lines that were waited for.
    expected: Mutex<BTreeSet<String>>,
    _folder: TempDir,
    _kernel: MutexGuard<'static, ()>,
}

impl Sensor {
    /// `runtimes`: as the setting has them.
    pub(crate) async fn start(runtimes: &[String]) -> Self {
        let kernel = kernel().await;
        let folder = tempfile::tempdir().unwrap();
        let (rules, metrics) = (folder.path().join("rules.yaml"), free_address());
        std::fs::write(&rules, RULES).unwrap();
        let mut command = Command::new(binary("tercel-sensor"));
        command.current_dir(workspace()).arg("run").arg("--rules").arg(&rules).args(["--output", "stdout"]);
        command.arg("--metrics").arg(metrics.to_string()).env("TERCEL_SENSOR_RUNTIMES", runtimes.join(":"));
        let mut process = Process::start(&mut command);
        process.ready_within(metrics, WITHIN).await;
        Self { process, metrics, expected: Mutex::default(), _folder: folder, _kernel: kernel }
    }

    /// Waits for the alert about a program in the container of this name, by its command line.
    pub(crate) async fn alert(&self, container: &str, cmdline: &str) -> Value {
        self.expected.lock().unwrap().insert(cmdline.to_owned());
        let what = format!("`{cmdline}` in `{container}` is told of");
        eventually(&what, WITHIN, async || {
            let alerts = self.alerts();
            let fields = |alert: &Value| alert["output_fields"].clone();
            let is_it = |alert: &&Value| {
                fields(alert)["container.name"] == container && fields(alert)["proc.cmdline"] == cmdline
            };
            let seen = || alerts.iter().map(|alert| alert["output"].to_string()).collect::<Vec<_>>().join("\n");
            alerts.iter().find(is_it).cloned().ok_or_else(|| format!("{}\n{}", seen(), self.process.stderr()))
        })
        .await
    }

    pub(crate) fn alerts(&self) -> Vec<Value> {
        self.process.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        scrape(self.metrics).await
    }
}

/// No event of the programs that were waited for was judged without what a runtime tells. Others run containers, too.
pub(crate) async fn none_was_late(sensor: &Sensor) {
    let expected = sensor.expected.lock().unwrap().clone();
    let is_ours = |alert: &Value| {
        alert["output_fields"]["proc.cmdline"].as_str().is_some_and(|cmdline| expected.contains(cmdline))
    };
    let late = sensor.metrics().await.sum("tercel_sensor_events_late_total", &[]);
    for alert in sensor.alerts().into_iter().filter(is_ours) {
        assert!(alert["output_fields"].get("tercel.metadata").is_none(), "one of {late} late events: {alert}");
        assert_ne!(alert["rule"], "Foreign image", "an allowed image raised it: {alert}");
    }
}
