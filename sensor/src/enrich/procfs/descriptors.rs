//! What descriptors a process has open, by `/proc/<pid>/fd` and `/proc/<pid>/net`.

use std::fs::{self, DirEntry};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::fs::OFlags;

use super::{FILE_BYTES_MAX, read, read_link};
use crate::event::{Endpoint, anonymous_kind};

/// Descriptors of one process that are counted one by one, where the kernel does not tell how many there are (before 6.2).
const COUNTED_MAX: usize = 65_536;

/// Descriptors of one process that are looked at.
const LOOKED_AT_MAX: usize = 1_024;

/// Bytes read of one table of sockets: some 1,700 connections.
const TABLE_BYTES_MAX: u64 = 256 * 1024;

const DELETED: &[u8] = b" (deleted)";

/// A descriptor, as far as its link tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opened {
    /// Falco's word for its type, and its name.
    Known(&'static str, Vec<u8>),
    /// The inode number; the tables of sockets know more.
    Socket(u64),
}

/// A socket, as the kernel's tables have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Socket {
    Internet {
        kind: &'static str,
        local: Endpoint,
        remote: Option<Endpoint>,
    },
    /// With its path, if it has one.
    Unix(Vec<u8>),
    Netlink,
}

/// How a table is to be read.
type Reader = fn(&[&str], inode: u64) -> Option<Socket>;

/// The tables, in the order in which they are looked through.
pub(crate) const TABLES: [(&str, Reader); 8] = [
    ("tcp", internet),
    ("tcp6", internet),
    ("unix", unix),
    ("udp", internet),
    ("udp6", internet),
    ("netlink", netlink),
    ("raw", internet),
    ("raw6", internet),
];

/// How many there are.
pub(crate) fn count(pid: u32) -> Option<u64> {
    let path = format!("/proc/{pid}/fd");
    let told = fs::metadata(&path).ok()?.len();
    if told > 0 {
        return Some(told);
    }
    fs::read_dir(path).ok().map(|entries| entries.take(COUNTED_MAX).count() as u64)
}

/// The numbers of those that are looked at.
pub(crate) fn numbers(pid: u32) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().take(LOOKED_AT_MAX);
    entries.filter_map(|entry: DirEntry| entry.file_name().to_str()?.parse().ok())
}

/// `None`: there is none of this number.
pub(crate) fn opened(pid: u32, number: u32) -> Option<Opened> {
    let link = read_link(pid, &format!("fd/{number}"))?;
    Some(of_link(&link, || is_directory(pid, number)))
}

/// The inode number, where this descriptor is a socket. Cheaper than [`opened`].
pub(super) fn socket(pid: u32, number: u32) -> Option<u64> {
    socket_inode(&read_link(pid, &format!("fd/{number}"))?)
}

/// The socket, where this table of the process's network namespace has it.
pub(crate) fn socket_in(pid: u32, (table, reader): (&str, Reader), inode: u64) -> Option<Socket> {
    let text = read(pid, &format!("net/{table}"), TABLE_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&text);
    text.lines().skip(1).find_map(|line| reader(&line.split_ascii_whitespace().collect::<Vec<_>>(), inode))
}

fn of_link(link: &[u8], is_directory: impl FnOnce() -> bool) -> Opened {
    if let Some(inode) = socket_inode(link) {
        return Opened::Socket(inode);
    }
    if link.starts_with(b"pipe:[") {
        return Opened::Known("pipe", link.to_vec());
    }
    if let Some(name) = link.strip_prefix(b"anon_inode:") {
        return Opened::Known(anonymous_kind(name).map_or("file", |(word, _)| word), name.to_vec());
    }
    let name = link.strip_suffix(DELETED).unwrap_or(link);
    match () {
        () if link.starts_with(b"/memfd:") && name.len() < link.len() => Opened::Known("memfd", name[1..].to_vec()),
        () if link.starts_with(b"pidfd:[") => Opened::Known("pidfd", b"[pidfd]".to_vec()),
        () if is_directory() => Opened::Known("directory", name.to_vec()),
        () => Opened::Known("file", name.to_vec()),
    }
}

fn socket_inode(link: &[u8]) -> Option<u64> {
    let inode = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inode).ok()?.parse().ok()
}

/// Whether it was opened as one. The file itself is not asked: its file system might never answer.
fn is_directory(pid: u32, number: u32) -> bool {
    let Some(text) = read(pid, &format!("fdinfo/{number}"), FILE_BYTES_MAX) else { return false };
    let text = String::from_utf8_lossy(&text);
    let flags = text.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| flags & OFlags::DIRECTORY.bits() != 0)
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
fn internet(members: &[&str], inode: u64) -> Option<Socket> {
    let is_it = members.get(9)?.parse() == Ok(inode);
    let (local, remote) = (end(members.get(1)?)?, end(members.get(2)?)?);
    let kind = if local.ip.is_ipv4() { "ipv4" } else { "ipv6" };
    is_it.then(|| Socket::Internet { kind, local, remote: Some(remote).filter(|remote| remote.port != 0) })
}

