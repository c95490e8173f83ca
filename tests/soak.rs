//! A mixed load for a long time, on both programs as they are: memory stays flat, every table within its bound, every event and
//! every alert accounted for.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tercel_sensor::enrich::process::PROCESSES_MAX;
use tercel_sensor::enrich::socket::SOCKETS_MAX;
use tokio::time::{Instant, sleep};

use crate::harness::{Metrics, Station, Usage, eventually, router_process, scrape, work, workload};

/// Seconds of load; 1,800 in the soak.
const VARIABLE: &str = "TERCEL_TEST_SOAK_S";
const LOAD: Duration = Duration::from_secs(10);

/// Between two looks at memory and metrics.
const LOOK: Duration = Duration::from_secs(1);

/// Share of the load after which the sensor's tables are as full as they get: a process that ended is remembered for 30 s, the
/// sockets are filled up beforehand. The router remembers ids for 15 minutes.
const WARM_UP_SHARE: u32 = 3;
const ROUTER_WARM_UP: Duration = Duration::from_mins(17);

/// A load that goes on for less than this after the warm-up says nothing of growth.
const JUDGED: Duration = Duration::from_secs(80);

/// By so much the most of the last third may be above the most of the first, after the warm-up: what allocators and lazily
/// mapped pages of the programs make of a load that is the same all the time.
const GROWTH_MIB_MAX: f64 = 3.0;

/// For the rest to be read, and to arrive.
const CATCH_UP: Duration = Duration::from_mins(1);

/// Beside the shipped ones, which the load gives little to say: what it does makes some hundred alerts a second. Those that fill the
/// table of sockets beforehand make none: all at once they are more than the queue holds.
const RULES: &str = r"
- rule: Mixed program
  desc: d
  condition: evt.type in (execve, execveat) and proc.exe startswith FOLDER/
  output: '%proc.name of %proc.pname %user.name'
  priority: NOTICE
- rule: Mixed rename
  desc: d
  condition: evt.type in (rename, renameat, renameat2) and evt.args contains FOLDER/
  output: '%evt.args %proc.name %user.name'
  priority: INFO
- rule: Mixed secret
  desc: d
  condition: evt.type in (open, openat) and fd.name = /etc/shadow and proc.name = mixer
  output: '%fd.name %proc.name %user.name'
  priority: CRITICAL
- rule: Mixed connection
  desc: d
  condition: evt.type in (connect, accept, accept4, sendto, recvfrom) and proc.name in (workload, mixer) and fd.sport = 9 and not proc.args startswith sockets
  output: '%fd.name %proc.name'
  priority: DEBUG
- rule: Mixed rights
  desc: d
  condition: evt.type in (setuid, setresuid) and proc.name = mixer
  output: '%evt.args %proc.name %user.name'
  priority: WARNING
";

const ROUTING: &str = "[[route]]\nto = [\"file\"]\n[destination.file]\ntype = \"archive\"\n";

/// When, in seconds from the begin of the load, and resident memory in MiB.
type Sample = (f64, f64);

/// Whose memory is looked at, and after how long it is judged at the earliest.
const SAMPLED: [(&str, Duration); 3] =
    [("worker", Duration::ZERO), ("loader", Duration::ZERO), ("router", ROUTER_WARM_UP)];

fn load() -> Duration {
    std::env::var(VARIABLE).map_or(LOAD, |text| Duration::from_secs(text.parse().unwrap()))
}

fn sensor_warm_up() -> Duration {
    load() / WARM_UP_SHARE
}

fn is_judged(warm_up: Duration) -> bool {
    load() >= warm_up + JUDGED
}

