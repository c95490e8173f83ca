//! The two ends of a connect.

use std::cell::OnceCell;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tercel_sensor_abi::network::{ConnectArguments, SOCKET_ADDRESSES_BYTES};

use super::Scratch;
use crate::enrich::user::UNKNOWN;
use crate::ring::Record;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_NETLINK: u16 = 16;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

/// What a socket was connected to.
pub(crate) struct Connection<'a> {
    /// `AF_*`.
    family: u16,
    protocol: Option<u16>,
    /// Known where the call went through.
    pub(crate) local: Option<Endpoint>,
    /// The socket's own; what the caller asked for where the call failed.
    pub(crate) remote: Option<Endpoint>,
    /// Path of a Unix socket; an abstract one starts with `@`.
    unix_path: &'a [u8],
    is_abstract: bool,
    /// The end that the caller asked for.
    pub(crate) asked: Option<Endpoint>,
    result: i64,
    scratch: &'a Scratch,
    name: OnceCell<Vec<u8>>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(record: &Record<'a>, scratch: &'a Scratch) -> Self {
        let arguments = ConnectArguments::from_words(record.header.arguments);
        let address = record.string(ConnectArguments::STRING_ADDRESS);
        let asked_family = address.first_chunk().map_or(0, |bytes| u16::from_ne_bytes(*bytes));
        let (local, remote) = socket_ends(&arguments, record.string(ConnectArguments::STRING_SOCKET)).unzip();
        let family = if arguments.family == 0 { asked_family } else { arguments.family };
        let unix = if family == AF_UNIX { address.get(2..).unwrap_or_default() } else { &[] };
        let is_abstract = unix.len() > 1 && unix[0] == 0;
        let asked = asked_end(asked_family, address);
        Self {
            family,
            protocol: (arguments.family != 0).then_some(arguments.protocol),
            local,
            remote: remote.or(asked),
            unix_path: if is_abstract { &unix[1..] } else { unix.split(|byte| *byte == 0).next().unwrap_or_default() },
            is_abstract,
            asked,
            result: record.header.result,
            scratch,
            name: OnceCell::new(),
        }
    }

    /// Falco's word for the descriptor's type, and its letter.
    pub(crate) fn kind(&self) -> Option<(&'static str, &'static str)> {
        match (self.remote.map(|end| end.ip), self.family) {
            (Some(IpAddr::V4(_)), _) | (None, AF_INET) => Some(("ipv4", "4")),
            (Some(IpAddr::V6(_)), _) | (None, AF_INET6) => Some(("ipv6", "6")),
            (None, AF_UNIX) => Some(("unix", "u")),
            (None, AF_NETLINK) => Some(("netlink", "n")),
            _ => None,
        }
    }

    /// `ip` or `unix`.
    pub(crate) fn socket_family(&self) -> Option<&'static str> {
        match self.kind()?.0 {
            "ipv4" | "ipv6" => Some("ip"),
            "unix" => Some("unix"),
            _ => None,
        }
    }

    /// The call succeeded; one that only began (`EINPROGRESS`) has not.
    pub(crate) fn is_connected(&self) -> bool {
        self.result >= 0
    }

    /// Whoever connects to an address of the machine itself does so from that address.
    pub(crate) fn is_to_this_machine(&self) -> bool {
        self.remote
            .is_some_and(|remote| remote.ip.is_loopback() || self.local.is_some_and(|local| local.ip == remote.ip))
    }

    /// Both ends, as far as they are known: the client first.
    pub(crate) fn ends(&self) -> impl Iterator<Item = Endpoint> {
        self.local.into_iter().chain(self.remote)
    }

    /// Falco's letter for the protocol behind the one for the type; empty where there is none.
    pub(crate) fn protocol_letter(&self) -> &'static str {
        if self.socket_family() == Some("ip") && self.protocol() != UNKNOWN { &self.protocol()[..1] } else { "" }
    }

    /// `<NA>` where the protocol is unknown, as in Falco.
    pub(crate) fn protocol(&self) -> &'static str {
        match self.protocol {
            Some(1) => "icmp",
            Some(6) => "tcp",
            Some(17) => "udp",
            Some(255) => "raw",
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
        if let Some(end) = self.local {
            write_end(text, end);
        }
        if let Some(end) = self.remote {
            text.extend_from_slice(b"->");
            write_end(text, end);
        } else {
            text.extend_from_slice(if self.is_abstract { b"@" } else { b"" });
            text.extend_from_slice(self.unix_path);
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

/// Local and remote end as the kernel's socket has them.
fn socket_ends(arguments: &ConnectArguments, addresses: &[u8]) -> Option<(Endpoint, Endpoint)> {
    let addresses: &[u8; SOCKET_ADDRESSES_BYTES] = addresses.try_into().ok()?;
    let (local, remote) = addresses.split_at(16);
    let local = Endpoint { ip: ip(arguments.family, local)?, port: arguments.local_port };
    Some((local, Endpoint { ip: ip(arguments.family, remote)?, port: arguments.remote_port }))
}

/// The end that the caller asked for: `sockaddr_in` or `sockaddr_in6`.
fn asked_end(family: u16, address: &[u8]) -> Option<Endpoint> {
    let port = u16::from_be_bytes(address.get(2..4)?.try_into().ok()?);
    let at = if family == AF_INET { 4 } else { 8 };
    Some(Endpoint { ip: ip(family, address.get(at..)?)?, port })
}

/// An IPv4 address that is written as IPv6 (`::ffff:…`) is taken for what it is.
fn ip(family: u16, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(*bytes.first_chunk::<16>()?)).to_canonical()),
        _ => None,
    }
}
