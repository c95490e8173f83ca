//! What `/proc/<pid>` says of one process.

pub(crate) mod descriptors;
pub(crate) mod owner;
mod status;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

use tercel_sensor_abi::file::LAYER_NONE;

use super::process::ProgramFile;
use status::STATUS_BYTES_MAX;
pub(crate) use status::Usage;

/// Bytes read from one file below /proc: as many arguments as an exec record carries.
const FILE_BYTES_MAX: u64 = 4_095;

/// Bytes of a cgroup file: a dozen hierarchies with long paths.
const CGROUP_BYTES_MAX: u64 = 16_384;

/// Times from /proc are exact to a tick.
pub(super) const START_TOLERANCE_NS: u64 = NANOSECONDS_PER_TICK * 2;

/// Clock ticks in which `stat` tells times; 100 per second on every architecture that Linux still gains.
pub(super) const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// The members of `/proc/<pid>/stat` that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) comm: Vec<u8>,
    pub(super) ppid: u32,
    pub(super) pgid: u32,
    pub(super) sid: u32,
    pub(super) tty: u32,
    /// `CLOCK_BOOTTIME`, rounded down to a tick.
    pub(super) start_ns: u64,
}

/// What a process's own pid namespace numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct NamespaceNumbers {
    pub(super) pid: u32,
    pub(super) pgid: u32,
}

/// Every process there is.
pub(super) fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// `None`: there is no such process (any more).
pub(super) fn read_stat(pid: u32) -> Option<Stat> {
    parse_stat(&read(pid, "stat", FILE_BYTES_MAX)?)
}

/// Whether the process of this number is still the one that started then: `CLOCK_BOOTTIME` nanoseconds.
pub(crate) fn is_running(pid: u32, start_ns: u64) -> bool {
    self::start_ns(pid).is_some_and(|started| started.abs_diff(start_ns) <= START_TOLERANCE_NS)
}

/// When it started, in the same clock, rounded down to a tick.
pub(crate) fn start_ns(pid: u32) -> Option<u64> {
    Some(read_stat(pid)?.start_ns)
}

/// What it uses; `None`: it is gone.
pub(crate) fn read_usage(pid: u32) -> Option<Usage> {
    Usage::parse(&String::from_utf8_lossy(&read(pid, "status", STATUS_BYTES_MAX)?))
}

/// The last of the numbers in `NSpid` and `NSpgid`: those of the innermost namespace.
pub(super) fn read_namespace_numbers(pid: u32) -> Option<NamespaceNumbers> {
    let status = read(pid, "status", FILE_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&status);
    let last = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next_back()?.parse().ok()
    };
    Some(NamespaceNumbers { pid: last("NSpid")?, pgid: last("NSpgid")? })
}

/// The file that a process was started from.
pub(super) fn read_program_file(pid: u32) -> Option<ProgramFile> {
    let file = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    let nanoseconds = |seconds: i64, rest: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(rest).cast_unsigned();
    Some(ProgramFile {
        inode: file.ino(),
        ctime_ns: nanoseconds(file.ctime(), file.ctime_nsec()),
        mtime_ns: nanoseconds(file.mtime(), file.mtime_nsec()),
        mode: file.mode(),
        uid: file.uid(),
        gid: file.gid(),
        layer: LAYER_NONE,
    })
}

/// The arguments, each ended by a NUL; empty for a kernel thread.
pub(super) fn read_arguments(pid: u32) -> Option<Vec<u8>> {
    read(pid, "cmdline", FILE_BYTES_MAX)
}

/// Appends the environment, each variable ended by a NUL; nothing where there is none, or the process is gone.
pub(crate) fn append_environment(pid: u32, buffer: &mut Vec<u8>) {
    let before = buffer.len();
    let read =
        File::open(format!("/proc/{pid}/environ")).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(buffer));
    if read.is_err() {
        buffer.truncate(before);
    }
}

/// Path of the program; `None` for a kernel thread.
pub(crate) fn read_exe_path(pid: u32) -> Option<Vec<u8>> {
    let mut path = read_link(pid, "exe")?;
    if path.ends_with(b" (deleted)") {
        path.truncate(path.len() - b" (deleted)".len());
    }
    Some(path)
}

/// The working directory, with a slash at its end.
pub(crate) fn read_cwd(pid: u32) -> Option<Vec<u8>> {
    let mut path = read_link(pid, "cwd")?;
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    Some(path)
}

pub(crate) fn read_cgroups(pid: u32) -> Option<String> {
    read(pid, "cgroup", CGROUP_BYTES_MAX).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn read(pid: u32, name: &str, bytes_max: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/{name}")).ok()?.take(bytes_max).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn read_link(pid: u32, name: &str) -> Option<Vec<u8>> {
    Some(fs::read_link(format!("/proc/{pid}/{name}")).ok()?.into_os_string().into_vec())
}

/// `pid (comm) state ppid …`; the name may hold blanks and parentheses, hence the last one counts.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|byte| *byte == b'(')?;
    let close = bytes.iter().rposition(|byte| *byte == b')')?;
    let comm = bytes.get(open + 1..close)?.to_vec();
    let rest: Vec<&str> = std::str::from_utf8(&bytes[close + 1..]).ok()?.split_ascii_whitespace().collect();
    // proc(5) counts from 1 and the state is number 3, which is rest[0].
    let member = |number: usize| rest.get(number - 3).copied();
    Some(Stat {
        comm,
        ppid: member(4)?.parse().ok()?,
        pgid: member(5)?.parse().ok()?,
        sid: member(6)?.parse().ok()?,
        tty: member(7)?.parse::<i32>().ok()?.cast_unsigned(),
        start_ns: member(22)?.parse::<u64>().ok()? * NANOSECONDS_PER_TICK,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_members() {
        let line = b"7 (a) b (c) S 1 7 5 34816 7 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1234 9 9 9\n";
        let expected =
            Stat { comm: b"a) b (c".to_vec(), ppid: 1, pgid: 7, sid: 5, tty: 34816, start_ns: 12_340_000_000 };
        assert_eq!(parse_stat(line), Some(expected));
    }

    #[test]
    fn half_a_line_is_no_process() {
        for line in [&b""[..], b"7 (a", b"7 (a)", b"7 (a) S 1", b") ("] {
            assert_eq!(parse_stat(line), None, "{line:?}");
        }
    }

    #[test]
    fn this_process_is_found() {
        let pid = std::process::id();
        let stat = read_stat(pid).unwrap();
        assert!(stat.start_ns > 0 && stat.ppid > 0);
        assert!(pids().any(|other| other == pid));
        assert_eq!(read_cwd(pid).unwrap(), format!("{}/", std::env::current_dir().unwrap().display()).into_bytes());
    }
}
