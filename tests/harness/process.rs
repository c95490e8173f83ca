//! Tercel's programs as processes: started, read, asked to stop.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{Metrics, SOON, eventually, http_client};

/// Between two looks at a process.
const POLL: Duration = Duration::from_millis(10);

/// A program of Tercel that runs. It is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    /// Holds what it printed.
    folder: TempDir,
}

/// The program with this name, built beside this test.
pub(crate) fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps").join(name);
    assert!(path.is_file(), "{} is not there; build it first: cargo build --package {name}", path.display());
    path
}

/// An address of this machine that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    // Below the ports that connections get of themselves, which come and go while a test runs.
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr()).ok();
    std::iter::repeat_with(|| fastrand::u16(10_000..32_000)).find_map(bind).unwrap()
}

/// Runs a program to its end, which must come soon.
pub(crate) async fn run(command: &mut Command) -> Output {
    let mut process = Process::start(command);
    let status = process.wait(SOON).await.unwrap_or_else(|| panic!("{command:?} does not end\n{}", process.stderr()));
    Output { status, stdout: process.stdout().into_bytes(), stderr: process.stderr().into_bytes() }
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| File::create(folder.path().join(name)).unwrap();
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, folder }
    }

    pub(crate) fn stdout(&self) -> String {
        self.output("stdout")
    }

    pub(crate) fn stderr(&self) -> String {
        self.output("stderr")
    }

    /// Waits until `/readyz` of this address says 200.
    pub(crate) async fn ready(&mut self, address: SocketAddr) {
        self.ready_within(address, SOON).await;
    }

    /// The same, of one that has much to do before.
    pub(crate) async fn ready_within(&mut self, address: SocketAddr, within: Duration) {
        let client = http_client();
        let ask = async || match client.get(format!("http://{address}/readyz")).send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(response.status().to_string()),
            Err(error) => Err(error.to_string()),
        };
        eventually("the process is ready", within, async || {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended at once:\n{}", self.stderr());
            ask().await.map_err(|seen| format!("{seen}; it says:\n{}", self.stderr()))
        })
        .await;
    }

    /// SIGTERM, and how it ended. `None`: not within that time.
    pub(crate) async fn terminate(&mut self, within: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        self.wait(within).await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended. `None`: not within that time.
    pub(crate) async fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            let status = self.child.try_wait().unwrap();
            if status.is_some() || start.elapsed() > within {
                return status;
            }
            sleep(POLL).await;
        }
    }

    fn output(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join(name)).unwrap()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What the process behind this address counts.
pub(crate) async fn scrape(address: SocketAddr) -> Metrics {
    let response = http_client().get(format!("http://{address}/metrics")).send().await.unwrap();
    Metrics::new(response.text().await.unwrap())
}

/// What the sensor behind this address knows to have missed, for messages: an alert that is missing was either missed by a
/// rule, or its event never arrived.
pub(crate) async fn losses(address: SocketAddr) -> String {
    let Ok(response) = http_client().get(format!("http://{address}/metrics")).send().await else {
        return "the sensor tells no numbers any more".to_owned();
    };
    Metrics::new(response.text().await.unwrap_or_default()).losses()
}
