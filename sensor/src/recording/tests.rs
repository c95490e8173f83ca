//! What is written comes back, and what was never written is refused.

use std::sync::{Arc, LazyLock};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use tercel_sensor_abi::process::ProcessFacts;
use tercel_sensor_abi::{ABI_VERSION, RecordKind};

use super::*;
use crate::detect::Detector;
use crate::enrich::container::Container;
use crate::event::EventType;
use crate::fields::{SensorCatalog, TABLE};
use crate::output::Template;
use crate::replay::replay;
use crate::ring::Record;
use crate::testing::{Builder, CAT, INIT, SHELL, state_with_cat};

/// In front of the items.
const HEAD_BYTES: usize = 16;

/// In this order, in a file.
pub(crate) fn written(items: &[Item<'_>]) -> Vec<u8> {
    let mut writer = Writer::start(Vec::new()).unwrap();
    for item in items {
        writer.write(item).unwrap();
    }
    let bytes = writer.bytes();
    let file = writer.finish().unwrap();
    assert_eq!(file.len() as u64, bytes);
    file
}

pub(crate) fn machine() -> Machine {
    Machine {
        kernel_release: "6.18.0".to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        hostname: "node-7".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

fn container() -> Container {
    Container {
        id: "0123456789ab".to_owned(),
        full_id: "0123456789ab".repeat(5),
        runtime: "containerd",
        pod_uid: Some("u".to_owned()),
    }
}

/// One item of each kind at least, and records of many.
fn everything() -> Vec<u8> {
    let records = [
        Builder::exec_with(CAT, SHELL, "cat", "/usr/bin/cat", &["cat", "-"], "A=1\0", &ProcessFacts::default()).bytes(),
        Builder::fork(CAT, SHELL, CAT + 1).bytes(),
        Builder::open("/etc/shadow", 3).bytes(),
        Builder::open("../relative", -2).base("/home").bytes(),
        Builder::connect(&Builder::socket(6, [10, 0, 0, 2], 443), 0, &[2, 0, 1, 187, 10, 0, 0, 2]).bytes(),
        Builder::call(RecordKind::Path, "rename", [0; 6], 0).path("/a", "").path("b", "/").bytes(),
        Builder::new(RecordKind::Exit).bytes(),
    ];
    let state = state_with_cat();
    let mut items = vec![Item::Machine(machine()), Item::Clock(1_795_451_920_000_000_000)];
    items.extend([Item::User("root:x:0:::/root:/bin/sh"), Item::Group("root:x:0:")]);
    items.extend(state.processes.all().map(|process| Item::Process(Box::new(process.clone()))));
    items.push(Item::Container { cgroup_id: 7, container: Some(container()) });
    items.push(Item::Metadata { full_id: "0123", metadata: Some(Box::new(crate::testing::metadata())) });
    items.push(Item::Environment { tgid: SHELL, start_ns: 200_000_000, variables: b"HOME=<redacted>\0" });
    items.extend(records.iter().map(|record| Item::Record(Record::parse(record).unwrap())));
    items.push(Item::End(End { records: 7, skipped: 2, unfollowed: 1, dropped: [(3, 4); RecordKind::COUNT] }));
    written(&items)
}

/// Every item as text, or the error.
fn read_all(file: &[u8]) -> Result<Vec<String>, Error> {
    let (mut reader, mut items) = (Reader::open(file, "file")?, Vec::new());
    while let Some(item) = reader.read()? {
        items.push(format!("{item:?}"));
    }
    Ok(items)
}

#[track_caller]
fn refused(file: &[u8], message: &str) {
    let error = read_all(file).unwrap_err().to_string();
    assert_eq!(error, format!("file: {message}"));
}

#[test]
fn every_kind_of_item_comes_back_as_it_was() {
    let process = |tgid| state_with_cat().processes.get(tgid).unwrap().clone();
    let exec = Builder::exec(SHELL, INIT, "sh", "/bin/sh", &["sh", "", "-c", "x y"]);
    let record = exec.bytes();
    let mut state = state_with_cat();
    exec.apply(&mut state);
    let with_arguments = state.processes.get(SHELL).unwrap().clone();
    let items = [
        Item::Machine(machine()),
        Item::Clock(-5),
        Item::User("web:x:33:::/var/www:/bin/false"),
        Item::Group("web:x:33:"),
        Item::Process(Box::new(process(CAT))),
        Item::Process(Box::new(with_arguments)),
        Item::Container { cgroup_id: 1, container: None },
        Item::Container { cgroup_id: u64::MAX, container: Some(container()) },
        Item::Environment { tgid: 1, start_ns: 2, variables: b"A=\0" },
        Item::Metadata { full_id: "0123", metadata: None },
        Item::Metadata { full_id: "0123", metadata: Some(Box::new(crate::testing::metadata())) },
        Item::Record(Record::parse(&record).unwrap()),
        Item::End(End { records: 1, skipped: 2, unfollowed: 3, dropped: [(4, 5); RecordKind::COUNT] }),
    ];
    let read = read_all(&written(&items)).unwrap();
    for (item, read) in items.iter().zip(&read) {
        // What a process was seen doing last belongs to the table, not to the process.
        let seen = |text: &str| text.split(", seen_ns: ").next().unwrap_or_default().to_owned();
        assert_eq!(seen(read), seen(&format!("{item:?}")));
    }
    assert_eq!(read.len(), items.len());
}

#[test]
fn a_recording_that_is_cut_anywhere_is_refused_with_the_item_and_the_byte() {
    let whole = everything();
    assert!(read_all(&whole).is_ok());
    for length in 0..whole.len() {
        let error = read_all(&whole[..length]).unwrap_err();
        match error {
            Error::NoRecording { .. } => assert!(length < HEAD_BYTES, "{length} bytes"),
            Error::Item { number, offset, problem, .. } => {
                assert!(length >= HEAD_BYTES && number > 0, "{length} bytes");
                assert_eq!(problem, Problem::CutOff, "{length} bytes");
                assert!(offset <= length as u64, "item {number} at byte {offset} of {length}");
            }
            error => panic!("{length} bytes: {error}"),
        }
    }
    refused(&whole[..HEAD_BYTES + 9], "item 1 at byte 16: the recording breaks off; was the recorder killed?");
}

/// A rule that is about every event and asks for every field there is.
fn curious() -> Arc<Detector> {
    static CURIOUS: LazyLock<Arc<Detector>> = LazyLock::new(|| Arc::new(asking_for_all()));
    Arc::clone(&CURIOUS)
}

fn asking_for_all() -> Detector {
    let asked = |name: &&str| Template::compile(&format!("%{name}")).is_ok();
    let with_argument =
        ["proc.aname[2]", "proc.aenv[A]", "proc.env[A]", "evt.arg.path", "evt.arg[0]", "evt.rawarg.res"];
    let names: Vec<_> = TABLE.iter().map(|field| field.name).chain(with_argument).filter(asked).collect();
    assert!(names.len() > 150, "{names:?}");
    let all = names.join(" %");
    let rule = format!(
        "- rule: r\n  desc: d\n  condition: evt.num > 0 and not proc.env contains xyz\n  output: has %{all}\n  priority: INFO\n"
    );
    Detector::new(crate::rules::load_text(&[("rules.yaml", rule.as_bytes())], &SensorCatalog).unwrap()).unwrap()
}

fn evaluate(file: &[u8]) -> Result<u64, Error> {
    replay(file, "file", curious(), TimeZone::UTC, drop).map(|summary| summary.alerts)
}

#[test]
fn a_recording_with_a_flipped_byte_is_evaluated_or_refused() {
    let whole = everything();
    assert_eq!(evaluate(&whole).unwrap(), 7);
    let (mut refused, mut taken) = (0, 0);
    // Every number is at least two bytes wide.
    for at in (0..whole.len()).step_by(2) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0xff;
        match evaluate(&flipped) {
            Ok(_) => taken += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100 && taken > 100, "{refused} refused, {taken} taken");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), keep in 0..400_usize) {
        let mut file = everything();
        file.truncate(HEAD_BYTES + keep);
        file.extend(bytes);
        drop(evaluate(&file));
    }

    #[test]
    fn records_of_any_content_are_evaluated_or_refused(noise in proptest::collection::vec((0..4_000_usize, any::<u8>()), 1..40)) {
        let mut file = everything();
        for (at, byte) in noise {
            if let Some(place) = file.get_mut(HEAD_BYTES + at) {
                *place = byte;
            }
        }
        drop(evaluate(&file));
    }
}

#[test]
fn no_memory_is_taken_for_a_length_that_no_item_has() {
    let mut file = written(&[Item::Machine(machine())]);
    for length in [u32::MAX, u32::try_from(ITEM_BYTES_MAX).unwrap() + 1] {
        file[HEAD_BYTES + 4..HEAD_BYTES + 8].copy_from_slice(&length.to_le_bytes());
        refused(&file, &format!("item 1 at byte 16: {length} bytes long, an item has at most 262144"));
    }
    // Inside of an item the length of a text is that of what is there at most.
    let mut file = written(&[Item::Machine(machine())]);
    file[HEAD_BYTES + 8..HEAD_BYTES + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(&file, "item 1 at byte 16: not a machine");
}

#[test]
fn an_item_that_is_too_long_is_not_written() {
    let mut writer = Writer::start(Vec::new()).unwrap();
    let long = "x".repeat(ITEM_BYTES_MAX + 1);
    assert_eq!(writer.write(&Item::User(&long)).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(writer.finish().unwrap().len(), HEAD_BYTES);
}

#[test]
fn a_recording_of_another_version_or_machine_is_refused_with_what_would_do() {
    for abi in [ABI_VERSION - 1, ABI_VERSION + 1] {
        let mut file = everything();
        file[12..16].copy_from_slice(&abi.to_le_bytes());
        refused(
            &file,
            &format!(
                "it has records of ABI version {abi}, and this tercel-sensor reads {ABI_VERSION}; replay it with the \
                 version that recorded it"
            ),
        );
    }
    let mut file = everything();
    file[8] = 9;
    refused(&file, "it has the format 9, and this tercel-sensor reads 1; replay it with the version that recorded it");
    let other = Machine { architecture: "pdp11".to_owned(), ..machine() };
    let own = std::env::consts::ARCH;
    refused(
        &written(&[Item::Machine(other)]),
        &format!("recorded on pdp11, and this tercel-sensor is of {own}; replay it on a machine of that kind"),
    );
    for file in [&b""[..], b"{\"num\":1}", b"tercelrc", b"tercelrd\x01\0\0\0\x02\0\0\0"] {
        refused(file, "this is no recording of `tercel-sensor record`");
    }
}

#[test]
fn items_out_of_their_order_are_refused() {
    let record = Builder::open("/x", 3).bytes();
    let record = Item::Record(Record::parse(&record).unwrap());
    let [machine, clock, end] = [Item::Machine(machine()), Item::Clock(0), Item::End(End::default())];
    refused(&written(std::slice::from_ref(&clock)), "item 1 at byte 16: an item in front of the machine and its clock");
    let file = written(&[machine.clone(), record.clone()]);
    assert!(read_all(&file).unwrap_err().to_string().contains("a record in front of the machine and its clock"));
    let file = written(&[machine.clone(), machine.clone()]);
    assert!(read_all(&file).unwrap_err().to_string().ends_with("not the only machine"));
    let file = written(&[machine, clock, record.clone(), end, record]);
    assert!(read_all(&file).unwrap_err().to_string().ends_with("something behind the recording's end"));
}

#[test]
fn unknown_kinds_and_unknown_records_are_refused() {
    let mut file = written(&[Item::Machine(machine()), Item::Clock(1)]);
    let at = file.len() - 16;
    file[at] = 77;
    refused(&file, &format!("item 2 at byte {at}: unknown kind 77"));
    let open = Builder::open("/x", 3).bytes();
    let mut file = written(&[Item::Machine(machine()), Item::Clock(1), Item::Record(Record::parse(&open).unwrap())]);
    let at = file.len() - open.len();
    file[at + 4] = 99;
    refused(&file, &format!("item 3 at byte {}: not a record of this ABI", at - 8));
}

#[test]
fn more_users_than_there_is_room_for_are_refused() {
    let line = format!("u:x:5:::{}:", "x".repeat(200_000));
    let items: Vec<_> =
        [Item::Machine(machine())].into_iter().chain(std::iter::repeat_n(Item::User(&line), 25)).collect();
    let error = evaluate(&written(&items)).unwrap_err().to_string();
    assert!(error.contains("no room for more users and groups"), "{error}");
}

#[test]
fn values_of_variables_are_redacted_and_names_stay() {
    let table: [(&[u8], &[u8]); 6] = [
        (b"", b""),
        (b"A=s3cret\0B=\0", b"A=<redacted>\0B=<redacted>\0"),
        (b"A=s3=cr=et\0", b"A=<redacted>\0"),
        (b"s3cret without a name\0", b"<redacted>\0"),
        (b"A=s3cret cut of", b"A=<redacted>\0"),
        (b"=s3cret\0\0X=1\0", b"=<redacted>\0\0X=<redacted>\0"),
    ];
    for (variables, redacted) in table {
        assert_eq!(redacted_environment(variables).escape_ascii().to_string(), redacted.escape_ascii().to_string());
    }
}

#[test]
fn a_redacted_record_is_the_record_but_for_the_values() {
    let exec = |environment: &str| {
        let arguments = ["cat", "odd"];
        Builder::exec_with(CAT, SHELL, "cat", "/usr/bin/cat", &arguments, environment, &ProcessFacts::default()).bytes()
    };
    let original = exec("TOKEN=s3cret\0HOME=/root\0");
    let redacted = redacted_record(&Record::parse(&original).unwrap()).unwrap();
    assert_eq!(redacted, exec("TOKEN=<redacted>\0HOME=<redacted>\0"));
    assert!(redacted_record(&Record::parse(&exec("")).unwrap()).is_none());
    let open = Builder::opens(EventType::OPENAT, 0, 0, 3, "/x", "/x").bytes();
    assert!(redacted_record(&Record::parse(&open).unwrap()).is_none());
}

#[test]
fn the_largest_environment_there_can_be_is_redacted_whole() {
    let environment = "A\0".repeat(2_047);
    let exec = Builder::exec_with(CAT, SHELL, "cat", "/cat", &["cat"], &environment, &ProcessFacts::default()).bytes();
    let redacted = redacted_record(&Record::parse(&exec).unwrap()).unwrap();
    let record = Record::parse(&redacted).unwrap();
    assert_eq!(record.string(2), b"<redacted>\0".repeat(2_047));
    assert_eq!(record.string(3), b"/srv/app");
}
