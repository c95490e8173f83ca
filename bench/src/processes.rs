//! The programs under measurement: started from the release folder, stopped at the end of their scope.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal};

/// Longest wait for a program to be ready, or to end.
const READY_MAX: Duration = Duration::from_secs(30);

/// Of the times in `/proc/<pid>/stat`, on every architecture that Tercel knows.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process spent in its own code, and in the kernel's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CpuTime {
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
}

/// A running sensor or router.
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    metrics: String,
    /// From the start to the first positive answer of `/readyz`.
    pub(crate) start: Duration,
}

/// The rules that the repository ships.
pub(crate) fn shipped_rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules")
}

impl Program {
    /// `settings`: environment. `metrics`: the address at which it answers `/readyz` and `/metrics`.
    pub(crate) async fn start(
        name: &'static str,
        arguments: &[&str],
        settings: &[(&str, &str)],
        metrics: &str,
    ) -> anyhow::Result<Self> {
        let path = std::env::current_exe()?.with_file_name(name);
        let begun = Instant::now();
        let mut child = Command::new(&path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .env("TERCEL_SENSOR_LOG", "warn")
            .envs(settings.iter().copied())
            .spawn()
            .with_context(|| format!("{}: build it with `cargo build --release`", path.display()))?;
        let client = client()?;
        while begun.elapsed() < READY_MAX {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended while starting: {status}");
            }
            let answer = client.get(format!("http://{metrics}/readyz")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(Self { name, child, metrics: metrics.to_owned(), start: begun.elapsed() });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("{name} was not ready within {} s", READY_MAX.as_secs())
    }

    /// The sum of all samples of a metric.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = client()?.get(format!("http://{}/metrics", self.metrics)).send().await?.text().await?;
        let samples =
            text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        Ok(samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Resident memory of the process and its children in MiB: `Rss`, `Pss` or `Anonymous`, as `/proc/<pid>/smaps_rollup`
    /// calls them.
    pub(crate) fn resident_mib(&self, part: &str) -> anyhow::Result<f64> {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let children = children.split_ascii_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        children.into_iter().chain([pid]).map(|pid| resident_mib(pid, part)).sum()
    }

    /// The most resident memory that the process itself had so far, in MiB.
    pub(crate) fn peak_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: f64 = line.context("no VmHWM")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    /// Of all its threads, since it was started.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<CpuTime> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may hold spaces and brackets; from the state on, utime and stime are numbers 12 and 13.
        let (_, values) = stat.rsplit_once(')').context("no name in stat")?;
        let values: Vec<_> = values.split_ascii_whitespace().collect();
        let seconds = |index: usize| -> anyhow::Result<f64> {
            let ticks: f64 = values.get(index).context("stat is too short")?.parse()?;
            Ok(ticks / TICKS_PER_SECOND)
        };
        Ok(CpuTime { user_s: seconds(11)?, system_s: seconds(12)? })
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// SIGTERM, then waits for the clean end.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.pid() {
            rustix::process::kill_process(pid, Signal::TERM)?;
        }
        let begun = Instant::now();
        while begun.elapsed() < READY_MAX {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "{} ended with {status}", self.name);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("{} does not end on SIGTERM", self.name)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) && self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

impl std::ops::AddAssign for CpuTime {
    fn add_assign(&mut self, other: Self) {
        self.user_s += other.user_s;
        self.system_s += other.system_s;
    }
}

impl std::ops::Sub for CpuTime {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { user_s: self.user_s - other.user_s, system_s: self.system_s - other.system_s }
    }
}

fn resident_mib(pid: u32, part: &str) -> anyhow::Result<f64> {
    let sums = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = sums.lines().find_map(|line| line.strip_prefix(part)?.strip_prefix(':'));
    let kib: f64 = line.with_context(|| format!("no {part}"))?.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024.0)
}

fn client() -> anyhow::Result<reqwest::Client> {
    // A second installation finds the first in place.
    drop(rustls::crypto::ring::default_provider().install_default());
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?)
}
