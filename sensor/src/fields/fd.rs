//! `fd.*`, `fdlist.*` and `fs.*`: the file or the connection that the event is about.

use std::io::Write;
use std::net::IpAddr;

use tercel_filter::Value;

use super::HOST;
use super::definition::Flag::{FilterOnly, NoRightHand, NoTransformer, NotInFalco, Racy};
use super::definition::Type::{Bool, Int32, Int64, Ip, Net, Port, Text as Chars};
use super::definition::{Definition, Flag, Shape, number, row, text, truth};
use crate::event::{Connection, Endpoint, Event, EventType, OpenedFile, Text};

const FILTER: &[Flag] = &[FilterOnly, NoTransformer, NoRightHand];
const RESOLVED: &[Flag] = &[NoTransformer, NoRightHand];

pub(super) const FIELDS: &[Definition] = &[
    row("fd.num", Int64, "The descriptor that the event made or used; -1 for an open that failed.")
        .get(|event, _| event.descriptor().map(Value::Number)),
    row("fd.type", Chars, "`file`, `directory`, `ipv4`, `ipv6`, `unix`, `netlink`, `pipe`, `event`, `eventpoll`, `signalfd`, `timerfd`, `inotify`, `io_uring`, `userfaultfd`, `bpf`, `memfd` or `pidfd`.")
        .get(|event, _| event.descriptor_kind().map(|(name, _)| text(name))),
    row("fd.typechar", Chars, "`fd.type` as one letter: `f`, `d`, `4`, `6`, `u`, `n`, `p`, `e`, `l`, `s`, `t`, `i`, `r`, `u`, `b`, `m`, `P`; `o` for an open (not openat) that failed.")
        .get(|event, _| kind_letter(event).map(text)),
    row("fd.name", Chars, "Of an open the file's absolute name as the caller meant it, links not followed; of a descriptor that is used the kernel's path of its file; `client:port->server:port` of a connection; a Unix socket's path. Missing after a close.")
        .flags(&[Racy])
        .get(|event, _| event.descriptor_name().map(Value::Text)),
    row("fd.directory", Chars, "The directory of `fd.name`, for a file.")
        .flags(&[Racy])
        .get(|event, _| file_name(event).map(|name| Value::Text(split_path(name).0))),
    row("fd.filename", Chars, "The last part of `fd.name`, for a file; missing where the open failed.")
        .flags(&[Racy])
        .get(|event, _| {
            let name = file_name(event).filter(|_| event.file().is_none_or(OpenedFile::succeeded))?;
            Some(Value::Text(split_path(name).1))
        }),
    row("fd.ip", Ip, "Both addresses of a connection: one of them is enough for `=`; for `!=` both must differ.")
        .flags(FILTER)
        .ends(|end| Value::Ip(end.ip)),
    row("fd.cip", Ip, "The client's address; missing where the connect failed.").get(|event, _| ip(client(event))),
    row("fd.sip", Ip, "The server's address.").get(|event, _| ip(server(event))),
    row("fd.lip", Ip, "The local address; missing where the connect failed.").get(|event, _| ip(local(event))),
    row("fd.rip", Ip, "The remote address.").get(|event, _| ip(remote(event))),
    row("fd.port", Port, "Both ports of a connection: one of them is enough for `=`; for `!=` both must differ.")
        .flags(FILTER)
        .ends(|end| Value::Number(end.port.into())),
    row("fd.cport", Port, "The client's port; missing where the connect failed.").get(|event, _| port(client(event))),
    row("fd.sport", Port, "The server's port.").get(|event, _| port(server(event))),
    row("fd.lport", Port, "The local port; missing where the connect failed.").get(|event, _| port(local(event))),
    row("fd.rport", Port, "The remote port.").get(|event, _| port(remote(event))),
    row("fd.l4proto", Chars, "`tcp`, `udp`, `icmp`, `raw`; `<NA>` for another.")
        .get(|event, _| internet(event).map(|connection| text(connection.protocol()))),
    row("fd.sockfamily", Chars, "`ip` or `unix`, for a socket.")
        .get(|event, _| event.connection().and_then(Connection::socket_family).map(text)),
    row("fd.is_server", Bool, "Whether the server's end of the connection is on this machine; no for what is no socket.")
        .get(|event, _| is_server(event).map(Value::Bool)),
    row("fd.uid", Chars, "The thread's number and the descriptor's, one behind the other.")
        .get(|event, _| descriptor_id(event)),
    row("fd.containername", Chars, "`container.id`, a colon, and `fd.name`.").flags(&[Racy]).get(|event, _| {
        let name = event.descriptor_name()?;
        Some(in_container(event, Text::ContainerFile, name))
    }),
    row("fd.containerdirectory", Chars, "`container.id`, a colon, and `fd.directory`.")
        .flags(&[Racy])
        .get(|event, _| {
            let (directory, _) = split_path(file_name(event)?);
            Some(in_container(event, Text::ContainerDirectory, directory))
        }),
    row("fd.proto", Port, "The same as `fd.port`.").flags(FILTER).ends(|end| Value::Number(end.port.into())),
    row("fd.cproto", Chars, "The client's port, as text.")
        .get(|event, _| port_text(event, Text::ClientPort, client(event))),
    row("fd.sproto", Chars, "The server's port, as text.")
        .get(|event, _| port_text(event, Text::ServerPort, server(event))),
    row("fd.lproto", Chars, "The local port, as text.")
        .get(|event, _| port_text(event, Text::LocalPort, local(event))),
    row("fd.rproto", Chars, "The remote port, as text.")
        .get(|event, _| port_text(event, Text::RemotePort, remote(event))),
    row("fd.net", Net, "Both addresses of a connection, compared with networks: one of them is enough for `=`; for `!=` both must be outside.")
        .flags(FILTER)
        .ends(|end| Value::Ip(end.ip)),
    row("fd.cnet", Net, "The client's address, compared with networks.")
        .flags(FILTER)
        .get(|event, _| ip(client(event))),
    row("fd.snet", Net, "The server's address, compared with networks.")
        .flags(FILTER)
        .get(|event, _| ip(server(event))),
    row("fd.lnet", Net, "The local address, compared with networks.")
        .flags(FILTER)
        .get(|event, _| ip(local(event))),
    row("fd.rnet", Net, "The remote address, compared with networks.")
        .flags(FILTER)
        .get(|event, _| ip(remote(event))),
    row("fd.connected", Bool, "Whether a socket is connected; not yet where the connect only began (`EINPROGRESS`).")
        .get(|event, _| is_connected(event).map(Value::Bool)),
    row("fd.name_changed", Bool, "Whether the event gave the descriptor another name.")
        .get(|event, _| is_connected(event).and_then(|_| truth(is_renamed(event)))),
    row("fd.cip.name", Chars, "A host that a rule names and that has the client's address. Every such host is `=`; for `!=` none may be the one. Resolved at the start, then every minute.").flags(RESOLVED).hosts(client),
    row("fd.sip.name", Chars, "The same for the server's address.").flags(RESOLVED).hosts(server),
    row("fd.lip.name", Chars, "The same for the local address.").flags(RESOLVED).hosts(local),
    row("fd.rip.name", Chars, "The same for the remote address.").flags(RESOLVED).hosts(remote),
    row("fd.dev", Int32, "The number of the device that the file is on.")
        .get(|event, _| event.descriptor_facts().and_then(|found| number(found.device()))),
    row("fd.dev.major", Int32, "That device's major number.")
        .get(|event, _| event.descriptor_facts().and_then(|found| number(found.device_major()))),
    row("fd.dev.minor", Int32, "That device's minor number.")
        .get(|event, _| event.descriptor_facts().and_then(|found| number(found.device_minor()))),
    row("fd.ino", Int64, "The file's inode number.")
        .get(|event, _| event.descriptor_facts().and_then(|found| number(found.facts.inode))),
    row("fd.nameraw", Chars, "A file's name as the caller wrote it, runs of slashes made one.")
        .flags(&[Racy])
        .get(|event, _| raw_name(event).map(Value::Text)),
    row("fd.types", Chars, "The types of all descriptors that the process has open, of the first 1,024; with a number, of that one. Asked of /proc.")
        .list()
        .optional(Shape::Index)
        .flags(&[NoRightHand, Racy])
        .get(kinds),
    row("fd.is_upper_layer", Bool, "Whether the file is in the upper layer of an overlay file system.")
        .get(|event, _| event.descriptor_facts().map(|found| Value::Bool(found.is_upper_layer()))),
    row("fd.is_lower_layer", Bool, "Whether the file is in a lower layer of an overlay file system.")
        .get(|event, _| event.descriptor_facts().map(|found| Value::Bool(found.is_lower_layer()))),
    row("fd.realpath", Chars, "The kernel's own path of the file that was opened, or of the one behind a descriptor that is used, by whatever link or mount it was reached; missing where the open failed.")
        .flags(&[NotInFalco])
        .get(|event, _| kernel_path(event).map(Value::Text)),
    row("fdlist.nums", Chars, "The descriptors that a poll waits for."),
    row("fdlist.names", Chars, "Their names."),
    row("fdlist.cips", Chars, "Their clients' addresses."),
    row("fdlist.sips", Chars, "Their servers' addresses."),
    row("fdlist.cports", Chars, "Their clients' ports."),
    row("fdlist.sports", Chars, "Their servers' ports."),
    row("fs.path.name", Chars, "The absolute path that a call about files works on; of an open, `fd.name`.")
        .flags(&[Racy])
        .get(|event, _| one_path(event).and_then(|nth| event.path(nth)).map(Value::Text)),
    row("fs.path.nameraw", Chars, "That path as the caller wrote it.")
        .flags(&[Racy])
        .get(|event, _| one_path(event).and_then(|nth| event.raw_path(nth)).map(Value::Text)),
    row("fs.path.source", Chars, "The absolute path that a call with two paths starts from, such as rename.")
        .flags(&[Racy])
        .get(|event, _| two_paths(event)?.0.absolute(event).map(Value::Text)),
    row("fs.path.sourceraw", Chars, "That path as the caller wrote it.")
        .flags(&[Racy])
        .get(|event, _| two_paths(event)?.0.raw(event).map(Value::Text)),
    row("fs.path.target", Chars, "The absolute path that a call with two paths leads to.")
        .flags(&[Racy])
        .get(|event, _| two_paths(event)?.1.absolute(event).map(Value::Text)),
    row("fs.path.targetraw", Chars, "That path as the caller wrote it.")
        .flags(&[Racy])
        .get(|event, _| two_paths(event)?.1.raw(event).map(Value::Text)),
];

