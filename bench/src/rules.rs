//! What rules cost: records of the real kernel, taken while ordinary programs run, judged over and over.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jiff::tz::TimeZone;
use tercel_filter::Scratch;
use tercel_sensor::detect::{Detector, Rule};
use tercel_sensor::enrich::State;
use tercel_sensor::event::{self, Event, EventType};
use tercel_sensor::fields::SensorCatalog;
use tercel_sensor::ring::Record;
use tercel_sensor::{kernel, rules};
use tercel_sensor_abi::Control;

use crate::processes::shipped_rules;
use crate::statistics::Series;

/// Evaluations of one event that are timed together: the clock takes some 20 ns itself.
const REPETITIONS: u32 = 32;

/// Times the rules are loaded.
const LOADS: usize = 20;

/// What programs do all day: look around, read, start one another, load modules, ask for names. One line of it reads what
/// only few may read, so that there is an alert to be written.
const WORKLOAD: &str = "
    ls -R /usr/share/doc
    find /usr/share/doc -name copyright -exec head -n 1 {} +
    for name in one two three four five six seven eight; do echo $name | grep -c e | sort; done
    command -v python3 && python3 -c 'import json, http.client, socket; socket.socket(type=socket.SOCK_DGRAM).connect((\"127.0.0.1\", 9))'
    command -v git && git --version
    command -v perl && perl -e 'use POSIX'
    getent hosts localhost
    cat /etc/shadow";

pub(crate) fn run(paths: &[PathBuf], records: usize) -> anyhow::Result<()> {
    let shipped = [shipped_rules()];
    let paths = if paths.is_empty() { &shipped } else { paths };
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    println!("rules of {}", names.join(", "));
    let loads = Series::new((0..LOADS).map(|_| load_ms(paths)).collect::<Result<_, _>>()?);
    println!("  load     min {:>7.1} ms  median {:>7.1} ms  max {:>7.1} ms", loads.min(), loads.median(), loads.max());
    let detector = load(paths)?;
    let (taken, state) = take_records(records)?;
    measure(&detector, &taken, &state)
}

fn load(paths: &[PathBuf]) -> anyhow::Result<Detector> {
    let refused = |problems: Vec<rules::Problem>| match problems.first() {
        Some(problem) => anyhow::anyhow!("{problem}"),
        None => anyhow::anyhow!("the rules do not load"),
    };
    let set = rules::load(paths, &SensorCatalog).map_err(refused)?;
    Detector::new(set).map_err(refused)
}

/// What is reported of the workload.
const REPORTED: [&str; 6] = ["open", "openat", "openat2", "creat", "connect", "execve"];

fn load_ms(paths: &[PathBuf]) -> anyhow::Result<f64> {
    let begun = Instant::now();
    black_box(load(paths)?);
    Ok(begun.elapsed().as_secs_f64() * 1_000.0)
}

