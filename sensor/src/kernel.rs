//! The kernel programs: loading and attaching them, what they are told and what they count.
//!
//! ```text
//! run ──► worker ══ requests, over a socket pair ══► loader ──► load ──► attach ──► the kernel
//!           ╚══════ maps, by descriptor ◄════════════╝
//! ```
//!
//! The sensor is two processes. The [`loader`](run_loader) keeps the few capabilities by which programs are loaded and
//! attached, and does nothing but that when it is asked to. The worker reads what the programs report, which is
//! hostile, talks to the network, and holds next to none. [`load`] does without the second process, for what only looks.

mod attach;
mod btf;
mod confine;
mod counters;
mod entry;
mod load;
mod loader;
mod machine;
mod privilege;
mod protocol;
mod tell;
mod worker;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use aya::maps::{Map, MapData, MapError, RingBuf};
use aya::programs::ProgramError;
use tercel_sensor_abi::Counters;

use crate::ring::Ring;

pub use attach::{PROGRAMS, ProgramMisses, Status, Switch};
pub use entry::{Entry, EntryPoint};
pub use load::Parameters;
pub use loader::{LoaderError, run_loader};
pub use machine::{check_btf, kernel_version, lockdown_mode};
pub use privilege::{Capability, has_capability};
pub use worker::LOADER_COMMAND;

pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// The first kernel with everything that is used: ring buffers are of 5.8, and 5.10 is the oldest long-term kernel with
/// them.
pub const KERNEL_MIN: (u32, u32) = (5, 10);

/// This program, whatever has become of its file since it was started.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The loaded programs; dropping it detaches them.
pub struct Kernel {
    programs: Programs,
    entry: EntryPoint,
    hooks: Vec<String>,
    told: tell::Told,
    counted: counters::Counted,
    ring: Option<Ring>,
}

/// Who holds them.
enum Programs {
    Here(Box<load::Loaded>),
    Apart(worker::Loader),
}

