//! Loads the kernel programs, attaches them, and reads their counters.

mod btf;
mod privilege;

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, LpmTrie, MapData, PerCpuArray, RingBuf};
use aya::programs::{BtfTracePoint, ProgramError, TracePoint};
use aya::{Ebpf, EbpfLoader};
use tercel_sensor_abi::control::{PREFIX_BYTES_MAX, SOCKET_CALLS_MAX};
use tercel_sensor_abi::load::{OFFSETS_SYMBOL, SETTINGS_SYMBOL};
use tercel_sensor_abi::{CallSpec, Control, Counters, Offsets, Program, SYSCALLS_MAX, Settings};

use crate::ring::Ring;

pub use privilege::{Capability, drop_privileges, has_capability};

/// The stripped object that `cargo xtask ebpf` builds; committed, so that building Tercel needs stable Rust only.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../bpf/tercel.bpf.o");

pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// The first kernel with everything that is used: ring buffers are of 5.8, and 5.10 is the oldest long-term kernel with
/// them.
pub const KERNEL_MIN: (u32, u32) = (5, 10);

/// `bpf_get_current_task_btf` is there.
const KERNEL_TASK_BTF: (u32, u32) = (5, 11);

/// `bpf_task_pt_regs` is there.
const KERNEL_TASK_REGISTERS: (u32, u32) = (5, 15);

/// From here on BTF tracepoints on system calls are preemptible, and the kernel silently skips calls.
const KERNEL_PREEMPTIBLE_TRACEPOINTS: (u32, u32) = (7, 0);

/// The scheduler's tracepoints and the programs for them.
const SCHEDULER_PROGRAMS: [(&str, &str); 3] = [
    ("process_exec", "sched_process_exec"),
    ("process_fork", "sched_process_fork"),
    ("process_exit", "sched_process_exit"),
];

/// Bytes of a [`CallSpec`].
const SPEC_BYTES: usize = size_of::<CallSpec>();

