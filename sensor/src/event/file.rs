//! The file of an open: its name as Falco tells it, its flags as text.

use std::borrow::Cow;
use std::cell::OnceCell;

use tercel_sensor_abi::What;

use super::call::Call;
use super::{EventType, Scratch, path, result_name};
use crate::ring::Record;

/// `O_CREAT | O_WRONLY | O_TRUNC`: what creat stands for.
const CREAT_FLAGS: u32 = 0o1101;

const O_ACCMODE: u32 = 0o3;
const O_WRONLY: u32 = 0o1;
const O_RDWR: u32 = 0o2;
const O_CREAT: u32 = 0o100;
#[cfg(not(target_arch = "aarch64"))]
const O_DIRECTORY: u32 = 0o200_000;
#[cfg(target_arch = "aarch64")]
const O_DIRECTORY: u32 = 0o40_000;
/// With `O_DIRECTORY` the kernel's `O_TMPFILE`.
const O_TMPFILE: u32 = 0o20_000_000 | O_DIRECTORY;
/// With `O_DSYNC` the kernel's `O_SYNC`.
const O_SYNC: u32 = 0o4_010_000;
#[cfg(not(target_arch = "aarch64"))]
const O_DIRECT: u32 = 0o40_000;
#[cfg(target_arch = "aarch64")]
const O_DIRECT: u32 = 0o200_000;
#[cfg(not(target_arch = "aarch64"))]
const O_LARGEFILE: u32 = 0o100_000;
#[cfg(target_arch = "aarch64")]
const O_LARGEFILE: u32 = 0o400_000;

const ANY_EXEC_BIT: u32 = 0o111;

/// In Falco's order: the kernel's bits, all of which must be set; the name; the bit in Falco's numbering. Those before the
/// access mode, then those behind it.
const FLAGS: [(u32, &str, u32); 10] = [
    (O_LARGEFILE, "O_LARGEFILE", 1 << 11),
    (O_DIRECTORY, "O_DIRECTORY", 1 << 10),
    (O_DIRECT, "O_DIRECT", 1 << 9),
    (0o1_000, "O_TRUNC", 1 << 8),
    (O_SYNC, "O_SYNC", 1 << 7),
    (0o4_000, "O_NONBLOCK", 1 << 6),
    (0o200, "O_EXCL", 1 << 5),
    (0o10_000, "O_DSYNC", 1 << 4),
    (0o2_000, "O_APPEND", 1 << 3),
    (O_CREAT, "O_CREAT", 1 << 2),
];
const FLAGS_BEHIND: [(u32, &str, u32); 2] = [(0o2_000_000, "O_CLOEXEC", 1 << 12), (O_TMPFILE, "O_TMPFILE", 1 << 13)];

/// How a file was to be opened, whichever call it was.
#[derive(Debug, Clone, Copy, Default)]
struct How {
    /// `O_*` as the caller passed them.
    flags: u32,
    /// Permission bits for a file that is created.
    mode: u32,
    /// `RESOLVE_*`, of openat2.
    resolve: u32,
}

impl How {
    fn of(event_type: EventType, record: &Record<'_>, call: &Call) -> Self {
        let number = |place| record.header.argument_u32(place);
        match event_type {
            EventType::OPEN => Self { flags: number(1), mode: number(2), resolve: 0 },
            EventType::CREAT => Self { flags: CREAT_FLAGS, mode: number(1), resolve: 0 },
            EventType::OPENAT => Self { flags: number(2), mode: number(3), resolve: 0 },
            EventType::OPENAT2 => {
                let how = call.string_of(&[What::OpenHow], 0).map_or(&[][..], |string| record.string(string));
                let word =
                    |place: usize| how.get(place * 8..)?.first_chunk::<4>().map(|word| u32::from_ne_bytes(*word));
                let word = |place| word(place).unwrap_or_default();
                Self { flags: word(0), mode: word(1), resolve: word(2) }
            }
            _ => Self { flags: number(2), ..Self::default() },
        }
    }
}

/// The file of one open.
pub(crate) struct OpenedFile<'a> {
    how: How,
    result: i64,
    /// As the caller wrote it.
    raw_name: &'a [u8],
    /// The kernel's path of the directory that a relative name starts from.
    base: &'a [u8],
    /// The kernel's own; empty where the call failed, or nobody asks for it.
    kernel_path: Cow<'a, [u8]>,
    has_name: bool,
    scratch: &'a Scratch,
    name: OnceCell<Cow<'a, [u8]>>,
    flags: OnceCell<Vec<u8>>,
}

impl<'a> OpenedFile<'a> {
    pub(super) fn new(
        event_type: EventType,
        record: &Record<'a>,
        call: &Call,
        kernel_path: Cow<'a, [u8]>,
        scratch: &'a Scratch,
    ) -> Self {
        let name = call.string_of(&[What::Path], 0);
        Self {
            how: How::of(event_type, record, call),
            result: record.header.result,
            raw_name: name.map_or(&[], |string| record.string(string)),
            base: name.map_or(&[], |string| record.string(string + 1)),
            kernel_path,
            has_name: name.is_some(),
            scratch,
            name: OnceCell::new(),
            flags: OnceCell::new(),
        }
    }