/// `Num RefCount Protocol Flags Type St Inode Path`
fn unix(members: &[&str], inode: u64) -> Option<Socket> {
    let is_it = members.get(6)?.parse() == Ok(inode);
    is_it.then(|| Socket::Unix(members.get(7..).unwrap_or_default().join(" ").into_bytes()))
}

/// `sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode`
fn netlink(members: &[&str], inode: u64) -> Option<Socket> {
    (members.get(9)?.parse() == Ok(inode)).then_some(Socket::Netlink)
}

/// `0100007F:1F90`: the address in words of 32 bits, each as the machine has it in memory.
pub(super) fn end(text: &str) -> Option<Endpoint> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (place, bytes) in bytes.chunks_exact_mut(4).enumerate() {
                bytes.copy_from_slice(&word(place * 8)?);
            }
            IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(Endpoint { ip, port: u16::from_str_radix(port, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_link_tells_the_type_and_the_name() {
        let known = |link: &str, kind, name: &str| {
            assert_eq!(of_link(link.as_bytes(), || link == "/etc"), Opened::Known(kind, name.into()), "{link}");
        };
        known("/dev/pts/0", "file", "/dev/pts/0");
        known("/etc", "directory", "/etc");
        known("/tmp/x (deleted)", "file", "/tmp/x");
        known("pipe:[12]", "pipe", "pipe:[12]");
        known("anon_inode:[eventfd]", "event", "[eventfd]");
        known("anon_inode:[eventpoll]", "eventpoll", "[eventpoll]");
        known("anon_inode:inotify", "inotify", "inotify");
        known("anon_inode:bpf-map", "bpf", "bpf-map");
        known("/memfd:x (deleted)", "memfd", "memfd:x");
        known("/memfd:x", "file", "/memfd:x");
        known("socket:[x]", "file", "socket:[x]");
        assert_eq!(of_link(b"socket:[77]", || false), Opened::Socket(77));
    }

    fn find(descriptor: &impl AsRawFd) -> Socket {
        let pid = std::process::id();
        let number = descriptor.as_raw_fd().try_into().unwrap();
        let Some(Opened::Socket(inode)) = opened(pid, number) else { panic!("no socket") };
        TABLES.into_iter().find_map(|table| socket_in(pid, table, inode)).unwrap()
    }

    #[test]
    fn this_process_s_own_descriptors_are_found() {
        let pid = std::process::id();
        let file = fs::File::open("/proc/self/stat").unwrap();
        let number = file.as_raw_fd().try_into().unwrap();
        assert_eq!(opened(pid, number), Some(Opened::Known("file", format!("/proc/{pid}/stat").into_bytes())));
        assert!(numbers(pid).any(|other| other == number) && count(pid).unwrap() >= 4);
        assert_eq!(opened(pid, 1_000_000), None);
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let directory = rustix::fs::open("/", flags, rustix::fs::Mode::empty()).unwrap();
        let number = directory.as_raw_fd().try_into().unwrap();
        assert_eq!(opened(pid, number), Some(Opened::Known("directory", b"/".to_vec())));
    }

    #[test]
    fn this_process_s_own_sockets_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let end = Endpoint { ip: address.ip(), port: address.port() };
        assert_eq!(find(&listener), Socket::Internet { kind: "ipv4", local: end, remote: None });
        let stream = TcpStream::connect(address).unwrap();
        let local = stream.local_addr().unwrap();
        let local = Endpoint { ip: local.ip(), port: local.port() };
        assert_eq!(find(&stream), Socket::Internet { kind: "ipv4", local, remote: Some(end) });
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(matches!(find(&udp), Socket::Internet { kind: "ipv4", remote: None, .. }));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b.sock");
        let unix = UnixListener::bind(&path).unwrap();
        assert_eq!(find(&unix), Socket::Unix(path.into_os_string().into_encoded_bytes()));
    }

    #[test]
    fn addresses_read_as_the_kernel_writes_them() {
        let shown = |text: &str| end(text).map(|end| format!("{} {}", end.ip, end.port));
        let native = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        assert_eq!(shown(&format!("{}:1F90", native([127, 0, 0, 1]))).unwrap(), "127.0.0.1 8080");
        let mapped = [[0; 4], [0; 4], [0, 0, 255, 255], [10, 0, 0, 1]].map(native).concat();
        assert_eq!(shown(&format!("{mapped}:0000")).unwrap(), "10.0.0.1 0");
        for broken in ["", "0100007F", "0100007F:x", "01:1F90", ":", "éééé:1"] {
            assert_eq!(shown(broken), None, "{broken}");
        }
    }
}
