//! `tercel-sensor run`: puts the parts together, and takes them apart again on SIGTERM.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use crate::config::{self, Settings};
use crate::control::{self, Orders};
use crate::detect::Detector;
use crate::emit::{self, Emitter};
use crate::enrich::State;
use crate::enrich::container::Inventory;
use crate::enrich::dns::HostNames;
use crate::event;
use crate::fields::SensorCatalog;
use crate::kernel::{self, Capability, Parameters, has_capability};
use crate::metrics::{self, Metrics, Reason};
use crate::mute::Muting;
use crate::output::Append;
use crate::ring::Ring;
use crate::rules::{self, Problem, RuleSet, Selector};
use crate::supervise::Supervisor;
use crate::watch::Watcher;

/// Threads for the output and the metrics; watching has its own.
const WORKER_THREADS: usize = 2;

/// How long a stop waits for the output to take what is queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks at the kernel side.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why the sensor does not run, or no longer does.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Settings(#[from] config::Error),
    #[error("{} in the rules", match .0.len() { 1 => "a problem".to_owned(), count => format!("{count} problems") })]
    Rules(Vec<Problem>),
    #[error("cannot serve metrics on {address}; another one with --metrics ADDRESS")]
    Bind { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    #[error(transparent)]
    Emit(#[from] emit::Error),
    #[error("cannot register the metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("cannot start a thread or take signals")]
    Runtime(#[source] io::Error),
    #[error("the thread that watches has ended")]
    Watcher,
}

impl Error {
    /// Whether the settings or the rules are to blame, not the machine.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Settings(_) | Self::Rules(_))
    }
}

/// The rules of these settings, with those switched off that the settings do not want. Warnings are in it.
pub fn load_rules(settings: &Settings) -> Result<RuleSet, Error> {
    let mut set = rules::load(&settings.rules_files, &SensorCatalog).map_err(Error::Rules)?;
    for idle in set.select(&settings.rules) {
        let (what, name) = match idle.selector() {
            Selector::Rule(pattern) => ("is called", pattern),
            Selector::Tag(tag) => ("has the tag", tag),
        };
        warn!("no rule {what} `{}`, which the setting `rules` is about", name.escape_debug());
    }
    set.require_priority(settings.priority);
    Ok(set)
}

/// The rules in force by these settings, ready to be asked. Warnings are logged.
pub fn detector(settings: &Settings) -> Result<Detector, Error> {
    let set = load_rules(settings)?;
    set.warnings.iter().for_each(|warning| warn!("{warning}"));
    let appends = settings.append_output.clone().unwrap_or_else(Append::by_default);
    let detector = Detector::appending(set, &appends).map_err(Error::Rules)?;
    Ok(detector.matching(settings.rule_matching))
}

/// Watches until SIGTERM or SIGINT.
pub fn run(settings: &Settings) -> Result<(), Error> {
    let started = Instant::now();
    let detector = detector(settings)?;
    tell_unreported(&detector);
    tell_missing();
    let emitter = Emitter::new(&settings.output, settings.token()?)?;
    let listener = bind(settings.metrics)?;
    let metrics = Arc::new(Metrics::new()?);
    metrics.set_rules(detector.names());

    info!(rules = detector.len(), "loading the kernel programs");
    let parameters = Parameters { entry: settings.entry, ring_bytes: settings.ring_bytes };
    let mut kernel = kernel::load_apart(parameters)?;
    let ring = kernel.take_ring().ok_or(Error::Watcher)?;
    kernel.set_calls(&event::specs())?;
    kernel.set_compat(&event::compat_numbers())?;
    let muted = [std::process::id(), kernel.loader_pid().unwrap_or(0), 0, 0];
    let Orders { control, prefixes, prefixes_refused } = control::of_rules(&detector, muted, settings.filter_opens);
    kernel.set_prefixes(&prefixes)?;
    metrics.set_prefixes(prefixes.len(), prefixes_refused);
    kernel.set_control(&control)?;
    // Before any thread is started. What is kept lets /proc be read; the loader has what it takes to attach.
    kernel.drop_privileges()?;

    // The programs report already, and nothing is taken from the ring before /proc is read: no process is missed.
    let hosts = HostNames::start(detector.hosts()).map_err(Error::Runtime)?;
    let inventory = Inventory::start(settings.sockets(), settings.metadata_wait()).map_err(Error::Runtime)?;
    let state = State::new(&settings.passwd_file, &settings.group_file);
    let mut state = state.with_hosts(hosts).with_inventory(inventory);
    let scan = Instant::now();
    state.seed();
    info!("{} processes were running, read within {} ms", state.processes.len(), scan.elapsed().as_millis());
    let (queue, alerts) = emit::queue(settings.queue_bytes, &metrics);
    let hooks = kernel.hooks().join(" ");
    let muting = Muting::new(settings.mute_output.then(|| emitter.peers()), Arc::clone(&metrics));
    let supervisor = Supervisor::new(kernel, control, settings.entry, muting, Arc::clone(&metrics));
    info!(
        "ready: {} rules, hooks {hooks}, output {}, {} ms",
        detector.len(),
        settings.output,
        started.elapsed().as_millis()
    );
    let watcher = Watcher::new(state, detector, queue, Arc::clone(&metrics), &settings.hostname());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let result = runtime.block_on(async {
        let output = task::spawn(emitter.run(alerts, Arc::clone(&metrics)));
        let watching = Watching::start(supervisor, ring, watcher).map_err(Error::Runtime)?;
        watching.until_stopped(listener, &metrics, output).await
    });
    // A write that hangs (standard output to a stopped reader) must not keep the process.
    runtime.shutdown_background();
    result
}

/// What the sensor runs without, and what it does not know then. Those without which it cannot run, the load names.
fn tell_missing() {
    let losses = [
        (
            Capability::SysPtrace,
            "programs, directories and descriptors of processes that ran before stay unknown, and names of containers' users",
        ),
        (
            Capability::DacReadSearch,
            "descriptors and environments of other users' processes that ran before stay unknown",
        ),
    ];
    for (capability, loss) in losses.into_iter().filter(|(capability, _)| !has_capability(*capability)) {
        warn!("missing capability {capability}: {loss}; grant it");
    }
}

/// Once, so that nobody takes their silence for peace.
fn tell_unreported(detector: &Detector) {
    const NAMES_MAX: usize = 20;
    let names: Vec<_> = detector.unreported().map(|rule| &*rule.name).collect();
    if !names.is_empty() {
        let shown = names[..names.len().min(NAMES_MAX)].join(", ");
        let more = if names.len() > NAMES_MAX { ", …" } else { "" };
        warn!(
            "{} rules never match: this version reports no event of the types that they ask for: {shown}{more}",
            names.len()
        );
    }
}

fn bind(address: SocketAddr) -> Result<std::net::TcpListener, Error> {
    let bind = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| Error::Bind { address, source })
}

