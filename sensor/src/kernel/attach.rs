//! Programs and their hooks: attaching, switching the entry point, and what the kernel skipped.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use aya::Ebpf;
use aya::programs::tp_btf::BtfTracePointLinkId;
use aya::programs::trace_point::TracePointLinkId;
use aya::programs::{BtfTracePoint, ProgramError, TracePoint};
use serde::{Deserialize, Serialize};

use super::Error;
use super::entry::EntryPoint;
use super::load::read_btf;

/// The scheduler's tracepoints and the programs for them.
const SCHEDULER_PROGRAMS: [(&str, &str); 3] = [
    ("process_exec", "sched_process_exec"),
    ("process_fork", "sched_process_fork"),
    ("process_exit", "sched_process_exit"),
];

/// The tracepoint that both forms of the entry point belong to.
const SYSCALL_EXIT: &str = "sys_exit";
const SYSCALL_CATEGORY: &str = "raw_syscalls";

/// Every program, by its name in the object.
pub const PROGRAMS: [&str; 5] = [
    EntryPoint::TpBtf.program(),
    EntryPoint::Classic.program(),
    SCHEDULER_PROGRAMS[0].0,
    SCHEDULER_PROGRAMS[1].0,
    SCHEDULER_PROGRAMS[2].0,
];

/// Bytes of a program's `/proc/self/fdinfo` that are read; it has some 300.
const INFO_BYTES_MAX: usize = 2048;

/// What is attached, and what it missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    pub entry: EntryPoint,
    /// The hooks in use, as `kind:name`.
    pub hooks: Vec<String>,
    pub misses: Vec<ProgramMisses>,
}

/// Times that the kernel skipped a program since it was loaded, because it was running already on that CPU: an upper
/// bound of the events that were lost by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramMisses {
    pub program: String,
    pub count: u64,
}

/// The entry point was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    pub to: EntryPoint,
    /// Microseconds during which both were attached, and a call may have been reported twice.
    pub overlap_us: u64,
}

impl Status {
    /// 0 where the program was never loaded.
    pub fn misses_of(&self, program: &str) -> u64 {
        self.misses.iter().find(|misses| misses.program == program).map_or(0, |misses| misses.count)
    }

    pub fn misses_total(&self) -> u64 {
        self.misses.iter().map(|misses| misses.count).sum()
    }
}

/// How the entry point in use is attached.
enum EntryLink {
    TpBtf(BtfTracePointLinkId),
    Classic(TracePointLinkId),
}

impl EntryLink {
    fn entry(&self) -> EntryPoint {
        match self {
            Self::TpBtf(_) => EntryPoint::TpBtf,
            Self::Classic(_) => EntryPoint::Classic,
        }
    }

    fn hook(&self) -> String {
        match self {
            Self::TpBtf(_) => format!("tp_btf:{SYSCALL_EXIT}"),
            Self::Classic(_) => format!("tracepoint:{SYSCALL_CATEGORY}:{SYSCALL_EXIT}"),
        }
    }
}

/// What is attached of an object.
pub(super) struct Programs {
    entry: EntryLink,
    infos: Vec<Info>,
}

impl Programs {
    pub(super) fn attach(ebpf: &mut Ebpf, btf: &aya::Btf, entry: EntryPoint) -> Result<Self, Error> {
        let mut infos = Vec::new();
        for (program, tracepoint) in SCHEDULER_PROGRAMS {
            infos.push(load_btf(ebpf, btf, program, tracepoint)?);
            attach_btf(ebpf, program)?;
        }
        infos.push(load_entry(ebpf, btf, entry)?);
        Ok(Self { entry: attach_entry(ebpf, entry)?, infos })
    }

    pub(super) fn status(&self) -> Status {
        let scheduler = SCHEDULER_PROGRAMS.map(|(_, tracepoint)| format!("tp_btf:{tracepoint}"));
        Status {
            entry: self.entry.entry(),
            hooks: scheduler.into_iter().chain([self.entry.hook()]).collect(),
            misses: self.infos.iter().map(Info::misses).collect(),
        }
    }

