//! A sensor with rules of a test's own, its alerts on standard output, and workloads beside it.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use super::process::{Process, binary, free_address, scrape};
use super::usage::{Usage, children_of};
use super::{Metrics, can_watch, eventually, kernel, workspace};

/// For a sensor that reads thousands of processes first, or has a storm behind it, on a machine that does other things.
const CATCH_UP: Duration = Duration::from_mins(2);

/// A running sensor.
pub(crate) struct Station {
    folder: TempDir,
    sensor: Process,
    metrics: SocketAddr,
    /// Opens that were made to let every CPU say something.
    touches: AtomicU64,
    _kernel: MutexGuard<'static, ()>,
}

/// What became of the events of one kind, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) seen: u64,
    pub(crate) read: u64,
    pub(crate) dropped: u64,
}

impl Station {
    /// `FOLDER` in the rules is the workload's folder; `settings`: environment. `None`: not on this machine.
    pub(crate) async fn start(rules: &str, settings: &[(&str, &str)]) -> Option<Self> {
        Self::start_with(rules, settings, &[]).await
    }

    /// As [`Self::start`], with more arguments, which have the last word.
    pub(crate) async fn start_with(rules: &str, settings: &[(&str, &str)], arguments: &[&str]) -> Option<Self> {
        if !can_watch() {
            return None;
        }
        let kernel = kernel().await;
        let folder = tempfile::tempdir().unwrap();
        let rules_file = folder.path().join("rules.yaml");
        std::fs::write(&rules_file, rules.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
        let metrics = free_address();
        let mut command = Command::new(binary("tercel-sensor"));
        command.args(["run", "--rules"]).arg(rules_file).arg("--metrics").arg(metrics.to_string()).args(arguments);
        let mut sensor = Process::start(command.current_dir(workspace()).envs(settings.iter().copied()));
        sensor.ready_within(metrics, CATCH_UP).await;
        let station = Self { folder, sensor, metrics, touches: AtomicU64::new(0), _kernel: kernel };
        station.actor("parenttouch");
        station.actor("childtouch");
        Some(station)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The workload under another name, by which it does something else.
    pub(crate) fn actor(&self, name: &str) -> PathBuf {
        let path = self.folder().join(name);
        if !path.is_symlink() {
            symlink(workload(), &path).unwrap();
        }
        path
    }

    /// `parent0` to `parentN`, and as many children.
    pub(crate) fn prepare_pairs(&self, count: u64) {
        for number in 0..count {
            self.actor(&format!("parent{number}"));
            self.actor(&format!("child{number}"));
        }
    }

    /// Runs a workload in its folder to its end.
    pub(crate) fn work(&self, command: &str, arguments: &[&str]) -> Output {
        work(&[&[command, "--folder", self.folder().to_str().unwrap()], arguments].concat())
    }

    /// One open and one pair of programs, `parenttouch` and `childtouch`, on each CPU.
    pub(crate) fn touch(&self) {
        self.work("touch", &[]);
        let cpus = std::thread::available_parallelism().unwrap().get() as u64;
        self.touches.fetch_add(cpus, Ordering::Relaxed);
    }

    pub(crate) fn touches(&self) -> u64 {
        self.touches.load(Ordering::Relaxed)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.sensor.signal(signal);
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        scrape(self.metrics).await
    }

    pub(crate) fn log(&self) -> String {
        self.sensor.stderr()
    }

    /// Of the worker, and of the loader beside it.
    pub(crate) fn usage(&self) -> [Usage; 2] {
        let loader = children_of(self.sensor.pid()).first().copied();
        [Some(self.sensor.pid()), loader].map(|pid| pid.and_then(Usage::of).unwrap_or_default())
    }

    /// The alerts of one rule so far.
    pub(crate) fn alerts(&self, rule: &str) -> Vec<Value> {
        let printed = self.sensor.stdout();
        let alerts = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        alerts.filter(|alert| alert["rule"] == rule).collect()
    }

    /// Waits until what the kernel side saw is what was read or dropped, the gaps in the records are what was dropped, and
    /// every alert was written. Where CPUs are silent, a gap of theirs shows when they say something again.
    pub(crate) async fn accounted(&self) -> Metrics {
        eventually("every event is accounted for", CATCH_UP, async || {
            let metrics = self.metrics().await;
            let all = metrics.account(None);
            let lost = metrics.sum("tercel_sensor_lost_total", &[]);
            let queued = metrics.sum("tercel_sensor_alerts_queued", &[]);
            if all.seen == all.read + all.dropped && lost == all.dropped && queued == 0 {
                return Ok(metrics);
            }
            self.touch();
            tokio::time::sleep(Duration::from_millis(500)).await;
            Err(format!("{all:?}, {lost} lost, {queued} alerts queued"))
        })
        .await
    }
}

impl Metrics {
    /// `kind`: of records, as the sensor's metrics name it.
    pub(crate) fn account(&self, kind: Option<&str>) -> Account {
        let labels: Vec<_> = kind.iter().map(|kind| ("kind", *kind)).collect();
        let [seen, read, dropped] = ["kernel_seen_total", "events_total", "dropped_total"]
            .map(|name| self.sum(&format!("tercel_sensor_{name}"), &labels));
        Account { seen, read, dropped }
    }
}

/// Runs a workload to its end.
pub(crate) fn work(arguments: &[&str]) -> Output {
    let output = Command::new(workload()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

pub(crate) fn workload() -> &'static str {
    env!("CARGO_BIN_EXE_workload")
}
