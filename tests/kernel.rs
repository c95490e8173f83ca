//! The techniques of `technique`, one after the other, below the real sensor on this machine's kernel: every rule sees its
//! action and leaves the near misses alone. The rules are Falco's stable ones as they are, read where they lie beside this
//! repository, and those of `techniques/rules.yaml`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::harness::{
    Process, SOON, binary, can_watch, eventually, free_address, kernel, losses, not_here, run, workspace,
};

const STABLE_RULES: &str = "../shared/reference/falco-rules/falco_rules.yaml";
const OWN_RULES: &str = "tests/techniques/rules.yaml";
const SETTINGS: &str = "tests/techniques/sensor.toml";

/// Performing all takes some ten seconds: a server that is to be no longer new takes five of them.
const PERFORMED_WITHIN: Duration = Duration::from_mins(2);

/// For an alert that must not come, after all that must have.
const LATE: Duration = Duration::from_secs(1);

/// From SIGTERM to the end of the sensor.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A sensor and what is said about it.
struct Theatre {
    sensor: Process,
    metrics: SocketAddr,
    folder: TempDir,
}

#[tokio::test]
async fn each_stable_rule_of_falco_sees_its_technique_and_leaves_its_near_misses_alone() {
    let rules = workspace().join(STABLE_RULES);
    if !rules.exists() {
        return not_here(&format!("{STABLE_RULES} is not there"));
    }
    judge(&rules, "stable").await;
}

#[tokio::test]
async fn what_a_hostile_process_does_to_the_sensor_itself_is_seen_and_said_right() {
    judge(&workspace().join(OWN_RULES), "odd").await;
}

async fn judge(rules: &Path, set: &str) {
    if !can_watch() {
        return;
    }
    let _kernel = kernel().await;
    let mut theatre = Theatre::open(rules).await;
    theatre.perform(set);
    eventually("all techniques are judged well", SOON, async || theatre.check().await).await;
    sleep(LATE).await;
    theatre.check().await.unwrap();
    let status = theatre.sensor.terminate(STOP_WITHIN).await.expect("the sensor ends when it is told to");
    assert_eq!(status.code(), Some(0), "{}", theatre.sensor.stderr());
}

impl Theatre {
    async fn open(rules: &Path) -> Self {
        let metrics = free_address();
        let mut command = Command::new(technique());
        command.arg("resolve").arg("--").arg(binary("tercel-sensor")).current_dir(workspace());
        command.args(["run", "--config", SETTINGS, "--rules"]).arg(rules);
        let mut sensor = Process::start(command.arg("--metrics").arg(metrics.to_string()));
        sensor.ready(metrics).await;
        Self { sensor, metrics, folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Does all that is in this set.
    fn perform(&self, set: &str) {
        let mut command = Command::new("timeout");
        command.arg(PERFORMED_WITHIN.as_secs().to_string()).arg(technique()).args(["run", "--set", set, "--report"]);
        let output = command.arg(self.file("acts")).output().unwrap();
        assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }

    /// What is not well.
    async fn check(&self) -> Result<(), String> {
        // The last line may not be whole yet.
        let alerts = self.sensor.stdout();
        let whole = alerts.rfind('\n').map_or("", |end| &alerts[..end]);
        fs::write(self.file("alerts"), whole).unwrap();
        let mut command = Command::new(technique());
        command.arg("check").arg("--acts").arg(self.file("acts")).arg("--alerts").arg(self.file("alerts"));
        let output = run(&mut command).await;
        let judged = String::from_utf8(output.stdout).unwrap();
        assert!(!judged.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            return Ok(());
        }
        let lines = judged.lines().filter(|line| serde_json::from_str::<Value>(line).unwrap()["ok"] != true);
        let losses = losses(self.metrics).await;
        Err(format!("\n{}\n{losses}", lines.collect::<Vec<_>>().join("\n")))
    }
}

fn technique() -> &'static str {
    env!("CARGO_BIN_EXE_technique")
}
