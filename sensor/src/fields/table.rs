//! The table itself.

use std::net::IpAddr;

use super::{
    AncestorGetter, Argument, Definition, Event, EventType, Get, Getter, Kind, NAMES, Process, Value, result_name,
};
use crate::event::{Connection, OpenedFile};

const EVENT_TYPE: Kind = Kind::Enum { what: "event type", names: NAMES, ordered: false };

/// What Falco's `user.loginuid` is where nobody logged in.
const LOGINUID_UNSET: i64 = -1;

/// Every field; its place is its number.
pub static TABLE: &[Definition] = &[
    // evt
    field("evt.num", Kind::Number, "Counts the events that the sensor looked at, from 1.", |event, _| {
        number(event.number)
    }),
    field(
        "evt.time",
        Kind::Number,
        "When the kernel saw the event: nanoseconds since 1970; in an output's text the local time of day.",
        |event, _| Some(Value::Number(event.time_ns)),
    ),
    field("evt.type", EVENT_TYPE, "What happened: the name of a system call, or `procexit`.", |event, _| {
        Some(Value::Enum(event.event_type.0))
    }),
    field("evt.res", Kind::Text, "`SUCCESS`, or the error's name, such as `ENOENT`.", |event, _| {
        event.result().map(|result| text(result_name(result)))
    }),
    field(
        "evt.rawres",
        Kind::Number,
        "What the system call returned: for an open the descriptor, negative for an error.",
        |event, _| event.result().map(Value::Number),
    ),
    field("evt.failed", Kind::Bool, "The system call returned an error.", |event, _| {
        event.result().map(|result| Value::Bool(result < 0))
    }),
    field("evt.is_open_read", Kind::Bool, "A file was opened for reading, or should have been.", |event, _| {
        Some(Value::Bool(opened(event).is_some_and(OpenedFile::reads)))
    }),
    field("evt.is_open_write", Kind::Bool, "A file was opened for writing, or should have been.", |event, _| {
        Some(Value::Bool(opened(event).is_some_and(OpenedFile::writes)))
    }),
    field(
        "evt.is_open_exec",
        Kind::Bool,
        "An open that may make a file, with a mode that lets it be executed.",
        |event, _| Some(Value::Bool(event.file().is_some_and(OpenedFile::makes_executable))),
    ),
    field(
        "evt.is_open_create",
        Kind::Bool,
        "A successful open that may have made the file: with `O_CREAT` or `O_TMPFILE`.",
        |event, _| Some(Value::Bool(opened(event).is_some_and(OpenedFile::creates))),
    ),
    field(
        "evt.arg.flags",
        Kind::Text,
        "The flags of an open: names such as `O_CREAT`, with vertical bars between them.",
        |event, _| opened(event).map(|file| Value::Text(file.flags())),
    ),
    field("evt.arg.name", Kind::Text, "The file of an open, as `fd.name`.", |event, _| {
        event.file().map(|file| Value::Text(file.name()))
    }),
    // fd
    field(
        "fd.num",
        Kind::Number,
        "The descriptor that the event made or used; -1 for an open that failed.",
        |event, _| event.descriptor().map(Value::Number),
    ),
    field(
        "fd.name",
        Kind::Text,
        "A file's absolute name as the caller meant it, links not followed; `client:port->server:port` of a connection; a Unix socket's path.",
        |event, _| fd_name(event).map(Value::Text),
    ),
    field("fd.nameraw", Kind::Text, "A file's name as the caller wrote it.", |event, _| {
        event.file().map(|file| Value::Text(file.raw_name()))
    }),
    field(
        "fd.realpath",
        Kind::Text,
        "The kernel's own path of the opened file, by whatever link or mount it was reached; missing where the open failed. Not in Falco.",
        |event, _| event.file()?.kernel_path().map(Value::Text),
    ),
    field("fd.directory", Kind::Text, "The directory of `fd.name`, for a file.", |event, _| {
        event.file().map(|file| Value::Text(split_path(file.name()).0))
    }),
    field(
        "fd.filename",
        Kind::Text,
        "The last part of `fd.name`, for a file; missing where the open failed.",
        |event, _| event.file().filter(|file| file.succeeded()).map(|file| Value::Text(split_path(file.name()).1)),
    ),
    field("fd.type", Kind::Text, "`file`, `directory`, `ipv4`, `ipv6`, `unix` or `netlink`.", |event, _| {
        fd_type(event).map(|(name, _)| text(name))
    }),
    field(
        "fd.typechar",
        Kind::Text,
        "`fd.type` as one letter: `f`, `d`, `4`, `6`, `u`, `n`; `o` for an open (not openat) that failed.",
        |event, _| fd_type_letter(event).map(text),
    ),
    field("fd.cip", Kind::Ip, "The client's address; missing where the connect failed.", |event, _| local_ip(event)),
    field("fd.sip", Kind::Ip, "The server's address.", |event, _| remote_ip(event)),
    field("fd.lip", Kind::Ip, "The local address; missing where the connect failed.", |event, _| local_ip(event)),
    field("fd.rip", Kind::Ip, "The remote address.", |event, _| remote_ip(event)),
    field("fd.cport", Kind::Number, "The client's port; missing where the connect failed.", |event, _| {
        local_port(event)
    }),
    field("fd.sport", Kind::Number, "The server's port.", |event, _| remote_port(event)),
    field("fd.lport", Kind::Number, "The local port; missing where the connect failed.", |event, _| local_port(event)),
    field("fd.rport", Kind::Number, "The remote port.", |event, _| remote_port(event)),
    field(
        "fd.l4proto",
        Kind::Text,
        "`tcp`, `udp`, `icmp`, `raw`; `<NA>` for another, and where the connect failed.",
        |event, _| {
            event
                .connection()
                .filter(|connection| connection.remote.is_some())
                .map(|connection| text(connection.protocol()))
        },
    ),
    // proc
    field("proc.pid", Kind::Number, "The process.", |event, _| number(event.process.tgid)),
    field("proc.ppid", Kind::Number, "Its parent.", |event, _| number(event.process.ppid)),
    field(
        "proc.name",
        Kind::Text,
        "The name of the thread that did it, at most 15 bytes: after an exec the program's file name.",
        |event, _| Some(Value::Text(event.thread_name())),
    ),
    field("proc.pname", Kind::Text, "The parent's name.", |event, _| of_parent(event, name)),
    field("proc.exe", Kind::Text, "Argument 0: the program as its caller named it.", |event, _| {
        Some(Value::Text(event.process.exe()))
    }),
    field("proc.pexe", Kind::Text, "The parent's argument 0.", |event, _| {
        of_parent(event, |parent| Some(Value::Text(parent.exe())))
    }),
    field("proc.exepath", Kind::Text, "The kernel's path of the program.", |event, _| exe_path(event.process)),
    field("proc.pexepath", Kind::Text, "The kernel's path of the parent's program.", |event, _| {
        of_parent(event, exe_path)
    }),
    field("proc.args", Kind::Text, "The arguments after the first, with blanks between them.", |event, _| {
        Some(Value::Text(event.process.arguments()))
    }),
    field("proc.cmdline", Kind::Text, "The process's name, a blank, and its arguments.", |event, _| {
        cmdline(event.process)
    }),
    field("proc.pcmdline", Kind::Text, "The parent's name and arguments.", |event, _| of_parent(event, cmdline)),
    ancestors(
        "proc.aname",
        Kind::Text,
        "The name of the n-th ancestor (0 is the process, 1 its parent); without a number, of any ancestor.",
        name,
    ),
    ancestors(
        "proc.apid",
        Kind::Number,
        "The number of the n-th ancestor; without a number, of any ancestor.",
        |process| number(process.tgid),
    ),
    ancestors(
        "proc.acmdline",
        Kind::Text,
        "Name and arguments of the n-th ancestor; without a number, of any ancestor.",
        cmdline,
    ),
    ancestors(
        "proc.aexepath",
        Kind::Text,
        "The kernel's path of the n-th ancestor's program; without a number, of any ancestor's.",
        exe_path,
    ),
    field("proc.tty", Kind::Number, "Device number of the controlling terminal; 0 is none.", |event, _| {
        number(event.process.tty)
    }),
    field("proc.sid", Kind::Number, "The session's leader.", |event, _| number(event.process.sid)),
    field("proc.sname", Kind::Text, "The name of the session's leader.", |event, _| {
        event.state.processes.get(event.process.sid).and_then(name)
    }),
    field("proc.duration", Kind::Number, "Nanoseconds since the process was started.", |event, _| {
        number(event.record.header.time_ns.saturating_sub(event.process.start_ns))
    }),
    field(
        "proc.cwd",
        Kind::Text,
        "The working directory when the program was started, with a slash at its end.",
        |event, _| event.process.cwd().map(Value::Text),
    ),
    // thread
    field("thread.tid", Kind::Number, "The thread that did it.", |event, _| number(event.record.header.tid)),
    // user
    field("user.uid", Kind::Number, "The effective user.", |event, _| number(event.record.header.euid)),
    field(
        "user.name",
        Kind::Text,
        "Its name in the host's `/etc/passwd`; `<NA>` where it has none there.",
        |event, _| Some(text(event.state.users.user(event.record.header.euid))),
    ),
    field("user.loginuid", Kind::Number, "The user who logged in; -1 where nobody did.", |event, _| {
        let loginuid = event.record.header.loginuid;
        Some(Value::Number(if loginuid == u32::MAX { LOGINUID_UNSET } else { loginuid.into() }))
    }),
    field("user.loginname", Kind::Text, "Its name; `<NA>` where nobody logged in.", |event, _| {
        Some(text(event.state.users.user(event.record.header.loginuid)))
    }),
    // group
    field("group.gid", Kind::Number, "The group.", |event, _| number(event.record.header.gid)),
    field(
        "group.name",
        Kind::Text,
        "Its name in the host's `/etc/group`; `<NA>` where it has none there.",
        |event, _| Some(text(event.state.users.group(event.record.header.gid))),
    ),
    // container
    field(
        "container.id",
        Kind::Text,
        "The first 12 digits of the container's id; `host` outside of containers.",
        |event, _| Some(text(event.process.container.as_ref().map_or(HOST, |container| &container.id))),
    ),
    field(
        "container.name",
        Kind::Text,
        "`host` outside of containers. Missing inside: the runtime is not asked yet.",
        |event, _| event.process.container.is_none().then(|| text(HOST)),
    ),
    field(
        "container.type",
        Kind::Text,
        "`docker`, `podman`, `containerd`, `cri-o`; `host` outside of containers.",
        |event, _| Some(text(event.process.container.as_ref().map_or(HOST, |container| container.runtime))),
    ),
    field(
        "container.image.repository",
        Kind::Text,
        "The image, without tag. Missing: the runtime is not asked yet.",
        |_, _| None,
    ),
    field("container.image.tag", Kind::Text, "The image's tag. Missing: the runtime is not asked yet.", |_, _| None),
    // k8s
    field("k8s.ns.name", Kind::Text, "The pod's namespace. Missing: the runtime is not asked yet.", |_, _| None),
    field("k8s.pod.name", Kind::Text, "The pod's name. Missing: the runtime is not asked yet.", |_, _| None),
    field("k8s.pod.uid", Kind::Text, "The pod's uid, as the cgroup names it.", |event, _| {
        event.process.container.as_ref()?.pod_uid.as_deref().map(text)
    }),
];