    /// Attaches the other form, and only then detaches the one in use. Detaching first would lose every call in between,
    /// uncounted; this way a call that returns while both are attached is reported twice, each report with its own
    /// sequence number and counted as seen: an alert more, never one fewer. How long that was is told.
    ///
    /// A word in `Control` that names the form which may report would not do. Both run at one exit, one after the other:
    /// when the word changes in between, the first has left the call to the second and the second to the first, and it is
    /// lost. With a third value, both, in between nothing is lost, provided that it stays until every exit that began
    /// before it has ended. That is a grace period, some milliseconds; meanwhile calls are reported twice, and more of them
    /// than now (some six in a switch under full load). And every call would pay for the look at the word.
    ///
    /// The program that is detached stays loaded: its misses still count, and switching back verifies nothing again.
    pub(super) fn switch(&mut self, ebpf: &mut Ebpf, to: EntryPoint) -> Result<Switch, Error> {
        if self.entry.entry() == to {
            return Ok(Switch { to, overlap_us: 0 });
        }
        if !self.infos.iter().any(|info| info.program == to.program()) {
            let info = load_entry(ebpf, &read_btf()?, to)?;
            self.infos.push(info);
        }
        // `attach` returns some time after the first call was seen: the clock starts before it.
        let began = Instant::now();
        let before = std::mem::replace(&mut self.entry, attach_entry(ebpf, to)?);
        detach_entry(ebpf, before)?;
        Ok(Switch { to, overlap_us: began.elapsed().as_micros().try_into().unwrap_or(u64::MAX) })
    }
}

/// `/proc/self/fdinfo` of a program. It stays open: opening it each second would itself be an event.
struct Info {
    program: &'static str,
    file: File,
}

impl Info {
    fn open(program: &'static str, descriptor: &impl AsFd) -> Result<Self, Error> {
        let path = format!("/proc/self/fdinfo/{}", descriptor.as_fd().as_raw_fd());
        let file = File::open(path).map_err(|source| Error::ProgramInfo { program, source })?;
        Ok(Self { program, file })
    }

    /// 0 where the kernel (before 5.12) does not count them.
    fn misses(&self) -> ProgramMisses {
        let count = self.read().ok().and_then(|text| parse_misses(&text)).unwrap_or(0);
        ProgramMisses { program: self.program.to_owned(), count }
    }

    fn read(&self) -> io::Result<String> {
        let mut bytes = [0; INFO_BYTES_MAX];
        let length = self.file.read_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

fn parse_misses(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

fn load_entry(ebpf: &mut Ebpf, btf: &aya::Btf, entry: EntryPoint) -> Result<Info, Error> {
    let name = entry.program();
    match entry {
        EntryPoint::TpBtf => load_btf(ebpf, btf, name, SYSCALL_EXIT),
        EntryPoint::Classic => {
            let program = classic_program(ebpf, name)?;
            program.load().map_err(load_error(name))?;
            Info::open(name, program.fd().map_err(load_error(name))?)
        }
    }
}

fn load_btf(ebpf: &mut Ebpf, btf: &aya::Btf, name: &'static str, tracepoint: &str) -> Result<Info, Error> {
    let program = btf_program(ebpf, name)?;
    program.load(tracepoint, btf).map_err(load_error(name))?;
    Info::open(name, program.fd().map_err(load_error(name))?)
}

fn attach_entry(ebpf: &mut Ebpf, entry: EntryPoint) -> Result<EntryLink, Error> {
    let name = entry.program();
    match entry {
        EntryPoint::TpBtf => attach_btf(ebpf, name).map(EntryLink::TpBtf),
        EntryPoint::Classic => {
            let link = classic_program(ebpf, name)?.attach(SYSCALL_CATEGORY, SYSCALL_EXIT);
            link.map(EntryLink::Classic).map_err(attach_error(name))
        }
    }
}

fn attach_btf(ebpf: &mut Ebpf, name: &'static str) -> Result<BtfTracePointLinkId, Error> {
    btf_program(ebpf, name)?.attach().map_err(attach_error(name))
}

fn detach_entry(ebpf: &mut Ebpf, link: EntryLink) -> Result<(), Error> {
    let name = link.entry().program();
    match link {
        EntryLink::TpBtf(id) => btf_program(ebpf, name)?.detach(id).map_err(attach_error(name)),
        EntryLink::Classic(id) => classic_program(ebpf, name)?.detach(id).map_err(attach_error(name)),
    }
}

fn btf_program<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut BtfTracePoint, Error> {
    ebpf.program_mut(name).ok_or(Error::NotInObject(name))?.try_into().map_err(load_error(name))
}

fn classic_program<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut TracePoint, Error> {
    ebpf.program_mut(name).ok_or(Error::NotInObject(name))?.try_into().map_err(load_error(name))
}

fn load_error(program: &'static str) -> impl Fn(ProgramError) -> Error {
    move |source| Error::Load { program, source: Box::new(source) }
}

fn attach_error(program: &'static str) -> impl Fn(ProgramError) -> Error {
    move |source| Error::Attach { program, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recursion_misses_are_found_in_a_program_s_info() {
        let info = "pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t387\nverified_insns:\t13140\n";
        assert_eq!(parse_misses(info), Some(387));
        assert_eq!(parse_misses("prog_type:\t26\n"), None);
        assert_eq!(parse_misses("recursion_misses:\tmany\n"), None);
    }
}