    /// `None` where there is none.
    pub(crate) fn kernel_path(&self) -> Option<&[u8]> {
        Some(&*self.kernel_path).filter(|path| !path.is_empty())
    }

    pub(crate) fn raw_name(&self) -> &'a [u8] {
        self.raw_name
    }

    /// Absolute, without `//`, `.` and `..`; symbolic links are not followed.
    pub(crate) fn name(&self) -> &[u8] {
        self.name.get_or_init(|| self.absolute_name())
    }

    /// `O_…|O_…`, in Falco's order.
    pub(crate) fn flags(&self) -> &[u8] {
        self.flags.get_or_init(|| {
            let mut text = self.scratch.flags.take();
            text.clear();
            write_flags(&mut text, self.how.flags);
            text
        })
    }

    /// In Falco's numbering, which is the same everywhere.
    pub(crate) fn falco_flags(&self) -> u32 {
        let flags = self.how.flags;
        let of = |(bits, _, falco): &(u32, &str, u32)| if flags & bits == *bits { *falco } else { 0 };
        let (_, access) = access_mode(flags);
        FLAGS.iter().chain(&FLAGS_BEHIND).map(of).fold(access, |all, bit| all | bit)
    }

    /// `RESOLVE_*`, of openat2.
    pub(crate) fn resolve(&self) -> u32 {
        self.how.resolve
    }

    /// Permission bits of a file that is made; 0 where none is.
    pub(crate) fn mode(&self, is_creat: bool) -> u32 {
        if is_creat || self.may_create() { self.how.mode } else { 0 }
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.how.flags & O_DIRECTORY != 0 && !self.is_temporary()
    }

    pub(crate) fn reads(&self) -> bool {
        matches!(self.how.flags & O_ACCMODE, 0 | O_RDWR)
    }

    pub(crate) fn writes(&self) -> bool {
        matches!(self.how.flags & O_ACCMODE, O_WRONLY | O_RDWR)
    }

    /// A file that may be executed is made, or would have been.
    pub(crate) fn makes_executable(&self, is_creat: bool) -> bool {
        self.mode(is_creat) & ANY_EXEC_BIT != 0
    }

    /// The call succeeded and could make a file. Whether it did, or the file was there already, the kernel does not say.
    pub(crate) fn creates(&self) -> bool {
        self.succeeded() && self.may_create()
    }

    fn may_create(&self) -> bool {
        self.how.flags & O_CREAT != 0 || self.is_temporary()
    }

    fn is_temporary(&self) -> bool {
        self.how.flags & O_TMPFILE == O_TMPFILE
    }

    pub(crate) fn succeeded(&self) -> bool {
        result_name(self.result) == "SUCCESS"
    }

    /// `open_by_handle_at` has no name but the kernel's.
    fn absolute_name(&self) -> Cow<'a, [u8]> {
        if !self.has_name {
            return self.kernel_path.clone();
        }
        if path::is_plain(self.raw_name) {
            return Cow::Borrowed(self.raw_name);
        }
        let mut buffer = self.scratch.name.take();
        buffer.clear();
        path::write_resolved(&mut buffer, self.raw_name, self.base);
        Cow::Owned(buffer)
    }
}

impl Drop for OpenedFile<'_> {
    fn drop(&mut self) {
        if let Some(Cow::Owned(buffer)) = self.name.take() {
            self.scratch.name.set(buffer);
        }
        if let Some(buffer) = self.flags.take() {
            self.scratch.flags.set(buffer);
        }
    }
}

fn write_flags(text: &mut Vec<u8>, flags: u32) {
    let mut push = |rows: &[(u32, &str, u32)]| {
        for (_, name, _) in rows.iter().filter(|(bits, ..)| flags & bits == *bits) {
            push_flag(text, name);
        }
    };
    push(&FLAGS);
    push(&[(0, access_mode(flags).0, 0)]);
    push(&FLAGS_BEHIND);
}

/// Name, and Falco's number.
fn access_mode(flags: u32) -> (&'static str, u32) {
    match flags & O_ACCMODE {
        O_WRONLY => ("O_WRONLY", 0b10),
        O_RDWR => ("O_RDWR", 0b11),
        _ => ("O_RDONLY", 0b01),
    }
}

fn push_flag(text: &mut Vec<u8>, name: &str) {
    if !text.is_empty() {
        text.push(b'|');
    }
    text.extend_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_read_as_in_falco() {
        let table = [
            (0, "O_RDONLY"),
            (0o1101, "O_TRUNC|O_CREAT|O_WRONLY"),
            (0o2_000_002, "O_RDWR|O_CLOEXEC"),
            (0o2_004_000 | O_DIRECTORY, "O_DIRECTORY|O_NONBLOCK|O_RDONLY|O_CLOEXEC"),
            (O_TMPFILE | 1, "O_DIRECTORY|O_WRONLY|O_TMPFILE"),
            (O_SYNC | 0o2_000, "O_SYNC|O_DSYNC|O_APPEND|O_RDONLY"),
        ];
        for (flags, expected) in table {
            let mut text = Vec::new();
            write_flags(&mut text, flags);
            assert_eq!(String::from_utf8(text).unwrap(), expected, "{flags:o}");
        }
    }
}