/// One of the two paths of a call.
#[derive(Clone, Copy)]
enum PathOf {
    Path(usize),
    /// What a symbolic link holds is a text that need not be a path.
    Text,
}

impl PathOf {
    fn raw<'e>(self, event: &'e Event<'_>) -> Option<&'e [u8]> {
        match self {
            Self::Path(nth) => event.raw_path(nth),
            Self::Text => event.captured_text(0),
        }
    }

    fn absolute<'e>(self, event: &'e Event<'_>) -> Option<&'e [u8]> {
        match self {
            Self::Path(nth) => event.path(nth),
            Self::Text => event.captured_text(0),
        }
    }
}

/// Where it starts from, and where it leads to. A symbolic link starts from what it holds, as in Falco.
fn two_paths(event: &Event<'_>) -> Option<(PathOf, PathOf)> {
    match event.raw_path(1) {
        Some(_) => Some((PathOf::Path(0), PathOf::Path(1))),
        None if event.captured_text(0).is_some() && event.raw_path(0).is_some() => {
            Some((PathOf::Text, PathOf::Path(0)))
        }
        None => None,
    }
}

/// The place of the path of a call that has one.
fn one_path(event: &Event<'_>) -> Option<usize> {
    two_paths(event).is_none().then_some(0)
}

/// The name of a file; missing of what is none.
fn file_name<'e>(event: &'e Event<'_>) -> Option<&'e [u8]> {
    match event.file() {
        Some(file) => Some(file.name()),
        None => event.descriptor_facts().filter(|found| found.is_file()).map(|found| found.name),
    }
}

