//! The parameters of events, by Falco's names and in Falco's order: `evt.arg`, `evt.rawarg` and `evt.args`.

use std::io::Write;

use tercel_filter::Value;
use tercel_sensor_abi::RecordKind;
use tercel_sensor_abi::process::{FailedExecArguments, ForkArguments};

use super::errno::error_name;
use super::{Endpoint, Event, EventType};
use crate::enrich::process::Process;
use crate::enrich::user::UNKNOWN;

const AT_FDCWD: i64 = -100;

/// What Falco calls a user id that is not set.
const NO_USER: &str = "<NONE>";

/// By number, from 1.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

type Row = (&'static str, for<'e> fn(&'e Event<'_>) -> Parameter<'e>);

const OPEN: &[Row] =
    &[("fd", descriptor), ("name", path), ("flags", flags), ("mode", mode), ("dev", unknown), ("ino", unknown)];

const OPENAT: &[Row] = &[
    ("fd", descriptor),
    ("dirfd", directory),
    ("name", path),
    ("flags", flags),
    ("mode", mode),
    ("dev", unknown),
    ("ino", unknown),
];

const OPENAT2: &[Row] = &[
    ("fd", descriptor),
    ("dirfd", directory),
    ("name", path),
    ("flags", flags),
    ("mode", mode),
    ("resolve", unknown),
    ("dev", unknown),
    ("ino", unknown),
];

const CREAT: &[Row] =
    &[("fd", descriptor), ("name", path), ("mode", mode), ("dev", unknown), ("ino", unknown), ("creat_flags", unknown)];

const CONNECT: &[Row] = &[("res", result), ("tuple", tuple), ("fd", descriptor), ("addr", address)];

const EXECVE: &[Row] = &[
    ("res", result),
    ("exe", exe),
    ("args", arguments),
    ("tid", tid),
    ("pid", pid),
    ("ptid", ptid),
    ("cwd", empty),
    ("fdlimit", unknown),
    ("pgft_maj", unknown),
    ("pgft_min", unknown),
    ("vm_size", unknown),
    ("vm_rss", unknown),
    ("vm_swap", unknown),
    ("comm", comm),
    ("cgroups", unknown),
    ("env", unknown),
    ("tty", tty),
    ("vpgid", unknown),
    ("loginuid", |event| Parameter::User(event.record.header.loginuid)),
    ("flags", unknown),
    ("cap_inheritable", unknown),
    ("cap_permitted", unknown),
    ("cap_effective", unknown),
    ("exe_ino", unknown),
    ("exe_ino_ctime", unknown),
    ("exe_ino_mtime", unknown),
    ("uid", |event| Parameter::User(event.record.header.euid)),
    ("trusted_exepath", exe_path),
    ("pgid", unknown),
    ("gid", |event| Parameter::Group(event.record.header.gid)),
    ("filename", asked_program),
];

const CLONE: &[Row] = &[
    ("res", child),
    ("exe", exe),
    ("args", arguments),
    ("tid", tid),
    ("pid", pid),
    ("ptid", ptid),
    ("cwd", empty),
    ("fdlimit", unknown),
    ("pgft_maj", unknown),
    ("pgft_min", unknown),
    ("vm_size", unknown),
    ("vm_rss", unknown),
    ("vm_swap", unknown),
    ("comm", comm),
    ("cgroups", unknown),
    ("flags", unknown),
    ("uid", |event| Parameter::Number(event.record.header.euid.into())),
    ("gid", |event| Parameter::Number(event.record.header.gid.into())),
    ("vtid", unknown),
    ("vpid", unknown),
    ("pidns_init_start_ts", unknown),
];

const PROCEXIT: &[Row] = &[
    ("status", |event| Parameter::Result(exit_status(event).into())),
    ("ret", |event| Parameter::Result((exit_status(event) >> 8 & 0xff).into())),
    ("sig", |event| Parameter::Signal(exit_status(event) & 0x7f)),
    ("core", |event| Parameter::Number((exit_status(event) >> 7 & 1).into())),
    ("reaper_tid", unknown),
];

/// One parameter, as the record has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parameter<'e> {
    /// Falco has it, the record has not.
    Unknown,
    /// The event's own descriptor, or the error instead of it.
    Descriptor(i64),
    /// Another descriptor.
    Directory(i64),
    /// As it was written, and made absolute.
    Path {
        raw: &'e [u8],
        resolved: &'e [u8],
    },
    Text(&'e [u8]),
    Address(Endpoint),
    Arguments(&'e Process),
    /// In Falco's numbering, and by name.
    Flags {
        bits: u32,
        names: &'e [u8],
    },
    Octal(u32),
    Result(i64),
    Process(u32),
    User(u32),
    Group(u32),
    Signal(u32),
    Number(i64),
}

impl Event<'_> {
    /// The parameter of this name, or at this place counted from 0; and its place.
    pub(crate) fn parameter(&self, argument: &str) -> Option<(usize, Parameter<'_>)> {
        let rows = rows(self.event_type);
        let place = match argument.parse() {
            Ok(place) => place,
            Err(_) => rows.iter().position(|(name, _)| *name == argument)?,
        };
        let (_, get) = rows.get(place)?;
        Some((place, get(self)))
    }

    /// Every parameter that the record has, as Falco's `evt.args` tells them.
    pub(crate) fn write_parameters(&self, text: &mut Vec<u8>) {
        for (name, get) in rows(self.event_type) {
            let parameter = get(self);
            if matches!(parameter, Parameter::Unknown) {
                continue;
            }
            if !text.is_empty() {
                text.push(b' ');
            }
            text.extend_from_slice(name.as_bytes());
            text.push(b'=');
            parameter.write_raw(text);
            let open = text.len();
            text.push(b'(');
            parameter.write_resolved(self, text);
            if text.len() == open + 1 {
                text.truncate(open);
            } else {
                text.push(b')');
            }
        }
    }
}

impl<'e> Parameter<'e> {
    /// What `evt.arg` says: the text that it stands for, where there is one, else what it is.
    pub(crate) fn text(self, place: usize, event: &'e Event<'_>) -> Option<&'e [u8]> {
        match self {
            Self::Unknown => None,
            Self::Path { resolved: text, .. } | Self::Flags { names: text, .. } | Self::Text(text) => {
                Some(if text.is_empty() { UNKNOWN.as_bytes() } else { text })
            }
            other => Some(event.parameter_text(place, |text| {
                other.write_resolved(event, text);
                if text.is_empty() {
                    other.write_raw(text);
                }
            })),
        }
    }

    /// What `evt.rawarg` says.
    pub(crate) fn raw(self) -> Option<Value<'e>> {
        Some(match self {
            Self::Unknown | Self::Address(_) | Self::Arguments(_) => return None,
            Self::Path { raw: text, .. } | Self::Text(text) => Value::Text(text),
            Self::Descriptor(number) | Self::Directory(number) | Self::Result(number) | Self::Number(number) => {
                Value::Number(number)
            }
            Self::Flags { bits: number, .. }
            | Self::Octal(number)
            | Self::Process(number)
            | Self::User(number)
            | Self::Group(number)
            | Self::Signal(number) => Value::Number(number.into()),
        })
    }

    /// Writing to memory does not fail.
    fn write_raw(self, text: &mut Vec<u8>) {
        _ = match self {
            Self::Unknown => Ok(()),
            Self::Path { raw: bytes, .. } | Self::Text(bytes) => {
                text.write_all(if bytes.is_empty() { UNKNOWN.as_bytes() } else { bytes })
            }
            Self::Descriptor(number) | Self::Directory(number) | Self::Result(number) | Self::Number(number) => {
                write!(text, "{number}")
            }
            // C's `%#o`: a zero in front, but one alone.
            Self::Octal(0) => text.write_all(b"0"),
            Self::Octal(number) => write!(text, "0{number:o}"),
            Self::Flags { bits: number, .. }
            | Self::Process(number)
            | Self::User(number)
            | Self::Group(number)
            | Self::Signal(number) => write!(text, "{number}"),
            Self::Address(end) => write!(text, "{}:{}", end.ip, end.port),
            Self::Arguments(process) => {
                write_arguments(process, text);
                Ok(())
            }
        };
    }

    /// Nothing where it stands for itself.
    fn write_resolved(self, event: &Event<'_>, text: &mut Vec<u8>) {
        let found = match self {
            Self::Path { raw, resolved } if raw != resolved => resolved,
            Self::Flags { names, .. } => names,
            Self::Directory(AT_FDCWD) => b"AT_FDCWD",
            Self::Descriptor(number) if number >= 0 => return event.write_descriptor(text),
            Self::Descriptor(error) | Self::Result(error) => error_name(error).unwrap_or_default().as_bytes(),
            Self::Process(pid) => event.state.processes.get(pid).map(Process::name).unwrap_or_default(),
            Self::User(u32::MAX) => NO_USER.as_bytes(),
            Self::User(uid) => event.state.users.user(uid).as_bytes(),
            Self::Group(gid) => event.state.users.group(gid).as_bytes(),
            Self::Signal(number) => signal_name(number).as_bytes(),
            _ => b"",
        };
        text.extend_from_slice(found);
    }
}

