//! Rules that match what the router does to deliver their own alerts: one act is a bounded number of alerts, for the router
//! that takes the sensor's alerts is not reported.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::receivers::{Received, Webhook};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep};

use crate::harness::{Process, SOON, all_to, binary, can_watch, eventually, free_address, kernel, scrape, workspace};

/// Every connection, and every message but those of this process, which is the webhook's service too.
const RULES: &str = r"
- rule: Connection
  desc: d
  condition: evt.type = connect
  output: connected by %proc.pid
  priority: NOTICE
- rule: Message
  desc: d
  condition: evt.type in (sendto, sendmsg, sendmmsg, recvfrom, recvmsg, recvmmsg, accept, accept4) and proc.pid != OURS
  output: done %evt.type by %proc.pid
  priority: NOTICE
";

/// For alerts on their way when the router is muted.
const SETTLE: Duration = Duration::from_secs(2);

/// In which nothing more comes.
const QUIET: Duration = Duration::from_secs(3);

/// What only a loop makes: the settled sensor makes a few alerts for one act.
const LOOP_ALERTS: usize = 300;

/// For [`LOOP_ALERTS`] and to be told of another router.
const WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Unix,
    Http,
}

/// Both programs, a webhook behind them, and rules that match what the router does.
struct Stage {
    hook: Webhook,
    folder: TempDir,
    listen: SocketAddr,
    router: Process,
    sensor: Process,
    metrics: SocketAddr,
    _kernel: MutexGuard<'static, ()>,
}

impl Stage {
    async fn start(way: Way, mutes: bool) -> Option<Self> {
        if !can_watch() {
            return None;
        }
        let kernel = kernel().await;
        let hook = Webhook::start().await;
        hook.close_after_answers();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("rules.yaml"), RULES.replace("OURS", &std::process::id().to_string())).unwrap();
        std::fs::write(path("routing.toml"), all_to(&hook, "")).unwrap();
        let (listen, metrics) = (free_address(), free_address());
        let router = start_router(folder.path(), listen).await;
        let output = match way {
            Way::Unix => format!("unix:{}", path("router.sock").display()),
            Way::Http => format!("http://{listen}/v1/alerts"),
        };
        let mut command = Command::new(binary("tercel-sensor"));
        command.current_dir(workspace()).arg("run").arg("--rules").arg(path("rules.yaml"));
        command.arg("--metrics").arg(metrics.to_string()).arg("--output").arg(output);
        command.env("TERCEL_SENSOR_MUTE_OUTPUT", mutes.to_string());
        let mut sensor = Process::start(&mut command);
        sensor.ready(metrics).await;
        Some(Self { hook, folder, listen, router, sensor, metrics, _kernel: kernel })
    }

    /// How many processes are muted; the sensor's own are two.
    async fn muted(&self) -> u64 {
        scrape(self.metrics).await.sum("tercel_sensor_muted_processes", &[])
    }

    /// A single act: one connection, which nobody else is waiting for.
    fn act(&self) {
        TcpStream::connect(self.hook.address()).unwrap();
    }

    /// Alerts about the router so far; other processes of this machine have theirs.
    fn about_router(&self) -> usize {
        let about = |request: &Received| request.json()["output_fields"]["proc.pid"] == self.router.pid();
        self.hook.received().iter().filter(|request| about(request)).count()
    }

    /// Waits until the router of now is muted; how many alerts about it there are when all are delivered.
    async fn settled(&self) -> usize {
        eventually("the router is muted", WITHIN, async || match self.muted().await {
            3 if self.log_tells_of_router() => Ok(()),
            count => Err(format!("{count} are muted; the sensor says:\n{}", self.sensor.stderr())),
        })
        .await;
        sleep(SETTLE).await;
        let settled = self.about_router();
        sleep(QUIET).await;
        assert_eq!(self.about_router(), settled, "still reported; the sensor says:\n{}", self.sensor.stderr());
        settled
    }

    fn log_tells_of_router(&self) -> bool {
        let pid = self.router.pid().to_string();
        let log = self.sensor.stderr();
        log.lines().any(|line| line.contains("the process that takes the alerts is muted") && line.contains(&pid))
    }
}

async fn start_router(folder: &Path, listen: SocketAddr) -> Process {
    let admin = free_address();
    let mut command = Command::new(binary("tercel-router"));
    command.arg("run").arg("--listen").arg(listen.to_string()).arg("--admin").arg(admin.to_string());
    command.arg("--routing").arg(folder.join("routing.toml")).arg("--state").arg(folder.join("state"));
    command.arg("--unix").arg(folder.join("router.sock"));
    let mut router = Process::start(&mut command);
    router.ready(admin).await;
    router
}

/// How many alerts about the router there were before it was muted, and how many about its successor.
async fn settle(way: Way) -> Option<[usize; 2]> {
    let mut stage = Stage::start(way, true).await?;
    stage.act();
    let first = stage.settled().await;
    stage.act();
    assert_eq!(stage.settled().await, first, "once it is muted, what it does raises nothing");

    // Another process at the same address: he is muted in the place of the first.
    stage.router.signal(Signal::KILL);
    stage.router.wait(SOON).await.unwrap();
    eventually("who ended is not muted", SOON, async || match stage.muted().await {
        2 => Ok(()),
        count => Err(format!("{count} are muted")),
    })
    .await;
    stage.router = start_router(stage.folder.path(), stage.listen).await;
    stage.act();
    Some([first, stage.settled().await])
}

#[tokio::test]
async fn a_router_at_a_unix_socket_is_muted_so_that_no_rule_feeds_itself() {
    let Some(counts) = settle(Way::Unix).await else { return };
    println!("alerts about a router before it was muted, and about its successor: {counts:?}");
}

#[tokio::test]
async fn a_router_at_a_local_port_is_muted_so_that_no_rule_feeds_itself() {
    let Some(counts) = settle(Way::Http).await else { return };
    println!("alerts about a router before it was muted, and about its successor: {counts:?}");
}

#[tokio::test]
async fn without_muting_one_act_raises_alerts_without_end() {
    let Some(stage) = Stage::start(Way::Unix, false).await else { return };
    let start = Instant::now();
    stage.act();
    eventually("a loop", WITHIN, async || match stage.about_router() {
        count if count >= LOOP_ALERTS => Ok(()),
        count => Err(format!("{count} alerts; the sensor says:\n{}", stage.sensor.stderr())),
    })
    .await;
    let before = stage.about_router();
    sleep(SETTLE).await;
    assert!(stage.about_router() > before, "it does not end");
    println!("{} alerts within {:?}", stage.about_router(), start.elapsed());
    assert_eq!(stage.muted().await, 2);
}
