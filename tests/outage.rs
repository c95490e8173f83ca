//! The router is killed and away while the sensor goes on making alerts: nothing that fits into the sensor's queue is lost, and
//! what does not fit is counted to the last one.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep};

use crate::harness::{
    Metrics, Process, binary, can_watch, eventually, free_address, kernel, losses, router_process, scrape,
};

/// Seconds that the router is away; 60 in the soak.
const DOWN_VARIABLE: &str = "TERCEL_TEST_DOWN_S";
const DOWN_DEFAULT: Duration = Duration::from_secs(8);

/// Between two opens that make an alert: some 300 a second.
const PAUSE: Duration = Duration::from_millis(3);

/// For the rest to arrive once the router is back: the sensor comes again within 5 s.
const CATCH_UP: Duration = Duration::from_mins(1);

/// Holds all that is made while the router is away for a minute.
const ROOMY_BYTES: u64 = 64 << 20;

/// Full within a second or two.
const TIGHT_BYTES: u64 = 256 << 10;

/// One alert for each open of a file of these names; the first rule that matches has the word.
const RULES: &str = r"
- rule: Urgent file
  desc: d
  condition: evt.type in (open, openat) and fd.name startswith FOLDER/urgent
  output: opened %fd.name
  priority: CRITICAL
- rule: Ordinary file
  desc: d
  condition: evt.type in (open, openat) and fd.name startswith FOLDER/ordinary
  output: opened %fd.name
  priority: NOTICE
";

const ROUTING: &str = "[[route]]\nto = [\"file\"]\n[destination.file]\ntype = \"archive\"\n";

/// The sensor with rules of our own, and a router that can be killed.
struct Stage {
    folder: TempDir,
    router: Option<Process>,
    sensor: Process,
    metrics: SocketAddr,
    _kernel: MutexGuard<'static, ()>,
}

/// The sensor's side of the equation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Balance {
    made: u64,
    acknowledged: u64,
    dropped: u64,
    queued: u64,
}

impl Stage {
    async fn start(queue_bytes: u64) -> Option<Self> {
        if !can_watch() {
            return None;
        }
        let kernel = kernel().await;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("rules.yaml"), RULES.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
        std::fs::write(path("routing.toml"), ROUTING).unwrap();
        let router = router_process(folder.path()).await.0;
        let metrics = free_address();
        let mut command = Command::new(binary("tercel-sensor"));
        command.arg("run").arg("--rules").arg(path("rules.yaml")).arg("--metrics").arg(metrics.to_string());
        command.arg("--output").arg(format!("unix:{}", path("router.sock").display()));
        command.env("TERCEL_SENSOR_QUEUE_BYTES", queue_bytes.to_string());
        let mut sensor = Process::start(&mut command);
        sensor.ready(metrics).await;
        Some(Self { folder, router: Some(router), sensor, metrics, _kernel: kernel })
    }

    fn kill_router(&mut self) {
        let router = self.router.take().expect("the router runs");
        router.signal(Signal::KILL);
        drop(router);
    }

    async fn restart_router(&mut self) {
        self.router = Some(router_process(self.folder.path()).await.0);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// # Panics
    /// Where the equation does not hold; it must at every scrape.
    async fn balance(&self) -> Balance {
        let scrape = scrape(self.metrics).await;
        let balance = Balance::of(&scrape);
        assert_eq!(balance.made, balance.acknowledged + balance.dropped + balance.queued, "{scrape}");
        balance
    }

    /// Waits until nothing is queued.
    async fn settled(&self) -> Balance {
        eventually("the sensor has got rid of its alerts", CATCH_UP, async || {
            let balance = self.balance().await;
            if balance.queued == 0 { Ok(balance) } else { Err(format!("{balance:?}\n{}", self.sensor.stderr())) }
        })
        .await
    }

    /// The files that the archive's alerts are about, in its order, each once: an answer that the kill cut off is asked for
    /// again.
    fn archived(&self) -> (Vec<String>, usize) {
        let text = std::fs::read_to_string(self.file("state/archive/alerts.ndjson")).unwrap_or_default();
        let (mut seen, mut files) = (BTreeSet::new(), Vec::new());
        // A line that the kill cut in half is no alert; it comes again.
        let alerts = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut lines = 0;
        for alert in alerts {
            lines += 1;
            if seen.insert(alert["uuid"].to_string()) {
                files.push(alert["output_fields"]["fd.name"].as_str().unwrap().to_owned());
            }
        }
        (files, lines)
    }

    /// Waits until as many different alerts lie in the archive.
    async fn archived_in_all(&self, count: u64) -> Vec<String> {
        eventually("all alerts are in the archive", CATCH_UP, async || {
            let (files, _) = self.archived();
            if files.len() as u64 >= count { Ok(files) } else { Err(format!("{} of {count}", files.len())) }
        })
        .await
    }
}

impl Balance {
    fn of(scrape: &Metrics) -> Self {
        let sum = |name: &str| scrape.sum(&format!("tercel_sensor_{name}"), &[]);
        Self {
            made: sum("alerts_made_total"),
            acknowledged: sum("alerts_acknowledged_total"),
            dropped: sum("alerts_dropped_total"),
            queued: sum("alerts_queued"),
        }
    }
}

/// Opens files of this name and a number, which need not be there, until it is told to stop.
fn open_until(prefix: &Path, pause: Duration, opened: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let number = opened.fetch_add(1, Ordering::Relaxed);
        File::open(format!("{}{number}", prefix.display())).unwrap_err();
        std::thread::sleep(pause);
    }
}