fn kernel_path<'e>(event: &'e Event<'_>) -> Option<&'e [u8]> {
    match event.file() {
        Some(file) => file.kernel_path(),
        None => file_name(event),
    }
}

fn raw_name<'e>(event: &'e Event<'_>) -> Option<&'e [u8]> {
    let written = event.file()?.raw_name();
    if !written.windows(2).any(|pair| pair == b"//") {
        return Some(written);
    }
    Some(event.text(Text::RawName, |text| {
        for byte in written {
            if *byte != b'/' || text.last() != Some(&b'/') {
                text.push(*byte);
            }
        }
    }))
}

fn opened<'e, 'a>(event: &'e Event<'a>) -> Option<&'e OpenedFile<'a>> {
    event.file().filter(|file| file.succeeded())
}

/// A failed open has no descriptor; Falco then goes by the call.
fn kind_letter(event: &Event<'_>) -> Option<&'static str> {
    let failed = || event.file().map(|_| if event.event_type == EventType::OPEN { "o" } else { "f" });
    event.descriptor_kind().map(|(_, letter)| letter).or_else(failed)
}

/// Directory (`/` at the top) and last part.
fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (b"/", &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"/", path),
    }
}

/// A connection that has addresses.
fn internet<'e, 'a>(event: &'e Event<'a>) -> Option<&'e Connection<'a>> {
    event.connection().filter(|connection| connection.socket_family() == Some("ip"))
}

