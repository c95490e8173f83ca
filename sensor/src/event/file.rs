//! The file of an open: its name as Falco tells it, its flags as text.

use std::borrow::Cow;
use std::cell::OnceCell;

use tercel_sensor_abi::file::OpenArguments;

use super::{Scratch, result_name};
use crate::enrich::State;
use crate::enrich::process::{Process, kernel_path};
use crate::enrich::procfs;
use crate::ring::Record;

const AT_FDCWD: i32 = -100;

/// Stands in front of a relative name whose directory is not to be found out, as in Falco.
const UNKNOWN_DIRECTORY: &[u8] = b"<UNKNOWN>";

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

/// The file of one open.
pub(crate) struct OpenedFile<'a> {
    arguments: OpenArguments,
    result: i64,
    /// As the caller wrote it.
    raw_name: &'a [u8],
    /// The kernel's own path; empty where the call failed.
    kernel_path: Cow<'a, [u8]>,
    process: &'a Process,
    state: &'a State,
    scratch: &'a Scratch,
    name: OnceCell<Cow<'a, [u8]>>,
    flags: OnceCell<Vec<u8>>,
}

impl<'a> OpenedFile<'a> {
    pub(super) fn new(record: &Record<'a>, process: &'a Process, state: &'a State, scratch: &'a Scratch) -> Self {
        Self {
            arguments: OpenArguments::from_words(record.header.arguments),
            result: record.header.result,
            raw_name: record.string(OpenArguments::STRING_NAME),
            kernel_path: kernel_path(record),
            process,
            state,
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
        self.name.get_or_init(|| self.resolve())
    }

    /// `O_…|O_…`, in Falco's order.
    pub(crate) fn flags(&self) -> &[u8] {
        self.flags.get_or_init(|| {
            let mut text = self.scratch.flags.take();
            text.clear();
            write_flags(&mut text, self.arguments.flags);
            text
        })
    }

    /// In Falco's numbering, which is the same everywhere.
    pub(crate) fn falco_flags(&self) -> u32 {
        let flags = self.arguments.flags;
        let of = |(bits, _, falco): &(u32, &str, u32)| if flags & bits == *bits { *falco } else { 0 };
        let (_, access) = access_mode(flags);
        FLAGS.iter().chain(&FLAGS_BEHIND).map(of).fold(access, |all, bit| all | bit)
    }

    /// Where a relative name starts from.
    pub(crate) fn directory_fd(&self) -> i32 {
        self.arguments.dirfd
    }

    /// Permission bits of a file that is made; 0 where none is.
    pub(crate) fn mode(&self, is_creat: bool) -> u32 {
        if is_creat || self.may_create() { self.arguments.mode } else { 0 }
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.arguments.flags & O_DIRECTORY != 0 && !self.is_temporary()
    }

    pub(crate) fn reads(&self) -> bool {
        matches!(self.arguments.flags & O_ACCMODE, 0 | O_RDWR)
    }

    pub(crate) fn writes(&self) -> bool {
        matches!(self.arguments.flags & O_ACCMODE, O_WRONLY | O_RDWR)
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
        self.arguments.flags & O_CREAT != 0 || self.is_temporary()
    }

    fn is_temporary(&self) -> bool {
        self.arguments.flags & O_TMPFILE == O_TMPFILE
    }

    pub(crate) fn succeeded(&self) -> bool {
        result_name(self.result) == "SUCCESS"
    }

    fn resolve(&self) -> Cow<'a, [u8]> {
        if is_plain(self.raw_name) {
            return Cow::Borrowed(self.raw_name);
        }
        if let Cow::Borrowed(kernel_path) = self.kernel_path
            && let Some(path) = path_that_ends_with(kernel_path, self.raw_name)
        {
            return Cow::Borrowed(path);
        }
        let mut buffer = self.scratch.name.take();
        buffer.clear();
        if !self.raw_name.starts_with(b"/") {
            self.write_directory(&mut buffer);
        }
        buffer.extend_from_slice(self.raw_name);
        normalise(&mut buffer);
        Cow::Owned(buffer)
    }

