//! `cargo xtask run`: build, start the router, start the sensor, say what to try, stop both.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::service::{Gone, Service};
use crate::{routing, step};

const INGEST: SocketAddr = loopback(2801);
const ADMIN: SocketAddr = loopback(2802);
const SENSOR_METRICS: SocketAddr = loopback(2803);
/// From the start of a process to its first 200 on /readyz.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// From SIGTERM to the end of a process, before it is killed. The router takes up to 20 s where a destination hangs.
const STOP_WITHIN: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(20);

#[derive(Args)]
pub(crate) struct Options {
    /// The routing file
    #[arg(long, value_name = "FILE", default_value = "routing.toml")]
    routing: PathBuf,
    /// Also post notifications to this URL, with a copy of the routing file that says so
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Start the router alone: needs no root, and takes alerts from Falco or curl
    #[arg(long)]
    router_only: bool,
    /// Start what `cargo xtask run` built before, without asking cargo
    #[arg(long)]
    built: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if !options.built {
        build()?;
    }
    require_root(options)?;
    require_free(INGEST, "alerts")?;
    require_free(ADMIN, "the router's metrics")?;
    if !options.router_only {
        require_free(SENSOR_METRICS, "the sensor's metrics")?;
    }
    let plan = Plan::new(options)?;

    let mut running = Running { services: Vec::new(), stop: stop_flag()? };
    let outcome = start_and_wait(&mut running, &plan);
    running.stop();
    match outcome? {
        None => {
            step::say("stopped");
            Ok(ExitCode::SUCCESS)
        }
        Some(gone) => {
            step::fail(&anyhow!("{gone}"));
            Ok(gone.code())
        }
    }
}

/// What to start, and on which files.
struct Plan<'a> {
    options: &'a Options,
    binaries: PathBuf,
    /// State, socket and archive of this machine's trial run.
    folder: PathBuf,
    routing: PathBuf,
}

impl<'a> Plan<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let folder = step::target().join("run");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let routing = match &options.webhook {
            None => step::workspace().join(&options.routing),
            Some(url) => routing::with_webhook(&step::workspace().join(&options.routing), url, &folder)?,
        };
        Ok(Self { options, binaries: step::target().join("release"), folder, routing })
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("tercel.sock")
    }

    fn router(&self) -> Command {
        let mut command = Command::new(self.binaries.join("tercel-router"));
        command.arg("run").arg("--routing").arg(&self.routing).arg("--state").arg(self.state());
        command.arg("--unix").arg(self.socket());
        command.arg("--listen").arg(INGEST.to_string()).arg("--admin").arg(ADMIN.to_string());
        command
    }

    fn sensor(&self) -> Command {
        let mut command = Command::new(self.binaries.join("tercel-sensor"));
        command.args(["run", "--rules", "rules", "--metrics"]).arg(SENSOR_METRICS.to_string());
        command.arg("--output").arg(format!("unix:{}", self.socket().display()));
        command
    }
}

fn build() -> Result<()> {
    step::say("building tercel-router and tercel-sensor (release; a few minutes the first time)");
    let start = Instant::now();
    step::run(&mut step::cargo(&["build", "--release", "--package", "tercel-router", "--package", "tercel-sensor"]))?;
    step::note(format!("built in {:.1} s", start.elapsed().as_secs_f64()));
    Ok(())
}

fn require_root(options: &Options) -> Result<()> {
    if options.router_only || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let xtask = std::env::current_exe().map_or_else(|_| "target/debug/tercel-xtask".into(), |file| relative(&file));
    bail!(
        "the sensor loads kernel programs and needs root; everything is built, so start it with `sudo {} run --built`, or \
         start the router alone with `cargo xtask run --router-only`",
        xtask.display()
    );
}

fn require_free(address: SocketAddr, purpose: &str) -> Result<()> {
    let Err(error) = TcpListener::bind(address) else { return Ok(()) };
    bail!(
        "{address}, wanted for {purpose}, cannot be bound: {error}; `ss -ltnp 'sport = :{}'` shows who has it",
        address.port()
    )
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot listen for signals")?;
    }
    Ok(stop)
}

/// Router first, so that the sensor finds it. `None`: told to stop.
fn start_and_wait(running: &mut Running, plan: &Plan<'_>) -> Result<Option<Gone>> {
    let start = Instant::now();
    let mut ready = running.start("tercel-router", ADMIN, plan.router())?;
    if ready && !plan.options.router_only {
        ready = running.start("tercel-sensor", SENSOR_METRICS, plan.sensor())?;
    }
    if ready {
        say_what_to_try(plan, start.elapsed());
    }
    running.wait()
}

/// In the order of starting; stopped in reverse.
struct Running {
    services: Vec<Service>,
    stop: Arc<AtomicBool>,
}

impl Running {
    /// Starts a service and waits until it is ready. `false`: it ended, or we were told to stop.
    fn start(&mut self, name: &'static str, readyz: SocketAddr, mut command: Command) -> Result<bool> {
        step::say(format!("starting {name}"));
        let start = Instant::now();
        let service = Service::start(name, readyz, command.current_dir(step::workspace()))?;
        self.services.push(service);
        while let Some(service) = self.services.last_mut() {
            if service.is_ready() {
                step::note(format!("{name} ready in {:.2} s", start.elapsed().as_secs_f64()));
                return Ok(true);
            }
            if service.gone()?.is_some() || self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            if start.elapsed() > READY_WITHIN {
                bail!("{name} was not ready on http://{readyz}/readyz within {} s", READY_WITHIN.as_secs());
            }
            std::thread::sleep(POLL);
        }
        Ok(false)
    }

    /// Waits for the stop flag (`None`) or for the first service that ends by itself.
    fn wait(&mut self) -> Result<Option<Gone>> {
        while !self.stop.load(Ordering::Relaxed) {
            for service in &mut self.services {
                if let Some(gone) = service.gone()? {
                    return Ok(Some(gone));
                }
            }
            std::thread::sleep(POLL);
        }
        Ok(None)
    }

    fn stop(&mut self) {
        for service in self.services.iter_mut().rev() {
            service.stop(STOP_WITHIN);
        }
    }
}

fn say_what_to_try(plan: &Plan<'_>, took: Duration) {
    step::say(format!("ready in {:.1} s; Ctrl-C stops it", took.as_secs_f64()));
    if plan.options.router_only {
        step::note(format!("send an alert:        curl -d '{EXAMPLE}' http://{INGEST}/"));
    } else {
        step::note("in another terminal:  cat /etc/shadow");
        step::note(format!("sensor metrics:       curl http://{SENSOR_METRICS}/metrics"));
    }
    step::note(format!("router metrics:       curl http://{ADMIN}/metrics"));
    step::note(format!("archive and state:    {}", relative(&plan.state()).display()));
    if let Some(url) = &plan.options.webhook {
        step::note(format!("notifications also to {url}"));
    }
}

const EXAMPLE: &str = r#"{"rule":"Try it","priority":"Critical","time":"2026-01-01T00:00:00Z","output":"hello"}"#;

/// Shorter for reading: from the workspace where that is possible.
fn relative(file: &Path) -> PathBuf {
    file.strip_prefix(step::workspace()).unwrap_or(file).to_owned()
}