fn down() -> Duration {
    let seconds = std::env::var(DOWN_VARIABLE).ok();
    seconds.map_or(DOWN_DEFAULT, |text| Duration::from_secs(text.parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_is_killed_under_load_and_away_for_long_costs_no_alert() {
    let Some(mut stage) = Stage::start(ROOMY_BYTES).await else { return };
    let (opened, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let prefix = stage.file("ordinary");
    let mut most_queued = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| open_until(&prefix, PAUSE, &opened, &stop));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                sleep(Duration::from_secs(1)).await;
                stage.kill_router();
                let start = Instant::now();
                while start.elapsed() < down() {
                    most_queued = most_queued.max(stage.balance().await.queued);
                    sleep(Duration::from_millis(100)).await;
                }
                stage.restart_router().await;
                sleep(Duration::from_secs(1)).await;
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
    let opened = opened.load(Ordering::Relaxed);
    eventually("every open is an alert", CATCH_UP, async || {
        let made = stage.balance().await.made;
        if made == opened {
            return Ok(());
        }
        Err(format!("{made} alerts of {opened} opens; {}", losses(stage.metrics).await))
    })
    .await;
    let balance = stage.settled().await;
    assert_eq!((balance.acknowledged, balance.dropped), (opened, 0));
    assert!(most_queued > 10 * down().as_secs(), "{most_queued} were queued at most: that was no load");
    let files = stage.archived_in_all(opened).await;
    let arrived: BTreeSet<_> = files.into_iter().collect();
    let missing: Vec<_> =
        (0..opened).filter(|number| !arrived.contains(&format!("{}{number}", prefix.display()))).collect();
    assert!(missing.is_empty(), "lost on the way: {missing:?}");
    println!("down {:?}: {opened} made, {most_queued} queued at most", down());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_stays_away_costs_exactly_what_is_counted_and_the_urgent_last() {
    let Some(mut stage) = Stage::start(TIGHT_BYTES).await else { return };
    stage.kill_router();
    let open = |name: &str, count: u64| {
        let prefix = stage.file(name);
        (0..count).for_each(|number| drop(File::open(format!("{}{number}", prefix.display())).unwrap_err()));
    };
    open("ordinary", 1_000);
    let after_ordinary = made(&stage, 1_000).await;
    assert!(after_ordinary.dropped > 0 && after_ordinary.queued > 0, "{after_ordinary:?}");
    open("urgent", 20);
    let with_urgent = made(&stage, 1_020).await;
    assert_eq!(with_urgent.dropped, after_ordinary.dropped, "room is kept for the urgent");
    open("urgent", 1_000);
    let full = made(&stage, 2_020).await;
    let scrape = scrape(stage.metrics).await;
    assert!(full.dropped > with_urgent.dropped && full.acknowledged == 0, "{full:?}");
    assert_eq!(full.dropped, scrape.sum("tercel_sensor_alerts_dropped_total", &[("reason", "queue_full")]));
    assert_eq!(full.dropped, 2_020 - full.queued);
    assert!(scrape.sum("tercel_sensor_queue_bytes", &[]) <= TIGHT_BYTES);
    assert_eq!(scrape.sum("tercel_sensor_queue_bytes_max", &[]), TIGHT_BYTES);

    stage.restart_router().await;
    let balance = stage.settled().await;
    assert_eq!((balance.acknowledged, balance.dropped), (full.queued, full.dropped));
    let files = stage.archived_in_all(full.queued).await;
    assert_eq!(files.len() as u64, full.queued, "what was dropped is gone, what was kept is there once");
    let kept = |name: &str| files.iter().filter(|file| file.contains(name)).count() as u64;
    assert_eq!((kept("ordinary"), kept("urgent")), (after_ordinary.queued, full.queued - after_ordinary.queued));
    println!("{} made, {} dropped, {} arrived", balance.made, balance.dropped, balance.acknowledged);
}

/// Waits until as many alerts have been made, and gives the balance then.
async fn made(stage: &Stage, count: u64) -> Balance {
    eventually("every open is an alert", CATCH_UP, async || {
        let balance = stage.balance().await;
        if balance.made == count {
            return Ok(balance);
        }
        let lost = losses(stage.metrics).await;
        Err(format!("{balance:?}; {lost}\n{}", stage.sensor.stderr()))
    })
    .await
}