const HOST: &str = "host";

const fn field(name: &'static str, kind: Kind, doc: &'static str, get: Getter) -> Definition {
    Definition { name, kind, argument: Argument::None, doc, get: Get::Event(get) }
}

const fn ancestors(name: &'static str, kind: Kind, doc: &'static str, get: AncestorGetter) -> Definition {
    Definition { name, kind, argument: Argument::Optional, doc, get: Get::Ancestor(get) }
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.as_bytes())
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn number<'a>(number: impl TryInto<i64>) -> Option<Value<'a>> {
    Some(Value::Number(number.try_into().unwrap_or(i64::MAX)))
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn name(process: &Process) -> Option<Value<'_>> {
    Some(Value::Text(process.name()))
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn cmdline(process: &Process) -> Option<Value<'_>> {
    Some(Value::Text(process.cmdline()))
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn exe_path(process: &Process) -> Option<Value<'_>> {
    Some(Value::Text(process.exe_path()))
}

fn of_parent<'e>(event: &'e Event<'_>, get: AncestorGetter) -> Option<Value<'e>> {
    get(event.ancestor(1)?)
}

/// creat has no flags, as in Falco, where the questions about them are then answered with false.
fn opened<'e, 'a>(event: &'e Event<'a>) -> Option<&'e OpenedFile<'a>> {
    event.file().filter(|_| event.event_type != EventType::CREAT)
}

