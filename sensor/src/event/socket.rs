//! The two ends of a socket.

use std::cell::OnceCell;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tercel_sensor_abi::What;
use tercel_sensor_abi::file::DescriptorFacts;

use super::call::Call;
use super::{Descriptor, EventType, Scratch};
use crate::enrich::State;
use crate::enrich::user::UNKNOWN;
use crate::ring::Record;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_NETLINK: u16 = 16;

const SOCK_RAW: u16 = 3;

/// `TCP_ESTABLISHED`, which UDP sockets that were connected are in too.
const ESTABLISHED: u16 = 1;

pub(crate) const EINPROGRESS: i64 = -115;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

/// Which end of a connection a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// The ends of a socket, and what a call did to it.
#[expect(clippy::struct_excessive_bools, reason = "four facts about a socket that have nothing to do with each other")]
pub(crate) struct Connection<'a> {
    /// `AF_*`.
    family: u16,
    protocol: Option<u16>,
    is_raw: bool,
    role: Option<Role>,
    pub(crate) local: Option<Endpoint>,
    /// The socket's own; what the caller named where it has none.
    pub(crate) remote: Option<Endpoint>,
    /// Name of a Unix socket, without the NUL of an abstract one.
    unix_path: &'a [u8],
    is_abstract: bool,
    /// The end that the caller asked for, or was told of.
    pub(crate) asked: Option<Endpoint>,
    is_connected: bool,
    is_renamed: bool,
    scratch: &'a Scratch,
    name: OnceCell<Vec<u8>>,
}

/// What the kernel says of both ends of a socket.
pub(crate) struct Ends {
    pub(crate) local: Option<Endpoint>,
    pub(crate) remote: Option<Endpoint>,
}

impl Ends {
    pub(crate) fn of(facts: &DescriptorFacts) -> Self {
        let end = |bytes: &[u8; 16], port: u16| {
            let ip = ip(facts.family, bytes)?;
            (port != 0 || !ip.is_unspecified()).then_some(Endpoint { ip, port })
        };
        let remote = end(&facts.remote, facts.remote_port).filter(|remote| remote.port != 0);
        Self { local: end(&facts.local, facts.local_port), remote }
    }
}

/// Falco's word for a socket's type by its family, and the letter.
pub(super) fn family_kind(family: u16) -> Option<(&'static str, &'static str)> {
    match family {
        AF_INET => Some(("ipv4", "4")),
        AF_INET6 => Some(("ipv6", "6")),
        AF_UNIX => Some(("unix", "u")),
        AF_NETLINK => Some(("netlink", "n")),
        _ => None,
    }
}

/// The end that an address in a record names, if it is an internet address.
pub(crate) fn asked_end(address: &[u8]) -> Option<Endpoint> {
    let family = u16::from_ne_bytes(*address.first_chunk()?);
    let port = u16::from_be_bytes(address.get(2..4)?.try_into().ok()?);
    let at = if family == AF_INET { 4 } else { 8 };
    Some(Endpoint { ip: ip(family, address.get(at..)?)?, port })
}

/// The address that this call named, or was told.
pub(crate) fn address_of<'a>(record: &Record<'a>, call: &Call) -> &'a [u8] {
    let kinds = [What::Address, What::AddressOut, What::MessageAddress];
    call.string_of(&kinds, 0).map_or(&[], |string| record.string(string))
}

impl<'a> Connection<'a> {
    /// `None` where the call is not about a socket.
    pub(super) fn of(
        event_type: EventType,
        record: &Record<'a>,
        call: &Call,
        descriptor: Option<&Descriptor<'a>>,
        state: &State,
        scratch: &'a Scratch,
    ) -> Option<Self> {
        let address = address_of(record, call);
        let facts = descriptor.filter(|found| found.is_socket());
        if facts.is_none() && (address.is_empty() || descriptor.is_some()) {
            return None;
        }
        let asked_family = address.first_chunk().map_or(0, |bytes| u16::from_ne_bytes(*bytes));
        let ends = facts.map(|found| Ends::of(&found.facts));
        let result = record.header.result;
        // A connect that failed leaves the socket as it was, with nothing at the other end.
        let failed = event_type == EventType::CONNECT && result < 0 && result != EINPROGRESS;
        let (local, remote) = ends.filter(|_| !failed).map_or((None, None), |ends| (ends.local, ends.remote));
        let asked = asked_end(address);
        let is_bind = event_type == EventType::BIND;
        let known = state.sockets.of_record();
        let unix = unix_name(facts, asked_family, address);
        let is_abstract = unix.len() > 1 && unix[0] == 0;
        Some(Self {
            family: facts.map_or(asked_family, |found| found.facts.family),
            protocol: facts.map(|found| found.facts.protocol),
            is_raw: facts.is_some_and(|found| found.facts.socket_type == SOCK_RAW),
            role: known.role,
            local: if is_bind { local.or(asked) } else { local },
            remote: if is_bind { remote } else { remote.or(asked) },
            unix_path: if is_abstract { &unix[1..] } else { unix.split(|byte| *byte == 0).next().unwrap_or_default() },
            is_abstract,
            asked,
            is_connected: facts.is_some_and(|found| found.facts.state == ESTABLISHED)
                && (remote.is_some() || !unix.is_empty()),
            is_renamed: known.is_renamed,
            scratch,
            name: OnceCell::new(),
        })
    }

