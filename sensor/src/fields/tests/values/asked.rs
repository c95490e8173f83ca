//! The fields that are asked for elsewhere: in /proc, in a container's files, among the hosts that rules name.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;
use crate::enrich::dns::HostNames;
use crate::enrich::procfs;

pub(super) fn asked(checked: &mut Checked) {
    times(checked);
    hosts(checked);
    numbers(checked);
    memory(checked);
    standard_descriptors(checked);
    gone(checked);
}

fn times(checked: &mut Checked) {
    let mut state = State::new(Path::new("/nonexistent"), Path::new("/nonexistent"));
    let first = Builder::open("/x", 3).at(1_000_000_000);
    let zero = [("evt.reltime", "0"), ("evt.deltatime", "0")];
    checked.check_applied(&mut state, &first, &zero);
    checked.check_applied(&mut state, &first.clone().at(2_500_000_000), &[("evt.reltime.s", "1")]);
    checked.check_applied(
        &mut state,
        &first.at(4_250_000_000),
        &[
            ("evt.reltime", "3250000000"),
            ("evt.reltime.s", "3"),
            ("evt.reltime.ns", "250000000"),
            ("evt.deltatime", "1750000000"),
            ("evt.deltatime.s", "1"),
            ("evt.deltatime.ns", "750000000"),
            ("evt.around[1795451920500000000]", "0"),
            ("evt.around[1795451920500000001]", "1"),
            ("evt.around[1795451919000000000]", "1500"),
        ],
    );
}

fn hosts(checked: &mut Checked) {
    let names = ["localhost", "10.0.0.2", "192.0.2.9"].map(str::to_owned).into();
    let mut state = state_with_cat().with_hosts(HostNames::start(&names).unwrap().settled());
    checked.check_applied(
        &mut state,
        &connect(0, [10, 0, 0, 2], ADDRESS),
        &[
            ("fd.cip.name", "10.0.0.1"),
            ("fd.sip.name", "10.0.0.2 10.0.0.2"),
            ("fd.lip.name", "10.0.0.1"),
            ("fd.rip.name", "10.0.0.2 10.0.0.2"),
        ],
    );
    checked.check_applied(&mut state, &connect(0, [127, 0, 0, 1], ADDRESS), &[("fd.sip.name", "localhost 127.0.0.1")]);
    checked.check(&state, &Builder::open("/x", 3), &[("fd.sip.name", "")]);
}

fn numbers(checked: &mut Checked) {
    let mut state = state_with_cat();
    checked.check(&state, &Builder::open("/x", 3), &[("util.cnt", "1"), ("util.cnt", "2")]);
    let mprotect = Builder::call(RecordKind::Other, "mprotect", [0; 6], -12);
    checked.check(
        &state,
        &mprotect,
        &[
            ("evt.category", "memory"),
            ("evt.count.error.memory", "1"),
            ("evt.count.error.other", "-"),
            ("fd.is_server", "-"),
        ],
    );
    let unix = DescriptorFacts { family: 1, mode: 0o140_777, inode: 11, ..DescriptorFacts::default() };
    let log = |event: &str, name: &[u8]| {
        let send = Builder::call(RecordKind::Network, event, [3, 0, 5, 0, 0, 0], 5).string(b"");
        send.string(b"hello").facts(&unix).string(name)
    };
    checked.check_applied(&mut state, &log("sendto", b"/dev/log\0"), &[("evt.is_syslog", "true")]);
    checked.check_applied(&mut state, &log("sendto", b"/run/systemd/journal/dev-log"), &[("evt.is_syslog", "true")]);
    checked.check_applied(&mut state, &log("sendto", b"/run/x.sock"), &[("evt.is_syslog", "false")]);
    checked.check_applied(&mut state, &log("recvfrom", b"/dev/log"), &[("evt.is_syslog", "false")]);
}

/// A process that really runs, and ends with the test.
struct Running(Child);

impl Running {
    /// It has come to rest: what is read of it twice is the same twice.
    fn start(command: &mut Command) -> Self {
        let running = Self(command.spawn().unwrap());
        let stat = format!("/proc/{}/stat", running.tgid());
        let sleeps = || std::fs::read_to_string(&stat).unwrap().contains("(sleep) S ");
        while !sleeps() {
            std::thread::sleep(Duration::from_millis(5));
        }
        running
    }

    fn tgid(&self) -> u32 {
        self.0.id()
    }