/// The kernel programs, and the thread that takes their records.
struct Watching {
    supervisor: Arc<Supervisor>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    /// Resolves when the thread is gone.
    ended: oneshot::Receiver<()>,
}

impl Watching {
    fn start(supervisor: Supervisor, ring: Ring, watcher: Watcher) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (alive, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("watch".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || {
                let _alive = alive;
                watcher.run(ring, &stop);
            }
        })?;
        Ok(Self { supervisor: Arc::new(supervisor), stop, thread, ended })
    }

    async fn until_stopped(
        mut self,
        listener: std::net::TcpListener,
        metrics: &Arc<Metrics>,
        mut output: task::JoinHandle<Result<(), emit::Error>>,
    ) -> Result<(), Error> {
        let listener = TcpListener::from_std(listener).map_err(Error::Runtime)?;
        task::spawn(metrics::serve(listener, Arc::clone(metrics), self.sampler()));
        let mut terminate = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
        metrics.set_ready(true);
        let result = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            _ = &mut self.ended => Err(Error::Watcher),
            error = look_after(&self.supervisor) => Err(error),
            result = &mut output => return finished(result),
        };
        metrics.set_ready(false);
        self.stop().await;
        flush(output, metrics).await?;
        result
    }

    /// Kernel first, then what is left in the ring, then the queue's end closes.
    async fn stop(self) {
        info!("stopping");
        let supervisor = Arc::clone(&self.supervisor);
        if task::spawn_blocking(move || supervisor.detach()).await.is_err() {
            error!("detaching the kernel programs broke off");
        }
        self.stop.store(true, Ordering::Release);
        if !matches!(task::spawn_blocking(|| self.thread.join()).await, Ok(Ok(()))) {
            error!("the thread that watches broke off");
        }
    }

    /// What the clock says of a kernel side that is gone needs no second voice.
    fn sampler(&self) -> metrics::SampleKernel {
        let supervisor = Arc::clone(&self.supervisor);
        Arc::new(move |_| {
            supervisor.look().ok();
        })
    }
}

/// Returns when the kernel side is gone.
async fn look_after(supervisor: &Arc<Supervisor>) -> Error {
    let mut clock = tokio::time::interval(LOOK_INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut peers = supervisor.peers();
    loop {
        let is_time = tokio::select! {
            _ = clock.tick() => true,
            Ok(()) = peers.changed() => false,
        };
        let supervisor = Arc::clone(supervisor);
        let look = move || {
            supervisor.mute();
            if is_time { supervisor.look() } else { Ok(()) }
        };
        match task::spawn_blocking(look).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(error) => return Error::Runtime(error.into()),
        }
    }
}

/// The output ended by itself: it broke.
fn finished(result: Result<Result<(), emit::Error>, task::JoinError>) -> Result<(), Error> {
    match result {
        Ok(result) => Ok(result?),
        Err(error) => Err(Error::Runtime(error.into())),
    }
}

/// What is still queued after [`FLUSH_TIMEOUT`] is given up, and counted.
async fn flush(mut output: task::JoinHandle<Result<(), emit::Error>>, metrics: &Metrics) -> Result<(), Error> {
    if let Ok(result) = tokio::time::timeout(FLUSH_TIMEOUT, &mut output).await {
        finished(result)?;
        info!(alerts = metrics.alerts.balance().acknowledged, "stopped");
        return Ok(());
    }
    // Ended first, so that nothing is taken that is counted as given up. An answer that did not come stays unknown.
    output.abort();
    drop(output.await);
    let left = metrics.alerts.drop_queued(Reason::Stopped);
    warn!(alerts = left, waited = ?FLUSH_TIMEOUT, "the output did not take all alerts in time, they are lost");
    Ok(())
}
