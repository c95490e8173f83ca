//! What a recording consists of.

use tercel_sensor_abi::{Counters, KindCounters, RecordKind};

use super::Problem;
use super::bytes::{Bytes, put_text, put_u32, put_u64, put_u64s};
use crate::enrich::container::{Container, Metadata};
use crate::enrich::process::Process;
use crate::enrich::process::recorded::{read_container, write_container};
use crate::ring::Record;

/// One item of a recording.
#[derive(Debug, Clone)]
pub enum Item<'a> {
    Machine(Machine),
    /// Nanoseconds to be added to the times of records.
    Clock(i64),
    /// Lines of `/etc/passwd` and `/etc/group`.
    User(&'a str),
    Group(&'a str),
    Process(Box<Process>),
    /// `None`: the cgroup is the host's.
    Container {
        cgroup_id: u64,
        container: Option<Container>,
    },
    /// Each variable ended by a NUL.
    Environment {
        tgid: u32,
        start_ns: u64,
        variables: &'a [u8],
    },
    /// What the container's runtime told; `None`: it was asked.
    Metadata {
        full_id: &'a str,
        metadata: Option<Box<Metadata>>,
    },
    Record(Record<'a>),
    End(End),
}

/// Where a recording was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    pub kernel_release: String,
    /// As [`std::env::consts::ARCH`] has it.
    pub architecture: String,
    pub hostname: String,
    /// Of the sensor that recorded.
    pub version: String,
}

/// What became of everything that should be in a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct End {
    /// Records in it.
    pub records: u64,
    /// On the whole machine, by kind of record: no room in the ring, and longer than a record may be.
    pub dropped: [(u64, u64); RecordKind::COUNT],
    /// Times that the kernel skipped a program: an upper bound of events that nobody numbered.
    pub skipped: u64,
    /// Records of descendants that were more than are followed.
    pub unfollowed: u64,
}

impl End {
    pub(crate) fn new(records: u64, counters: &Counters, skipped: u64, unfollowed: u64) -> Self {
        let dropped =
            counters.kinds.map(|KindCounters { dropped_full, dropped_long, .. }| (dropped_full, dropped_long));
        Self { records, dropped, skipped, unfollowed }
    }

    /// Records that are missing for sure.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().fold(0, |sum, (full, long)| sum.saturating_add(*full).saturating_add(*long))
    }
}

pub(super) const MACHINE: u32 = 1;
pub(super) const CLOCK: u32 = 2;
const USER: u32 = 3;
const GROUP: u32 = 4;
const PROCESS: u32 = 5;
const CONTAINER: u32 = 6;
const ENVIRONMENT: u32 = 7;
pub(super) const RECORD: u32 = 8;
pub(super) const END: u32 = 9;
const METADATA: u32 = 10;

impl<'a> Item<'a> {
    pub(super) fn kind(&self) -> u32 {
        match self {
            Self::Machine(_) => MACHINE,
            Self::Clock(_) => CLOCK,
            Self::User(_) => USER,
            Self::Group(_) => GROUP,
            Self::Process(_) => PROCESS,
            Self::Container { .. } => CONTAINER,
            Self::Environment { .. } => ENVIRONMENT,
            Self::Metadata { .. } => METADATA,
            Self::Record(_) => RECORD,
            Self::End(_) => END,
        }
    }

    pub(super) fn write(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Machine(machine) => machine.write(buffer),
            Self::Clock(offset_ns) => put_u64(buffer, offset_ns.cast_unsigned()),
            Self::User(line) | Self::Group(line) => buffer.extend_from_slice(line.as_bytes()),
            Self::Process(process) => process.write(buffer),
            Self::Container { cgroup_id, container } => {
                put_u64(buffer, *cgroup_id);
                write_container(container.as_ref(), buffer);
            }
            Self::Environment { tgid, start_ns, variables } => {
                put_u32(buffer, *tgid);
                put_u64(buffer, *start_ns);
                put_text(buffer, variables);
            }
            Self::Metadata { full_id, metadata } => {
                put_text(buffer, full_id.as_bytes());
                // Texts, numbers and maps of texts: JSON takes them all.
                let json = metadata.as_ref().and_then(|metadata| serde_json::to_vec(metadata).ok());
                put_text(buffer, &json.unwrap_or_default());
            }
            Self::Record(record) => buffer.extend_from_slice(record.bytes()),
            Self::End(end) => end.write(buffer),
        }
    }

    pub(super) fn read(kind: u32, bytes: &'a [u8]) -> Result<Self, Problem> {
        let mut rest = Bytes(bytes);
        let (item, what) = match kind {
            MACHINE => (Machine::read(&mut rest).map(Self::Machine), "a machine"),
            CLOCK => (rest.u64().map(u64::cast_signed).map(Self::Clock), "a clock"),
            USER => (take_utf8(&mut rest).map(Self::User), "a line of text"),
            GROUP => (take_utf8(&mut rest).map(Self::Group), "a line of text"),
            PROCESS => (Process::read(&mut rest).map(|process| Self::Process(Box::new(process))), "a process"),
            CONTAINER => (Self::read_container(&mut rest), "a container that this version knows"),
            ENVIRONMENT => (Self::read_environment(&mut rest), "an environment"),
            METADATA => (Self::read_metadata(&mut rest), "what a runtime told of a container"),
            RECORD => (Record::parse(std::mem::take(&mut rest.0)).map(Self::Record), "a record of this ABI"),
            END => (End::read(&mut rest).map(Self::End), "an end"),
            _ => return Err(Problem::UnknownKind(kind)),
        };
        item.filter(|_| rest.0.is_empty()).ok_or(Problem::Malformed(what))
    }

    fn read_container(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self::Container { cgroup_id: bytes.u64()?, container: read_container(bytes).ok()? })
    }

    fn read_metadata(bytes: &mut Bytes<'a>) -> Option<Self> {
        let (full_id, json) = (bytes.utf8()?, bytes.text()?);
        if json.is_empty() {
            return Some(Self::Metadata { full_id, metadata: None });
        }
        let mut metadata: Box<Metadata> = serde_json::from_slice(json).ok()?;
        metadata.bound();
        Some(Self::Metadata { full_id, metadata: Some(metadata) })
    }

    fn read_environment(bytes: &mut Bytes<'a>) -> Option<Self> {
        Some(Self::Environment { tgid: bytes.u32()?, start_ns: bytes.u64()?, variables: bytes.text()? })
    }
}

fn take_utf8<'a>(bytes: &mut Bytes<'a>) -> Option<&'a str> {
    std::str::from_utf8(std::mem::take(&mut bytes.0)).ok()
}

impl Machine {
    fn write(&self, buffer: &mut Vec<u8>) {
        for text in [&self.kernel_release, &self.architecture, &self.hostname, &self.version] {
            put_text(buffer, text.as_bytes());
        }
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self {
            kernel_release: bytes.utf8()?.to_owned(),
            architecture: bytes.utf8()?.to_owned(),
            hostname: bytes.utf8()?.to_owned(),
            version: bytes.utf8()?.to_owned(),
        })
    }
}

impl End {
    fn write(&self, buffer: &mut Vec<u8>) {
        put_u64s(buffer, &[self.records, self.skipped, self.unfollowed]);
        for (full, long) in self.dropped {
            put_u64s(buffer, &[full, long]);
        }
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let mut end =
            Self { records: bytes.u64()?, skipped: bytes.u64()?, unfollowed: bytes.u64()?, ..Self::default() };
        for (full, long) in &mut end.dropped {
            (*full, *long) = (bytes.u64()?, bytes.u64()?);
        }
        Some(end)
    }
}
