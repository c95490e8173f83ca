//! What the sensor adds to one openat and close of a file that no rule is about.

use std::time::Instant;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::processes::{Program, shipped_rules};
use crate::statistics::Series;

const FILE: &str = "/etc/hostname";
const METRICS: &str = "127.0.0.1:23803";

pub(crate) async fn run(opens: u64, rounds: u64) -> anyhow::Result<()> {
    let opens_per_round = opens / rounds;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut totals = Totals::default();
    for _ in 0..rounds {
        without.push(nanoseconds_per_open(opens_per_round)?);
        let sensor = start_sensor().await?;
        let before = sensor.metric("tercel_sensor_kernel_seen_total").await?;
        with.push(nanoseconds_per_open(opens_per_round)?);
        // The reader polls: what is in the ring now is counted a few milliseconds later.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        totals.events += sensor.metric("tercel_sensor_kernel_seen_total").await? - before;
        totals.dropped += sensor.metric("tercel_sensor_dropped_total").await?;
        totals.skipped += sensor.metric("tercel_sensor_recursion_misses_total").await?;
        totals.resident_mib = sensor.resident_mib()?;
        sensor.stop()?;
    }
    report(opens, rounds, &Series::new(without), &Series::new(with), &totals);
    Ok(())
}

#[derive(Default)]
struct Totals {
    events: f64,
    dropped: f64,
    skipped: f64,
    resident_mib: f64,
}

/// The sensor runs on another CPU than the opening loop, where there is one.
async fn start_sensor() -> anyhow::Result<Program> {
    let rules = shipped_rules();
    let rules = rules.to_string_lossy();
    let arguments = ["run", "--rules", &rules, "--output", "stdout", "--metrics", METRICS];
    let sensor = Program::start("tercel-sensor", &arguments, METRICS).await?;
    Ok(sensor)
}

/// Mean over one loop on the first CPU.
fn nanoseconds_per_open(opens: u64) -> anyhow::Result<f64> {
    let all = rustix::thread::sched_getaffinity(None)?;
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first)?;
    let begun = Instant::now();
    for _ in 0..opens {
        drop(rustix::fs::openat(CWD, FILE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
    }
    let taken = begun.elapsed();
    sched_setaffinity(None, &all)?;
    Ok(taken.as_nanos() as f64 / opens as f64)
}

fn report(opens: u64, rounds: u64, without: &Series, with: &Series, totals: &Totals) {
    println!(
        "openat + close of {FILE}, {opens} times with and {opens} without the sensor, {rounds} alternating rounds"
    );
    for (name, series) in [("without", without), ("with", with)] {
        println!(
            "  {name:<8} min {:>6.0} ns  median {:>6.0} ns  max {:>6.0} ns",
            series.min(),
            series.median(),
            series.max()
        );
    }
    println!("  ratio    min {:.2}  median {:.2}", with.min() / without.min(), with.median() / without.median());
    println!(
        "  events seen {:.0}, dropped {:.0}, skipped by the kernel {:.0}",
        totals.events, totals.dropped, totals.skipped
    );
    println!("  sensor resident {:.1} MiB", totals.resident_mib);
}
