//! Records by hand, and a small family of processes to go with them. For tests only.

use std::path::Path;

use tercel_sensor_abi::file::OpenArguments;
use tercel_sensor_abi::network::ConnectArguments;
use tercel_sensor_abi::process::{ExecArguments, ForkArguments};
use tercel_sensor_abi::{RecordHeader, RecordKind};

use crate::enrich::State;
use crate::event::EventType;
use crate::ring::Record;

/// Above every number that Linux gives out, so that /proc knows none of them. `init` starts `sh`, which starts `cat`.
pub(crate) const INIT: u32 = 5_000_001;
pub(crate) const SHELL: u32 = 5_000_002;
pub(crate) const CAT: u32 = 5_000_003;

/// Puts one record together.
#[derive(Clone)]
pub(crate) struct Builder {
    header: RecordHeader,
    strings: Vec<Vec<u8>>,
}

impl Builder {
    /// By `cat`, uid 0, at 1 s after boot.
    pub(crate) fn new(kind: RecordKind) -> Self {
        let header = RecordHeader {
            kind: kind as u16,
            time_ns: 1_000_000_000,
            syscall: u32::MAX,
            tgid: CAT,
            tid: CAT,
            ppid: SHELL,
            loginuid: u32::MAX,
            start_ns: start_ns(CAT),
            ..RecordHeader::default()
        };
        Self { header, strings: Vec::new() }.comm("cat")
    }

    /// An openat of a name, by `cat`. A negative result is an error; the kernel's path is the name where it is absolute.
    pub(crate) fn open(name: &str, result: i64) -> Self {
        let arguments = OpenArguments { dirfd: -100, flags: 0, mode: 0 };
        let kernel_path = if result >= 0 && name.starts_with('/') { name } else { "" };
        let mut open = Self::new(RecordKind::Open).syscall(EventType::OPENAT).arguments(arguments.to_words());
        open.header.result = result;
        open.string(name.as_bytes()).string(kernel_path.as_bytes())
    }

    pub(crate) fn exec(tgid: u32, ppid: u32, comm: &str, exe_path: &str, arguments: &[&str]) -> Self {
        let words = ExecArguments { tty: 34_816, sid: SHELL, argv_bytes: 0 }.to_words();
        let joined: String = arguments.iter().flat_map(|argument| [argument, "\0"]).collect();
        let exec = Self::new(RecordKind::Exec).process(tgid, ppid).comm(comm).arguments(words);
        exec.string(exe_path.as_bytes()).string(joined.as_bytes())
    }

    pub(crate) fn fork(parent: u32, grandparent: u32, child: u32) -> Self {
        let words = ForkArguments { child_tgid: child, child_start_ns: start_ns(child) }.to_words();
        Self::new(RecordKind::Fork).process(parent, grandparent).arguments(words)
    }

    pub(crate) fn connect(arguments: ConnectArguments, result: i64, address: &[u8], socket: &[u8]) -> Self {
        let mut connect = Self::new(RecordKind::Connect).syscall(EventType::CONNECT).arguments(arguments.to_words());
        connect.header.result = result;
        connect.string(address).string(socket)
    }

    pub(crate) fn process(mut self, tgid: u32, ppid: u32) -> Self {
        (self.header.tgid, self.header.tid, self.header.ppid) = (tgid, tgid, ppid);
        self.header.start_ns = start_ns(tgid);
        self
    }

    /// By a process that really runs, so that /proc knows it.
    pub(crate) fn process_number(mut self, tgid: u32) -> Self {
        (self.header.tgid, self.header.tid) = (tgid, tgid);
        self
    }

    pub(crate) fn path_cut(mut self) -> Self {
        self.header.flags |= RecordHeader::PATH_CUT;
        self
    }

    /// `CLOCK_BOOTTIME` nanoseconds.
    pub(crate) fn at(mut self, time_ns: u64) -> Self {
        self.header.time_ns = time_ns;
        self
    }

