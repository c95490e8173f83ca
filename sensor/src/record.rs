//! `tercel-sensor record`: what the kernel reports goes into a file, with what it takes to understand it elsewhere.
//!
//! No rule is asked; rules only say which calls are recorded. What the sensor would look up in /proc while it watches is
//! looked up now and written in front of the record that needs it.

mod recorder;
mod tree;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use tercel_sensor_abi::Control;
use tercel_sensor_abi::control::MUTED_MAX;

use crate::clock;
use crate::config::Settings;
use crate::control;
use crate::detect::Detector;
use crate::enrich::State;
use crate::enrich::container::Inventory;
use crate::event::{self, EventType};
use crate::kernel::{self, Kernel, Parameters};
use crate::recording::{End, Machine};
use crate::ring::Ring;
use recorder::Recorder;
use tree::Tree;

/// Bytes of a recording where nothing else is asked for: some million records.
pub const RECORDING_BYTES: u64 = 256 << 20;

/// Records taken before it is asked again whether that is all.
const RECORDS_PER_ROUND: usize = 1_024;

/// How long an empty ring is left alone.
const SLEEP: Duration = Duration::from_millis(2);

/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);

/// What is recorded.
pub enum Calls {
    /// Those that these rules ask for.
    Of(Box<Detector>),
    /// Every one that is described, what is sent and received too where it is asked for.
    All { with_data: bool },
}

/// What to record, and where to.
pub struct Order {
    pub calls: Calls,
    /// A new file, for its owner alone.
    pub output: PathBuf,
    /// Only it and its descendants are recorded, until it ends; empty: everybody.
    pub command: Vec<OsString>,
    pub time_max: Option<Duration>,
    /// Of the file, roughly.
    pub bytes_max: u64,
    /// The values too, not the names alone.
    pub with_environment: bool,
}

/// What was recorded.
#[derive(Debug)]
pub struct Report {
    pub ending: Ending,
    pub end: End,
    pub bytes: u64,
}

/// Why a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Command(ExitStatus),
    Signal,
    TimeMax,
    BytesMax,
}

/// Nothing, or not everything, was recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    #[error("the kernel programs gave no ring buffer")]
    NoRing,
    #[error("{} is there already; another name with --output FILE", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}", file.display())]
    Output { file: PathBuf, source: io::Error },
    #[error("cannot run `{}`", program.display())]
    Command { program: PathBuf, source: io::Error },
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    #[error("cannot take signals")]
    Signals(#[source] io::Error),
}

/// Records until the command's end, a signal, or the end of time or room.
pub fn record(settings: &Settings, order: &Order) -> Result<Report, Error> {
    let stop = stop_flag().map_err(Error::Signals)?;
    let (kernel, ring) = attach(settings, &order.calls)?;
    let mut state = State::new(&settings.passwd_file, &settings.group_file);
    // The programs report already: no process is missed.
    state.seed();
    let output = BufWriter::new(create(&order.output)?);
    let command = Run::start(&order.command).inspect_err(|_| {
        // Nothing is in it yet.
        fs::remove_file(&order.output).ok();
    })?;
    let failed = |source| Error::Output { file: order.output.clone(), source };
    kernel.drop_privileges()?;
    let inventory = Inventory::start(settings.sockets(), settings.metadata_wait()).map_err(Error::Thread)?;
    let state = state.with_inventory(inventory);
    let tree = command.as_ref().map(|command| Tree::new(command.child.id()));
    let machine = machine(settings);
    let recorder = Recorder::start(output, &machine, state, tree, !order.with_environment).map_err(failed)?;
    let limits = Limits { stop, ends: order.time_max.map(|time| Instant::now() + time), bytes_max: order.bytes_max };
    Recording { kernel, ring, recorder, command, limits }.run(failed)
}

/// Set by SIGTERM and SIGINT.
fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Loads the kernel programs, which report from now on.
fn attach(settings: &Settings, calls: &Calls) -> Result<(Kernel, Ring), Error> {
    let parameters = Parameters { entry: settings.entry, ring_bytes: settings.ring_bytes };
    let mut kernel = kernel::load_apart(parameters)?;
    let ring = kernel.take_ring().ok_or(Error::NoRing)?;
    kernel.set_calls(&event::specs())?;
    kernel.set_compat(&event::compat_numbers())?;
    let muted = [std::process::id(), kernel.loader_pid().unwrap_or(0), 0, 0];
    kernel.set_control(&control_of(calls, muted))?;
    Ok((kernel, ring))
}