/// Runs the workload again and again under the eyes of the kernel programs. The processes that ended stay known, as the
/// state is not told of them: their events can be judged afterwards.
fn take_records(wanted: usize) -> anyhow::Result<(Vec<Vec<u8>>, State)> {
    let mut kernel = kernel::load(kernel::Parameters::default())?;
    let mut ring = kernel.take_ring().context("the kernel programs have no ring")?;
    kernel.set_calls(&event::specs())?;
    let (interest, _) = event::interest(REPORTED.into_iter().filter_map(EventType::find));
    let flags = Control::KERNEL_PATH;
    kernel.set_control(&Control { interest, flags, opens_any_path: Control::OPENS_ALL, ..Control::default() })?;
    let mut state = State::new(Path::new("/etc/passwd"), Path::new("/etc/group"));
    state.seed();
    // A file of its own: the text would stand in the command lines of all that it starts.
    let mut script = tempfile::NamedTempFile::new()?;
    script.write_all(WORKLOAD.as_bytes())?;
    let mut taken = Vec::with_capacity(wanted);
    let deadline = Instant::now() + Duration::from_mins(1);
    while taken.len() < wanted {
        if Instant::now() > deadline {
            bail!("only {} of {wanted} records in a minute", taken.len());
        }
        let mut child = Command::new("sh").arg(script.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        loop {
            let drained = ring.drain(usize::MAX, |record| {
                if EventType::of(&record) != Some(EventType::PROCEXIT) {
                    state.apply(&record);
                }
                if taken.len() < wanted {
                    taken.push(record.bytes().to_vec());
                }
            });
            if drained == 0 && child.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    kernel.detach()?;
    Ok((taken, state))
}

/// Nanoseconds for one event, by what came of it.
#[derive(Default)]
struct Costs {
    making: Vec<f64>,
    judging: Vec<f64>,
    alerting: Vec<f64>,
    by_type: BTreeMap<&'static str, Vec<f64>>,
    allocations: u64,
    unknown: usize,
}

fn measure(detector: &Detector, records: &[Vec<u8>], state: &State) -> anyhow::Result<()> {
    let (lent, mut scratch) = (event::Scratch::default(), Scratch::new());
    let zone = TimeZone::system();
    let mut costs = Costs::default();
    for bytes in records {
        let record = Record::parse(bytes).context("a record that the ring took is not one")?;
        let make = || Event::new(1, 1_795_451_920_618_643_973, black_box(record), state, &lent);
        let Some(first) = make() else {
            costs.unknown += 1;
            continue;
        };
        let event_type = first.event_type.name();
        // The first time the event's own texts are put together, for a relative name by a look into /proc.
        let found = detector.matches(&first, &mut scratch).next();
        let again = allocation_counter::measure(|| _ = black_box(detector.matches(&first, &mut scratch).next()));
        costs.allocations += again.count_total;
        drop(first);
        costs.making.push(nanoseconds(|| drop(black_box(make()))));
        let judging = nanoseconds(|| judge(detector, make(), &mut scratch));
        match found {
            None => {
                costs.judging.push(judging);
                costs.by_type.entry(event_type).or_default().push(judging);
            }
            Some(_) => costs.alerting.push(nanoseconds(|| alert(detector, make(), &mut scratch, &zone))),
        }
    }
    report(costs);
    Ok(())
}

fn judge(detector: &Detector, event: Option<Event<'_>>, scratch: &mut Scratch) {
    if let Some(event) = event {
        black_box(detector.matches(&event, scratch).next());
    }
}

/// The same, and the alert as it leaves the sensor.
fn alert(detector: &Detector, event: Option<Event<'_>>, scratch: &mut Scratch, zone: &TimeZone) {
    let Some(event) = event else { return };
    let rule: Option<&Rule> = detector.matches(&event, scratch).next();
    if let Some(rule) = rule {
        black_box(serde_json::to_vec(&tercel_sensor::watch::alert(rule, &event, "node", zone)).ok());
    }
}

fn nanoseconds(mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..REPETITIONS {
        work();
    }
    begun.elapsed().as_nanos() as f64 / f64::from(REPETITIONS)
}

fn report(costs: Costs) {
    let mean = costs.judging.iter().sum::<f64>() / costs.judging.len().max(1) as f64;
    let counted = costs.judging.len() + costs.alerting.len();
    println!("{counted} events of the kernel, {} of processes that are not known", costs.unknown);
    line("made and not judged (floor)", costs.making);
    line("judged, no rule matches", costs.judging);
    for (name, series) in costs.by_type {
        line(&format!("  {name}"), series);
    }
    line("judged, matched, alert written", costs.alerting);
    println!("  {:.0} events a second and core, where no rule matches", 1e9 / mean.max(1.0));
    println!("  {} allocations in {counted} evaluations of events whose texts are made", costs.allocations);
}

fn line(name: &str, series: Vec<f64>) {
    let count = series.len();
    let series = Series::new(series);
    println!(
        "  {name:<31} {count:>6} events  median {:>6.0} ns  p90 {:>6.0} ns  p99 {:>6.0} ns",
        series.median(),
        series.quantile(0.9),
        series.quantile(0.99)
    );
}
