//! The maps, by the names that user space knows.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, RingBuf};
use tercel_sensor_abi::{Counters, InterestBitmap, RING_BYTES};

use crate::record::Scratch;

#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// Where a record is put together: the stack has 512 bytes.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub static INTEREST: Array<InterestBitmap> = Array::with_max_entries(1, 0);
