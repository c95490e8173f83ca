//! One event: a record together with what the sensor knows about its process.

mod asked;
pub(crate) mod call;
mod descriptor;
mod errno;
mod file;
mod names;
mod parameter;
mod path;
pub(crate) mod socket;
mod texts;

use std::cell::{Cell, OnceCell};

use tercel_sensor_abi::process::ForkArguments;
use tercel_sensor_abi::{RecordKind, What};

pub use call::{compat_numbers, interest, specs};
pub(crate) use descriptor::{Descriptor, anonymous_kind};
pub(crate) use errno::result_name;
pub(crate) use file::OpenedFile;
pub use names::NAMES;
pub(crate) use socket::{Connection, Endpoint, Role};
pub(crate) use texts::Text;

use crate::capability;
use crate::enrich::State;
use crate::enrich::process::{self, Process, kernel_path};
use crate::enrich::procfs;
use crate::ring::Record;
use call::{Call, Subject};

/// What happened, by name: an index into [`NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventType(pub u16);

impl EventType {
    pub const EXECVE: Self = Self::named("execve");
    /// A new process, where the kernel does not say which system call made it.
    pub const CLONE: Self = Self::named("clone");
    pub const CLONE3: Self = Self::named("clone3");
    pub const FORK: Self = Self::named("fork");
    pub const VFORK: Self = Self::named("vfork");
    pub const PROCEXIT: Self = Self::named("procexit");
    pub const OPEN: Self = Self::named("open");
    pub const OPENAT: Self = Self::named("openat");
    pub const OPENAT2: Self = Self::named("openat2");
    pub const OPEN_BY_HANDLE_AT: Self = Self::named("open_by_handle_at");
    pub const CREAT: Self = Self::named("creat");
    pub const CONNECT: Self = Self::named("connect");
    pub const ACCEPT: Self = Self::named("accept");
    pub const ACCEPT4: Self = Self::named("accept4");
    pub const BIND: Self = Self::named("bind");
    pub const LISTEN: Self = Self::named("listen");
    pub const SENDTO: Self = Self::named("sendto");
    pub const SENDMSG: Self = Self::named("sendmsg");
    pub const SENDMMSG: Self = Self::named("sendmmsg");
    pub const RECVFROM: Self = Self::named("recvfrom");
    pub const RECVMSG: Self = Self::named("recvmsg");
    pub const RECVMMSG: Self = Self::named("recvmmsg");
    pub const CHDIR: Self = Self::named("chdir");
    pub const FCHDIR: Self = Self::named("fchdir");
    pub const CHROOT: Self = Self::named("chroot");
    pub const PIVOT_ROOT: Self = Self::named("pivot_root");
    pub const SETSID: Self = Self::named("setsid");
    pub const SETPGID: Self = Self::named("setpgid");

    /// New processes, which the scheduler tells of, whichever call made them.
    const NEW_PROCESS: [Self; 4] = [Self::CLONE, Self::CLONE3, Self::FORK, Self::VFORK];

    /// Those that the sensor's own tables are kept by, whatever the rules ask for: rare ones.
    pub const OF_STATE: [Self; 6] =
        [Self::CHDIR, Self::FCHDIR, Self::CHROOT, Self::PIVOT_ROOT, Self::SETSID, Self::SETPGID];

    /// Those that open a file.
    pub const OPENS: [Self; 5] = [Self::OPEN, Self::OPENAT, Self::OPENAT2, Self::CREAT, Self::OPEN_BY_HANDLE_AT];

    /// Whether the sensor reports events of this type.
    pub fn is_reported(self) -> bool {
        self == Self::PROCEXIT || call::number_of(self).is_some()
    }

    /// Whether more is known of its call than number and result.
    pub(crate) fn is_described(self) -> bool {
        call::number_of(self).and_then(call::of_number).is_some_and(|(_, call)| call.is_some())
    }

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
    pub fn syscall(self) -> Option<u32> {
        if Self::NEW_PROCESS.contains(&self) { None } else { call::number_of(self) }
    }

