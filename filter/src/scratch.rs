//! Room for what an evaluation makes on its way: results of transformers, text made UTF-8.

use std::ops::Range;

/// Bytes that one comparison may write. A value beyond it counts as missing.
pub const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// Elements of the lists that one comparison may make.
const ITEMS_MAX: usize = 4_096;

/// Buffers that are written over and over: one for each thread that evaluates. Nothing is allocated once they are as
/// large as they get.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    items: Vec<Range<usize>>,
    overflows: u64,
}

impl Scratch {
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values were larger than [`SCRATCH_BYTES_MAX`] and so counted as missing.
    pub fn overflows(&self) -> u64 {
        self.overflows
    }
}
