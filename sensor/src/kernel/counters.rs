//! What the kernel programs count, read where they count it.
//!
//! Not by `bpf(2)`: while that reads a map, the kernel runs no program of a classic tracepoint on that CPU, and where it can
//! be preempted there, that lasts until it runs again.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};
use tercel_sensor_abi::Counters;

use super::{Error, map_error};

const MAP: &str = "COUNTERS";

/// The programs' own memory; it can be read, not written.
pub(super) struct Counted {
    memory: MmapRaw,
}

impl Counted {
    pub(super) fn new(descriptor: OwnedFd) -> Result<Self, Error> {
        let map = MapData::from_fd(descriptor).map_err(map_error(MAP))?;
        let cpus = map.info().map_err(map_error(MAP))?.max_entries();
        let bytes = usize::try_from(cpus).unwrap_or(usize::MAX).saturating_mul(size_of::<Counters>());
        let descriptor = map.fd().as_fd().as_raw_fd();
        let memory = MmapOptions::new().len(bytes).map_raw_read_only(descriptor).map_err(Error::MapCounters)?;
        Ok(Self { memory })
    }

    /// The sum over all CPUs. Each number is one that was there; two of them need not be of the same moment.
    pub(super) fn sum(&self) -> Counters {
        let mut sum = Counters::default();
        for words in self.words().chunks_exact(Counters::WORDS) {
            sum.add(&Counters::from_words(words.iter().map(|word| word.load(Ordering::Relaxed))));
        }
        sum
    }

    #[expect(unsafe_code, reason = "what others write meanwhile cannot be borrowed otherwise")]
    #[expect(clippy::cast_ptr_alignment, reason = "a page's beginning is aligned for any word")]
    fn words(&self) -> &[AtomicU64] {
        let words = self.memory.as_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping begins at a page, is that long, and lives as long as `self`; nothing in it is written but by
        // the kernel, whole words at a time, and loads of a word are all that is done here with memory that is read-only.
        unsafe { std::slice::from_raw_parts(words, self.memory.len() / size_of::<AtomicU64>()) }
    }
}
