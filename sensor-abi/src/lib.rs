//! Everything that crosses the boundary between the kernel programs and the sensor: the records in the ring buffer,
//! the counters, and what user space injects at load time.
//!
//! A record is a [`RecordHeader`], then `strings` times a `u16` length and that many bytes, padded to an even length.
//! Numbers are in the machine's byte order: both sides run on one machine. What the arguments and the strings mean
//! is said in [`process`] for the lives of processes; for system calls user space says itself, with a
//! [`CallSpec`], what it wants of each.

#![no_std]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "arguments are packed into 64-bit words and taken out of them again; the widths are those of the kernel's own types"
)]
#![allow(
    clippy::inline_always,
    reason = "the kernel programs are one function each: a BPF-to-BPF call would cost verifier states"
)]

pub mod call;
pub mod control;
pub mod counters;
pub mod file;
pub mod load;
pub mod process;
pub mod record;

pub use call::{CallSpec, Capture, What};
pub use control::{Control, InterestBitmap, SYSCALLS_MAX};
pub use counters::{Counters, KindCounters};
pub use load::{Offsets, Settings};
pub use record::{Program, RecordHeader, RecordKind, STRING_BYTES_MAX};

/// Changes with every change of a layout in this crate, together with [`load::SETTINGS_SYMBOL`], by which the sensor
/// recognises an object of its own version.
pub const ABI_VERSION: u32 = 2;

/// Bytes of the ring buffer that carries the records where nothing else is asked for: at 256 bytes for an open, some
/// 32,000 of them.
pub const RING_BYTES: u32 = 8 << 20;
