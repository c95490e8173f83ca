//! Capabilities: which ones the load needs, and giving up the rest after it.

use std::fmt;

use rustix::io;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::Error;

/// The capabilities that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Loading programs and maps, since 5.8.
    Bpf,
    /// Reading kernel memory from a program, and attaching to tracepoints, since 5.8.
    Perfmon,
    /// Stands for both on any kernel.
    SysAdmin,
    /// Reading `/proc/<pid>/exe`, `cwd` and `fd` of other users' processes.
    SysPtrace,
    /// Reading tracefs, and passing the directories on the way to a container's files.
    DacReadSearch,
}

impl Capability {
    pub const ALL: [Self; 5] = [Self::Bpf, Self::Perfmon, Self::SysAdmin, Self::SysPtrace, Self::DacReadSearch];

    const fn set(self) -> CapabilitySet {
        match self {
            Self::Bpf => CapabilitySet::BPF,
            Self::Perfmon => CapabilitySet::PERFMON,
            Self::SysAdmin => CapabilitySet::SYS_ADMIN,
            Self::SysPtrace => CapabilitySet::SYS_PTRACE,
            Self::DacReadSearch => CapabilitySet::DAC_READ_SEARCH,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bpf => "CAP_BPF",
            Self::Perfmon => "CAP_PERFMON",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
        })
    }
}

/// Whether the calling thread has it in effect.
pub fn has_capability(capability: Capability) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(capability.set()))
}

/// What the worker keeps, each shown to be needed by a process of user id 0 that held no other one:
///
/// - `CAP_SYS_PTRACE`: without it `/proc/<pid>/exe`, `cwd`, `root` and what lies behind `fd/` of other users' processes
///   cannot be read (`EACCES`), and where `/proc` is mounted with `hidepid` their processes are not there at all.
/// - `CAP_DAC_READ_SEARCH`: `/proc/<pid>/fd` (mode 0500) and `environ` (0400) belong to the process's user, and being root
///   without it is to be somebody else; the directories above a container's files are often closed, too.
///
/// The sockets of container runtimes need none: they belong to root and may be written to by their owner.
const WORKER: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// What the loader keeps: loading and attaching another entry point, for which tracefs, whose directories are closed to
/// others than their owner, says the tracepoint's number.
const LOADER: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON).union(CapabilitySet::DAC_READ_SEARCH);

/// Gives up, for good, what the worker does not need. Capabilities belong to threads: to be called before others are
/// started.
///
/// `can_use_maps` is asked once without `CAP_BPF`: kernels that know the switch `unprivileged_bpf_disabled` but not yet
/// that maps may be used through their descriptors (before 5.19, some distributions' earlier) refuse that. There, and
/// only there, it stays.
pub(super) fn keep_for_work(can_use_maps: impl FnOnce() -> bool) -> Result<(), Error> {
    let permitted = permitted()?;
    let without_bpf = permitted & WORKER;
    set(without_bpf, permitted)?;
    let kept = if can_use_maps() { without_bpf } else { permitted & (WORKER | CapabilitySet::BPF) };
    keep(kept)
}

/// Gives up, for good, what the loader does not need once everything is attached.
pub(super) fn keep_for_attaching() -> Result<(), Error> {
    let permitted = permitted()?;
    // CAP_SYS_ADMIN stands for the two where they were not granted by their own names.
    let holds_both = permitted.contains(CapabilitySet::BPF | CapabilitySet::PERFMON);
    keep(permitted & if holds_both { LOADER } else { LOADER | CapabilitySet::SYS_ADMIN })
}

fn permitted() -> Result<CapabilitySet, Error> {
    Ok(rustix::thread::capabilities(None).map_err(refused)?.permitted)
}

fn set(effective: CapabilitySet, permitted: CapabilitySet) -> Result<(), Error> {
    let sets = CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(refused)
}

fn keep(kept: CapabilitySet) -> Result<(), Error> {
    set(kept, kept)?;
    rustix::thread::set_no_new_privs(true).map_err(refused)
}

fn refused(error: io::Errno) -> Error {
    Error::Privileges(error.into())
}