/// The loaded programs; dropping it detaches them.
pub struct Kernel {
    ebpf: Ebpf,
    control: Array<MapData, [u32; Control::WORDS]>,
    specs: Array<MapData, [u8; SPEC_BYTES]>,
    compat: Array<MapData, u32>,
    prefixes: LpmTrie<MapData, [u8; PREFIX_BYTES_MAX], u8>,
    counters: PerCpuArray<MapData, [u64; Counters::WORDS]>,
    ring: Option<Ring>,
    hooks: Vec<String>,
    /// `/proc/self/fdinfo` of each program.
    program_infos: Vec<String>,
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
    #[error("the object has no `{0}`; run `cargo xtask ebpf`")]
    NotInObject(&'static str),
    #[error("cannot use the map {map}")]
    Map { map: &'static str, source: aya::maps::MapError },
}

/// Loads and attaches everything. Nothing is reported until [`Kernel::set_control`], but the lives of processes are.
/// `ring_bytes`: a power of two, at least a page.
pub fn load(ring_bytes: u32) -> Result<Kernel, Error> {
    let version = kernel_version();
    check_preconditions(version)?;
    let offsets = read_offsets()?;
    let btf = aya::Btf::from_sys_fs().map_err(|error| Error::Object(Box::new(error.into())))?;
    let mut ebpf = load_object(&btf, version, &offsets, ring_bytes)?;
    let mut programs = Programs { ebpf: &mut ebpf, btf: &btf, hooks: Vec::new(), infos: Vec::new() };
    for (program, tracepoint) in SCHEDULER_PROGRAMS {
        programs.attach_btf(program, tracepoint)?;
    }
    if version < KERNEL_PREEMPTIBLE_TRACEPOINTS {
        programs.attach_btf("sys_exit", "sys_exit")?;
    } else {
        programs.attach_classic("sys_exit_classic", "raw_syscalls", "sys_exit")?;
    }
    let Programs { hooks, infos, .. } = programs;
    let control = take_map(&mut ebpf, "CONTROL")?.try_into().map_err(map_error("CONTROL"))?;
    let specs = take_map(&mut ebpf, "SPECS")?.try_into().map_err(map_error("SPECS"))?;
    let compat = take_map(&mut ebpf, "COMPAT")?.try_into().map_err(map_error("COMPAT"))?;
    let prefixes = take_map(&mut ebpf, "PREFIXES")?.try_into().map_err(map_error("PREFIXES"))?;
    let counters = take_map(&mut ebpf, "COUNTERS")?.try_into().map_err(map_error("COUNTERS"))?;
    let ring: RingBuf<MapData> = take_map(&mut ebpf, "RECORDS")?.try_into().map_err(map_error("RECORDS"))?;
    let ring = Some(Ring::new(ring));
    Ok(Kernel { ebpf, control, specs, compat, prefixes, counters, ring, hooks, program_infos: infos })
}

impl Kernel {
    /// What is taken of each call, by its number. To be said before [`Self::set_control`].
    pub fn set_calls(&mut self, specs: &[(u32, CallSpec)]) -> Result<(), Error> {
        for (number, spec) in specs {
            self.specs.set(*number, spec_bytes(spec), 0).map_err(map_error("SPECS"))?;
        }
        Ok(())
    }

    /// Which number of the 64-bit table stands for each place of the 32-bit one and of `socketcall`.
    pub fn set_compat(&mut self, numbers: &[u32; SYSCALLS_MAX + SOCKET_CALLS_MAX]) -> Result<(), Error> {
        for (place, number) in (0..).zip(numbers) {
            self.compat.set(place, number, 0).map_err(map_error("COMPAT"))?;
        }
        Ok(())
    }

    /// Beginnings of paths with the opens that they are of interest to.
    pub fn set_prefixes(&mut self, prefixes: &[(Box<[u8]>, u8)]) -> Result<(), Error> {
        for (prefix, opens) in prefixes {
            let mut bytes = [0; PREFIX_BYTES_MAX];
            let length = prefix.len().min(PREFIX_BYTES_MAX);
            bytes[..length].copy_from_slice(&prefix[..length]);
            let bits = u32::try_from(length * 8).unwrap_or(0);
            self.prefixes.insert(&Key::new(bits, bytes), opens, 0).map_err(map_error("PREFIXES"))?;
        }
        Ok(())
    }

    /// What is reported, from now on.
    pub fn set_control(&mut self, control: &Control) -> Result<(), Error> {
        self.control.set(0, control.to_words(), 0).map_err(map_error("CONTROL"))
    }

    /// The records; there is one ring, and it is given away once.
    pub fn take_ring(&mut self) -> Option<Ring> {
        self.ring.take()
    }

    /// The sum over all CPUs.
    pub fn counters(&self) -> Result<Counters, Error> {
        let values = self.counters.get(&0, 0).map_err(map_error("COUNTERS"))?;
        let mut sum = Counters::default();
        for words in values.iter() {
            sum.add(&Counters::from_words(words));
        }
        Ok(sum)
    }

    /// The hooks in use, as `kind:name`.
    pub fn hooks(&self) -> &[String] {
        &self.hooks
    }

    /// Times that the kernel skipped a program because it was already running on that CPU: each may be a lost event.
    pub fn recursion_misses(&self) -> u64 {
        self.program_infos.iter().map(|path| recursion_misses(Path::new(path))).sum()
    }

    /// Detaches the programs: no record is written after this.
    pub fn detach(self) {
        drop(self.ebpf);
    }
}

/// (major, minor) of the running kernel; (0, 0) where its name does not begin with them.
pub fn kernel_version() -> (u32, u32) {
    parse_version(&rustix::system::uname().release().to_string_lossy())
}

fn parse_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What is known to make the load fail, said before the kernel says `EPERM`.
fn check_preconditions(version: (u32, u32)) -> Result<(), Error> {
    if version < KERNEL_MIN {
        let found = rustix::system::uname().release().to_string_lossy().into_owned();
        return Err(Error::KernelTooOld { found });
    }
    if !has_capability(Capability::SysAdmin) {
        for needed in [Capability::Bpf, Capability::Perfmon] {
            if !has_capability(needed) {
                return Err(Error::MissingCapability(needed));
            }
        }
    }
    if lockdown_mode().as_deref() == Some("confidentiality") {
        return Err(Error::Lockdown);
    }
    Ok(())
}

/// Whether the kernel shows its types, and has every member that is read.
pub fn check_btf() -> Result<(), Error> {
    read_offsets().map(|_| ())
}

/// Whether the hook of this kernel is attached through tracefs.
pub fn needs_tracefs() -> bool {
    kernel_version() >= KERNEL_PREEMPTIBLE_TRACEPOINTS
}

/// The mode between the brackets of `none [integrity] confidentiality`; `None` where the kernel has no lockdown.
pub fn lockdown_mode() -> Option<String> {
    let modes = std::fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    Some(modes.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// The members that the kernel side reads, where the running kernel has them.
fn read_offsets() -> Result<Offsets, Error> {
    let bytes = std::fs::read(BTF_PATH).map_err(Error::NoBtf)?;
    let offsets = resolve_offsets(&btf::Btf::parse(&bytes).map_err(Error::BadBtf)?);
    let mut missing = None;
    offsets.for_each(|name, offset| {
        // Kernels without audit have no login uid; the kernel side tests for it.
        if offset == Offsets::MISSING && name != "task_loginuid" {
            missing.get_or_insert(name);
        }
    });
    if let Some(name) = missing {
        return Err(Error::MissingMember(name));
    }
    // The path walk reads parent, name length and name in one go.
    if offsets.dentry_name_len != offsets.dentry_parent + 12 || offsets.dentry_name != offsets.dentry_parent + 16 {
        return Err(Error::MissingMember("dentry with d_parent and d_name side by side"));
    }
    Ok(offsets)
}

fn resolve_offsets(btf: &btf::Btf) -> Offsets {
    Offsets::resolve(|structure, paths| paths.iter().find_map(|path| btf.offset(structure, path)))
}

/// Field by field: there is no padding in it.
fn spec_bytes(spec: &CallSpec) -> [u8; SPEC_BYTES] {
    let [kind_low, kind_high] = spec.kind.to_ne_bytes();
    let mut bytes = [0; SPEC_BYTES];
    bytes[..4].copy_from_slice(&[kind_low, kind_high, spec.open_flags, spec.flags]);
    for (bytes, capture) in bytes[4..].chunks_exact_mut(4).zip(&spec.captures) {
        bytes.copy_from_slice(&[capture.what, capture.argument, capture.with, capture.reserved]);
    }
    bytes
}

fn load_object(btf: &aya::Btf, version: (u32, u32), offsets: &Offsets, ring_bytes: u32) -> Result<Ebpf, Error> {
    let mut offset_words = Vec::new();
    offsets.for_each(|_, offset| offset_words.push(offset));
    let settings = Settings {
        task_is_btf: u32::from(version >= KERNEL_TASK_BTF),
        has_task_registers: u32::from(version >= KERNEL_TASK_REGISTERS),
    };
    let setting_words = [settings.task_is_btf, settings.has_task_registers];
    let scratches = u32::try_from(possible_cpus()? * Program::COUNT).unwrap_or(u32::MAX);
    EbpfLoader::new()
        .btf(Some(btf))
        .override_global(OFFSETS_SYMBOL, offset_words.as_slice(), true)
        .override_global(SETTINGS_SYMBOL, setting_words.as_slice(), true)
        .map_max_entries("RECORDS", ring_bytes)
        .map_max_entries("SCRATCH", scratches)
        .load(OBJECT)
        .map_err(|error| Error::Object(Box::new(error)))
}

/// One more than the highest number of a CPU.
fn possible_cpus() -> Result<usize, Error> {
    aya::util::nr_cpus().map_err(|(_, error)| Error::Cpus(error))
}

struct Programs<'a> {
    ebpf: &'a mut Ebpf,
    btf: &'a aya::Btf,
    hooks: Vec<String>,
    infos: Vec<String>,
}

impl Programs<'_> {
    fn attach_btf(&mut self, name: &'static str, tracepoint: &str) -> Result<(), Error> {
        let program = self.ebpf.program_mut(name).ok_or(Error::NotInObject(name))?;
        let program: &mut BtfTracePoint = program.try_into().map_err(load_error(name))?;
        program.load(tracepoint, self.btf).map_err(load_error(name))?;
        program.attach().map_err(attach_error(name))?;
        self.infos.push(info_path(program.fd().map_err(attach_error(name))?));
        self.hooks.push(format!("tp_btf:{tracepoint}"));
        Ok(())
    }

    fn attach_classic(&mut self, name: &'static str, category: &str, tracepoint: &str) -> Result<(), Error> {
        let program = self.ebpf.program_mut(name).ok_or(Error::NotInObject(name))?;
        let program: &mut TracePoint = program.try_into().map_err(load_error(name))?;
        program.load().map_err(load_error(name))?;
        program.attach(category, tracepoint).map_err(attach_error(name))?;
        self.infos.push(info_path(program.fd().map_err(attach_error(name))?));
        self.hooks.push(format!("tracepoint:{category}:{tracepoint}"));
        Ok(())
    }
}

fn load_error(program: &'static str) -> impl Fn(ProgramError) -> Error {
    move |source| Error::Load { program, source: Box::new(source) }
}

fn attach_error(program: &'static str) -> impl Fn(ProgramError) -> Error {
    move |source| Error::Attach { program, source: Box::new(source) }
}

fn map_error(map: &'static str) -> impl Fn(aya::maps::MapError) -> Error {
    move |source| Error::Map { map, source }
}

fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, Error> {
    ebpf.take_map(name).ok_or(Error::NotInObject(name))
}

fn info_path(program: &impl AsFd) -> String {
    format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd())
}

/// 0 where the kernel (before 5.12) does not count them.
fn recursion_misses(info: &Path) -> u64 {
    let text = std::fs::read_to_string(info).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_understood() {
        assert_eq!(parse_version("6.18.44-fc-v657"), (6, 18));
        assert_eq!(parse_version("7.0-rc1"), (7, 0));
        assert_eq!(parse_version("strange"), (0, 0));
    }
}
