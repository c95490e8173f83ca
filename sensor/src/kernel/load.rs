//! The object in the kernel: loading it, and handing its maps out by name.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use aya::maps::{Map, MapData};
use aya::{Ebpf, EbpfLoader};
use serde::{Deserialize, Serialize};
use tercel_sensor_abi::load::{OFFSETS_SYMBOL, SETTINGS_SYMBOL};
use tercel_sensor_abi::{Offsets, Program, RING_BYTES, Settings};

use super::Error;
use super::attach::{Programs, Status, Switch};
use super::entry::{Entry, EntryPoint};
use super::machine::{check_preconditions, kernel_version, read_offsets};

/// The stripped object that `cargo xtask ebpf` builds; committed, so that building Tercel needs stable Rust only.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/tercel.bpf.o");

/// `bpf_get_current_task_btf` is there.
const KERNEL_TASK_BTF: (u32, u32) = (5, 11);

/// `bpf_task_pt_regs` is there.
const KERNEL_TASK_REGISTERS: (u32, u32) = (5, 15);

/// The maps that user space reads or writes, by their names in the object. Every other one is the programs' own.
pub(super) const MAPS: [&str; 6] = ["CONTROL", "SPECS", "COMPAT", "PREFIXES", "COUNTERS", "RECORDS"];

const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";

/// How the programs are loaded; crosses from the worker to the loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    pub entry: Entry,
    /// Of the ring buffer: a power of two, at least a page.
    pub ring_bytes: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { entry: Entry::default(), ring_bytes: RING_BYTES }
    }
}

/// The loaded and attached programs; dropping it detaches them.
pub(super) struct Loaded {
    ebpf: Ebpf,
    programs: Programs,
}

impl Loaded {
    /// Loads and attaches everything, in this process.
    pub(super) fn load(parameters: Parameters) -> Result<Self, Error> {
        let version = kernel_version();
        check_preconditions(version)?;
        let offsets = read_offsets()?;
        let btf = read_btf()?;
        let mut ebpf = load_object(&btf, version, &offsets, parameters)?;
        let (entry, _) = parameters.entry.choose(version);
        let programs = Programs::attach(&mut ebpf, &btf, entry)?;
        Ok(Self { ebpf, programs })
    }

    /// Own descriptors of [`MAPS`].
    pub(super) fn maps(&self) -> Result<Vec<(&'static str, OwnedFd)>, Error> {
        let descriptor = |name: &'static str| {
            let map = self.ebpf.map(name).and_then(map_data).ok_or(Error::NotInObject(name))?;
            let descriptor = map.fd().as_fd().try_clone_to_owned().map_err(Error::Descriptor)?;
            Ok((name, descriptor))
        };
        MAPS.into_iter().map(descriptor).collect()
    }

    pub(super) fn status(&self) -> Status {
        self.programs.status()
    }

    pub(super) fn switch(&mut self, to: EntryPoint) -> Result<Switch, Error> {
        self.programs.switch(&mut self.ebpf, to)
    }
}

/// Read for the load and, where the BTF form was not loaded at first, for a switch; some MiB, so it is not kept. A thread's
/// memory lies apart: nothing that outlives these types keeps their pages.
pub(super) fn read_btf() -> Result<aya::Btf, Error> {
    let read = || aya::Btf::from_sys_fs().map_err(|error| Error::Object(Box::new(error.into())));
    std::thread::scope(|scope| scope.spawn(read).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn load_object(btf: &aya::Btf, version: (u32, u32), offsets: &Offsets, parameters: Parameters) -> Result<Ebpf, Error> {
    let mut offset_words = Vec::new();
    offsets.for_each(|_, offset| offset_words.push(offset));
    let settings = Settings {
        task_is_btf: u32::from(version >= KERNEL_TASK_BTF),
        has_task_registers: u32::from(version >= KERNEL_TASK_REGISTERS),
    };
    let setting_words = [settings.task_is_btf, settings.has_task_registers];
    let cpus = possible_cpus()?;
    let scratches = cpus.saturating_mul(u32::try_from(Program::COUNT).unwrap_or(u32::MAX));
    EbpfLoader::new()
        .btf(Some(btf))
        .override_global(OFFSETS_SYMBOL, offset_words.as_slice(), true)
        .override_global(SETTINGS_SYMBOL, setting_words.as_slice(), true)
        .map_max_entries("RECORDS", parameters.ring_bytes)
        .map_max_entries("SCRATCH", scratches)
        .map_max_entries("COUNTERS", cpus)
        .load(OBJECT)
        .map_err(|error| Error::Object(Box::new(error)))
}

/// One more than the highest number of a CPU. Not how many there are: numbers may be left out.
fn possible_cpus() -> Result<u32, Error> {
    let text = std::fs::read_to_string(POSSIBLE_CPUS).map_err(Error::Cpus)?;
    cpus_of(&text).ok_or_else(|| Error::Cpus(io::Error::new(io::ErrorKind::InvalidData, text)))
}

/// `list`: numbers and ranges in ascending order, such as `0,2-3`.
fn cpus_of(list: &str) -> Option<u32> {
    list.trim_end().rsplit([',', '-']).next()?.parse::<u32>().ok()?.checked_add(1)
}

/// `None`: of a kind that user space is never handed.
fn map_data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuHashMap(data)
        | Map::LpmTrie(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::cpus_of;

    #[test]
    fn there_is_room_for_the_highest_cpu_wherever_numbers_are_left_out() {
        for (list, cpus) in
            [("0\n", Some(1)), ("0-3\n", Some(4)), ("0,2-3\n", Some(4)), ("0-1,8\n", Some(9)), ("\n", None)]
        {
            assert_eq!(cpus_of(list), cpus, "{list:?}");
        }
    }
}