    /// It opens a file.
    fn open(&self) -> Builder {
        Builder::open("/x", 3).process_number(self.tgid()).started(procfs::start_ns(self.tgid()).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Of one event: what is asked of /proc is asked once.
fn values<const N: usize>(state: &State, record: &Builder, fields: [&str; N]) -> [String; N] {
    let (bytes, scratch) = (record.bytes(), Scratch::default());
    let event = Event::new(7, TIME_NS, Builder::parse(&bytes), state, &scratch).unwrap();
    fields.map(|field| show(&event, field))
}

fn value(state: &State, record: &Builder, field: &str) -> String {
    let [value] = values(state, record, [field]);
    value
}

fn memory(checked: &mut Checked) {
    const FIELDS: [&str; 8] = [
        "proc.vmsize",
        "proc.vmrss",
        "thread.vmsize",
        "thread.vmrss",
        "thread.vmsize.b",
        "thread.vmrss.b",
        "proc.fdopencount",
        "proc.fdusage",
    ];
    let sleep = Running::start(Command::new("sleep").arg("60").stdin(Stdio::null()).stdout(Stdio::null()));
    let mut state = State::new(Path::new("/nonexistent"), Path::new("/nonexistent"));
    let open = sleep.open();
    checked.check_applied(&mut state, &open, &[("proc.nthreads", "1"), ("proc.nchilds", "0"), ("proc.vmswap", "0")]);
    checked.check(&state, &open, &[("proc.fdusage", "-")]);
    let facts = ProcessFacts { descriptors_max: 8, ..ProcessFacts::default() };
    let exec = Builder::exec_with(CAT, SHELL, "sleep", "/bin/sleep", &["sleep"], "", &facts);
    exec.process_number(sleep.tgid()).started(procfs::start_ns(sleep.tgid()).unwrap()).apply(&mut state);
    let numbers = values(&state, &open, FIELDS).map(|number| number.parse::<f64>().unwrap());
    let [size, resident, of_thread, resident_of_thread, bytes, resident_bytes, count, share] = numbers;
    assert!(size > resident && resident > 0.0 && count >= 3.0, "{numbers:?}");
    let expected = [size, resident, size * 1_024.0, resident * 1_024.0, count * 100.0 / 8.0];
    assert_eq!(
        [of_thread, resident_of_thread, bytes, resident_bytes, share].map(f64::to_bits),
        expected.map(f64::to_bits)
    );
    checked.0.extend(FIELDS);
    let thread = open.clone().thread(sleep.tgid() + 1);
    checked.check(&state, &thread, &[("thread.vmsize", "0"), ("thread.vmrss.b", "0")]);
    let [cgroup, all] = values(&state, &open, ["thread.cgroup.cpu", "thread.cgroups"]);
    assert!(cgroup.starts_with('/') && all.contains(&format!("cpu={cgroup}")), "{all}");
    checked.0.insert("thread.cgroups");
    checked.check(&state, &open, &[("thread.cgroup.nosuch", "-")]);
}

fn standard_descriptors(checked: &mut Checked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let name = format!("{}->{}", stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let sleep = Running::start(
        Command::new("sleep")
            .arg("60")
            .stdin(stream.as_fd().try_clone_to_owned().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    );
    let mut state = State::new(Path::new("/nonexistent"), Path::new("/nonexistent"));
    let open = sleep.open();
    checked.check_applied(
        &mut state,
        &open,
        &[
            ("proc.stdin.type", "ipv4"),
            ("proc.stdin.name", &name),
            ("proc.stdout.type", "pipe"),
            ("proc.stderr.type", "file"),
            ("proc.stderr.name", "/dev/null"),
            ("fd.types[0]", "[\"ipv4\"]"),
            ("fd.types[1]", "[\"pipe\"]"),
            ("fd.types[1000000]", "-"),
        ],
    );
    assert!(value(&state, &open, "proc.stdout.name").starts_with("pipe:["));
    checked.0.insert("proc.stdout.name");
    let kinds = value(&state, &open, "fd.types");
    assert!(["\"file\"", "\"ipv4\"", "\"pipe\""].iter().all(|kind| kinds.contains(kind)), "{kinds}");
}

const ASKED: [&str; 14] = [
    "proc.fdopencount",
    "proc.vmsize",
    "proc.vmrss",
    "proc.vmswap",
    "proc.nthreads",
    "proc.nchilds",
    "proc.stdin.type",
    "proc.stdin.name",
    "fd.types",
    "fd.types[0]",
    "thread.cgroups",
    "thread.cgroup.cpu",
    "thread.vmsize",
    "thread.vmrss.b",
];

/// A process that ended, and one whose number is another's by now.
fn gone(checked: &mut Checked) {
    let state = state_with_cat();
    let missing = ASKED.map(|field| (field, "-"));
    checked.check(&state, &Builder::open("/x", 3), &missing);
    let mut state = State::new(Path::new("/nonexistent"), Path::new("/nonexistent"));
    let other = Builder::open("/x", 3).process_number(std::process::id()).started(1);
    checked.check_applied(&mut state, &other, &missing);
}

#[test]
fn nothing_is_asked_beyond_the_budget() {
    let sleep = Running::start(Command::new("sleep").arg("60").stdin(Stdio::null()));
    let mut state = State::new(Path::new("/nonexistent"), Path::new("/nonexistent"));
    sleep.open().apply(&mut state);
    assert_eq!(value(&state, &sleep.open(), "proc.stdin.name"), "/dev/null");
    while state.processes.spend_lookup() {}
    for field in ASKED {
        assert_eq!(value(&state, &sleep.open(), field), "-", "{field}");
    }
}
