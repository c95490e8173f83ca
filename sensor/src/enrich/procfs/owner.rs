//! Whose a socket is, by the kernel's tables of sockets and `/proc/<pid>/fd`.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;

use super::descriptors::{end, numbers, socket};
use super::pids;
use crate::event::Endpoint;

/// Rows of one table of sockets that are read.
const ROWS_MAX: usize = 1 << 20;

/// Processes whose descriptors are looked at in one search.
const PROCESSES_MAX: usize = 1 << 16;

/// What a unix socket that listens has in its row (`__SO_ACCEPTCON`).
const LISTENS: u32 = 0x1_0000;

/// A search ended before it had seen everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are more than {PROCESSES_MAX} processes, or {ROWS_MAX} rows in a table of sockets")]
pub(crate) struct OverBound;

/// The inode number of the TCP socket with these two ends, in our network namespace.
pub(crate) fn connection(local: SocketAddr, remote: SocketAddr) -> Result<Option<u64>, OverBound> {
    let (local, remote) = (endpoint(local), endpoint(remote));
    let inode = |members: &[&str]| {
        let is_it = end(members.get(1)?)? == local && end(members.get(2)?)? == remote;
        // 0: not accepted yet, or closed by its owner.
        members.get(9)?.parse().ok().filter(|inode| is_it && *inode != 0)
    };
    match find_row("self/net/tcp", inode)? {
        Some(inode) => Ok(Some(inode)),
        None => find_row("self/net/tcp6", inode),
    }
}

/// Whether it is behind one of the process's descriptors.
pub(crate) fn holds(pid: u32, inode: u64) -> bool {
    sockets(pid).any(|socket| socket == inode)
}

/// The first process that holds the socket.
pub(crate) fn holder(inode: u64) -> Result<Option<u32>, OverBound> {
    for (count, pid) in pids().enumerate() {
        if count == PROCESSES_MAX {
            return Err(OverBound);
        }
        if holds(pid, inode) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// Whether the process listens at a Unix socket.
pub(crate) fn listens(pid: u32) -> Result<bool, OverBound> {
    let own: Vec<_> = sockets(pid).collect();
    let row = find_row(&format!("{pid}/net/unix"), |row| listening(row).filter(|inode| own.contains(inode)))?;
    Ok(row.is_some())
}

/// `Num RefCount Protocol Flags Type St Inode Path`
fn listening(members: &[&str]) -> Option<u64> {
    let flags = u32::from_str_radix(members.get(3)?, 16).ok()?;
    members.get(6)?.parse().ok().filter(|_| flags & LISTENS != 0)
}

fn sockets(pid: u32) -> impl Iterator<Item = u64> {
    numbers(pid).filter_map(move |number| socket(pid, number))
}

/// The first row, after the head, of which `read` makes something.
fn find_row<T>(table: &str, read: impl Fn(&[&str]) -> Option<T>) -> Result<Option<T>, OverBound> {
    let Ok(file) = File::open(format!("/proc/{table}")) else { return Ok(None) };
    let rows = BufReader::new(file).split(b'\n').map_while(Result::ok).skip(1);
    for (count, row) in rows.enumerate() {
        if count == ROWS_MAX {
            return Err(OverBound);
        }
        // A path may hold any bytes.
        let row = String::from_utf8_lossy(&row);
        if let Some(found) = read(&row.split_ascii_whitespace().collect::<Vec<_>>()) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint { ip: address.ip().to_canonical(), port: address.port() }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    use super::*;

    /// Both ends of a connection to a listener at this address.
    fn connected(address: &str, host: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(address).unwrap();
        let ours = TcpStream::connect((host, listener.local_addr().unwrap().port())).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    /// A process that another test starts has this one's sockets too, until it runs its program.
    fn soon(mut is_so: impl FnMut() -> bool) -> bool {
        (0..100).any(|_| {
            is_so() || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                false
            }
        })
    }

    #[test]
    fn the_other_end_of_a_connection_is_found_in_this_process() {
        for (address, host) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")] {
            let (ours, theirs) = connected(address, host);
            let (local, remote) = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
            let inode = connection(remote, local).unwrap().unwrap();
            assert_ne!(connection(local, remote), Ok(Some(inode)), "the two ends are two sockets");
            assert!(holds(std::process::id(), inode));
            assert_eq!(holder(inode), Ok(Some(std::process::id())), "{address}");
            drop(theirs);
            assert!(soon(|| (connection(remote, local), holder(inode)) == (Ok(None), Ok(None))), "{address}");
        }
    }

    #[test]
    fn a_socket_that_another_process_has_is_not_this_one_s() {
        let (ours, theirs) = connected("127.0.0.1:0", "127.0.0.1");
        let (local, remote) = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
        let inode = connection(remote, local).unwrap().unwrap();
        let stdin = Stdio::from(std::os::fd::OwnedFd::from(theirs));
        let mut other = Command::new("sleep").arg("60").stdin(stdin).spawn().unwrap();
        assert_eq!((holder(inode), holds(std::process::id(), inode)), (Ok(Some(other.id())), false));
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(soon(|| holder(inode) == Ok(None)));
    }

    #[test]
    fn who_listens_at_a_unix_socket_is_told_from_who_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let _listener = UnixListener::bind(folder.path().join("a b.sock")).unwrap();
        assert_eq!((listens(std::process::id()), listens(other.id())), (Ok(true), Ok(false)));
        other.kill().unwrap();
        other.wait().unwrap();
        let row = |flags, state| ["0000:", "00000002", "00000000", flags, "0001", state, "77", "/run/a", "b.sock"];
        assert_eq!(listening(&row("00010000", "01")), Some(77));
        assert_eq!(listening(&row("00000000", "03")), None);
    }
}
