//! One event: a record together with what the sensor knows about its process.

mod errno;
mod file;
mod names;
mod parameter;
mod socket;
mod texts;

use std::cell::Cell;

use tercel_sensor_abi::network::ConnectArguments;
use tercel_sensor_abi::process::ForkArguments;
use tercel_sensor_abi::{InterestBitmap, RecordKind};

pub(crate) use errno::result_name;
pub(crate) use file::OpenedFile;
pub use names::NAMES;
pub(crate) use socket::{Connection, Endpoint};
pub(crate) use texts::Text;

use crate::enrich::State;
use crate::enrich::process::{self, Process};
use crate::enrich::procfs;
use crate::ring::Record;

/// What happened, by name: an index into [`NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventType(pub u16);

impl EventType {
    pub const EXECVE: Self = Self::named("execve");
    pub const EXECVEAT: Self = Self::named("execveat");
    /// A new process, whichever system call made it.
    pub const CLONE: Self = Self::named("clone");
    pub const PROCEXIT: Self = Self::named("procexit");
    pub const OPEN: Self = Self::named("open");
    pub const OPENAT: Self = Self::named("openat");
    pub const OPENAT2: Self = Self::named("openat2");
    pub const CREAT: Self = Self::named("creat");
    pub const CONNECT: Self = Self::named("connect");

    /// Those that the kernel side reports.
    pub const REPORTED: [Self; 9] = [
        Self::EXECVE,
        Self::EXECVEAT,
        Self::CLONE,
        Self::PROCEXIT,
        Self::OPEN,
        Self::OPENAT,
        Self::OPENAT2,
        Self::CREAT,
        Self::CONNECT,
    ];

    /// Every name there is, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map(Self).take(NAMES.len())
    }

    /// The type of this name.
    pub fn find(name: &str) -> Option<Self> {
        u16::try_from(NAMES.binary_search(&name).ok()?).ok().map(Self)
    }

    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or_default()
    }

    /// The system call that must be watched for this event. `None`: the scheduler reports it, or nobody does.
    pub const fn syscall(self) -> Option<u32> {
        let mut index = 0;
        while index < SYSCALLS.len() {
            if SYSCALLS[index].0.0 == self.0 {
                return Some(SYSCALLS[index].1);
            }
            index += 1;
        }
        None
    }

    /// The type of a record; `None` for a system call that nobody asked for.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        match record.kind {
            RecordKind::Exec => Some(Self::EXECVE),
            RecordKind::Fork => Some(Self::CLONE),
            RecordKind::Exit => Some(Self::PROCEXIT),
            RecordKind::ExecFailed | RecordKind::Open | RecordKind::Connect => {
                let number = record.header.syscall;
                SYSCALLS.iter().find(|(_, syscall)| *syscall == number).map(|(event_type, _)| *event_type)
            }
        }
    }

    /// For constants only: a name that is not in the list does not compile.
    const fn named(name: &str) -> Self {
        let mut index = 0;
        while index < NAMES.len() {
            if equal(NAMES[index].as_bytes(), name.as_bytes()) {
                #[expect(clippy::cast_possible_truncation, reason = "there are some 380 names")]
                return Self(index as u16);
            }
            index += 1;
        }
        panic!("no event has this name");
    }
}

/// The interest bitmap that makes the kernel side report these types.
pub fn interest(types: impl IntoIterator<Item = EventType>) -> InterestBitmap {
    let mut bitmap = InterestBitmap::default();
    for number in types.into_iter().filter_map(EventType::syscall) {
        bitmap[number as usize / 64] |= 1 << (number % 64);
    }
    bitmap
}

#[cfg(target_arch = "x86_64")]
const SYSCALLS: &[(EventType, u32)] = {
    use tercel_sensor_abi::syscall::x86_64;
    &[
        (EventType::OPENAT, x86_64::OPENAT),
        (EventType::OPEN, x86_64::OPEN),
        (EventType::CONNECT, x86_64::CONNECT),
        (EventType::OPENAT2, x86_64::OPENAT2),
        (EventType::CREAT, x86_64::CREAT),
        (EventType::EXECVE, x86_64::EXECVE),
        (EventType::EXECVEAT, x86_64::EXECVEAT),
    ]
};

/// arm64 has neither open nor creat.
#[cfg(target_arch = "aarch64")]
const SYSCALLS: &[(EventType, u32)] = &[
    (EventType::OPENAT, 56),
    (EventType::CONNECT, 203),
    (EventType::OPENAT2, 437),
    (EventType::EXECVE, 221),
    (EventType::EXECVEAT, 281),
];

