//! The value of every field that has one.

mod asked;
mod ends;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tercel_filter::Values;
use tercel_sensor_abi::RecordKind;
use tercel_sensor_abi::file::{DescriptorFacts, LAYER_LOWER, LAYER_UPPER};
use tercel_sensor_abi::process::ProcessFacts;

use super::super::*;
use crate::enrich::State;
use crate::event::{EventType, Scratch};
use crate::testing::{Builder, CAT, INIT, SHELL, state_with_cat};

/// When the records of these tests were seen: 2026-11-23 16:38:40.5 UTC. The clock since boot says 1 s.
const TIME_NS: i64 = 1_795_451_920_500_000_000;

const CONTAINER: &str = "3f2a91c07b5d0c1e8b7f6a5d4c3b2a190817263544536271809fedcba9876543";
const POD: &str = "2a2f5c0e-7d3c-4f8e-9a77-4a1f0c6b1d22";

/// As a rule writes it: `proc.aname[2]`, `evt.arg.flags`.
fn split(written: &str) -> (FieldId, Option<&str>) {
    if let Some((id, _)) = find(written) {
        return (id, None);
    }
    let (name, argument) = written
        .strip_suffix(']')
        .map_or_else(|| written.rsplit_once('.').unwrap(), |written| written.split_once('[').unwrap());
    (find(name).unwrap().0, Some(argument))
}

/// A field's value as text; `-` where it is missing. All values of a field that has several, with blanks between them.
fn show(event: &Event<'_>, written: &str) -> String {
    let (id, argument) = split(written);
    let has_several = matches!(definition(id).unwrap().values, Values::AnyOf | Values::EitherOf | Values::Aliases);
    if !has_several || argument.is_some() {
        return event.value(id, argument).map_or_else(|| "-".to_owned(), show_value);
    }
    let mut all = Vec::new();
    event.any(id, &mut |value| {
        all.push(show_value(value));
        false
    });
    all.join(" ")
}

