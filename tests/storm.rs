//! As many opens and programs as two CPUs make, beside a table of thousands of processes: nothing is lost without being
//! counted, and who started whom is right.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Crowd, Metrics, SOON, Station, can_watch, eventually, own_name};

/// Per cent of the full storm; 100 in the soak.
const VARIABLE: &str = "TERCEL_TEST_STORM_PERCENT";
const PERCENT: u64 = 10;

/// The full storm. A pair is two programs.
const OPENS: u64 = 2_000_000;
const PAIRS: u64 = 1_500;
const CROWD: u64 = 10_000;

/// The storm that is to be too much, the smallest ring that there is, and what surely fills it.
const OPENS_TOO_MUCH: u64 = 300_000;
const PAIRS_TOO_MUCH: u64 = 150;
const RING_BYTES_MIN: &str = "65536";
const OPENS_TO_FILL: &str = "2000";
const PAIRS_TO_FILL: &str = "40";

/// The opens' access mode is nobody's but the storm's: see `workload/storm.rs`. They go through every rule and match none.
const RULES: &str = r"
- rule: Storm open
  desc: d
  condition: evt.type = openat and evt.is_open_read = false and evt.is_open_write = false and fd.name = FOLDER/nothing
  output: opened %fd.name
  priority: NOTICE
- rule: Storm program
  desc: d
  condition: evt.type in (execve, execveat) and proc.exe startswith FOLDER/
  output: '%proc.name of %proc.pname of %proc.aname[2] of %proc.aname[3], %proc.pid by %proc.ppid'
  priority: NOTICE
";

fn percent() -> u64 {
    std::env::var(VARIABLE).map_or(PERCENT, |text| text.parse().unwrap())
}

#[tokio::test]
async fn a_storm_beside_thousands_of_processes_is_read_or_counted_and_every_lineage_is_right() {
    if !can_watch() {
        return;
    }
    let [opens, pairs, crowd] = [OPENS, PAIRS, CROWD].map(|full| full * percent() / 100);
    let crowd = Crowd::gather(crowd.try_into().unwrap());
    let Some(station) = Station::start(RULES, &[]).await else { return };
    station.prepare_pairs(pairs);
    let (before, used_before) = (station.metrics().await, station.usage());
    let made = station.work("storm", &["--opens", &opens.to_string(), "--pairs", &pairs.to_string()]);
    let after = station.accounted().await;
    check_opens(opens + station.touches(), &before, &after);
    let programs = Programs::of(&station, pairs);
    programs.check(&after);

    let log = station.log();
    let scan = log.lines().find(|line| line.contains("were running")).unwrap_or_default();
    let [worker, loader] = station.usage();
    println!("storm: {}, beside {} processes", String::from_utf8_lossy(&made.stdout).trim(), crowd.size);
    println!(
        "  {scan}\n  {:?}, of them: open {:?}, exec {:?}",
        after.account(None),
        after.account(Some("open")),
        after.account(Some("exec"))
    );
    println!(
        "  {}; programs without an alert {}, with unknown ancestors {}",
        after.losses(),
        programs.missing.len(),
        programs.unknown.len()
    );
    println!(
        "  worker {:.1} MiB before, {:.1} MiB behind it, loader {:.1} MiB; worker {:.2} s of CPU",
        used_before[0].resident_mib(),
        worker.resident_mib(),
        loader.resident_mib(),
        worker.cpu_s - used_before[0].cpu_s
    );
}

#[tokio::test]
async fn the_smallest_ring_loses_what_is_counted_to_the_last_open() {
    let Some(station) = Station::start(RULES, &[("TERCEL_SENSOR_RING_BYTES", RING_BYTES_MIN)]).await else { return };
    station.prepare_pairs(PAIRS_TOO_MUCH);
    let before = station.metrics().await;
    let [opens, pairs] = [OPENS_TOO_MUCH, PAIRS_TOO_MUCH].map(|count| count.to_string());
    station.work("storm", &["--opens", &opens, "--pairs", &pairs]);
    let after = station.accounted().await;
    assert!(after.account(Some("open")).dropped > 0, "the ring holds some 200 opens; {}", after.losses());
    check_opens(OPENS_TOO_MUCH + station.touches(), &before, &after);
    let programs = Programs::of(&station, PAIRS_TOO_MUCH);
    programs.check(&after);
    println!("smallest ring: {}", after.losses());
    let Programs { missing, unknown, wrong } = programs;
    println!(
        "  programs without an alert {}, with unknown ancestors {}, with what they were {}",
        missing.len(),
        unknown.len(),
        wrong.len()
    );
    assert_eq!(after.sum("tercel_sensor_malformed_total", &[]), 0);
}

#[tokio::test]
async fn a_parent_whose_fork_and_exec_were_lost_is_known_to_its_children_by_its_name() {
    let Some(station) = Station::start(RULES, &[("TERCEL_SENSOR_RING_BYTES", RING_BYTES_MIN)]).await else { return };
    station.prepare_pairs(PAIRS_TO_FILL.parse().unwrap());
    let [sleeper, awake, _] = ["sleeper", "awake", "childless"].map(|name| station.actor(name));
    let start = |program| Command::new(program).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut known = start(sleeper);
    alert_of(&station, "sleeper").await;
    let before = station.metrics().await;

    // Held up, it reads nothing, and what follows finds the ring full.
    station.signal(Signal::STOP);
    station.work("storm", &["--opens", OPENS_TO_FILL, "--pairs", PAIRS_TO_FILL]);
    wake(&known);
    let mut unknown = start(awake);
    for parent in [&known, &unknown] {
        is_called(parent.id(), "awake").await;
    }
    station.signal(Signal::CONT);
    let after = station.accounted().await;
    for kind in ["exec", "fork"] {
        let [before, after] = [&before, &after].map(|metrics| metrics.account(Some(kind)).dropped);
        assert!(after > before, "no {kind} was lost");
    }

    for parent in [&mut known, &mut unknown] {
        wake(parent);
        let child = alert_by(&station, parent.id()).await;
        wake(parent);
        assert!(parent.wait().unwrap().success());
        assert_eq!(
            lineage(&child),
            ("childless".to_owned(), [&json!("awake"), &json!(own_name()), &child["output_fields"]["proc.aname[3]"]])
        );
    }
}

