//! Records by hand, and a small family of processes to go with them. For tests only.

use std::collections::BTreeMap;
use std::path::Path;

use tercel_sensor_abi::file::DescriptorFacts;
use tercel_sensor_abi::process::{ForkArguments, ProcessFacts};
use tercel_sensor_abi::{RecordHeader, RecordKind};

use crate::enrich::State;
use crate::enrich::container::{Image, Metadata, Mount};
use crate::enrich::kubernetes::Pod;
use crate::event::EventType;
use crate::ring::Record;

/// Above every number that Linux gives out, so that /proc knows none of them. `init` starts `sh`, which starts `cat`.
pub(crate) const INIT: u32 = 5_000_001;
pub(crate) const SHELL: u32 = 5_000_002;
pub(crate) const CAT: u32 = 5_000_003;

/// What a runtime tells of a container of a pod.
pub(crate) fn metadata() -> Metadata {
    let text = |text: &str| Some(text.to_owned());
    let labels = |labels: &[(&str, &str)]| {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>().into()
    };
    let mount = |source: &str, destination: &str, is_writable| Mount {
        source: source.to_owned(),
        destination: destination.to_owned(),
        mode: "ro".to_owned(),
        is_writable,
        propagation: "rprivate".to_owned(),
        text: String::new(),
    };
    Metadata {
        name: text("app"),
        image: Image {
            reference: text("quay.io/shop/app:v1"),
            id: text("05455a08881e"),
            repository: text("quay.io/shop/app"),
            tag: text("v1"),
            digest: text("sha256:4b7c"),
        },
        is_privileged: Some(true),
        mounts: vec![mount("/proc/sys", "/host/sys", false), mount("/srv", "/data", true)].into(),
        labels: labels(&[("a", "1"), ("io.kubernetes.container.name", "app")]),
        healthcheck: text("/bin/check -v"),
        started_ns: Some(1_795_451_910_500_000_000),
        ip: None,
        host_pid: Some(false),
        host_network: Some(true),
        host_ipc: Some(false),
        pod: Some(Pod {
            name: text("web-0"),
            namespace: text("shop"),
            uid: text("2a2f5c0e-7d3c-4f8e-9a77-4a1f0c6b1d22"),
            sandbox_id: Some("5f".repeat(32)),
            labels: labels(&[("app", "web"), ("tier", "front")]),
            ip: text("10.88.0.7"),
            cni: text("{\"eth0\":{}}"),
        }),
        is_partial: false,
    }
}

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
        let kernel_path = if result >= 0 && name.starts_with('/') { name } else { "" };
        Self::opens(EventType::OPENAT, 0, 0, result, name, kernel_path)
    }

    /// Any call that opens a file by name, from the working directory.
    pub(crate) fn opens(
        event_type: EventType,
        flags: u32,
        mode: u32,
        result: i64,
        name: &str,
        kernel_path: &str,
    ) -> Self {
        let (flags, mode) = (u64::from(flags), u64::from(mode));
        let words = match event_type {
            EventType::OPEN => [0, flags, mode, 0, 0, 0],
            EventType::CREAT => [0, mode, 0, 0, 0, 0],
            _ => [(-100_i64).cast_unsigned(), 0, flags, mode, 0, 0],
        };
        let mut open = Self::new(RecordKind::Open).syscall(event_type).arguments(words);
        open.header.result = result;
        let mut open = open.path(name, "");
        if result < 0 {
            open = open.string(b"").string(b"");
        } else {
            open = open.facts(&DescriptorFacts { mode: 0o100_644, inode: 7, ..DescriptorFacts::default() });
            open = open.string(kernel_path.as_bytes());
        }
        if event_type == EventType::OPENAT2 {
            open = open.string(&[flags.to_ne_bytes(), mode.to_ne_bytes(), [0; 8]].concat());
        }
        open
    }

    /// A path, and the directory that it starts from.
    pub(crate) fn path(self, path: &str, base: &str) -> Self {
        self.string(path.as_bytes()).string(base.as_bytes())
    }

    /// The directory that the record's first path starts from.
    pub(crate) fn base(mut self, base: &str) -> Self {
        self.strings[1] = base.as_bytes().to_vec();
        self
    }

    pub(crate) fn facts(self, facts: &DescriptorFacts) -> Self {
        self.string(&descriptor_bytes(facts))
    }

    pub(crate) fn exec(tgid: u32, ppid: u32, comm: &str, exe_path: &str, arguments: &[&str]) -> Self {
        let facts = ProcessFacts { tty: 34_816, sid: SHELL, ..ProcessFacts::default() };
        Self::exec_with(tgid, ppid, comm, exe_path, arguments, "", &facts)
    }

    /// In the directory `/srv/app`, with an environment whose variables are ended by a NUL each.
    pub(crate) fn exec_with(
        tgid: u32,
        ppid: u32,
        comm: &str,
        exe_path: &str,
        arguments: &[&str],
        environment: &str,
        facts: &ProcessFacts,
    ) -> Self {
        let joined: String = arguments.iter().flat_map(|argument| [argument, "\0"]).collect();
        let exec = Self::new(RecordKind::Exec).process(tgid, ppid).comm(comm).string(exe_path.as_bytes());
        exec.string(joined.as_bytes()).string(environment.as_bytes()).string(b"/srv/app").string(&process_bytes(facts))
    }

    /// Any call, by `cat`; its strings are to be added.
    pub(crate) fn call(kind: RecordKind, name: &str, arguments: [u64; 6], result: i64) -> Self {
        Self::new(kind).syscall(EventType::find(name).unwrap()).arguments(arguments).result(result)
    }

    pub(crate) fn capabilities(mut self, bits: u64) -> Self {
        (self.header.cap_effective, self.header.cap_permitted) = (bits, bits | 1);
        self
    }

    pub(crate) fn fork(parent: u32, grandparent: u32, child: u32) -> Self {
        let arguments =
            ForkArguments { child_tgid: child, child_start_ns: start_ns(child), syscall: u32::MAX, flags: 0 };
        Self::new(RecordKind::Fork).process(parent, grandparent).arguments(arguments.to_words())
    }

    /// An IPv4 socket, from 10.0.0.1:4000 to the other end.
    pub(crate) fn socket(protocol: u16, remote: [u8; 4], remote_port: u16) -> DescriptorFacts {
        let mut facts = DescriptorFacts {
            mode: 0o140_777,
            inode: 9,
            family: 2,
            socket_type: 1,
            protocol,
            state: 1,
            local_port: 4_000,
            remote_port,
            ..DescriptorFacts::default()
        };
        facts.local[..4].copy_from_slice(&[10, 0, 0, 1]);
        facts.remote[..4].copy_from_slice(&remote);
        facts
    }

    /// A connect of descriptor 5.
    pub(crate) fn connect(facts: &DescriptorFacts, result: i64, address: &[u8]) -> Self {
        let mut connect = Self::new(RecordKind::Network).syscall(EventType::CONNECT).arguments([5, 0, 0, 0, 0, 0]);
        connect.header.result = result;
        connect.string(address).facts(facts).string(b"")
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

    /// By another thread than the main one.
    pub(crate) fn thread(mut self, tid: u32) -> Self {
        self.header.tid = tid;
        self
    }

    /// In the cgroup v2 directory with this inode number.
    pub(crate) fn in_cgroup(mut self, cgroup_id: u64) -> Self {
        self.header.cgroup_id = cgroup_id;
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
        let arguments = ForkArguments::from_words(self.header.arguments);
        self.header.arguments = ForkArguments { child_start_ns: start_ns, ..arguments }.to_words();
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

    pub(crate) fn arguments(mut self, words: [u64; 6]) -> Self {
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
    (u64::from(tgid.wrapping_sub(INIT)) + 1) * 100_000_000
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
    let ids = [header.tgid, header.tid, header.ppid, header.loginuid, header.uid, header.gid, header.euid, header.egid];
    bytes.extend(ids.iter().flat_map(|id| id.to_ne_bytes()));
    bytes.extend([header.flags, header.program].iter().flat_map(|word| word.to_ne_bytes()));
    let wide = [header.start_ns, header.cgroup_id, header.cap_inheritable, header.cap_permitted, header.cap_effective];
    bytes.extend(wide.iter().flat_map(|word| word.to_ne_bytes()));
    bytes.extend(header.comm);
    header.arguments.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
    assert_eq!(bytes.len(), size_of::<RecordHeader>());
    bytes
}

/// Field by field, in the order of the ABI.
fn descriptor_bytes(facts: &DescriptorFacts) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(DescriptorFacts::BYTES);
    bytes.extend([facts.inode, facts.file_system].iter().flat_map(|word| word.to_ne_bytes()));
    bytes.extend([facts.mode, facts.device, facts.layer, facts.flags].iter().flat_map(|word| word.to_ne_bytes()));
    let shorts = [facts.family, facts.socket_type, facts.protocol, facts.state, facts.local_port, facts.remote_port];
    bytes.extend(shorts.iter().flat_map(|word| word.to_ne_bytes()));
    bytes.extend(facts.reserved.to_ne_bytes());
    bytes.extend(facts.local);
    bytes.extend(facts.remote);
    assert_eq!(bytes.len(), DescriptorFacts::BYTES);
    bytes
}

/// The same.
fn process_bytes(facts: &ProcessFacts) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ProcessFacts::BYTES);
    let wide = [
        facts.exe_inode,
        facts.exe_ctime_ns,
        facts.exe_mtime_ns,
        facts.pid_namespace_start_ns,
        facts.descriptors_max,
        facts.minor_faults,
        facts.major_faults,
    ];
    bytes.extend(wide.iter().flat_map(|word| word.to_ne_bytes()));
    let words = [
        facts.exe_mode,
        facts.exe_uid,
        facts.exe_gid,
        facts.exe_layer,
        facts.tty,
        facts.sid,
        facts.pgid,
        facts.vpid,
        facts.vtid,
        facts.vpgid,
        facts.pid_namespace,
        facts.reserved,
    ];
    bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    assert_eq!(bytes.len(), ProcessFacts::BYTES);
    bytes
}