    /// The directory that a relative name starts from. The working directory changes without a record: it is looked up,
    /// within the budget, and the one remembered stands in for it.
    fn write_directory(&self, buffer: &mut Vec<u8>) {
        let fresh = self.state.processes.spend_lookup().then(|| match self.arguments.dirfd {
            AT_FDCWD => procfs::read_cwd(self.process.tgid),
            fd => procfs::read_descriptor(self.process.tgid, fd).filter(|path| path.starts_with(b"/")),
        });
        let remembered = self.process.cwd().filter(|_| self.arguments.dirfd == AT_FDCWD);
        match (fresh.flatten(), remembered) {
            (Some(path), _) => buffer.extend_from_slice(&path),
            (None, Some(path)) => buffer.extend_from_slice(path),
            (None, None) => buffer.extend_from_slice(UNKNOWN_DIRECTORY),
        }
        buffer.push(b'/');
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

/// Absolute and normal already.
fn is_plain(path: &[u8]) -> bool {
    path == b"/"
        || path
            .strip_prefix(b"/")
            .is_some_and(|rest| rest.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b"..")))
}

/// A relative name that goes only downwards from its directory, seen from the kernel's path of what was opened: where
/// the one ends with the other no link was in between, so that the kernel's path *is* directory and name, without asking
/// for a directory that may have changed since.
fn path_that_ends_with<'a>(kernel_path: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let is_downward =
        !name.is_empty() && name.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."));
    let directory = kernel_path.strip_suffix(name)?;
    (is_downward && directory.starts_with(b"/") && directory.ends_with(b"/")).then_some(kernel_path)
}

/// Removes `//`, `.` and `..` in place, as text: nothing is looked up. What does not start with a slash (an unknown
/// directory) keeps its first part.
fn normalise(path: &mut Vec<u8>) {
    let is_absolute = path.starts_with(b"/");
    let mut parts = 0_usize;
    let mut end = 0;
    let mut next = 0;
    while next < path.len() {
        let length = path[next..].iter().position(|byte| *byte == b'/').unwrap_or(path.len() - next);
        match &path[next..next + length] {
            b"" | b"." => {}
            b".." => {
                // The root's parent is the root; an unknown directory's is as unknown.
                if parts > usize::from(!is_absolute) {
                    parts -= 1;
                    end = path[..end].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                }
            }
            _ => {
                parts += 1;
                if end > 0 || is_absolute {
                    path[end] = b'/';
                    end += 1;
                }
                path.copy_within(next..next + length, end);
                end += length;
            }
        }
        next += length + 1;
    }
    path.truncate(end);
    if path.is_empty() {
        path.push(b'/');
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
    fn names_are_normalised_as_text() {
        let table = [
            ("/etc/shadow", "/etc/shadow"),
            ("//etc///shadow/", "/etc/shadow"),
            ("/etc/./shadow", "/etc/shadow"),
            ("/etc/../../../root/x/..", "/root"),
            ("/..", "/"),
            ("/", "/"),
            ("/a/b/c/../../d", "/a/d"),
            ("/home/u//../../etc/passwd", "/etc/passwd"),
            ("/...", "/..."),
            ("<UNKNOWN>/../a", "<UNKNOWN>/a"),
            ("<UNKNOWN>/a/../../b", "<UNKNOWN>/b"),
        ];
        for (path, expected) in table {
            let mut buffer = path.as_bytes().to_vec();
            normalise(&mut buffer);
            assert_eq!(String::from_utf8(buffer).unwrap(), expected, "{path}");
            assert_eq!(is_plain(path.as_bytes()), path == expected && path.starts_with('/'), "{path}");
        }
    }

    #[test]
    fn the_kernel_s_path_stands_for_directory_and_name_only_where_no_link_was_followed() {
        let check =
            |kernel: &'static str, name: &str| path_that_ends_with(kernel.as_bytes(), name.as_bytes()).is_some();
        assert!(check("/etc/shadow", "shadow"));
        assert!(check("/etc/shadow", "./shadow"));
        assert!(check("/a/b/c", "b/c"));
        assert!(!check("/etc/shadow", "link"));
        assert!(!check("/etc/shadow", "hadow"));
        assert!(!check("/etc/shadow", "../etc/shadow"));
        assert!(!check("/etc/shadow", "/etc/shadow"));
        assert!(!check("", "shadow"));
        assert!(!check("/etc", ""));
    }

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
