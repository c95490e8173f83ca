//! What is remembered of sockets: which end of a connection they are, and whom they last spoke to. The kernel knows
//! everything else when it is asked.

use std::num::NonZeroUsize;

use lru::LruCache;
use tercel_sensor_abi::RecordKind;

use crate::event::{Descriptor, Endpoint, EventType, Role, call, socket};
use crate::ring::Record;

/// Sockets that are remembered: at some 100 bytes about 6 MiB.
pub const SOCKETS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Below it no port is given out by itself, on most machines: the end that has such a port serves.
const EPHEMERAL_PORT_MIN: u16 = 32_768;

/// The sockets, by inode number.
#[derive(Debug)]
pub struct Sockets {
    by_inode: LruCache<u64, Socket>,
    evicted: u64,
    of_record: Answer,
}

#[derive(Debug, Clone, Copy, Default)]
struct Socket {
    role: Option<Role>,
    /// Whom something was sent to, or received from, without a connection.
    peer: Option<Endpoint>,
}

/// What is known of the socket of the record that was taken in last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answer {
    pub(crate) role: Option<Role>,
    /// Whether the call gave it another name.
    pub(crate) is_renamed: bool,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { by_inode: LruCache::new(SOCKETS_MAX), evicted: 0, of_record: Answer::default() }
    }
}

impl Sockets {
    pub fn len(&self) -> usize {
        self.by_inode.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_inode.is_empty()
    }

    /// Sockets that were forgotten because there were too many.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(crate) fn of_record(&self) -> Answer {
        self.of_record
    }

    /// Which end of its connection a socket is, where that is known.
    pub(crate) fn role_of(&self, inode: u64) -> Option<Role> {
        self.by_inode.peek(&inode)?.role
    }

    /// Takes in what a record says of its socket.
    pub(super) fn apply(&mut self, record: &Record<'_>) {
        if record.kind != RecordKind::Network && record.kind != RecordKind::Descriptor {
            return;
        }
        self.of_record = Answer::default();
        let Some((event_type, Some(call))) = call::of_number(record.header.syscall) else { return };
        let Some(descriptor) = Descriptor::of(record, call).filter(Descriptor::is_socket) else { return };
        let ends = socket::Ends::of(&descriptor.facts);
        let known = self.by_inode.get(&descriptor.facts.inode).copied().unwrap_or_default();
        let peer = socket::asked_end(socket::address_of(record, call));
        let is_ok = record.header.result >= 0;
        let guessed = || guess(&ends);
        let (role, renamed) = match event_type {
            EventType::CONNECT => (Some(Role::Client), is_ok || record.header.result == socket::EINPROGRESS),
            EventType::ACCEPT | EventType::ACCEPT4 | EventType::BIND | EventType::LISTEN => (Some(Role::Server), is_ok),
            EventType::SENDTO | EventType::SENDMSG | EventType::SENDMMSG if is_ok && peer.is_some() => {
                (known.role.or(Some(Role::Client)), peer != known.peer)
            }
            EventType::RECVFROM | EventType::RECVMSG | EventType::RECVMMSG if is_ok && peer.is_some() => {
                (known.role.or(Some(Role::Server)), peer != known.peer)
            }
            _ => (known.role.or_else(guessed), false),
        };
        self.of_record = Answer { role, is_renamed: renamed };
        // A socket that was only bound may still become the client of something: a bind alone decides nothing.
        let kept = if event_type == EventType::BIND { known.role } else { role };
        let is_news = kept != known.role || renamed;
        if is_ok && is_news {
            self.remember(descriptor.facts.inode, Socket { role: kept, peer: peer.or(known.peer) });
        }
    }

    fn remember(&mut self, inode: u64, socket: Socket) {
        if self.by_inode.push(inode, socket).is_some_and(|(pushed_out, _)| pushed_out != inode) {
            self.evicted += 1;
        }
    }
}

/// The end of a connection that was there before the sensor: the one with the lower port serves, where just one of them
/// is low.
fn guess(ends: &socket::Ends) -> Option<Role> {
    let (local, remote) = (ends.local?.port, ends.remote?.port);
    match (local < EPHEMERAL_PORT_MIN, remote < EPHEMERAL_PORT_MIN) {
        (true, false) => Some(Role::Server),
        (false, true) => Some(Role::Client),
        _ => None,
    }
}