const fn equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// Memory that one event lends to the next, so that texts which must be put together allocate only once.
#[derive(Default)]
pub struct Scratch {
    name: Cell<Vec<u8>>,
    flags: Cell<Vec<u8>>,
    shelf: Cell<Option<Box<texts::Shelf>>>,
}

/// One event, as rules see it.
pub struct Event<'a> {
    /// Counts from 1.
    pub number: u64,
    /// Nanoseconds since 1970, UTC.
    pub time_ns: i64,
    pub event_type: EventType,
    pub record: Record<'a>,
    pub process: &'a Process,
    pub state: &'a State,
    pub(crate) object: Object<'a>,
    texts: texts::Texts<'a>,
}

/// What the event was done to.
pub(crate) enum Object<'a> {
    None,
    File(OpenedFile<'a>),
    Socket(Connection<'a>),
}

impl<'a> Event<'a> {
    /// `None` where the record's process is not in the table, or nobody asked for such a record. `time_ns`: nanoseconds since 1970.
    pub fn new(number: u64, time_ns: i64, record: Record<'a>, state: &'a State, scratch: &'a Scratch) -> Option<Self> {
        let event_type = EventType::of(&record)?;
        let process = state.processes.get(record.header.tgid)?;
        let object = match record.kind {
            RecordKind::Open => Object::File(OpenedFile::new(&record, process, state, scratch)),
            RecordKind::Connect => Object::Socket(Connection::new(&record, scratch)),
            RecordKind::Exec | RecordKind::ExecFailed | RecordKind::Fork | RecordKind::Exit => Object::None,
        };
        let texts = texts::Texts::new(scratch);
        Some(Self { number, time_ns, event_type, record, process, state, object, texts })
    }

    /// What the call returned; a new process's number for a fork; `None` for the end of a process.
    pub fn result(&self) -> Option<i64> {
        match self.record.kind {
            RecordKind::Exit => None,
            RecordKind::Fork => Some(ForkArguments::from_words(self.record.header.arguments).child_tgid.into()),
            _ => Some(self.record.header.result),
        }
    }

    /// The name of the thread that did it.
    pub fn thread_name(&self) -> &[u8] {
        process::comm(&self.record.header)
    }

    /// A text that is put together when it is asked for: `write` appends it to an empty buffer.
    pub(crate) fn text(&self, text: Text, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.texts.get(text, write)
    }

    /// The same for the parameter at this place among the event's.
    pub(crate) fn parameter_text(&self, place: usize, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.texts.parameter(place, write)
    }

    /// The environment of the process, each variable ended by a NUL: asked of /proc, at most 4 KiB of it and within the
    /// budget for such questions. `None` where /proc does not tell.
    pub(crate) fn environment(&self) -> Option<&[u8]> {
        let environment = self.text(Text::Environment, |buffer| {
            if self.state.processes.spend_lookup() {
                procfs::append_environment(self.process.tgid, buffer);
            }
        });
        Some(environment).filter(|environment| !environment.is_empty())
    }

    /// The session's leader; the farthest ancestor in the session where that is not known any more.
    pub(crate) fn session_leader(&self) -> &Process {
        let sid = self.process.sid;
        let of_session =
            || self.state.processes.ancestors(self.process).take_while(|ancestor| ancestor.sid == sid).last();
        self.state.processes.get(sid).or_else(of_session).unwrap_or(self.process)
    }

    /// When a process started: nanoseconds since 1970.
    pub(crate) fn start_ns(&self, process: &Process) -> i64 {
        self.time_ns.saturating_sub_unsigned(self.record.header.time_ns.saturating_sub(process.start_ns))
    }

    pub(crate) fn file(&self) -> Option<&OpenedFile<'a>> {
        match &self.object {
            Object::File(file) => Some(file),
            _ => None,
        }
    }

    pub(crate) fn connection(&self) -> Option<&Connection<'a>> {
        match &self.object {
            Object::Socket(connection) => Some(connection),
            _ => None,
        }
    }

    /// The descriptor that the event made or used; -1 for an open that failed.
    pub fn descriptor(&self) -> Option<i64> {
        let header = &self.record.header;
        match self.record.kind {
            RecordKind::Open => Some(header.result.max(-1)),
            RecordKind::Connect => Some(ConnectArguments::from_words(header.arguments).fd.into()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