/// A line on standard input.
fn wake(parent: &Child) {
    let mut input = parent.stdin.as_ref().unwrap();
    input.write_all(b"\n").unwrap();
}

/// Waits for the alert of a program of this name.
async fn alert_of(station: &Station, name: &str) -> Value {
    let is_wanted = |alert: &Value| alert["output_fields"]["proc.name"] == name;
    wait_for(station, name, is_wanted).await
}

/// Waits for the alert of a child of this process.
async fn alert_by(station: &Station, parent: u32) -> Value {
    wait_for(station, "a child", |alert| alert["output_fields"]["proc.ppid"] == parent).await
}

async fn wait_for(station: &Station, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("the alert of {what}"), SOON, async || {
        let alerts = station.alerts("Storm program");
        let found = alerts.iter().find(|alert| is_wanted(alert)).cloned();
        let losses = station.metrics().await.losses();
        found.ok_or_else(|| format!("{} alerts; {losses}", alerts.len()))
    })
    .await
}

async fn is_called(pid: u32, name: &str) {
    eventually(&format!("process {pid} is {name}"), SOON, async || {
        let found = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        if found.trim_end() == name { Ok(()) } else { Err(found) }
    })
    .await;
}

/// What was said of the programs of these pairs, each of which ran once.
#[derive(Debug, Default)]
struct Programs {
    /// No alert: they were lost.
    missing: Vec<String>,
    /// Ancestors that are not known: their records were lost, and they were gone when they were looked up.
    unknown: Vec<String>,
    /// Another ancestor than the real one.
    wrong: Vec<String>,
}

impl Programs {
    fn of(station: &Station, pairs: u64) -> Self {
        let mut by_name: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for alert in station.alerts("Storm program") {
            by_name.entry(lineage(&alert).0).or_default().push(alert);
        }
        let mut programs = Self::default();
        for name in (0..pairs).flat_map(|pair| [format!("parent{pair}"), format!("child{pair}")]) {
            match by_name.get(&name).map(Vec::as_slice) {
                None => programs.missing.push(name),
                Some([alert]) => programs.add(alert),
                Some(alerts) => programs.wrong.push(format!("{name} ran once, and there are {} alerts", alerts.len())),
            }
        }
        programs
    }

    fn add(&mut self, alert: &Value) {
        let (name, found) = lineage(alert);
        let parent = name.strip_prefix("child").map(|number| format!("parent{number}"));
        let expected = parent.into_iter().chain(["workload".to_owned(), own_name()]);
        let differ: Vec<_> = found.iter().zip(expected).filter(|(found, expected)| **found != expected).collect();
        if differ.iter().any(|(found, _)| !found.is_null()) {
            self.wrong.push(format!("{name} of {found:?}"));
        } else if !differ.is_empty() {
            self.unknown.push(name);
        }
    }

    /// Every lineage must be right, unless forks and execs were lost: then ancestors that were gone when they were looked up
    /// are unknown, or known by what they were before their exec, each lost exec being one such at most.
    #[track_caller]
    fn check(&self, metrics: &Metrics) {
        let losses = metrics.losses();
        let lost = |kind| metrics.account(Some(kind)).dropped;
        let skipped = |program| metrics.sum("tercel_sensor_recursion_misses_total", &[("program", program)]);
        let (lost_execs, lost_forks) = (lost("exec") + skipped("process_exec"), lost("fork") + skipped("process_fork"));
        assert!(self.missing.len() as u64 <= lost_execs, "more than were lost: {:?}; {losses}", self.missing);
        assert!(self.unknown.is_empty() || lost_execs + lost_forks > 0, "{:?} without a loss; {losses}", self.unknown);
        assert!(self.wrong.len() as u64 <= lost_execs, "more than were lost: {:?}; {losses}", self.wrong);
    }
}

/// (`proc.name`, its ancestors) of an alert.
fn lineage(alert: &Value) -> (String, [&Value; 3]) {
    let fields = &alert["output_fields"];
    let ancestors = ["proc.pname", "proc.aname[2]", "proc.aname[3]"].map(|field| &fields[field]);
    (fields["proc.name"].as_str().unwrap_or_default().to_owned(), ancestors)
}

/// How many of the storm's opens the kernel side saw is exact, unless the kernel itself skipped programs or the entry point was
/// changed meanwhile, and then within those numbers.
#[track_caller]
fn check_opens(made: u64, before: &Metrics, after: &Metrics) {
    let [before_opens, opens] = [before, after].map(|metrics| metrics.account(Some("open")));
    let skipped = after.sum("tercel_sensor_recursion_misses_total", &[("program", "sys_exit")]);
    let switches = after.sum("tercel_sensor_entry_switches_total", &[]);
    let seen = opens.seen - before_opens.seen;
    assert_eq!(opens.seen, opens.read + opens.dropped, "{opens:?}");
    if skipped == 0 && switches == 0 {
        assert_eq!(seen, made, "opens made and opens seen; {opens:?}");
    } else {
        assert!(seen + skipped >= made, "{made} made, {seen} seen, {skipped} skipped by the kernel; {opens:?}");
    }
}
