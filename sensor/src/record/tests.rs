//! What is recorded is what a replay needs, and no secret.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jiff::tz::TimeZone;
use tercel_sensor_abi::process::ProcessFacts;
use tercel_sensor_abi::{Counters, RecordKind};

use super::*;
use crate::fields::SensorCatalog;
use crate::recording::tests::machine;
use crate::recording::{Item, Reader};
use crate::replay::replay;
use crate::testing::{Builder, CAT, INIT, SHELL, state_with_cat};
use crate::watch::Judge;

const RULES: &str = "
- rule: Any
  desc: d
  condition: proc.name exists
  output: >
    %evt.type %proc.name %proc.cmdline %proc.exepath %proc.pname %proc.aname[2] %proc.cwd %proc.tty %proc.sid
    %proc.ppid %proc.args %proc.exe %user.name %container.id %fd.name %evt.res
  priority: INFO
";

fn detector() -> Detector {
    Detector::new(crate::rules::load_text(&[("rules.yaml", RULES.as_bytes())], &SensorCatalog).unwrap()).unwrap()
}

fn recorder(tree: Option<Tree>, redacts: bool) -> Recorder<Vec<u8>> {
    Recorder::start(Vec::new(), &machine(), state_with_cat(), tree, redacts).unwrap()
}

/// A child of `cat`: its life, with a secret.
fn life() -> Vec<Builder> {
    let child = CAT + 1;
    let environment = "TOKEN=s3cret-value\0PATH=/bin\0";
    let facts = ProcessFacts { tty: 1, sid: SHELL, ..ProcessFacts::default() };
    vec![
        Builder::fork(CAT, SHELL, child),
        Builder::exec_with(child, CAT, "id", "/usr/bin/id", &["id", "-u"], environment, &facts),
        Builder::open("/etc/passwd", 3).process(child, CAT).comm("id"),
        Builder::open("/etc/shadow", -13).process(child, CAT).comm("id"),
        Builder::new(RecordKind::Exit).process(child, CAT).comm("id"),
    ]
}

fn record_all(mut recorder: Recorder<Vec<u8>>, records: &[Builder]) -> Vec<u8> {
    for record in records {
        recorder.take(&Builder::parse(&record.bytes())).unwrap();
    }
    recorder.finish(&Counters::default(), 0).unwrap().1
}

/// The items' kinds, and how often each comes.
fn count(file: &[u8], is_meant: impl Fn(&Item<'_>) -> bool) -> usize {
    let (mut reader, mut count) = (Reader::open(file, "file").unwrap(), 0);
    while let Some(item) = reader.read().unwrap() {
        count += usize::from(is_meant(&item));
    }
    count
}

#[test]
fn a_replay_says_what_a_sensor_on_the_spot_says() {
    let mut judge = Judge::new(state_with_cat().with_hostname("node-7"), detector(), 0);
    judge.zone = TimeZone::UTC;
    let text = |alert: tercel_alert::Alert| {
        let mut fields = alert.output_fields.clone();
        fields.remove("evt.time");
        (alert.rule, alert.hostname, alert.output.split_once(' ').unwrap().1.to_owned(), fields)
    };
    let (mut live, mut replayed) = (Vec::new(), Vec::new());
    for record in life() {
        judge.take(Builder::parse(&record.bytes()), |_, alert| live.push(text(alert)));
    }
    let file = record_all(recorder(None, true), &life());
    let summary = replay(&file[..], "file", detector(), TimeZone::UTC, |alert| replayed.push(text(alert))).unwrap();
    assert_eq!(live.len(), 5);
    assert_eq!(replayed, live);
    assert_eq!((summary.records, summary.unknown_processes, summary.end.records), (5, 0, 5));
}

#[test]
fn a_value_of_an_environment_is_nowhere_in_the_file_unless_it_is_asked_for() {
    let contains = |file: &[u8], text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
    let file = record_all(recorder(None, true), &life());
    assert!(!contains(&file, "s3cret") && contains(&file, "TOKEN=<redacted>\0PATH=<redacted>"));
    let file = record_all(recorder(None, false), &life());
    assert!(contains(&file, "TOKEN=s3cret-value\0PATH=/bin") && !contains(&file, "<redacted>"));
}

#[test]
fn the_environment_of_a_process_that_was_there_before_is_asked_of_proc_once_and_redacted() {
    let mut state = state_with_cat();
    state.seed();
    let pid = std::process::id();
    let start_ns = state.processes.get(pid).unwrap().start_ns;
    let mut recorder = Recorder::start(Vec::new(), &machine(), state, None, true).unwrap();
    let open = Builder::open("/etc/passwd", 3).process_number(pid).started(start_ns).bytes();
    for _ in 0..3 {
        recorder.take(&Builder::parse(&open)).unwrap();
    }
    let file = recorder.finish(&Counters::default(), 0).unwrap().1;
    let is_environment = |item: &Item<'_>| match item {
        Item::Environment { tgid, variables, .. } => {
            let text = String::from_utf8_lossy(variables);
            assert!(*tgid == pid && text.contains("PATH=<redacted>\0"), "{text}");
            true
        }
        _ => false,
    };
    assert_eq!(count(&file, is_environment), 1);
}