    /// Falco's word for the descriptor's type, and its letter.
    pub(crate) fn kind(&self) -> Option<(&'static str, &'static str)> {
        match self.remote.or(self.local).map(|end| end.ip) {
            Some(IpAddr::V4(_)) => Some(("ipv4", "4")),
            Some(IpAddr::V6(_)) => Some(("ipv6", "6")),
            None => family_kind(self.family),
        }
    }

    /// The end that asked for the connection, and the one that answered.
    pub(crate) fn client(&self) -> Option<Endpoint> {
        if self.is_server_end() { self.remote } else { self.local }
    }

    pub(crate) fn server(&self) -> Option<Endpoint> {
        if self.is_server_end() { self.local } else { self.remote }
    }

    fn is_server_end(&self) -> bool {
        self.role == Some(Role::Server)
    }

    pub(crate) fn is_renamed(&self) -> bool {
        self.is_renamed
    }

    /// `ip` or `unix`.
    pub(crate) fn socket_family(&self) -> Option<&'static str> {
        match self.kind()?.0 {
            "ipv4" | "ipv6" => Some("ip"),
            "unix" => Some("unix"),
            _ => None,
        }
    }

    /// The socket has another end; one of which the call only began (`EINPROGRESS`) has not yet.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whoever connects to an address of the machine itself does so from that address.
    pub(crate) fn is_to_this_machine(&self) -> bool {
        self.is_server_end()
            || self
                .remote
                .is_some_and(|remote| remote.ip.is_loopback() || self.local.is_some_and(|local| local.ip == remote.ip))
    }

    /// Both ends, as far as they are known: the client first.
    pub(crate) fn ends(&self) -> impl Iterator<Item = Endpoint> {
        self.client().into_iter().chain(self.server())
    }

    /// Falco's letter for the protocol behind the one for the type; empty where there is none.
    pub(crate) fn protocol_letter(&self) -> &'static str {
        if self.socket_family() == Some("ip") && self.protocol() != UNKNOWN { &self.protocol()[..1] } else { "" }
    }

    /// `<NA>` where the protocol is unknown, as in Falco.
    pub(crate) fn protocol(&self) -> &'static str {
        match self.protocol {
            Some(1 | 58) => "icmp",
            Some(6) => "tcp",
            Some(17) => "udp",
            Some(255) => "raw",
            Some(_) if self.is_raw => "raw",
            _ => UNKNOWN,
        }
    }

    /// `client:port->server:port`; only the server where the call failed; the path of a Unix socket. Empty where there is
    /// none of them.
    pub(crate) fn name(&self) -> &[u8] {
        self.name.get_or_init(|| {
            let mut text = self.scratch.name.take();
            text.clear();
            self.write_name(&mut text);
            text
        })
    }

    fn write_name(&self, text: &mut Vec<u8>) {
        if self.local.is_none() && self.remote.is_none() {
            text.extend_from_slice(if self.is_abstract { b"@" } else { b"" });
            text.extend_from_slice(self.unix_path);
            return;
        }
        if let Some(end) = self.client() {
            write_end(text, end);
        }
        if let Some(end) = self.server() {
            // Of a socket that only listens there is one end.
            text.extend_from_slice(if self.remote.is_some() { b"->" } else { b"" });
            write_end(text, end);
        }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        if let Some(buffer) = self.name.take() {
            self.scratch.name.set(buffer);
        }
    }
}

fn write_end(text: &mut Vec<u8>, end: Endpoint) {
    _ = write!(text, "{}:{}", end.ip, end.port);
}

/// What the caller named where that is a path; else the kernel's own name of the socket or its other end.
fn unix_name<'a>(facts: Option<&Descriptor<'a>>, asked_family: u16, address: &'a [u8]) -> &'a [u8] {
    let is_unix = facts.map_or(asked_family, |found| found.facts.family) == AF_UNIX;
    match address.get(2..) {
        Some(path) if is_unix && asked_family == AF_UNIX && !path.is_empty() => path,
        _ if is_unix => facts.map_or(&[], |found| found.name),
        _ => &[],
    }
}

/// An IPv4 address that is written as IPv6 (`::ffff:…`) is taken for what it is.
fn ip(family: u16, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(*bytes.first_chunk::<16>()?)).to_canonical()),
        _ => None,
    }
}