#[tokio::test]
async fn under_a_mixed_load_memory_stays_flat_tables_within_bounds_and_nothing_goes_missing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("routing.toml"), ROUTING).unwrap();
    let (router, admin) = router_process(folder.path()).await;
    let output = format!("unix:{}", folder.path().join("router.sock").display());
    let arguments = ["--rules", "rules", "--output", &output];
    let Some(station) = Station::start_with(RULES, &[], &arguments).await else { return };
    let used_before = station.usage();
    if is_judged(sensor_warm_up()) {
        work(&["sockets", "--count", &SOCKETS_MAX.to_string()]);
    }
    let mut load_process = start_load(&station, load());
    let (begun, mut samples) = (Instant::now(), SAMPLED.map(|_| Vec::new()));
    while load_process.try_wait().unwrap().is_none() {
        let [worker, loader] = station.usage();
        let router = Usage::of(router.pid()).expect("the router runs");
        for (samples, usage) in samples.iter_mut().zip([worker, loader, router]) {
            samples.push((begun.elapsed().as_secs_f64(), usage.resident_mib()));
        }
        check_bounds(&station.metrics().await);
        sleep(LOOK).await;
    }
    let status = load_process.wait().unwrap();
    assert!(status.success() && begun.elapsed() >= load(), "the load ended after {:?}: {status}", begun.elapsed());
    let used = station.usage();
    let metrics = station.accounted().await;
    let alerts = check_bounds(&metrics);
    assert!(alerts > 10 * load().as_secs(), "{alerts} alerts: that was no load");
    assert_eq!(metrics.sum("tercel_sensor_alerts_dropped_total", &[]), 0);
    eventually("the router has what the sensor made, and kept it", CATCH_UP, async || {
        let made = station.metrics().await.sum("tercel_sensor_alerts_made_total", &[]);
        let router = scrape(admin).await;
        router.conservation()?;
        let delivered = router.of("file", "delivered_total");
        if delivered == made { Ok(()) } else { Err(format!("{made} made, {delivered} delivered")) }
    })
    .await;

    println!(
        "mixed load of {:?}: {} events, {alerts} alerts; {}",
        load(),
        metrics.account(None).seen,
        metrics.losses()
    );
    let [processes, sockets] =
        ["processes", "sockets"].map(|table| metrics.sum(&format!("tercel_sensor_{table}"), &[]));
    println!("  at its end {processes} processes and {sockets} sockets were remembered");
    println!(
        "  CPU: worker {:.1} s, loader {:.1} s, router {:.1} s",
        used[0].cpu_s - used_before[0].cpu_s,
        used[1].cpu_s - used_before[1].cpu_s,
        Usage::of(router.pid()).unwrap().cpu_s
    );
    for ((name, warm_up), samples) in SAMPLED.into_iter().zip(&samples) {
        println!("  {name}: {}", check_growth(name, samples, warm_up.max(sensor_warm_up())));
    }
}

fn start_load(station: &Station, time: Duration) -> Child {
    station.actor("mixer");
    let mut command = Command::new(workload());
    command.arg("mix").arg("--folder").arg(station.folder()).arg("--seconds").arg(time.as_secs().to_string());
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// Every table is within its bound, and every alert is somewhere. Gives the alerts made.
#[track_caller]
fn check_bounds(metrics: &Metrics) -> u64 {
    let of = |name: &str| metrics.sum(&format!("tercel_sensor_{name}"), &[]);
    let bounds = [
        ("processes", PROCESSES_MAX as u64),
        ("sockets", SOCKETS_MAX.get() as u64),
        ("queue_bytes", of("queue_bytes_max")),
    ];
    for (table, bound) in bounds {
        assert!(of(table) <= bound, "{table}: {} of {bound}\n{metrics}", of(table));
    }
    let made = of("alerts_made_total");
    let becomes = ["alerts_acknowledged_total", "alerts_dropped_total", "alerts_queued"].map(of);
    assert_eq!(made, becomes.iter().sum::<u64>(), "{metrics}");
    made
}

/// The most of the last third after the warm-up is not above the most of the first. Gives both, in words.
#[track_caller]
fn check_growth(name: &str, samples: &[Sample], warm_up: Duration) -> String {
    let most = |samples: &[Sample]| samples.iter().map(|(_, mib)| *mib).fold(0.0, f64::max);
    let warm = &samples[samples.partition_point(|(at_s, _)| *at_s < warm_up.as_secs_f64())..];
    let third = warm.len() / 3;
    if third == 0 || !is_judged(warm_up) {
        return format!("{:.1} MiB at most; too short to judge growth", most(samples));
    }
    let (first, last) = (most(&warm[..third]), most(&warm[warm.len() - third..]));
    assert!(last <= first + GROWTH_MIB_MAX, "{name} grew: {samples:.1?}");
    format!("{first:.1} MiB at most in the first third, {last:.1} MiB in the last, {:+.2} MiB/h", slope(warm))
}

/// Of the line that fits best; MiB in an hour.
fn slope(samples: &[Sample]) -> f64 {
    let count = f64::from(u32::try_from(samples.len()).unwrap());
    let middle_x = samples.iter().map(|(at_s, _)| at_s).sum::<f64>() / count;
    let middle_y = samples.iter().map(|(_, mib)| mib).sum::<f64>() / count;
    let over: f64 = samples.iter().map(|(at_s, mib)| (at_s - middle_x) * (mib - middle_y)).sum();
    let under: f64 = samples.iter().map(|(at_s, _)| (at_s - middle_x).powi(2)).sum();
    over / under * 3_600.0
}

#[test]
fn a_line_that_rises_by_one_a_second_rises_by_3600_an_hour() {
    let seconds = || (0_u32..100).map(f64::from);
    let rising: Vec<_> = seconds().map(|at_s| (at_s, at_s)).collect();
    assert!((slope(&rising) - 3_600.0).abs() < 1e-6);
    let flat: Vec<_> = seconds().map(|at_s| (at_s, 5.0)).collect();
    assert!(slope(&flat).abs() < 1e-6);
}