fn fd_name<'e>(event: &'e Event<'_>) -> Option<&'e [u8]> {
    let connected = || event.connection().map(Connection::name);
    event.file().map(OpenedFile::name).or_else(connected)
}

fn fd_type(event: &Event<'_>) -> Option<(&'static str, &'static str)> {
    match event.file() {
        Some(file) if !file.succeeded() => None,
        Some(file) if file.is_directory() => Some(("directory", "d")),
        Some(_) => Some(("file", "f")),
        None => event.connection()?.kind(),
    }
}

/// A failed open has no descriptor; Falco then goes by the call.
fn fd_type_letter(event: &Event<'_>) -> Option<&'static str> {
    let failed = || event.file().map(|_| if event.event_type == EventType::OPEN { "o" } else { "f" });
    fd_type(event).map(|(_, letter)| letter).or_else(failed)
}

/// Directory (`/` at the top) and last part.
fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (b"/", &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"/", path),
    }
}

fn local_ip<'e>(event: &Event<'_>) -> Option<Value<'e>> {
    ip(event.connection()?.local?.ip)
}

fn remote_ip<'e>(event: &Event<'_>) -> Option<Value<'e>> {
    ip(event.connection()?.remote?.ip)
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn ip<'e>(ip: IpAddr) -> Option<Value<'e>> {
    Some(Value::Ip(ip))
}

fn local_port<'e>(event: &Event<'_>) -> Option<Value<'e>> {
    number(event.connection()?.local?.port)
}

fn remote_port<'e>(event: &Event<'_>) -> Option<Value<'e>> {
    number(event.connection()?.remote?.port)
}
