//! The parameters of events, by Falco's names and in Falco's order: `evt.arg`, `evt.rawarg` and `evt.args`.

mod flags;
pub(super) mod lists;

use std::io::Write;

use tercel_filter::Value;

use super::errno::error_name;
use super::{Connection, Endpoint, Event};
use crate::capability;
use crate::enrich::process::Process;
use crate::enrich::user::Question;
use crate::enrich::user::UNKNOWN;
use flags::{Constants, Flags};
use lists::rows;

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

/// Name, and value.
pub(crate) type Row = (&'static str, for<'e> fn(&'e Event<'_>) -> Parameter<'e>);

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
    OpenFlags {
        bits: u32,
        names: &'e [u8],
    },
    /// In the kernel's numbering.
    Flags(u64, Flags),
    Constant(u64, Constants),
    /// What was sent or received.
    Data(&'e [u8]),
    Octal(u32),
    /// Permissions, by name.
    Mode(u32),
    Capabilities(u64),
    Result(i64),
    Process(i32),
    User(u32),
    Group(u32),
    Signal(u32),
    Number(i64),
}

impl Event<'_> {
    /// The parameter of this name, or at this place counted from 0; and its place.
    pub(crate) fn parameter(&self, argument: &str) -> Option<(usize, Parameter<'_>)> {
        let rows = rows(self);
        let place = match argument.parse() {
            Ok(place) => place,
            Err(_) => rows.iter().position(|(name, _)| *name == argument)?,
        };
        let (_, get) = rows.get(place)?;
        Some((place, get(self)))
    }

    /// Every parameter that the record has, as Falco's `evt.args` tells them.
    pub(crate) fn write_parameters(&self, text: &mut Vec<u8>) {
        for (name, get) in rows(self) {
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
    pub(super) fn flags(bits: impl Into<u64>, names: Flags) -> Self {
        Self::Flags(bits.into(), names)
    }

    pub(super) fn constant(value: u64, names: Constants) -> Self {
        Self::Constant(value & u64::from(u32::MAX), names)
    }

    pub(super) fn unsigned(number: u64) -> Self {
        Self::Number(number.cast_signed())
    }

    /// What `evt.arg` says: the text that it stands for, where there is one, else what it is.
    pub(crate) fn text(self, place: usize, event: &'e Event<'_>) -> Option<&'e [u8]> {
        match self {
            Self::Unknown => None,
            Self::Path { resolved: text, .. } | Self::OpenFlags { names: text, .. } | Self::Text(text) => {
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
            Self::Path { raw: text, .. } | Self::Text(text) | Self::Data(text) => Value::Text(text),
            Self::Flags(bits, _) | Self::Constant(bits, _) | Self::Capabilities(bits) => {
                Value::Number(bits.cast_signed())
            }
            Self::Process(number) => Value::Number(number.into()),
            Self::Descriptor(number) | Self::Directory(number) | Self::Result(number) | Self::Number(number) => {
                Value::Number(number)
            }
            Self::OpenFlags { bits: number, .. }
            | Self::Octal(number)
            | Self::Mode(number)
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
            Self::Octal(0) | Self::Mode(0) => text.write_all(b"0"),
            Self::Octal(number) | Self::Mode(number) => write!(text, "0{number:o}"),
            Self::Flags(bits, _) | Self::Constant(bits, _) | Self::Capabilities(bits) => write!(text, "{bits}"),
            Self::Process(number) => write!(text, "{number}"),
            Self::Data(bytes) => {
                text.extend(bytes.iter().copied().map(printable));
                Ok(())
            }
            Self::OpenFlags { bits: number, .. } | Self::User(number) | Self::Group(number) | Self::Signal(number) => {
                write!(text, "{number}")
            }
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
            Self::OpenFlags { names, .. } => names,
            Self::Flags(bits, names) => return write_flags(text, bits, names),
            Self::Mode(bits) => return write_flags(text, bits.into(), flags::MODE),
            Self::Capabilities(bits) => return capability::write(text, bits),
            Self::Constant(value, names) => {
                names.iter().find(|(number, _)| *number == value).map_or("", |(_, name)| name).as_bytes()
            }
            Self::Directory(AT_FDCWD) => b"AT_FDCWD",
            Self::Descriptor(number) if number >= 0 => return event.write_descriptor(text),
            Self::Descriptor(error) | Self::Result(error) => error_name(error).unwrap_or_default().as_bytes(),
            Self::Process(pid) => event.state.processes.get(pid.cast_unsigned()).map(Process::name).unwrap_or_default(),
            Self::User(u32::MAX) => NO_USER.as_bytes(),
            Self::User(uid) => return event.write_user(Question::User, uid, text),
            Self::Group(gid) => return event.write_user(Question::Group, gid, text),
            Self::Signal(number) => signal_name(number).as_bytes(),
            _ => b"",
        };
        text.extend_from_slice(found);
    }
}

impl Event<'_> {
    /// `<type>name`, as Falco writes a descriptor; a socket's protocol has a letter too.
    fn write_descriptor(&self, text: &mut Vec<u8>) {
        let protocol = self.connection().map_or("", Connection::protocol_letter);
        let Some((_, letter)) = self.descriptor_kind() else { return };
        _ = write!(text, "<{letter}{protocol}>");
        text.extend_from_slice(self.descriptor_name().unwrap_or_default());
    }
}

fn write_flags(text: &mut Vec<u8>, bits: u64, names: Flags) {
    let before = text.len();
    for (_, name) in names.iter().filter(|(flag, _)| bits & flag == *flag) {
        if text.len() > before {
            text.push(b'|');
        }
        text.extend_from_slice(name.as_bytes());
    }
}

fn printable(byte: u8) -> u8 {
    if matches!(byte, b' '..=b'~') { byte } else { b'.' }
}

/// Each argument and a full stop, and one for every byte that does not print: how Falco shows a buffer.
fn write_arguments(process: &Process, text: &mut Vec<u8>) {
    for argument in process.argument_list() {
        text.extend(argument.iter().copied().map(printable));
        text.push(b'.');
    }
}

fn signal_name(number: u32) -> &'static str {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    index.and_then(|index| SIGNALS.get(index)).copied().unwrap_or_default()
}
