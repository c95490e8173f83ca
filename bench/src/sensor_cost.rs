//! What the sensor costs: what it adds to the calls of others, and what it takes for itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::processes::{CpuTime, Program, shipped_rules};
use crate::statistics::Series;
use crate::workloads::{self, FILE, Pinned, Workload};

const METRICS: &str = "127.0.0.1:23803";

/// Slices of each workload in a round.
const SLICES: usize = 20;

/// Between two slices, for the sensor to catch up: with a full ring calls get cheaper.
const PAUSE: Duration = Duration::from_millis(5);

/// The reader polls: what is in the ring now is counted a little later, and what it counted is shown once a second.
const SETTLE: Duration = Duration::from_millis(200);

/// Once a round would be too often for what it says of the rules.
const QUIET: (&str, &str) = ("TERCEL_SENSOR_LOG", "error");

/// Has the sensor report every open.
const ALL_OPENS: (&str, &str) = ("TERCEL_SENSOR_FILTER_OPENS", "false");

/// `rules`: none means the upstream stable ones where they lie beside the workspace, and the shipped ones elsewhere.
pub(crate) async fn run(rules: &[PathBuf], rounds: u64) -> anyhow::Result<()> {
    let bench = Bench::new(rules)?;
    let mut figures = Figures::default();
    for _ in 0..rounds {
        figures.without.extend(bench.slices(&Workload::ALL)?);
        bench.with_sensor(&[QUIET], &Workload::ALL, &mut figures.with).await?;
        bench.with_sensor(&[QUIET, ALL_OPENS], &[Workload::OpenClose], &mut figures.all_opens).await?;
    }
    bench.report(rounds, &figures);
    Ok(())
}

/// Nanoseconds of a call, one for each slice.
type Samples = Vec<(Workload, f64)>;

#[derive(Default)]
struct Figures {
    without: Samples,
    with: WithSensor,
    /// Without the kernel's filter.
    all_opens: WithSensor,
}

/// Sums over all rounds, and what is told of each.
#[derive(Default)]
struct WithSensor {
    samples: Samples,
    seen: f64,
    taken: f64,
    filtered: f64,
    dropped: f64,
    skipped: f64,
    alerts: f64,
    cpu: CpuTime,
    ready_ms: Vec<f64>,
    /// Of both of its processes, as what follows.
    resident_mib: Vec<f64>,
    proportional_mib: Vec<f64>,
    anonymous_mib: Vec<f64>,
}

struct Bench {
    rules: Vec<PathBuf>,
    cpu: usize,
    cpu_of_sensor: usize,
    closed_port: SocketAddr,
}

impl Bench {
    fn new(rules: &[PathBuf]) -> anyhow::Result<Self> {
        let upstream =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/falco-rules/falco_rules.yaml");
        let rules = match rules {
            [] if upstream.is_file() => vec![upstream],
            [] => vec![shipped_rules()],
            given => given.to_vec(),
        };
        let (cpu, cpu_of_sensor) = workloads::first_and_last_cpu()?;
        Ok(Self { rules, cpu, cpu_of_sensor, closed_port: workloads::closed_port()? })
    }

    /// One round of these workloads, slice by slice.
    fn slices(&self, workloads: &[Workload]) -> anyhow::Result<Samples> {
        let _pinned = Pinned::to(self.cpu)?.first_of_all();
        let mut samples = Samples::new();
        for workload in workloads.iter().flat_map(|workload| std::iter::repeat_n(*workload, SLICES)) {
            samples.push((workload, workload.measure(self.closed_port)?));
            std::thread::sleep(PAUSE);
        }
        Ok(samples)
    }