/// Everything of the calls, so that other rules than those that chose them can be tried on the recording: every open, the
/// kernel's paths, and the environment.
fn control_of(calls: &Calls, muted: [u32; MUTED_MAX]) -> Control {
    let mut control = match calls {
        Calls::Of(detector) => control::of_rules(detector, muted, false).control,
        Calls::All { with_data } => {
            let (interest, interest_compat) = event::interest(EventType::all().filter(|kind| kind.is_described()));
            let flags = if *with_data { Control::DATA } else { 0 };
            Control { interest, interest_compat, muted, flags, ..Control::default() }
        }
    };
    control.opens_any_path = Control::OPENS_ALL;
    control.flags |= Control::KERNEL_PATH | Control::ENVIRONMENT;
    control
}

/// Nobody else may read it, and what is there is never written over.
fn create(file: &Path) -> Result<File, Error> {
    let options = File::options().write(true).create_new(true).mode(0o600).open(file);
    options.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(file.to_owned()),
        _ => Error::Output { file: file.to_owned(), source },
    })
}

fn machine(settings: &Settings) -> Machine {
    Machine {
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        hostname: settings.hostname(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The command that is recorded.
struct Run {
    child: Child,
    program: PathBuf,
}

impl Run {
    /// `None` where there is none. With the rights of this process, which must not have given them up yet.
    fn start(command: &[OsString]) -> Result<Option<Self>, Error> {
        let Some((program, arguments)) = command.split_first() else { return Ok(None) };
        let program = PathBuf::from(program);
        match Command::new(&program).args(arguments).spawn() {
            Ok(child) => Ok(Some(Self { child, program })),
            Err(source) => Err(Error::Command { program, source }),
        }
    }

    /// How it ended; `None`: it runs.
    fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(|source| Error::Command { program: self.program.clone(), source })
    }
}

/// When a recording ends, if its command does not.
struct Limits {
    stop: Arc<AtomicBool>,
    ends: Option<Instant>,
    bytes_max: u64,
}

impl Limits {
    fn reached(&self, bytes: u64) -> Option<Ending> {
        match () {
            () if self.stop.load(Ordering::Relaxed) => Some(Ending::Signal),
            () if bytes >= self.bytes_max => Some(Ending::BytesMax),
            () if self.ends.is_some_and(|ends| Instant::now() >= ends) => Some(Ending::TimeMax),
            () => None,
        }
    }
}

/// A recording that is being made.
struct Recording {
    kernel: Kernel,
    ring: Ring,
    recorder: Recorder<BufWriter<File>>,
    command: Option<Run>,
    limits: Limits,
}

impl Recording {
    fn run(mut self, failed: impl Fn(io::Error) -> Error) -> Result<Report, Error> {
        let mut last_tick = Instant::now();
        let ending = loop {
            // Before the ring: what the command did last is in it by then.
            if let Some(ending) = self.ending()? {
                break ending;
            }
            if last_tick.elapsed() >= TICK {
                last_tick = Instant::now();
                self.recorder.tick(clock::since_boot_ns(), clock::wall_offset_ns()).map_err(&failed)?;
            }
            self.recorder.refresh(clock::since_boot_ns()).map_err(&failed)?;
            if self.drain().map_err(&failed)? == 0 {
                thread::sleep(SLEEP);
            }
        };
        let skipped = self.kernel.recursion_misses()?;
        let Self { kernel, mut ring, mut recorder, .. } = self;
        let counters = kernel.detach_counting()?;
        if ending != Ending::BytesMax {
            while drain(&mut ring, &mut recorder).map_err(&failed)? > 0 {}
        }
        let (end, output) = recorder.finish(&counters, skipped).map_err(&failed)?;
        let bytes = output.get_ref().metadata().map_err(&failed)?.len();
        Ok(Report { ending, end, bytes })
    }

    fn ending(&mut self) -> Result<Option<Ending>, Error> {
        if let Some(command) = &mut self.command
            && let Some(status) = command.ended()?
        {
            return Ok(Some(Ending::Command(status)));
        }
        Ok(self.limits.reached(self.recorder.bytes()))
    }

    fn drain(&mut self) -> io::Result<usize> {
        drain(&mut self.ring, &mut self.recorder)
    }
}

/// Takes some records; how many.
fn drain(ring: &mut Ring, recorder: &mut Recorder<BufWriter<File>>) -> io::Result<usize> {
    let mut written = Ok(());
    let taken = ring.drain(RECORDS_PER_ROUND, |record| {
        if written.is_ok() {
            written = recorder.take(&record);
        }
    });
    written.map(|()| taken)
}

#[cfg(test)]
mod tests;