    /// The type of a record, and what is known of its call; `None` for a system call that nobody asked for.
    fn of_call(record: &Record<'_>) -> Option<(Self, Option<&'static Call>)> {
        match record.kind {
            RecordKind::Exec => Some((Self::EXECVE, None)),
            RecordKind::Exit => Some((Self::PROCEXIT, None)),
            RecordKind::Fork => {
                let number = ForkArguments::from_words(record.header.arguments).syscall;
                let made_by = call::of_number(number).map(|(event_type, _)| event_type);
                Some((made_by.filter(|made_by| Self::NEW_PROCESS.contains(made_by)).unwrap_or(Self::CLONE), None))
            }
            _ => call::of_number(record.header.syscall),
        }
    }

    /// The type of a record; `None` for a system call that nobody asked for.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        Self::of_call(record).map(|(event_type, _)| event_type)
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
    pub(crate) call: Option<&'static Call>,
    /// What is behind the descriptor that it is about.
    descriptor: Option<Descriptor<'a>>,
    pub(crate) object: Object<'a>,
    texts: texts::Texts<'a>,
    answers: OnceCell<Box<asked::Answers>>,
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
        let (event_type, call) = EventType::of_call(&record)?;
        let process = state.processes.get(record.header.tgid)?;
        let descriptor = call.and_then(|call| Descriptor::of(&record, call));
        let object = match (call, record.kind) {
            (Some(call), RecordKind::Open) => {
                let path = descriptor.as_ref().map(|found| kernel_path(&record, found.name)).unwrap_or_default();
                Object::File(OpenedFile::new(event_type, &record, call, path, scratch))
            }
            (Some(call), _) => match Connection::of(event_type, &record, call, descriptor.as_ref(), state, scratch) {
                Some(connection) => Object::Socket(connection),
                None => Object::None,
            },
            (None, _) => Object::None,
        };
        let texts = texts::Texts::new(scratch);
        Some(Self {
            number,
            time_ns,
            event_type,
            record,
            process,
            state,
            call,
            descriptor,
            object,
            texts,
            answers: OnceCell::new(),
        })
    }

    /// What the call returned; a new process's number for a fork; `None` for the end of a process.
    pub fn result(&self) -> Option<i64> {
        match self.record.kind {
            RecordKind::Exit => None,
            RecordKind::Fork => Some(ForkArguments::from_words(self.record.header.arguments).child_tgid.into()),
            _ => Some(self.record.header.result),
        }
    }

    /// One of the call's arguments as it was passed.
    pub(crate) fn argument(&self, place: usize) -> u64 {
        self.record.header.arguments.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn argument_u32(&self, place: usize) -> u32 {
        self.record.header.argument_u32(place)
    }

    pub(crate) fn argument_i32(&self, place: usize) -> i32 {
        self.argument_u32(place).cast_signed()
    }

    fn captured(&self, kinds: &[What], nth: usize) -> Option<&'a [u8]> {
        self.call?.string_of(kinds, nth).map(|string| self.record.string(string))
    }

    /// The `nth` path that the call was given, as the caller wrote it.
    pub(crate) fn raw_path(&self, nth: usize) -> Option<&'a [u8]> {
        self.captured(&[What::Path], nth)
    }

    /// The same, absolute; links are not followed.
    pub(crate) fn path(&self, nth: usize) -> Option<&[u8]> {
        let string = self.call?.string_of(&[What::Path], nth)?;
        let raw = self.record.string(string);
        if path::is_plain(raw) {
            return Some(raw);
        }
        if let (Some(file), 0) = (self.file(), nth) {
            return Some(file.name());
        }
        let text = if nth == 0 { Text::FirstPath } else { Text::SecondPath };
        Some(self.text(text, |buffer| path::write_resolved(buffer, raw, self.record.string(string + 1))))
    }

    /// The `nth` text that the call was given and that is no path.
    pub(crate) fn captured_text(&self, nth: usize) -> Option<&'a [u8]> {
        self.captured(&[What::Text], nth)
    }

    /// What was sent or received, its beginning; `None` where nobody asked for it.
    pub(crate) fn data(&self) -> Option<&'a [u8]> {
        self.captured(&[What::Data, What::MessageData], 0).filter(|data| !data.is_empty())
    }

    /// The two descriptors that the call made.
    pub(crate) fn pair(&self) -> Option<[i32; 2]> {
        let (first, second) = self.captured(&[What::Pair], 0)?.split_first_chunk::<4>()?;
        Some([i32::from_ne_bytes(*first), i32::from_ne_bytes(*second.first_chunk()?)])
    }

    /// How the program came to be what it is, in Falco's bits.
    pub(crate) fn exec_bits(&self) -> u32 {
        let header = &self.record.header;
        let is_writable = self.process.is_exe_writable_by(
            header.euid,
            header.egid,
            header.cap_effective & capability::DAC_OVERRIDE != 0,
        );
        u32::from(is_writable)
            | u32::from(self.process.is_exe_upper_layer()) << 1
            | u32::from(self.process.is_exe_from_memory()) << 2
            | u32::from(self.process.is_exe_lower_layer()) << 3
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

    /// The environment that the process was started with, each variable ended by a NUL: from its exec, else asked of
    /// /proc, at most 4 KiB of it and within the budget for such questions. `None` where neither tells.
    pub(crate) fn environment(&self) -> Option<&[u8]> {
        if let Some(environment) = self.process.environment() {
            return Some(environment);
        }
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

    /// The leader of the process group; `None` where it is not known any more.
    pub(crate) fn group_leader(&self) -> Option<&Process> {
        self.state.processes.get(self.process.pgid).filter(|_| self.process.pgid != 0)
    }

    /// When the first process of its pid namespace started: nanoseconds since 1970.
    pub(crate) fn namespace_start_ns(&self) -> Option<i64> {
        let start_ns = Some(self.process.pid_namespace_start_ns).filter(|start_ns| *start_ns != 0)?;
        Some(self.time_ns.saturating_sub_unsigned(self.record.header.time_ns.saturating_sub(start_ns)))
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

    /// What is behind the descriptor that the event is about; `None` where there is none, or it is closed.
    pub(crate) fn descriptor_facts(&self) -> Option<&Descriptor<'a>> {
        self.descriptor.as_ref()
    }

    /// Falco's word for the type of the descriptor, and its letter.
    pub(crate) fn descriptor_kind(&self) -> Option<(&'static str, &'static str)> {
        match (&self.object, &self.descriptor) {
            (Object::File(file), _) if !file.succeeded() => None,
            (Object::File(file), _) if file.is_directory() => Some(("directory", "d")),
            (Object::File(_), None) => Some(("file", "f")),
            (Object::Socket(connection), None) => connection.kind(),
            (_, Some(found)) => found.kind(),
            (Object::None, None) => None,
        }
    }

    /// `fd.name`.
    pub(crate) fn descriptor_name(&self) -> Option<&[u8]> {
        match &self.object {
            Object::File(file) => Some(file.name()),
            Object::Socket(connection) => Some(connection.name()),
            Object::None => self.descriptor.as_ref().map(|found| found.name),
        }
    }

    /// The descriptor that the event made or used, or the error instead of it; `None` where it is not about one.
    pub(crate) fn raw_descriptor(&self) -> Option<i64> {
        match self.call?.subject {
            Subject::None => None,
            Subject::Result => Some(self.record.header.result),
            Subject::Argument(place) => Some(self.argument_i32(place.into()).into()),
        }
    }

    /// The same; -1 for one that was not made.
    pub fn descriptor(&self) -> Option<i64> {
        self.raw_descriptor().map(|number| number.max(-1))
    }
}

#[cfg(test)]
mod tests;