impl Event<'_> {
    /// `<type>name`, as Falco writes a descriptor; a socket's protocol has a letter too.
    fn write_descriptor(&self, text: &mut Vec<u8>) {
        let (letter, protocol, name) = match (self.file(), self.connection()) {
            (Some(file), _) => (if file.is_directory() { "d" } else { "f" }, "", file.name()),
            (None, Some(connection)) => match connection.kind() {
                Some((_, letter)) => (letter, connection.protocol_letter(), connection.name()),
                None => return,
            },
            (None, None) => return,
        };
        _ = write!(text, "<{letter}{protocol}>");
        text.extend_from_slice(name);
    }
}

fn rows(event_type: EventType) -> &'static [Row] {
    match event_type {
        EventType::OPEN => OPEN,
        EventType::OPENAT => OPENAT,
        EventType::OPENAT2 => OPENAT2,
        EventType::CREAT => CREAT,
        EventType::CONNECT => CONNECT,
        EventType::EXECVE | EventType::EXECVEAT => EXECVE,
        EventType::CLONE => CLONE,
        EventType::PROCEXIT => PROCEXIT,
        _ => &[],
    }
}

/// Each argument and a full stop, and one for every byte that does not print: how Falco shows a buffer.
fn write_arguments(process: &Process, text: &mut Vec<u8>) {
    for argument in process.argument_list() {
        text.extend(argument.iter().map(|byte| if matches!(byte, b' '..=b'~') { *byte } else { b'.' }));
        text.push(b'.');
    }
}

