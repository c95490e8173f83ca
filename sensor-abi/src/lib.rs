//! Everything that crosses the boundary between the kernel programs and the sensor: the records in the ring buffer,
//! the counters, and what user space injects at load time.
//!
//! A record is a [`RecordHeader`], then `strings` times a `u16` length and that many bytes, padded to an even length.
//! Numbers are in the machine's byte order: both sides run on one machine. What the four arguments and the strings mean
//! is said beside each record kind, in [`file`], [`process`] and [`network`].

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

pub mod counters;
pub mod file;
pub mod load;
pub mod network;
pub mod process;
pub mod record;
pub mod syscall;

pub use counters::{Counters, KindCounters};
pub use load::{Offsets, Settings};
pub use record::{RecordHeader, RecordKind, STRING_BYTES_MAX};

/// Changes with every change of a layout in this crate, together with [`load::SETTINGS_SYMBOL`], by which the sensor
/// recognises an object of its own version.
pub const ABI_VERSION: u32 = 1;

/// System calls that the interest bitmap has room for; x86-64 and arm64 stay below 512.
pub const SYSCALLS_MAX: usize = 512;

/// One bit for each system call that user space wants to hear of: bit `nr % 64` of word `nr / 64`.
pub type InterestBitmap = [u64; SYSCALLS_MAX / 64];

/// Bytes of the ring buffer that carries the records: at 256 bytes for an open, some 32,000 of them.
pub const RING_BYTES: u32 = 8 << 20;
