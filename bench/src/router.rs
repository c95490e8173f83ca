//! How many alerts a second the router takes and delivers, how long an alert takes through it, and beside it in the same
//! run what a server takes that only reads and parses, and what a bare client delivers.

mod alerts;
mod load;
mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::processes::{CpuTime, Program};
use crate::statistics::Series;
use alerts::{Keys, batches};
use load::{id, post_all, post_steadily};
use server::Receiver;

pub(crate) use server::parse_only;

const LISTEN: &str = "127.0.0.1:23801";
const ADMIN: &str = "127.0.0.1:23802";
const FLOOR: &str = "127.0.0.1:23804";

/// Alerts of one request, and requests at once.
const BATCH: usize = 100;
const CONNECTIONS: usize = 8;

/// A webhook gets one alert in a request, which takes longer: so many times fewer are sent.
const FEWER_TO_WEBHOOK: usize = 4;

/// What the router has on its way to a webhook at once.
const WEBHOOK_CONNECTIONS: usize = 8;

/// For an alert's way through the router: a steady, light load.
const STEADY_ALERTS: usize = 1_000;
const STEADY_PERIOD: Duration = Duration::from_millis(4);

/// Longest wait for what was acknowledged to be delivered.
const DELIVERED_MAX: Duration = Duration::from_mins(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Null,
    Webhook,
}

/// A router as it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setup {
    target: Target,
    fsync: bool,
    keys: Keys,
}

/// One measurement of alerts taken as fast as they come.
#[derive(Debug, Default, Clone, Copy)]
struct Sample {
    /// For one alert, from the first byte sent to the last delivery.
    wall_us: f64,
    /// CPU time of the process for one alert; 0 for what runs in this one.
    cpu_us: f64,
    peak_mib: f64,
}

/// Milliseconds from the request to the answer, and to the body at the webhook.
#[derive(Default)]
struct Latencies {
    acknowledged: Vec<f64>,
    delivered: Vec<f64>,
}

/// `alerts`: of one measurement. `only`: what the names of the measured have in them.
pub(crate) async fn run(alerts: usize, rounds: usize, only: &str) -> anyhow::Result<()> {
    let setups: Vec<_> = setups().into_iter().filter(|setup| setup.name().contains(only)).collect();
    ensure!(
        !setups.is_empty(),
        "--only {only:?}: no measurement has this in its name, as `null, no fsync, 1 rule` has"
    );
    let mut floors = [Vec::new(), Vec::new()];
    let mut samples = vec![Vec::new(); setups.len()];
    let mut latencies: Vec<Latencies> = Vec::new();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        floors[0].push(parse_floor(alerts).await?);
        floors[1].push(client_floor(alerts / FEWER_TO_WEBHOOK).await?);
        for (setup, samples) in setups.iter().zip(&mut samples) {
            samples.push(setup.measure(alerts).await?);
        }
        for (index, fsync) in [false, true].into_iter().enumerate() {
            latencies.resize_with(latencies.len().max(index + 1), Latencies::default);
            steady(fsync, &mut latencies[index]).await?;
        }
    }
    report(alerts, rounds, &floors, &setups, &samples, &latencies);
    Ok(())
}

fn setups() -> Vec<Setup> {
    let mut setups = Vec::new();
    for target in [Target::Null, Target::Webhook] {
        for fsync in [false, true] {
            setups.extend(Keys::ALL.map(|keys| Setup { target, fsync, keys }));
        }
    }
    setups
}

/// A server that reads and parses the same bodies.
async fn parse_floor(alerts: usize) -> anyhow::Result<Sample> {
    let server = Program::start("tercel-bench", &["parse-only", FLOOR], &[], FLOOR).await?;
    let bodies = batches(Keys::Distinct, alerts, BATCH);
    Sample::of(&server, alerts, post_all(&format!("http://{FLOOR}/"), bodies, CONNECTIONS)).await
}

/// A client that sends the same bodies to the webhook, with nothing before it.
async fn client_floor(alerts: usize) -> anyhow::Result<Sample> {
    let (_receiver, address) = Receiver::start().await?;
    let bodies = (0..alerts).map(|number| Keys::Distinct.alert(number).to_string()).collect();
    let start = Instant::now();
    post_all(&format!("http://{address}/"), bodies, WEBHOOK_CONNECTIONS).await?;
    Ok(Sample { wall_us: us_each(start.elapsed(), alerts), ..Sample::default() })
}

impl Setup {
    async fn measure(self, alerts: usize) -> anyhow::Result<Sample> {
        let alerts = if self.target == Target::Webhook { alerts / FEWER_TO_WEBHOOK } else { alerts };
        let (receiver, address) = Receiver::start().await?;
        let folder = tempfile::tempdir()?;
        let router = start(folder.path(), self.target, address, self.fsync).await?;
        let bodies = batches(self.keys, alerts, BATCH);
        let sample = Sample::of(&router, alerts, async {
            post_all(&format!("http://{LISTEN}/v1/alerts"), bodies, CONNECTIONS).await?;
            delivered(&router).await
        })
        .await?;
        let ended = router.metric("tercel_router_delivered_total").await?
            + router.metric("tercel_router_suppressed_total").await?;
        ensure!(ended as usize == alerts, "{ended} of {alerts} alerts were delivered or suppressed");
        if self.target == Target::Webhook && self.keys == Keys::Distinct {
            let came = receiver.take().len();
            ensure!(came == alerts, "the webhook got {came} of {alerts} alerts");
        }
        router.stop()?;
        Ok(sample)
    }

    fn name(self) -> String {
        let target = match self.target {
            Target::Null => "null",
            Target::Webhook => "webhook",
        };
        let fsync = if self.fsync { "fsync" } else { "no fsync" };
        format!("{target}, {fsync}, {}", self.keys.name())
    }
}