fn signal_name(number: u32) -> &'static str {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    index.and_then(|index| SIGNALS.get(index)).copied().unwrap_or_default()
}

fn unknown<'e>(_: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Unknown
}

/// Falco has the parameter and leaves it empty.
fn empty<'e>(_: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Text(b"")
}

fn result<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Result(event.record.header.result)
}

fn descriptor<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    match event.record.kind {
        RecordKind::Open => Parameter::Descriptor(event.record.header.result),
        _ => event.descriptor().map_or(Parameter::Unknown, Parameter::Descriptor),
    }
}

fn directory<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.file().map_or(Parameter::Unknown, |file| Parameter::Directory(file.directory_fd().into()))
}

fn path<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.file().map_or(Parameter::Unknown, |file| Parameter::Path { raw: file.raw_name(), resolved: file.name() })
}

fn flags<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.file().map_or(Parameter::Unknown, |file| Parameter::Flags { bits: file.falco_flags(), names: file.flags() })
}

fn mode<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    let is_creat = event.event_type == EventType::CREAT;
    event.file().map_or(Parameter::Unknown, |file| Parameter::Octal(file.mode(is_creat)))
}

fn tuple<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.connection().map_or(Parameter::Unknown, |connection| Parameter::Text(connection.name()))
}

fn address<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.connection().map_or(Parameter::Unknown, |connection| match connection.asked {
        Some(end) => Parameter::Address(end),
        None => Parameter::Text(connection.name()),
    })
}

/// A failed exec has the caller's program still; the one that was asked for is not in the record.
fn exe<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    match event.record.kind {
        RecordKind::ExecFailed => Parameter::Unknown,
        _ => Parameter::Text(event.process.exe()),
    }
}

fn arguments<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    match event.record.kind {
        RecordKind::ExecFailed => Parameter::Unknown,
        _ => Parameter::Arguments(event.process),
    }
}

fn exe_path<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Text(event.process.exe_path())
}

fn asked_program<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    match event.record.kind {
        RecordKind::ExecFailed => Parameter::Text(event.record.string(FailedExecArguments::STRING_NAME)),
        _ => Parameter::Unknown,
    }
}

fn comm<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Text(event.thread_name())
}

fn tty<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Number(event.process.tty.into())
}

fn tid<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(event.record.header.tid)
}

fn pid<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(event.record.header.tgid)
}

fn ptid<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(event.record.header.ppid)
}

fn child<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(ForkArguments::from_words(event.record.header.arguments).child_tgid)
}

/// As `wait` reports it: the exit status in bits 8 to 15, a core dump in bit 7, the signal in bits 0 to 6.
fn exit_status(event: &Event<'_>) -> u32 {
    u32::try_from(event.record.header.arguments[0] & u64::from(u32::MAX)).unwrap_or_default()
}
