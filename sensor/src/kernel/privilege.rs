//! Capabilities: which ones the load needs, and giving up the rest after it.

use std::fmt;

use rustix::io;
use rustix::thread::{CapabilitySet, CapabilitySets};

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

/// Gives up every capability that reading records and `/proc` does not need, for good. Capabilities belong to threads:
/// call it before others are started.
///
/// `CAP_SYS_PTRACE` and `CAP_DAC_READ_SEARCH` stay, for the programs and descriptors of other users' processes;
/// `CAP_BPF` stays where maps cannot be read without it (before 5.11).
pub fn drop_privileges() -> io::Result<()> {
    let mut kept = CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
    if super::kernel_version() < super::KERNEL_TASK_BTF {
        kept |= CapabilitySet::BPF;
    }
    let permitted = rustix::thread::capabilities(None)?.permitted & kept;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() },
    )?;
    rustix::thread::set_no_new_privs(true)
}