impl Sample {
    async fn of(
        program: &Program,
        alerts: usize,
        work: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<Self> {
        let (cpu, start) = (program.cpu_time()?, Instant::now());
        work.await?;
        let wall = start.elapsed();
        let CpuTime { user_s, system_s } = program.cpu_time()? - cpu;
        let cpu_us = us_each(Duration::from_secs_f64(user_s + system_s), alerts);
        Ok(Self { wall_us: us_each(wall, alerts), cpu_us, peak_mib: program.peak_mib()? })
    }
}

/// A light load to the webhook, one alert in a request.
async fn steady(fsync: bool, latencies: &mut Latencies) -> anyhow::Result<()> {
    let (receiver, address) = Receiver::start().await?;
    let folder = tempfile::tempdir()?;
    let router = start(folder.path(), Target::Webhook, address, fsync).await?;
    let posts = post_steadily(&format!("http://{LISTEN}/"), STEADY_ALERTS, STEADY_PERIOD).await?;
    delivered(&router).await?;
    let arrivals = receiver.take();
    ensure!(arrivals.len() == STEADY_ALERTS, "the webhook got {} of {STEADY_ALERTS} alerts", arrivals.len());
    for (arrival, body) in arrivals {
        let alert: Value = serde_json::from_slice(&body)?;
        let (sent, _) = posts.get(&id(&alert)).context("the webhook got an alert that nobody sent")?;
        latencies.delivered.push(ms(arrival - *sent));
    }
    latencies.acknowledged.extend(posts.values().map(|(sent, answered)| ms(*answered - *sent)));
    router.stop()
}

async fn start(folder: &Path, target: Target, webhook: SocketAddr, fsync: bool) -> anyhow::Result<Program> {
    let destination = match target {
        Target::Null => "type = \"null\"".to_owned(),
        Target::Webhook => format!("type = \"webhook\"\nurl = \"http://{webhook}/\""),
    };
    let (routing, state) = (folder.join("routing.toml"), folder.join("state"));
    std::fs::write(&routing, format!("[[route]]\nto = [\"measured\"]\n[destination.measured]\n{destination}\n"))?;
    let (routing, state) = (routing.to_string_lossy(), state.to_string_lossy());
    let arguments = ["run", "--routing", &routing, "--listen", LISTEN, "--admin", ADMIN, "--state", &state];
    let fsync = if fsync { "true" } else { "false" };
    let settings = [("TERCEL_ROUTER_FSYNC", fsync), ("TERCEL_LOG", "warn")];
    Program::start("tercel-router", &arguments, &settings, ADMIN).await
}

/// Waits until all that was acknowledged has its outcome.
async fn delivered(router: &Program) -> anyhow::Result<()> {
    let start = Instant::now();
    while router.metric("tercel_router_queued").await? > 0.0 {
        ensure!(start.elapsed() < DELIVERED_MAX, "the router still has alerts queued");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn report(
    alerts: usize,
    rounds: usize,
    floors: &[Vec<Sample>; 2],
    setups: &[Setup],
    samples: &[Vec<Sample>],
    latencies: &[Latencies],
) {
    println!(
        "{alerts} alerts of 1 KiB in batches of {BATCH} over {CONNECTIONS} connections ({} for the webhook), {rounds} rounds",
        alerts / FEWER_TO_WEBHOOK
    );
    println!(
        "  {:<34} {:^17} {:^15} {:^13} {:^15} {:>9}",
        "min (best) and median", "alerts/s", "µs for one", "of the floor", "CPU µs for one", "peak MiB"
    );
    print_row("floor: hyper reads, serde_json parses", &floors[0], &floors[0]);
    print_row("floor: reqwest posts to the webhook", &floors[1], &floors[1]);
    for (setup, samples) in setups.iter().zip(samples) {
        let floor = if setup.target == Target::Null { &floors[0] } else { &floors[1] };
        print_row(&setup.name(), samples, floor);
    }
    println!("one alert every {} ms to the webhook, {STEADY_ALERTS} in each round", STEADY_PERIOD.as_millis());
    for (latencies, name) in latencies.iter().zip(["no fsync", "fsync"]) {
        let (answer, body) = (Series::new(latencies.acknowledged.clone()), Series::new(latencies.delivered.clone()));
        println!(
            "  {name:<9} POST → 202: p50 {:.2} ms, p99 {:.2} ms; POST → webhook: p50 {:.2} ms, p99 {:.2} ms",
            answer.median(),
            answer.quantile(0.99),
            body.median(),
            body.quantile(0.99)
        );
    }
}

fn print_row(name: &str, samples: &[Sample], floor: &[Sample]) {
    let series = |of: fn(&Sample) -> f64, samples: &[Sample]| Series::new(samples.iter().map(of).collect());
    let (wall, cpu) = (series(|sample| sample.wall_us, samples), series(|sample| sample.cpu_us, samples));
    let (floor, peak) = (series(|sample| sample.wall_us, floor), series(|sample| sample.peak_mib, samples));
    println!(
        "  {name:<38} {:>7.0} {:>7.0}  {:>6.1} {:>6.1}  {:>4.0} % {:>3.0} %  {:>6.1} {:>6.1}  {:>8.1}",
        1e6 / wall.min(),
        1e6 / wall.median(),
        wall.min(),
        wall.median(),
        100.0 * floor.min() / wall.min(),
        100.0 * floor.median() / wall.median(),
        cpu.min(),
        cpu.median(),
        peak.max()
    );
}

fn us_each(time: Duration, alerts: usize) -> f64 {
    time.as_secs_f64() * 1e6 / alerts as f64
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
