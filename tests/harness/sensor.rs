//! The sensor on this machine's kernel: one at a time, with a router in this process and a webhook behind it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use e2e::receivers::{Received, Webhook};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::process::{Process, binary, free_address, losses, scrape};
use super::{Metrics, SOON, TestRouter, all_to, eventually, workspace};

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Tests that measure or count must not see each other's events.
static KERNEL: Mutex<()> = Mutex::const_new(());

/// `cat /etc/shadow` at the webhook: sensor → router → webhook.
pub(crate) struct Watch {
    pub(crate) hook: Webhook,
    pub(crate) router: TestRouter,
    sensor: Process,
    metrics: SocketAddr,
    _kernel: MutexGuard<'static, ()>,
}

/// A copy of cat that nobody else runs: what it reads is told apart from what others read on this machine.
pub(crate) struct Cat(TempDir);

impl Cat {
    pub(crate) fn new() -> Self {
        let cat = Self(tempfile::tempdir().unwrap());
        // By another process: a file that this one had open for writing could be busy when it is run.
        assert!(Command::new("cp").args(["/bin/cat", &cat.path()]).status().unwrap().success());
        cat
    }

    /// `proc.exepath`.
    pub(crate) fn path(&self) -> String {
        self.0.path().join("cat").display().to_string()
    }

    /// Reads a file in a process of its own; that process's id.
    pub(crate) fn read(&self, file: &str) -> u32 {
        let mut child = Command::new(self.path()).arg(file).stdout(Stdio::null()).spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }
}

/// To be held while a sensor runs.
pub(crate) async fn kernel() -> MutexGuard<'static, ()> {
    KERNEL.lock().await
}

/// Whether the sensor can run here. Where it cannot, says so; under CI that is a failure.
pub(crate) fn can_watch() -> bool {
    let why = if !rustix::process::geteuid().is_root() {
        "the sensor needs root"
    } else if !Path::new(BTF).exists() {
        "the kernel shows no BTF"
    } else {
        return true;
    };
    skipped(why);
    false
}

/// # Panics
/// Under CI, where everything must run.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "cannot run: {why}; under CI skipping is a failure");
    not_here(why);
}

/// Says what is not tested on this machine, and need not be.
pub(crate) fn not_here(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Past the test runner, which shows the output of failed tests only.
    std::io::stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes()).unwrap();
}

/// `tercel-sensor run` with the shipped rules.
pub(crate) fn sensor_command(output: &str, metrics: SocketAddr) -> Command {
    let mut command = Command::new(binary("tercel-sensor"));
    command.current_dir(workspace()).args(["run", "--rules", "rules", "--output", output]);
    command.arg("--metrics").arg(metrics.to_string());
    command
}

impl Watch {
    /// Everything goes to the webhook; `more` is put into the route. `None`: not on this machine.
    pub(crate) async fn start(more: &str) -> Option<Self> {
        if !can_watch() {
            return None;
        }
        let kernel = kernel().await;
        let hook = Webhook::start().await;
        let router = TestRouter::start(&all_to(&hook, more)).await;
        let metrics = free_address();
        let mut command = sensor_command(&format!("unix:{}", router.socket().display()), metrics);
        // The router is this process, and so is much of what tests do to be seen.
        let mut sensor = Process::start(command.env("TERCEL_SENSOR_MUTE_OUTPUT", "false"));
        sensor.ready(metrics).await;
        Some(Self { hook, router, sensor, metrics, _kernel: kernel })
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        scrape(self.metrics).await
    }

    /// The notifications about one process so far; other processes of this machine have theirs.
    pub(crate) fn about(&self, pid: u32) -> Vec<Value> {
        let notifications = self.hook.received();
        notifications.iter().map(Received::json).filter(|alert| alert["output_fields"]["proc.pid"] == pid).collect()
    }

    /// Waits for the first notification about a process that `is_wanted`.
    pub(crate) async fn wait_for(&self, pid: u32, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, SOON, async || {
            let about = self.about(pid);
            let seen: Vec<_> = about.iter().map(|alert| alert["rule"].to_string()).collect();
            if let Some(alert) = about.into_iter().find(|alert| is_wanted(alert)) {
                return Ok(alert);
            }
            let losses = losses(self.metrics).await;
            let (all, says) = (self.hook.count(), self.sensor.stderr());
            Err(format!("{seen:?} of process {pid}, {all} in all; {losses}; the sensor says:\n{says}"))
        })
        .await
    }

    /// SIGTERM; `None`: the sensor did not end in that time.
    pub(crate) async fn terminate(&mut self, within: Duration) -> Option<ExitStatus> {
        self.sensor.terminate(within).await
    }

    /// The end that comes by itself; `None`: not within that time.
    pub(crate) async fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        self.sensor.wait(within).await
    }

    /// The worker's.
    pub(crate) fn pid(&self) -> u32 {
        self.sensor.pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.sensor.signal(signal);
    }

    /// What the sensor printed for people.
    pub(crate) fn log(&self) -> String {
        self.sensor.stderr()
    }
}