fn is_server(event: &Event<'_>) -> Option<bool> {
    let of_other = || event.descriptor_kind().map(|_| false);
    event.connection().map(Connection::is_to_this_machine).or_else(of_other)
}

fn kinds<'e>(event: &'e Event<'_>, number: Option<&str>) -> Option<Value<'e>> {
    match number {
        Some(number) => event.descriptor_kind_of(number.parse().ok()?).map(Value::List),
        None => event.descriptor_kinds().map(Value::List),
    }
}

fn client(event: &Event<'_>) -> Option<Endpoint> {
    event.connection()?.client()
}

fn server(event: &Event<'_>) -> Option<Endpoint> {
    event.connection()?.server()
}

fn local(event: &Event<'_>) -> Option<Endpoint> {
    event.connection()?.local
}

fn remote(event: &Event<'_>) -> Option<Endpoint> {
    event.connection()?.remote
}

fn ip<'e>(end: Option<Endpoint>) -> Option<Value<'e>> {
    end.map(|end: Endpoint| -> IpAddr { end.ip }).map(Value::Ip)
}

fn port<'e>(end: Option<Endpoint>) -> Option<Value<'e>> {
    number(end?.port)
}

fn port_text<'e>(event: &'e Event<'_>, text: Text, end: Option<Endpoint>) -> Option<Value<'e>> {
    let port = end?.port;
    Some(Value::Text(event.text(text, |text| _ = write!(text, "{port}"))))
}

/// `None` where there is no descriptor, as after a failed open.
fn is_connected(event: &Event<'_>) -> Option<bool> {
    opened(event).map(|_| false).or_else(|| event.connection().map(Connection::is_connected))
}

/// A new file gets its name, and a socket the one of its connection.
fn is_renamed(event: &Event<'_>) -> bool {
    opened(event).is_some() || event.connection().is_some_and(Connection::is_renamed)
}

fn descriptor_id<'e>(event: &'e Event<'_>) -> Option<Value<'e>> {
    let descriptor = event.descriptor()?;
    let tid = event.record.header.tid;
    Some(Value::Text(event.text(Text::DescriptorId, |text| _ = write!(text, "{tid}{descriptor}"))))
}

fn in_container<'e>(event: &'e Event<'_>, text: Text, name: &[u8]) -> Value<'e> {
    Value::Text(event.text(text, |text| {
        let container = event.process.container.as_ref().map_or(HOST, |container| &container.id);
        text.extend_from_slice(container.as_bytes());
        text.push(b':');
        text.extend_from_slice(name);
    }))
}