/// Why the programs do not run, and what would do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this kernel is {found}; Tercel needs Linux {}.{} or later", KERNEL_MIN.0, KERNEL_MIN.1)]
    KernelTooOld { found: String },
    #[error(
        "missing capability {0}: run as root, or grant CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    )]
    MissingCapability(Capability),
    #[error("cannot read {BTF_PATH}: this kernel was built without CONFIG_DEBUG_INFO_BTF, or /sys is not mounted")]
    NoBtf(#[source] std::io::Error),
    #[error("{BTF_PATH} is not the BTF of a kernel")]
    BadBtf(#[source] btf::BtfError),
    #[error("cannot read the number of CPUs from /sys/devices/system/cpu/possible")]
    Cpus(#[source] std::io::Error),
    #[error("this kernel has no {0}, which Tercel reads")]
    MissingMember(&'static str),
    #[error(
        "kernel lockdown is in confidentiality mode, which forbids BPF to read kernel memory; boot with lockdown=integrity"
    )]
    Lockdown,
    #[error(
        "the kernel refused the object's maps or its layout; is the embedded object of this build? run `cargo xtask ebpf`"
    )]
    Object(#[source] Box<aya::EbpfError>),
    #[error("the kernel refused the program {program}; `tercel-sensor doctor` tells what is missing")]
    Load { program: &'static str, source: Box<ProgramError> },
    #[error("cannot attach the program {program}; `tercel-sensor doctor` tells what is missing")]
    Attach { program: &'static str, source: Box<ProgramError> },
    #[error("cannot read what the kernel knows of the program {program}; is /proc mounted?")]
    ProgramInfo { program: &'static str, source: std::io::Error },
    #[error("the object has no `{0}`; run `cargo xtask ebpf`")]
    NotInObject(&'static str),
    #[error("cannot use the map {map}")]
    Map { map: &'static str, source: MapError },
    #[error("cannot map the kernel side's counters into memory")]
    MapCounters(#[source] std::io::Error),
    #[error("cannot copy a map's descriptor; raise the limit of open files")]
    Descriptor(#[source] std::io::Error),
    #[error("cannot give up privileges")]
    Privileges(#[source] std::io::Error),
    #[error("cannot confine the process by seccomp; the kernel needs CONFIG_SECCOMP_FILTER")]
    Confine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What it says is one of the above.
    #[error("{0}")]
    Loader(String),
    #[error("cannot start the loader process; is /proc mounted, and may it run programs from there?")]
    LoaderStart(#[source] std::io::Error),
    #[error("the loader process has ended ({how}), and with it the kernel programs are gone; start the sensor again")]
    LoaderEnded { how: String },
    #[error("the loader process does not answer as it should: {0}; start the sensor again")]
    LoaderAnswer(String),
    #[error("cannot switch to the entry point {to}: {text}")]
    Switch { to: EntryPoint, text: String },
}

/// Loads and attaches everything in this process. Nothing is reported until [`Kernel::set_control`], but the lives of
/// processes are.
pub fn load(parameters: Parameters) -> Result<Kernel, Error> {
    let loaded = load::Loaded::load(parameters)?;
    let maps = loaded.maps()?.into_iter().collect();
    let status = loaded.status();
    Kernel::new(Programs::Here(Box::new(loaded)), maps, status)
}

/// The same in a process of its own, which this program is started for a second time.
pub fn load_apart(parameters: Parameters) -> Result<Kernel, Error> {
    load_by(Path::new(OWN_PROGRAM), parameters)
}

/// The same, by another `tercel-sensor` of this build.
pub fn load_by(program: &Path, parameters: Parameters) -> Result<Kernel, Error> {
    machine::check_preconditions(kernel_version())?;
    let (loader, maps, status) = worker::Loader::start(program, parameters)?;
    Kernel::new(Programs::Apart(loader), maps, status)
}

impl Kernel {
    fn new(programs: Programs, maps: HashMap<&'static str, OwnedFd>, status: Status) -> Result<Self, Error> {
        let mut maps = Maps(maps);
        let ring: RingBuf<MapData> = maps.take("RECORDS")?;
        Ok(Self {
            programs,
            entry: status.entry,
            hooks: status.hooks,
            told: tell::Told::new(&mut maps)?,
            counted: counters::Counted::new(maps.descriptor("COUNTERS")?)?,
            ring: Some(Ring::new(ring)),
        })
    }

    /// The records; there is one ring, and it is given away once.
    pub fn take_ring(&mut self) -> Option<Ring> {
        self.ring.take()
    }

    /// The sum over all CPUs.
    pub fn counters(&self) -> Counters {
        self.counted.sum()
    }

    /// The hooks in use, as `kind:name`.
    pub fn hooks(&self) -> &[String] {
        &self.hooks
    }

    /// Through which the exits of system calls are seen.
    pub fn entry(&self) -> EntryPoint {
        self.entry
    }

    /// The process that holds the programs, where it is not this one.
    pub fn loader_pid(&self) -> Option<u32> {
        match &self.programs {
            Programs::Here(_) => None,
            Programs::Apart(loader) => Some(loader.pid()),
        }
    }

    /// What is attached now, and what the kernel skipped.
    pub fn status(&mut self) -> Result<Status, Error> {
        match &mut self.programs {
            Programs::Here(loaded) => Ok(loaded.status()),
            Programs::Apart(loader) => loader.status(),
        }
    }

    /// Times that the kernel skipped a program because it was already running on that CPU: each may be a lost event.
    pub fn recursion_misses(&mut self) -> Result<u64, Error> {
        Ok(self.status()?.misses_total())
    }

    /// Changes the entry point while everything runs. No event is lost; one that happens meanwhile may be reported twice.
    pub fn switch(&mut self, to: EntryPoint) -> Result<Switch, Error> {
        let switch = match &mut self.programs {
            Programs::Here(loaded) => loaded.switch(to)?,
            Programs::Apart(loader) => loader.switch(to)?,
        };
        let status = self.status()?;
        (self.entry, self.hooks) = (status.entry, status.hooks);
        Ok(switch)
    }

    /// Gives up every capability that this process no longer needs, and what it never asks of the kernel, for good. Both
    /// belong to threads: to be called before others are started.
    pub fn drop_privileges(&self) -> Result<(), Error> {
        privilege::keep_for_work(|| self.told.can_be_told())?;
        confine::apply(confine::Role::Worker)
    }

    /// Detaches the programs: no record is written after this. Gives the counters at the end.
    pub fn detach_counting(self) -> Result<Counters, Error> {
        let Self { programs, counted, .. } = self;
        programs.detach()?;
        Ok(counted.sum())
    }

    /// Detaches the programs: no record is written after this.
    pub fn detach(self) -> Result<(), Error> {
        self.programs.detach()
    }
}

impl Programs {
    fn detach(self) -> Result<(), Error> {
        match self {
            Self::Here(loaded) => {
                drop(loaded);
                Ok(())
            }
            Self::Apart(loader) => loader.detach(),
        }
    }
}

/// Descriptors by the names that [`load`] has for them.
struct Maps(HashMap<&'static str, OwnedFd>);

impl Maps {
    fn descriptor(&mut self, name: &'static str) -> Result<OwnedFd, Error> {
        self.0.remove(name).ok_or(Error::NotInObject(name))
    }

    fn take<M: TryFrom<Map, Error = MapError>>(&mut self, name: &'static str) -> Result<M, Error> {
        let descriptor = self.descriptor(name)?;
        let map = MapData::from_fd(descriptor).and_then(Map::from_map_data).map_err(map_error(name))?;
        map.try_into().map_err(map_error(name))
    }
}

fn map_error(map: &'static str) -> impl Fn(MapError) -> Error {
    move |source| Error::Map { map, source }
}