fn show_value(value: Value<'_>) -> String {
    match value {
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Number(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Ip(ip) => ip.to_string(),
        Value::Enum(index) => EventType(index).name().to_owned(),
        Value::List(texts) => format!("{texts:?}"),
    }
}

/// Checks the fields of a record's event, and remembers which were.
#[derive(Default)]
struct Checked(BTreeSet<&'static str>);

impl Checked {
    #[track_caller]
    fn check_applied(&mut self, state: &mut State, record: &Builder, expected: &[(&str, &str)]) {
        record.apply(state);
        self.check(state, record, expected);
    }

    #[track_caller]
    fn check(&mut self, state: &State, record: &Builder, expected: &[(&str, &str)]) {
        let (bytes, scratch) = (record.bytes(), Scratch::default());
        let event = Event::new(7, TIME_NS, Builder::parse(&bytes), state, &scratch).unwrap();
        for (field, value) in expected {
            assert_eq!(show(&event, field), *value, "{field}");
            self.0.insert(definition(split(field).0).unwrap().name);
        }
    }
}

fn open(event_type: EventType, flags: u32, result: i64, name: &str) -> Builder {
    Builder::opens(event_type, flags, 0o755, result, name, "/real/path")
}

fn connect(result: i64, remote: [u8; 4], address: &[u8]) -> Builder {
    let state = u16::from(result == 0);
    Builder::connect(&DescriptorFacts { state, ..Builder::socket(6, remote, 443) }, result, address)
}

const ADDRESS: &[u8] = &[2, 0, 1, 187, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];

/// Every field that is not said to be always missing is checked here.
#[test]
fn every_gathered_field_has_its_value() {
    let mut checked = Checked::default();
    times_and_results(&mut checked);
    files(&mut checked);
    connections(&mut checked);
    processes(&mut checked);
    programs_and_namespaces(&mut checked);
    descriptors(&mut checked);
    two_paths(&mut checked);
    data(&mut checked);
    users_and_containers(&mut checked);
    parameters_of_events(&mut checked);
    asked::asked(&mut checked);
    let gathered: BTreeSet<_> =
        TABLE.iter().filter(|definition| definition.is_gathered()).map(|definition| definition.name).collect();
    let unchecked: Vec<_> = gathered.difference(&checked.0).filter(|name| **name != "proc.env").collect();
    assert!(unchecked.is_empty(), "{unchecked:?}");
}

fn times_and_results(checked: &mut Checked) {
    let mut state = state_with_cat();
    checked.check(&state, &Builder::open("/x", 3), &[("evt.hostname", "-")]);
    state.hostname = "node-1".to_owned();
    checked.check(
        &state,
        &Builder::open("/etc/shadow", 3),
        &[
            ("evt.num", "7"),
            ("evt.time.iso8601", "2026-11-23T16:38:40.500000000+0000"),
            ("evt.rawtime", "1795451920500000000"),
            ("evt.rawtime.s", "1795451920"),
            ("evt.rawtime.ns", "500000000"),
            ("evt.hostname", "node-1"),
            ("evt.source", "syscall"),
            ("evt.is_async", "false"),
            ("evt.latency", "0"),
            ("evt.latency.s", "0"),
            ("evt.latency.ns", "0"),
            ("evt.latency.quantized", "0"),
            ("evt.latency.human", "0ns"),
            ("evt.wait_latency", "0"),
            ("evt.dir", "<"),
            ("evt.type", "openat"),
            ("evt.type.is.openat", "1"),
            ("evt.type.is.open", "0"),
            ("evt.type.is.307", "-"),
            ("syscall.type", "openat"),
            ("evt.category", "file"),
            ("evt.cpu", "0"),
            ("evt.res", "SUCCESS"),
            ("evt.rawres", "3"),
            ("evt.failed", "false"),
            ("evt.is_io", "false"),
            ("evt.is_io_read", "false"),
            ("evt.is_io_write", "false"),
            ("evt.is_wait", "false"),
            ("evt.is_syslog", "false"),
            ("evt.count", "1"),
            ("evt.count.error", "0"),
            ("evt.count.error.file", "0"),
            ("evt.count.error.net", "-"),
            ("evt.count.error.other", "-"),
            ("evt.count.exit", "1"),
            ("evt.count.procinfo", "0"),
            ("evt.count.threadinfo", "0"),
        ],
    );
    checked.check(
        &state,
        &Builder::open("/nosuch", -2),
        &[
            ("evt.res", "ENOENT"),
            ("evt.rawres", "-2"),
            ("evt.failed", "true"),
            ("evt.count.error", "1"),
            ("evt.count.error.file", "1"),
        ],
    );
    checked.check(
        &state,
        &Builder::new(RecordKind::Exit),
        &[
            ("evt.type", "procexit"),
            ("syscall.type", "-"),
            ("evt.res", "-"),
            ("evt.rawres", "-"),
            ("evt.failed", "-"),
            ("evt.count.error", "-"),
            ("evt.count.exit", "-"),
            ("evt.category", "process"),
            ("fd.num", "-"),
            ("fd.name", "-"),
        ],
    );
    let record = Builder::open("/x", 3);
    let (bytes, scratch) = (record.bytes(), Scratch::default());
    let event = Event::new(7, TIME_NS, Builder::parse(&bytes), &state, &scratch).unwrap();
    for (field, length) in
        [("evt.time", 18), ("evt.time.s", 8), ("evt.datetime", 29), ("evt.datetime.s", 19), ("evt.outputtime", 18)]
    {
        assert_eq!(show(&event, field).len(), length, "{field}");
        checked.0.insert(field);
    }
}

fn files(checked: &mut Checked) {
    let state = state_with_cat();
    checked.check(
        &state,
        &open(EventType::OPENAT, 0o1101, 3, "/tmp//./x/../link"),
        &[
            ("fd.num", "3"),
            ("fd.type", "file"),
            ("fd.typechar", "f"),
            ("fd.name", "/tmp/link"),
            ("fd.nameraw", "/tmp/./x/../link"),
            ("fd.directory", "/tmp"),
            ("fd.filename", "link"),
            ("fd.realpath", "/real/path"),
            ("fd.uid", "50000033"),
            ("fd.containername", "host:/tmp/link"),
            ("fd.containerdirectory", "host:/tmp"),
            ("fd.connected", "false"),
            ("fd.name_changed", "true"),
            ("fd.l4proto", "-"),
            ("fs.path.name", "/tmp/link"),
            ("fs.path.nameraw", "/tmp//./x/../link"),
            ("evt.abspath", "/tmp/link"),
            ("evt.abspath.src", "/tmp/link"),
            ("evt.abspath.dst", "/tmp/link"),
            ("evt.is_open_read", "false"),
            ("evt.is_open_write", "true"),
            ("evt.is_open_exec", "true"),
            ("evt.is_open_create", "true"),
        ],
    );
    checked.check(
        &state,
        &open(EventType::OPENAT, 0, -13, "/etc/shadow"),
        &[
            ("fd.num", "-1"),
            ("fd.type", "-"),
            ("fd.typechar", "f"),
            ("fd.name", "/etc/shadow"),
            ("fd.directory", "/etc"),
            ("fd.filename", "-"),
            ("fd.realpath", "-"),
            ("fd.connected", "-"),
            ("fd.name_changed", "-"),
            ("evt.is_open_read", "true"),
            ("evt.is_open_exec", "false"),
            ("evt.is_open_create", "false"),
        ],
    );
    #[cfg(target_arch = "x86_64")]
    {
        checked.check(&state, &open(EventType::OPEN, 0, -2, "/nosuch"), &[("fd.typechar", "o"), ("evt.abspath", "-")]);
        // Falco takes a creat for no open, but for the question whether it makes something executable.
        checked.check(
            &state,
            &open(EventType::CREAT, 0, 3, "/x"),
            &[
                ("evt.is_open_write", "false"),
                ("evt.is_open_exec", "true"),
                ("evt.arg.flags", "-"),
                ("evt.arg.mode", "0755"),
            ],
        );
    }
}

fn connections(checked: &mut Checked) {
    let mut state = state_with_cat();
    checked.check_applied(
        &mut state,
        &connect(0, [10, 0, 0, 2], ADDRESS),
        &[
            ("evt.category", "net"),
            ("evt.count.error.net", "0"),
            ("fd.num", "5"),
            ("fd.type", "ipv4"),
            ("fd.typechar", "4"),
            ("fd.name", "10.0.0.1:4000->10.0.0.2:443"),
            ("fd.ip", "10.0.0.1 10.0.0.2"),
            ("fd.cip", "10.0.0.1"),
            ("fd.sip", "10.0.0.2"),
            ("fd.lip", "10.0.0.1"),
            ("fd.rip", "10.0.0.2"),
            ("fd.net", "10.0.0.1 10.0.0.2"),
            ("fd.cnet", "10.0.0.1"),
            ("fd.snet", "10.0.0.2"),
            ("fd.lnet", "10.0.0.1"),
            ("fd.rnet", "10.0.0.2"),
            ("fd.port", "4000 443"),
            ("fd.proto", "4000 443"),
            ("fd.cport", "4000"),
            ("fd.sport", "443"),
            ("fd.lport", "4000"),
            ("fd.rport", "443"),
            ("fd.cproto", "4000"),
            ("fd.sproto", "443"),
            ("fd.lproto", "4000"),
            ("fd.rproto", "443"),
            ("fd.l4proto", "tcp"),
            ("fd.sockfamily", "ip"),
            ("fd.is_server", "false"),
            ("fd.connected", "true"),
            ("fd.name_changed", "true"),
            ("fd.directory", "-"),
            ("evt.is_open_write", "false"),
        ],
    );
    checked.check_applied(
        &mut state,
        &connect(-115, [10, 0, 0, 1], ADDRESS),
        &[("fd.connected", "false"), ("fd.is_server", "true")],
    );
    let unconnected = DescriptorFacts { family: 2, protocol: 6, mode: 0o140_777, ..DescriptorFacts::default() };
    checked.check_applied(
        &mut state,
        &Builder::connect(&unconnected, -111, ADDRESS),
        &[
            ("fd.ip", "10.0.0.2"),
            ("fd.cip", "-"),
            ("fd.l4proto", "tcp"),
            ("fd.connected", "false"),
            ("fd.name_changed", "false"),
            ("evt.count.error.net", "1"),
        ],
    );
    checked.check_applied(
        &mut state,
        &Builder::connect(&DescriptorFacts { family: 1, ..unconnected }, -2, b"\x01\0/run/x.sock\0"),
        &[
            ("fd.sockfamily", "unix"),
            ("fd.name", "/run/x.sock"),
            ("fd.ip", ""),
            ("fd.l4proto", "-"),
            ("evt.arg.addr", "/run/x.sock"),
        ],
    );
}

fn processes(checked: &mut Checked) {
    let mut state = state_with_cat();
    Builder::exec(CAT, SHELL, "cat", "/usr/bin/cat", &["/bin/cat", "-n", "", "/etc/shadow"]).apply(&mut state);
    let record = Builder::open("/etc/shadow", 3);
    checked.check(
        &state,
        &record,
        &[
            ("proc.name", "cat"),
            ("proc.pname", "sh"),
            ("proc.aname", "sh init"),
            ("proc.aname[0]", "cat"),
            ("proc.aname[2]", "init"),
            ("proc.aname[3]", "-"),
            ("proc.exe", "/bin/cat"),
            ("proc.pexe", "-sh"),
            ("proc.aexe[1]", "-sh"),
            ("proc.exepath", "/usr/bin/cat"),
            ("proc.pexepath", "/usr/bin/dash"),
            ("proc.aexepath", "/usr/bin/dash /sbin/init"),
            ("proc.args", "-n  /etc/shadow"),
            ("proc.args[0]", "-n"),
            ("proc.args[1]", ""),
            ("proc.args[2]", "/etc/shadow"),
            ("proc.args[99]", ""),
            ("proc.aargs[0]", "-n  /etc/shadow"),
            ("proc.aargs[1]", ""),
            ("proc.aargs[99]", "-"),
            ("proc.cmdline", "cat -n  /etc/shadow"),
            ("proc.pcmdline", "sh"),
            ("proc.acmdline", "sh init"),
            ("proc.cmdnargs", "3"),
            ("proc.cmdlenargs", "13"),
            ("proc.exeline", "/bin/cat -n  /etc/shadow"),
            ("proc.pid", "5000003"),
            ("proc.ppid", "5000002"),
            ("proc.apid", "5000002 5000001"),
            ("proc.loginshellid", "5000002"),
            ("proc.tty", "34816"),
            ("proc.sid", "5000002"),
            ("proc.sname", "sh"),
            ("proc.sid.exe", "-sh"),
            ("proc.sid.exepath", "/usr/bin/dash"),
            ("proc.is_sid_leader", "false"),
            ("proc.duration", "700000000"),
            ("proc.ppid.duration", "800000000"),
            ("proc.pid.ts", "1795451919800000000"),
            ("proc.ppid.ts", "1795451919700000000"),
            ("proc.is_exe_from_memfd", "false"),
            ("thread.tid", "5000003"),
            ("thread.ismain", "true"),
            ("thread.nametid", "cat5000003"),
            ("proc.vpid", "-"),
        ],
    );
    Builder::exec(CAT, SHELL, "x", "memfd:x", &["x"]).apply(&mut state);
    checked.check(&state, &record, &[("proc.is_exe_from_memfd", "true"), ("proc.cmdnargs", "0"), ("proc.args", "")]);
    let shell = Builder::open("/x", 3).process(SHELL, INIT).comm("sh");
    checked.check(&state, &shell, &[("proc.is_sid_leader", "true"), ("proc.cwd", "/srv/app/")]);
}

fn programs_and_namespaces(checked: &mut Checked) {
    let mut state = state_with_cat();
    let facts = ProcessFacts {
        exe_inode: 77,
        exe_ctime_ns: 1_795_451_919_000_000_000,
        exe_mtime_ns: 1_795_451_918_000_000_000,
        pid_namespace_start_ns: 100_000_000,
        descriptors_max: 1_024,
        minor_faults: 5,
        major_faults: 6,
        exe_mode: 0o100_755,
        exe_layer: LAYER_UPPER,
        tty: 1,
        sid: SHELL,
        pgid: SHELL,
        vpid: 3,
        vpgid: 3,
        ..ProcessFacts::default()
    };
    let environment = "A=1\0LD_PRELOAD=/x.so\0";
    Builder::exec_with(CAT, SHELL, "cat", "/usr/bin/cat", &["cat"], environment, &facts).apply(&mut state);
    let record = Builder::open("/x", 3).capabilities(1 << 21);
    checked.check(
        &state,
        &record,
        &[
            ("proc.cwd", "/srv/app/"),
            ("proc.vpid", "3"),
            ("proc.pvpid", "-"),
            ("proc.pgid", "5000002"),
            ("proc.pgid.name", "sh"),
            ("proc.pgid.exe", "-sh"),
            ("proc.pgid.exepath", "/usr/bin/dash"),
            ("proc.vpgid", "3"),
            ("proc.vpgid.name", "sh"),
            ("proc.vpgid.exe", "-sh"),
            ("proc.vpgid.exepath", "/usr/bin/dash"),
            ("proc.is_pgid_leader", "false"),
            ("proc.is_vpgid_leader", "true"),
            ("proc.is_exe_writable", "true"),
            ("proc.is_exe_upper_layer", "true"),
            ("proc.is_exe_lower_layer", "false"),
            ("proc.exe_ino", "77"),
            ("proc.exe_ino.ctime", "1795451919000000000"),
            ("proc.exe_ino.mtime", "1795451918000000000"),
            ("proc.exe_ino.ctime_duration_proc_start", "800000000"),
            ("proc.exe_ino.ctime_duration_pidns_start", "-600000000"),
            ("proc.pidns_init_start_ts", "1795451919600000000"),
            ("proc.fdlimit", "1024"),
            ("proc.env[LD_PRELOAD]", "/x.so"),
            ("proc.env", "A=1 LD_PRELOAD=/x.so"),
            ("proc.aenv[A]", "-"),
            ("thread.cap_effective", "CAP_SYS_ADMIN"),
            ("thread.cap_permitted", "CAP_CHOWN CAP_SYS_ADMIN"),
            ("thread.cap_inheritable", ""),
            ("thread.pfmajor", "6"),
            ("thread.pfminor", "5"),
            ("thread.vtid", "3"),
        ],
    );
    let other = ProcessFacts { vpid: 9, ..facts };
    let child = CAT + 1;
    Builder::fork(CAT, SHELL, child).apply(&mut state);
    Builder::exec_with(child, CAT, "ls", "/usr/bin/ls", &["ls"], "B=2\0", &other).apply(&mut state);
    checked.check(
        &state,
        &Builder::open("/x", 3).process(child, CAT).comm("ls"),
        &[
            ("proc.pvpid", "3"),
            ("proc.aenv[A]", "1"),
            ("proc.aenv[1]", "A=1\0LD_PRELOAD=/x.so\0"),
            ("proc.env[B]", "2"),
        ],
    );
}

fn descriptors(checked: &mut Checked) {
    let mut state = state_with_cat();
    let file = DescriptorFacts {
        mode: 0o100_644,
        inode: 42,
        device: 8 << 20 | 1,
        layer: LAYER_LOWER,
        ..DescriptorFacts::default()
    };
    let fchmod = |facts: &DescriptorFacts, name: &[u8]| {
        Builder::call(RecordKind::Descriptor, "fchmod", [3, 0o4_755, 0, 0, 0, 0], 0).facts(facts).string(name)
    };
    checked.check(
        &state,
        &fchmod(&file, b"/etc/passwd"),
        &[
            ("fd.num", "3"),
            ("fd.name", "/etc/passwd"),
            ("fd.realpath", "/etc/passwd"),
            ("fd.directory", "/etc"),
            ("fd.filename", "passwd"),
            ("fd.typechar", "f"),
            ("fd.dev", "2049"),
            ("fd.dev.major", "8"),
            ("fd.dev.minor", "1"),
            ("fd.ino", "42"),
            ("fd.is_upper_layer", "false"),
            ("fd.is_lower_layer", "true"),
            ("evt.arg.fd", "<f>/etc/passwd"),
            ("evt.arg.mode", "S_IXOTH|S_IROTH|S_IXGRP|S_IRGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID"),
            ("evt.rawarg.mode", "2541"),
        ],
    );
    for (mode, name, kind) in [
        (0o010_600, "", "pipe"),
        (0o040_755, "/etc", "directory"),
        (0o600, "[eventfd]", "event"),
        (0o100_600, "[io_uring]", "io_uring"),
        (0o600, "inotify", "inotify"),
        (0o100_777, "memfd:x", "memfd"),
    ] {
        let facts = DescriptorFacts { mode, ..DescriptorFacts::default() };
        checked.check(&state, &fchmod(&facts, name.as_bytes()), &[("fd.type", kind)]);
    }
    let dup = Builder::call(RecordKind::Descriptor, "dup2", [5, 0, 0, 0, 0, 0], 0);
    let dup = dup.facts(&Builder::socket(6, [10, 0, 0, 2], 443)).string(b"");
    checked.check_applied(
        &mut state,
        &dup,
        &[("fd.type", "ipv4"), ("fd.name", "10.0.0.1:4000->10.0.0.2:443"), ("fd.num", "0"), ("fd.sport", "443")],
    );
}

fn two_paths(checked: &mut Checked) {
    let state = state_with_cat();
    let at = (-100_i64).cast_unsigned();
    let rename = Builder::call(RecordKind::Path, "renameat2", [at, 0, at, 0, 1, 0], 0);
    checked.check(
        &state,
        &rename.path("a", "/tmp").path("/etc//b", ""),
        &[
            ("fs.path.source", "/tmp/a"),
            ("fs.path.sourceraw", "a"),
            ("fs.path.target", "/etc/b"),
            ("fs.path.targetraw", "/etc//b"),
            ("fs.path.name", "-"),
            ("evt.abspath.src", "/tmp/a"),
            ("evt.abspath.dst", "/etc/b"),
            ("evt.arg.oldpath", "/tmp/a"),
            ("evt.arg.newpath", "/etc/b"),
            ("evt.arg.flags", "RENAME_NOREPLACE"),
            ("fd.name", "-"),
        ],
    );
    let symlink = Builder::call(RecordKind::Path, "symlink", [0; 6], -13).string(b"../etc/shadow").path("l", "/tmp");
    checked.check(
        &state,
        &symlink,
        &[
            ("evt.arg.target", "../etc/shadow"),
            ("evt.arg.linkpath", "/tmp/l"),
            ("fs.path.source", "../etc/shadow"),
            ("fs.path.target", "/tmp/l"),
            ("evt.res", "EACCES"),
        ],
    );
}

fn data(checked: &mut Checked) {
    let mut state = state_with_cat();
    let udp = DescriptorFacts { state: 7, remote_port: 0, ..Builder::socket(17, [0; 4], 0) };
    let send = Builder::call(RecordKind::Network, "sendto", [5, 0, 100, 0, 0, 16], 100);
    let send = send.string(ADDRESS).string(b"hello").facts(&udp).string(b"");
    checked.check_applied(
        &mut state,
        &send,
        &[
            ("evt.buffer", "hello"),
            ("evt.buflen", "100"),
            ("evt.buflen.out", "100"),
            ("evt.buflen.in", "-"),
            ("evt.buflen.net", "100"),
            ("evt.buflen.net.out", "100"),
            ("evt.buflen.net.in", "-"),
            ("evt.io_dir", "write"),
            ("evt.is_io_write", "true"),
            ("fd.name", "10.0.0.1:4000->10.0.0.2:443"),
            ("fd.l4proto", "udp"),
            ("fd.connected", "false"),
            ("fd.name_changed", "true"),
        ],
    );
    checked.check_applied(&mut state, &send, &[("fd.name_changed", "false")]);
}

fn users_and_containers(checked: &mut Checked) {
    let folder = tempfile::tempdir().unwrap();
    let (passwd, group) = (folder.path().join("passwd"), folder.path().join("group"));
    std::fs::write(&passwd, "root:x:0:0:root:/root:/bin/bash\n").unwrap();
    std::fs::write(&group, "wheel:x:0:\n").unwrap();
    let mut state = State::new(&passwd, &group);
    let exec = Builder::exec(CAT, SHELL, "cat", "/usr/bin/cat", &["cat"]);
    exec.apply(&mut state);
    let record = Builder::open("/etc/shadow", 3);
    checked.check(
        &state,
        &record,
        &[
            ("user.uid", "0"),
            ("user.name", "root"),
            ("user.homedir", "/root"),
            ("user.shell", "/bin/bash"),
            ("user.loginuid", "-1"),
            ("user.loginname", "<NA>"),
            ("group.gid", "0"),
            ("group.name", "wheel"),
            ("container.id", "host"),
            ("container.full_id", "-"),
            ("container.name", "host"),
            ("container.type", "host"),
            ("container.image.repository", "-"),
            ("k8s.pod.uid", "-"),
        ],
    );
    let scope = format!("cri-containerd-{CONTAINER}.scope");
    let slice = format!("kubepods-pod{}.slice", POD.replace('-', "_"));
    let mut state = State::new(&passwd, &group);
    exec.string(scope.as_bytes()).string(slice.as_bytes()).apply(&mut state);
    checked.check(
        &state,
        &record,
        &[
            ("container.id", &CONTAINER[..12]),
            ("container.full_id", CONTAINER),
            ("container.name", "-"),
            ("container.type", "containerd"),
            ("k8s.pod.uid", POD),
            ("k8s.pod.id", POD),
            ("fd.containername", "3f2a91c07b5d:/etc/shadow"),
        ],
    );
    state.inventory.learn(CONTAINER, Some(Box::new(crate::testing::metadata())), 0);
    told(checked, &state, &record);
}

/// What a runtime tells.
fn told(checked: &mut Checked, state: &State, record: &Builder) {
    checked.check(
        state,
        record,
        &[
            ("container.name", "app"),
            ("container.image", "quay.io/shop/app:v1"),
            ("container.image.id", "05455a08881e"),
            ("container.image.repository", "quay.io/shop/app"),
            ("container.image.tag", "v1"),
            ("container.image.digest", "sha256:4b7c"),
            ("container.privileged", "true"),
            ("container.mounts", "/proc/sys:/host/sys:ro:false:rprivate,/srv:/data:ro:true:rprivate"),
            ("container.mount[0]", "/proc/sys:/host/sys:ro:false:rprivate"),
            ("container.mount[/srv]", "/srv:/data:ro:true:rprivate"),
            ("container.mount[7]", "N/A"),
            ("container.mount.source[/data]", "/srv"),
            ("container.mount.dest[/proc*]", "/host/sys"),
            ("container.mount.dest[/]", "N/A"),
            ("container.mount.mode[1]", "ro"),
            ("container.mount.rdwr[0]", "false"),
            ("container.mount.rdwr[/srv]", "true"),
            ("container.mount.propagation[1]", "rprivate"),
            ("container.healthcheck", "/bin/check -v"),
            ("container.start_ts", "1795451910500000000"),
            ("container.duration", "10000000000"),
            ("container.ip", "10.88.0.7"),
            ("container.cni.json", "{\"eth0\":{}}"),
            ("container.host_pid", "false"),
            ("container.host_network", "true"),
            ("container.host_ipc", "false"),
            ("container.label[a]", "1"),
            ("container.label[b]", "-"),
            ("container.labels", "a:1,io.kubernetes.container.name:app"),
            ("k8s.pod.name", "web-0"),
            ("k8s.ns.name", "shop"),
            ("k8s.pod.uid", POD),
            ("k8s.pod.sandbox_id", "5f5f5f5f5f5f"),
            ("k8s.pod.full_sandbox_id", &"5f".repeat(32)),
            ("k8s.pod.label[app]", "web"),
            ("k8s.pod.labels", "app:web,tier:front"),
            ("k8s.pod.ip", "10.88.0.7"),
            ("k8s.pod.cni.json", "{\"eth0\":{}}"),
        ],
    );
}

fn parameters_of_events(checked: &mut Checked) {
    let mut state = state_with_cat();
    checked.check(
        &state,
        &open(EventType::OPENAT, 0o1101, 3, "/tmp/../x"),
        &[
            ("evt.arg.fd", "<f>/x"),
            ("evt.arg[0]", "<f>/x"),
            ("evt.arg.dirfd", "AT_FDCWD"),
            ("evt.arg.name", "/x"),
            ("evt.arg.flags", "O_TRUNC|O_CREAT|O_WRONLY"),
            ("evt.arg.mode", "0755"),
            ("evt.arg.dev", "0"),
            ("evt.arg.ino", "7"),
            ("evt.arg.res", "-"),
            ("evt.arg[99]", "-"),
            ("evt.rawarg.fd", "3"),
            ("evt.rawarg.name", "/tmp/../x"),
            ("evt.rawarg.flags", "262"),
            ("evt.rawarg.mode", "493"),
            (
                "evt.args",
                "fd=3(<f>/x) dirfd=-100(AT_FDCWD) name=/tmp/../x(/x) flags=262(O_TRUNC|O_CREAT|O_WRONLY) mode=0755 dev=0 ino=7",
            ),
            (
                "evt.info",
                "fd=3(<f>/x) dirfd=-100(AT_FDCWD) name=/tmp/../x(/x) flags=262(O_TRUNC|O_CREAT|O_WRONLY) mode=0755 dev=0 ino=7",
            ),
        ],
    );
    checked.check(
        &state,
        &open(EventType::OPENAT, 0, -2, "/x"),
        &[
            ("evt.arg.fd", "ENOENT"),
            ("evt.rawarg.fd", "-2"),
            ("evt.arg.mode", "0"),
            ("evt.args", "fd=-2(ENOENT) dirfd=-100(AT_FDCWD) name=/x flags=1(O_RDONLY) mode=0"),
        ],
    );
    checked.check(
        &state,
        &connect(0, [10, 0, 0, 2], ADDRESS),
        &[
            ("evt.arg.res", "0"),
            ("evt.rawarg.res", "0"),
            ("evt.arg.fd", "<4t>10.0.0.1:4000->10.0.0.2:443"),
            ("evt.arg.tuple", "10.0.0.1:4000->10.0.0.2:443"),
            ("evt.arg.addr", "10.0.0.2:443"),
        ],
    );
    checked.check(&state, &connect(-115, [10, 0, 0, 2], ADDRESS), &[("evt.arg.res", "EINPROGRESS")]);
    let exec = Builder::exec(CAT, SHELL, "cat", "/usr/bin/cat", &["cat", "a b", "\x01"]);
    exec.apply(&mut state);
    checked.check(
        &state,
        &exec,
        &[
            ("evt.arg.res", "0"),
            ("evt.arg.exe", "cat"),
            ("evt.arg.args", "a b..."),
            ("evt.arg.pid", "cat"),
            ("evt.rawarg.pid", "5000003"),
            ("evt.arg.ptid", "sh"),
            ("evt.arg.cwd", "<NA>"),
            ("evt.arg.tty", "34816"),
            ("evt.arg.uid", "root"),
            ("evt.arg.loginuid", "<NONE>"),
            ("evt.arg.gid", "root"),
            ("evt.arg.trusted_exepath", "/usr/bin/cat"),
            ("evt.arg.env", "-"),
            ("evt.count.error.other", "0"),
        ],
    );
    let failed = Builder::new(RecordKind::ExecFailed).syscall(EventType::EXECVE).result(-13).string(b"/root/x");
    checked.check(&state, &failed, &[("evt.arg.res", "EACCES"), ("evt.arg.filename", "/root/x"), ("evt.arg.exe", "-")]);
    checked.check(
        &state,
        &Builder::fork(SHELL, INIT, CAT).comm("sh"),
        &[("evt.arg.res", "cat"), ("evt.rawarg.res", "5000003"), ("evt.arg.uid", "0")],
    );
    checked.check(
        &state,
        &Builder::new(RecordKind::Exit).arguments([0x0189, 0, 0, 0, 0, 0]),
        &[
            ("evt.arg.status", "393"),
            ("evt.arg.ret", "1"),
            ("evt.arg.sig", "SIGKILL"),
            ("evt.arg.core", "1"),
            ("evt.args", "status=393 ret=1 sig=9(SIGKILL) core=1"),
        ],
    );
}

#[test]
fn the_environment_is_that_of_the_running_process() {
    let mut state = State::new(Path::new("/nonexistent"), Path::new("/nonexistent"));
    let record = Builder::open("/x", 3).process_number(std::process::id());
    record.apply(&mut state);
    let (bytes, scratch) = (record.bytes(), Scratch::default());
    let event = Event::new(7, TIME_NS, Builder::parse(&bytes), &state, &scratch).unwrap();
    let environment: BTreeMap<_, _> = std::env::vars().collect();
    assert_eq!(show(&event, "proc.env[PATH]"), environment["PATH"]);
    assert_eq!(show(&event, "proc.env[TERCEL_NO_SUCH_VARIABLE]"), "");
    assert!(show(&event, "proc.env").contains("PATH="));
    Checked::default().check(&state_with_cat(), &Builder::open("/x", 3), &[("proc.env", "-"), ("proc.env[PATH]", "-")]);
}