#[test]
fn a_process_that_the_recorder_had_to_look_up_is_known_to_the_replay() {
    let pid = std::process::id();
    let mut own = State::new(Path::new("/nonexistent"), Path::new("/nonexistent"));
    own.seed();
    let start_ns = own.processes.get(pid).unwrap().start_ns;
    let open = Builder::open("/etc/passwd", 3).process_number(pid).started(start_ns);
    let file = record_all(recorder(None, true), &[open]);
    let mut outputs = Vec::new();
    let summary = replay(&file[..], "file", detector(), TimeZone::UTC, |alert| outputs.push(alert.output)).unwrap();
    assert_eq!(summary.unknown_processes, 0);
    let exe = std::env::current_exe().unwrap();
    assert!(outputs[0].contains(exe.to_str().unwrap()), "{outputs:?}");
}

#[test]
fn of_a_command_nobody_else_is_recorded() {
    let mut records = life();
    records.push(Builder::open("/etc/hosts", 3).process(SHELL, INIT).comm("sh"));
    let is_record = |item: &Item<'_>| matches!(item, Item::Record(_));
    assert_eq!(count(&record_all(recorder(None, true), &records), is_record), 6);
    let file = record_all(recorder(Some(Tree::new(CAT + 1)), true), &records);
    assert_eq!(count(&file, is_record), 5);
    // Whom the command does not descend from is not in it either.
    assert_eq!(count(&file, |item| matches!(item, Item::Process(process) if process.tgid == INIT)), 0);
}

#[test]
fn a_clock_is_written_again_only_when_it_was_set() {
    let mut recorder = recorder(None, true);
    let offset_ns = clock::wall_offset_ns();
    recorder.tick(0, offset_ns + 1_000).unwrap();
    recorder.tick(0, offset_ns + 3_600_000_000_000).unwrap();
    recorder.tick(0, offset_ns + 3_600_000_000_500).unwrap();
    let file = recorder.finish(&Counters::default(), 0).unwrap().1;
    assert_eq!(count(&file, |item| matches!(item, Item::Clock(_))), 2);
}

#[test]
fn what_was_lost_stands_at_the_end() {
    let mut counters = Counters::default();
    counters.kinds[RecordKind::Open as usize].dropped_full = 5;
    counters.kinds[RecordKind::Exec as usize].dropped_long = 1;
    let file = recorder(None, true).finish(&counters, 9).unwrap().1;
    let summary = replay(&file[..], "file", detector(), TimeZone::UTC, drop).unwrap();
    assert_eq!((summary.end.dropped_total(), summary.end.skipped), (6, 9));
    assert_eq!(summary.end.dropped[RecordKind::Open as usize], (5, 0));
}

#[test]
fn a_recording_is_its_owner_s_alone_and_never_replaces_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records");
    drop(create(&file).unwrap());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let error = create(&file).unwrap_err().to_string();
    assert_eq!(error, format!("{} is there already; another name with --output FILE", file.display()));
    std::os::unix::fs::symlink("/nonexistent/x", folder.path().join("link")).unwrap();
    assert!(matches!(create(&folder.path().join("link")), Err(Error::Exists(_))), "links are not followed");
}

#[test]
fn rules_choose_the_calls_and_leave_nothing_out_of_them() {
    let text = "- rule: r\n  desc: d\n  condition: evt.type = openat and fd.name = /etc/shadow\n  output: o\n  priority: INFO\n";
    let rules = crate::rules::load_text(&[("rules.yaml", text.as_bytes())], &SensorCatalog).unwrap();
    let of_rules = control_of(&Calls::Of(Box::new(Detector::new(rules).unwrap())), [1, 2, 0, 0]);
    let all = control_of(&Calls::All { with_data: false }, [1, 2, 0, 0]);
    let asks = |control: &Control, name: &str| {
        let number = EventType::find(name).unwrap().syscall().unwrap() as usize;
        control.interest[number / 64] >> (number % 64) & 1 == 1
    };
    assert!(asks(&of_rules, "openat") && asks(&of_rules, "setsid") && !asks(&of_rules, "rename"));
    assert!(["openat", "setsid", "rename", "connect", "mount"].iter().all(|name| asks(&all, name)));
    assert!(!asks(&all, "getpid"), "nothing is known of it but that it happened");
    for control in [&of_rules, &all] {
        assert_eq!(control.flags, Control::KERNEL_PATH | Control::ENVIRONMENT);
        assert_eq!((control.opens_any_path, control.muted), (Control::OPENS_ALL, [1, 2, 0, 0]));
    }
    assert_eq!(control_of(&Calls::All { with_data: true }, [0; MUTED_MAX]).flags & Control::DATA, Control::DATA);
}
