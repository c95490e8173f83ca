//! The maps, by the names that user space knows.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LpmTrie, RingBuf};
use tercel_sensor_abi::control::{PREFIX_BYTES_MAX, PREFIXES_MAX, SOCKET_CALLS_MAX};
use tercel_sensor_abi::{CallSpec, Control, Counters, Program, RING_BYTES, SYSCALLS_MAX};

use crate::record::Scratch;

#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// Where a record is put together: the stack has 512 bytes. One for each CPU and program, at `cpu * Program::COUNT +
/// program`; user space makes it that long. No per-CPU array, whose values end at 32 KiB.
#[map]
pub static SCRATCH: Array<Scratch> = Array::with_max_entries(Program::COUNT as u32, 0);

/// One for each CPU; user space makes it that long. No per-CPU array, which cannot be mapped: user space would have to ask
/// for the values by `bpf(2)`, and while it is preempted in there the kernel runs no classic tracepoint's program on that CPU.
#[map]
pub static COUNTERS: Array<Counters> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// What is taken of each call, by its 64-bit number.
#[map]
pub static SPECS: Array<CallSpec> = Array::with_max_entries(SYSCALLS_MAX as u32, 0);

/// 32-bit number → 64-bit number; behind them the calls inside of `socketcall`.
#[map]
pub static COMPAT: Array<u32> = Array::with_max_entries((SYSCALLS_MAX + SOCKET_CALLS_MAX) as u32, 0);

/// Beginnings of paths, and for which opens each of them is of interest.
#[map]
pub static PREFIXES: LpmTrie<[u8; PREFIX_BYTES_MAX], u8> =
    LpmTrie::with_max_entries(PREFIXES_MAX as u32, BPF_F_NO_PREALLOC);