    pub(crate) fn result(mut self, result: i64) -> Self {
        self.header.result = result;
        self
    }

    pub(crate) fn started(mut self, start_ns: u64) -> Self {
        self.header.start_ns = start_ns;
        self
    }

    /// Of a fork.
    pub(crate) fn child_started(mut self, start_ns: u64) -> Self {
        let child_tgid = ForkArguments::from_words(self.header.arguments).child_tgid;
        self.header.arguments = ForkArguments { child_tgid, child_start_ns: start_ns }.to_words();
        self
    }

    pub(crate) fn comm(mut self, comm: &str) -> Self {
        self.header.comm = [0; 16];
        self.header.comm[..comm.len()].copy_from_slice(comm.as_bytes());
        self
    }

    pub(crate) fn syscall(mut self, event_type: EventType) -> Self {
        self.header.syscall = event_type.syscall().unwrap();
        self
    }

    pub(crate) fn arguments(mut self, words: [u64; 4]) -> Self {
        self.header.arguments = words;
        self
    }

    pub(crate) fn string(mut self, string: &[u8]) -> Self {
        self.strings.push(string.to_vec());
        self
    }

    /// As the kernel writes it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut strings = Vec::new();
        for string in &self.strings {
            strings.extend(u16::try_from(string.len()).unwrap().to_ne_bytes());
            strings.extend_from_slice(string);
            strings.resize(strings.len().next_multiple_of(2), 0);
        }
        let length = size_of::<RecordHeader>() + strings.len();
        let header = RecordHeader {
            length: u32::try_from(length).unwrap(),
            strings: u16::try_from(self.strings.len()).unwrap(),
            ..self.header
        };
        [header_bytes(&header), strings].concat()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Record<'_> {
        Record::parse(bytes).expect("the builder writes whole records")
    }

    pub(crate) fn apply(&self, state: &mut State) {
        state.apply(&Self::parse(&self.bytes()));
    }
}

fn start_ns(tgid: u32) -> u64 {
    u64::from(tgid - INIT + 1) * 100_000_000
}

/// `init` → `sh` → `cat /etc/shadow`.
pub(crate) fn state_with_cat() -> State {
    let mut state = State::new(Path::new("/nonexistent"), Path::new("/nonexistent"));
    Builder::exec(INIT, 0, "init", "/sbin/init", &["/sbin/init"]).apply(&mut state);
    Builder::fork(INIT, 0, SHELL).comm("init").apply(&mut state);
    Builder::exec(SHELL, INIT, "sh", "/usr/bin/dash", &["-sh"]).apply(&mut state);
    Builder::fork(SHELL, INIT, CAT).comm("sh").apply(&mut state);
    Builder::exec(CAT, SHELL, "cat", "/usr/bin/cat", &["cat", "/etc/shadow"]).apply(&mut state);
    state
}

/// Field by field, in the order of the ABI.
fn header_bytes(header: &RecordHeader) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size_of::<RecordHeader>());
    bytes.extend(header.length.to_ne_bytes());
    bytes.extend(header.kind.to_ne_bytes());
    bytes.extend(header.strings.to_ne_bytes());
    bytes.extend(header.sequence.to_ne_bytes());
    bytes.extend(header.time_ns.to_ne_bytes());
    bytes.extend(header.cpu.to_ne_bytes());
    bytes.extend(header.syscall.to_ne_bytes());
    bytes.extend(header.result.to_ne_bytes());
    let ids =
        [header.tgid, header.tid, header.ppid, header.loginuid, header.uid, header.gid, header.euid, header.flags];
    bytes.extend(ids.iter().flat_map(|id| id.to_ne_bytes()));
    bytes.extend(header.start_ns.to_ne_bytes());
    bytes.extend(header.cgroup_id.to_ne_bytes());
    bytes.extend(header.comm);
    header.arguments.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
    assert_eq!(bytes.len(), size_of::<RecordHeader>());
    bytes
}
