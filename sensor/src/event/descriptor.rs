//! What is behind a descriptor, as the kernel had it when the call returned.

use tercel_sensor_abi::What;
use tercel_sensor_abi::file::{DescriptorFacts, LAYER_LOWER, LAYER_UPPER};

use super::call::Call;
use super::socket::family_kind;
use crate::ring::Record;

/// `S_IFMT` and the types, of `<linux/stat.h>`.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_SOCKET: u32 = 0o140_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_PIPE: u32 = 0o010_000;

/// `PID_FS_MAGIC`, of `<linux/magic.h>`.
const PID_FILE_SYSTEM: u64 = 0x5049_4446;

/// Bits of the minor number in the kernel's own encoding of a device.
const MINOR_BITS: u32 = 20;

/// How the kernel calls files without a file system; Falco's word for them and its letter.
const ANONYMOUS: [(&[u8], &str, &str); 9] = [
    (b"[eventfd", "event", "e"),
    (b"[eventpoll]", "eventpoll", "l"),
    (b"[signalfd]", "signalfd", "s"),
    (b"[timerfd]", "timerfd", "t"),
    (b"[io_uring]", "io_uring", "r"),
    (b"[userfaultfd]", "userfaultfd", "u"),
    (b"[pidfd]", "pidfd", "P"),
    (b"inotify", "inotify", "i"),
    (b"bpf", "bpf", "b"),
];

/// How it calls a file in memory.
const MEMORY_FILE: &[u8] = b"memfd:";

/// One descriptor.
pub(crate) struct Descriptor<'a> {
    pub(crate) facts: DescriptorFacts,
    /// The kernel's path; `[eventfd]` and its like for a file without a file system; a Unix socket's name, which begins with a
    /// NUL where it is abstract.
    pub(crate) name: &'a [u8],
}

impl<'a> Descriptor<'a> {
    /// The one that this call's record tells of; `None` where it has none.
    pub(crate) fn of(record: &Record<'a>, call: &Call) -> Option<Self> {
        let string = call.string_of(&[What::Descriptor], 0)?;
        let facts = DescriptorFacts::from_bytes(record.string(string))?;
        Some(Self { facts, name: record.string(string + 1) })
    }

    /// Falco's word for its type, and the letter.
    pub(crate) fn kind(&self) -> Option<(&'static str, &'static str)> {
        match self.facts.mode & TYPE_MASK {
            TYPE_SOCKET => family_kind(self.facts.family),
            TYPE_DIRECTORY => Some(("directory", "d")),
            TYPE_PIPE => Some(("pipe", "p")),
            _ if self.name.starts_with(MEMORY_FILE) => Some(("memfd", "m")),
            _ if self.facts.file_system == PID_FILE_SYSTEM => Some(("pidfd", "P")),
            _ => Some(anonymous_kind(self.name).unwrap_or(("file", "f"))),
        }
    }

    pub(crate) fn is_socket(&self) -> bool {
        self.facts.mode & TYPE_MASK == TYPE_SOCKET
    }

    /// A file or a directory that has a path.
    pub(crate) fn is_file(&self) -> bool {
        self.name.starts_with(b"/") && !self.is_socket()
    }

    pub(crate) fn is_upper_layer(&self) -> bool {
        self.facts.layer == LAYER_UPPER
    }

    pub(crate) fn is_lower_layer(&self) -> bool {
        self.facts.layer == LAYER_LOWER
    }

    pub(super) fn layer_bits(&self) -> u32 {
        u32::from(self.is_upper_layer()) | u32::from(self.is_lower_layer()) << 1
    }

    pub(crate) fn device_major(&self) -> u32 {
        self.facts.device >> MINOR_BITS
    }

    pub(crate) fn device_minor(&self) -> u32 {
        self.facts.device & ((1 << MINOR_BITS) - 1)
    }

    /// As `stat` tells it.
    pub(crate) fn device(&self) -> i64 {
        let (major, minor) = (self.device_major(), self.device_minor());
        i64::from((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
    }
}

/// Falco's word, and letter, for a file without a file system, by the kernel's name of it.
pub(crate) fn anonymous_kind(name: &[u8]) -> Option<(&'static str, &'static str)> {
    let found = ANONYMOUS.iter().find(|(start, ..)| name.starts_with(start));
    found.map(|(_, word, letter)| (*word, *letter))
}
