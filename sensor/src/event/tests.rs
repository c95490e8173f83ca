use tercel_filter::{Fields, Value};
use tercel_sensor_abi::file::DescriptorFacts;

use super::*;
use crate::fields;
use crate::testing::{Builder, CAT, SHELL, state_with_cat};

/// The fields of a record's event as text; `-` where one is missing.
fn values(record: &Builder, names: &[&str]) -> Vec<String> {
    let (bytes, mut state, scratch) = (record.bytes(), state_with_cat(), Scratch::default());
    record.apply(&mut state);
    let event = Event::new(1, 0, Builder::parse(&bytes), &state, &scratch).unwrap();
    let show = |name: &&str| match event.value(fields::find(name).unwrap().0, None) {
        None => "-".to_owned(),
        Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(truth)) => truth.to_string(),
        Some(Value::Ip(ip)) => ip.to_string(),
        Some(Value::Enum(index)) => EventType(index).name().to_owned(),
        Some(other) => format!("{other:?}"),
    };
    names.iter().map(show).collect()
}

/// From this directory.
fn open_in(base: &str, result: i64, name: &str, kernel_path: &str) -> Builder {
    Builder::opens(EventType::OPENAT, 0, 0o644, result, name, kernel_path).base(base)
}

const FILE: [&str; 6] = ["fd.name", "fd.nameraw", "fd.directory", "fd.filename", "fd.typechar", "fd.realpath"];

#[test]
fn an_open_tells_the_name_that_was_meant_and_the_file_that_was_opened() {
    let link = open_in("", 3, "/tmp//./link", "/etc/shadow");
    assert_eq!(values(&link, &FILE), ["/tmp/link", "/tmp/./link", "/tmp", "link", "f", "/etc/shadow"]);
    let relative = open_in("/etc", 3, "shadow", "/etc/shadow");
    assert_eq!(values(&relative, &FILE), ["/etc/shadow", "shadow", "/etc", "shadow", "f", "/etc/shadow"]);
}

#[test]
fn a_failed_open_has_a_name_but_no_file() {
    let failed = open_in("", -2, "/etc/../nosuch", "");
    assert_eq!(values(&failed, &FILE), ["/nosuch", "/etc/../nosuch", "/", "-", "f", "-"]);
    assert_eq!(values(&failed, &["fd.num", "evt.res", "evt.rawres", "evt.failed"]), ["-1", "ENOENT", "-2", "true"]);
    let old = Builder::opens(EventType::OPEN, 0, 0, -2, "/nosuch", "");
    assert_eq!(values(&old, &["evt.type", "fd.typechar", "fd.type"]), ["open", "o", "-"]);
}

#[test]
fn a_directory_that_is_not_to_be_found_out_says_so() {
    let failed = open_in("", -2, "a/../b", "");
    assert_eq!(values(&failed, &["fd.name"]), ["<UNKNOWN>/b"]);
}

const SOCKET: [&str; 6] = ["fd.name", "fd.type", "fd.cip", "fd.sip", "fd.sport", "fd.l4proto"];

fn tcp_socket() -> DescriptorFacts {
    DescriptorFacts { mode: 0o140_777, inode: 9, family: 2, socket_type: 1, protocol: 6, ..DescriptorFacts::default() }
}

fn address_v4(port: u16, ip: [u8; 4]) -> Vec<u8> {
    [&2u16.to_ne_bytes()[..], &port.to_be_bytes(), &ip, &[0; 8]].concat()
}

#[test]
fn a_connection_has_two_ends_and_the_socket_is_believed_more_than_the_caller() {
    let mut facts = tcp_socket();
    (facts.local_port, facts.remote_port) = (4_000, 443);
    facts.local[..4].copy_from_slice(&[10, 0, 0, 1]);
    facts.remote[..4].copy_from_slice(&[10, 0, 0, 2]);
    let record = Builder::connect(&facts, -115, &address_v4(80, [9, 9, 9, 9]));
    let expected = ["10.0.0.1:4000->10.0.0.2:443", "ipv4", "10.0.0.1", "10.0.0.2", "443", "tcp"];
    assert_eq!(values(&record, &SOCKET), expected);
    assert_eq!(values(&record, &["fd.num", "evt.res"]), ["5", "EINPROGRESS"]);
}

#[test]
fn a_failed_connect_still_tells_where_to() {
    let record = Builder::connect(&tcp_socket(), -111, &address_v4(80, [169, 254, 169, 254]));
    assert_eq!(values(&record, &SOCKET), ["->169.254.169.254:80", "ipv4", "-", "169.254.169.254", "80", "tcp"]);
}

#[test]
fn addresses_cut_anywhere_do_no_harm() {
    let mut v6 = [&10u16.to_ne_bytes()[..], &53u16.to_be_bytes(), &[0; 24]].concat();
    v6[18..24].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
    for address in [v6.clone(), address_v4(80, [1, 2, 3, 4]), b"\x01\0/run/x.sock\0".to_vec(), b"\x01\0\0abs".to_vec()]
    {
        for length in 0..address.len() {
            values(&Builder::connect(&tcp_socket(), -111, &address[..length]), &SOCKET);
        }
    }
    assert_eq!(values(&Builder::connect(&tcp_socket(), -111, &v6), &["fd.sip", "fd.typechar"]), ["127.0.0.1", "4"]);
}

#[test]
fn a_unix_socket_is_a_path_or_an_abstract_name() {
    let unix = DescriptorFacts { family: 1, protocol: 0, ..tcp_socket() };
    let check = |address: &[u8], expected: &str| {
        let record = Builder::connect(&unix, -2, address);
        assert_eq!(values(&record, &["fd.name", "fd.type", "fd.sip", "fd.l4proto"]), [expected, "unix", "-", "-"]);
    };
    check(b"\x01\0/run/x.sock\0rest", "/run/x.sock");
    check(b"\x01\0\0abs", "@abs");
}

#[test]
fn a_fork_returns_the_child_and_an_end_returns_nothing() {
    let names = ["evt.type", "evt.rawres", "evt.res", "proc.name"];
    let fork = Builder::fork(CAT, SHELL, CAT + 1);
    assert_eq!(values(&fork, &names), ["clone", "5000004", "SUCCESS", "cat"]);
    assert_eq!(values(&Builder::new(RecordKind::Exit), &names), ["procexit", "-", "-", "cat"]);
}

#[test]
fn names_are_sorted_and_without_duplicates() {
    assert!(NAMES.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn the_bitmap_holds_the_system_calls_and_nothing_for_the_scheduler() {
    let bitmap = interest([EventType::OPENAT, EventType::CLONE, EventType::PROCEXIT]).0;
    assert_eq!(bitmap.iter().map(|word| word.count_ones()).sum::<u32>(), 1);
    let number = EventType::OPENAT.syscall().unwrap();
    assert_ne!(bitmap[number as usize / 64] & (1 << (number % 64)), 0);
}