    async fn with_sensor(
        &self,
        settings: &[(&str, &str)],
        workloads: &[Workload],
        sums: &mut WithSensor,
    ) -> anyhow::Result<()> {
        let sensor = self.start_sensor(settings).await?;
        sums.ready_ms.push(sensor.start.as_secs_f64() * 1_000.0);
        let (cpu, taken) = (sensor.cpu_time()?, sensor.metric("tercel_sensor_events_total").await?);
        sums.samples.extend(self.slices(workloads)?);
        tokio::time::sleep(SETTLE).await;
        sums.cpu += sensor.cpu_time()? - cpu;
        sums.taken += sensor.metric("tercel_sensor_events_total").await? - taken;
        sums.seen += sensor.metric("tercel_sensor_kernel_seen_total").await?;
        sums.filtered += sensor.metric("tercel_sensor_filtered_opens_total").await?;
        sums.dropped += sensor.metric("tercel_sensor_dropped_total").await?;
        sums.skipped += sensor.metric("tercel_sensor_recursion_misses_total").await?;
        sums.alerts += sensor.metric("tercel_sensor_alerts_total").await?;
        sums.resident_mib.push(sensor.resident_mib("Rss")?);
        sums.proportional_mib.push(sensor.resident_mib("Pss")?);
        sums.anonymous_mib.push(sensor.resident_mib("Anonymous")?);
        sensor.stop()
    }

    async fn start_sensor(&self, settings: &[(&str, &str)]) -> anyhow::Result<Program> {
        let _pinned = Pinned::to(self.cpu_of_sensor)?.first_of_all();
        let rules: Vec<_> = self.rules.iter().map(|path| path.to_string_lossy()).collect();
        let mut arguments = vec!["run", "--output", "stdout", "--metrics", METRICS];
        arguments.extend(rules.iter().flat_map(|path| ["--rules", path]));
        Program::start("tercel-sensor", &arguments, settings, METRICS).await
    }

    fn report(&self, rounds: u64, figures: &Figures) {
        let names: Vec<_> = self.rules.iter().map(|path| path.display().to_string()).collect();
        println!("rules of {}", names.join(", "));
        println!(
            "{rounds} rounds, each without and with the sensor, of {SLICES} slices of each workload; calls on CPU {}, sensor on CPU {}",
            self.cpu, self.cpu_of_sensor
        );
        let Figures { without, with, all_opens } = figures;
        println!("  {:<42} {:^19}  {:^19}  {:^13}", "ns for one, min and median", "without", "with", "ratio");
        compare(&format!("openat + close of {FILE}, as ruled"), Workload::OpenClose, without, &with.samples);
        compare("the same, every open reported", Workload::OpenClose, without, &all_opens.samples);
        compare("getpid", Workload::GetPid, without, &with.samples);
        compare("fork + exec + wait of /bin/true", Workload::Exec, without, &with.samples);
        compare("connect to a closed port", Workload::Connect, without, &with.samples);
        with.report("as ruled");
        all_opens.report("every open reported");
    }
}

fn compare(name: &str, workload: Workload, without: &Samples, with: &Samples) {
    let series = |samples: &Samples| {
        Series::new(samples.iter().filter(|(measured, _)| *measured == workload).map(|(_, ns)| *ns).collect())
    };
    let (without, with) = (series(without), series(with));
    println!(
        "  {name:<42} {:>9.0} {:>9.0}  {:>9.0} {:>9.0}  {:>6.2} {:>6.2}",
        without.min(),
        without.median(),
        with.min(),
        with.median(),
        with.min() / without.min(),
        with.median() / without.median()
    );
}

impl WithSensor {
    fn report(&self, name: &str) {
        println!("{name}:");
        println!(
            "  events seen {:.0}, opens filtered {:.0}, dropped {:.0}, skipped by the kernel {:.0}, alerts {:.0}",
            self.seen, self.filtered, self.dropped, self.skipped, self.alerts
        );
        println!(
            "  the sensor's CPU time for one of {:.0} events, its idle looks at the ring included: user {:.2} µs, system {:.2} µs",
            self.taken,
            self.cpu.user_s * 1e6 / self.taken,
            self.cpu.system_s * 1e6 / self.taken
        );
        let [ready, resident, proportional, anonymous] =
            [&self.ready_ms, &self.resident_mib, &self.proportional_mib, &self.anonymous_mib]
                .map(|values| Series::new(values.clone()));
        println!("  ready after {:.0} ms (median {:.0} ms)", ready.min(), ready.median());
        println!(
            "  resident {:.1} MiB, what is shared counted by its share {:.1} MiB, anonymous {:.1} MiB (medians of worker and loader together)",
            resident.median(),
            proportional.median(),
            anonymous.median()
        );
    }
}
