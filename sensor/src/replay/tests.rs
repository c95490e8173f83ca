//! A recording says what a sensor on the spot would have said, and nothing of the machine where it is replayed.

use super::*;
use crate::fields::SensorCatalog;
use crate::recording::tests::{machine, written};
use crate::testing::{Builder, CAT, SHELL, state_with_cat};

const RULES: &str = "
- rule: Shadow read
  desc: d
  condition: evt.type = openat and fd.name = /etc/shadow
  output: read by %proc.name of %proc.pname, user %user.name, in %container.id, with %proc.env, at %evt.num
  priority: WARNING
";

fn detector() -> Detector {
    Detector::new(crate::rules::load_text(&[("rules.yaml", RULES.as_bytes())], &SensorCatalog).unwrap()).unwrap()
}

fn alerts(file: &[u8]) -> (Vec<Alert>, Summary) {
    let mut alerts = Vec::new();
    let summary = replay(file, "file", detector(), TimeZone::UTC, |alert| alerts.push(alert)).unwrap();
    (alerts, summary)
}

/// With an end behind these items, and machine and clock in front.
fn recording(items: &[Item<'_>]) -> Vec<u8> {
    let front = [Item::Machine(machine()), Item::Clock(1_795_451_920_000_000_000), Item::User("root:x:0:::/root:/sh")];
    let end = [Item::End(End { records: 1, ..End::default() })];
    written(&[&front, items, &end].concat())
}

fn processes() -> Vec<Item<'static>> {
    state_with_cat().processes.all().map(|process| Item::Process(Box::new(process.clone()))).collect()
}

#[test]
fn an_alert_has_the_hostname_the_time_and_the_ancestors_of_the_recording() {
    let open = Builder::open("/etc/shadow", 3).bytes();
    let file = recording(&[processes(), vec![Item::Record(Record::parse(&open).unwrap())]].concat());
    let (alerts, summary) = alerts(&file);
    assert_eq!(alerts.len(), 1);
    assert_eq!((alerts[0].hostname.as_str(), alerts[0].time.to_string().as_str()), ("node-7", "2026-11-23T16:38:41Z"));
    assert!(
        alerts[0].output.contains("read by cat of sh, user root, in host, with <NA>, at 1"),
        "{}",
        alerts[0].output
    );
    let expected = Summary {
        machine: machine(),
        records: 1,
        events: 1,
        alerts: 1,
        unknown_processes: 0,
        end: End { records: 1, ..End::default() },
    };
    assert_eq!(summary, expected);
}

#[test]
fn two_replays_of_a_recording_give_the_same_alerts_with_ids_of_their_own() {
    let open = Builder::open("/etc/shadow", 3).bytes();
    let open = Item::Record(Record::parse(&open).unwrap());
    let file = recording(&[processes(), vec![open.clone(), open]].concat());
    let (first, _) = alerts(&file);
    let (second, _) = alerts(&file);
    let text = |alerts: &[Alert]| serde_json::to_string(alerts).unwrap();
    assert_eq!(text(&first), text(&second));
    let ids = [first[0].uuid.unwrap(), first[1].uuid.unwrap()];
    assert!(ids[0] < ids[1] && ids.iter().all(|id| id.get_version_num() == 7), "{ids:?}");
}

#[test]
fn a_process_of_this_machine_is_not_asked_about_one_of_the_recording() {
    let pid = std::process::id();
    let start_ns = {
        let mut state = State::new(std::path::Path::new("/nonexistent"), std::path::Path::new("/nonexistent"));
        state.seed();
        state.processes.get(pid).unwrap().start_ns
    };
    let open = Builder::open("/etc/shadow", 3).process_number(pid).started(start_ns).bytes();
    let (alerts, summary) = alerts(&recording(&[Item::Record(Record::parse(&open).unwrap())]));
    assert_eq!(summary.unknown_processes, 1);
    assert!(
        alerts[0].output.contains("read by cat of <NA>, user root, in host, with <NA>"),
        "the record's own name and no environment: {}",
        alerts[0].output
    );
}

#[test]
fn answers_of_the_recorder_stand_in_for_those_of_proc() {
    let open = Builder::open("/etc/shadow", 3).in_cgroup(77).bytes();
    let start_ns = state_with_cat().processes.get(CAT).unwrap().start_ns;
    let container = crate::enrich::container::Container {
        id: "abcdefabcdef".to_owned(),
        full_id: "abcdefabcdef".to_owned(),
        runtime: "docker",
        pod_uid: None,
    };
    let answers = vec![
        Item::Container { cgroup_id: 77, container: Some(container) },
        Item::Environment { tgid: CAT, start_ns, variables: b"HOME=<redacted>\0" },
        Item::Environment { tgid: SHELL, start_ns: 1, variables: b"NOT=ours\0" },
        Item::Record(Record::parse(&open).unwrap()),
    ];
    let (alerts, _) = alerts(&recording(&[processes(), answers].concat()));
    assert!(alerts[0].output.contains("in abcdefabcdef, with HOME=<redacted>, at 1"), "{}", alerts[0].output);
}

#[test]
fn a_clock_that_is_set_changes_the_times_behind_it() {
    let open = Builder::open("/etc/shadow", 3).bytes();
    let open = Item::Record(Record::parse(&open).unwrap());
    let set = Item::Clock(0);
    let (alerts, _) = alerts(&recording(&[processes(), vec![open.clone(), set, open]].concat()));
    let times: Vec<_> = alerts.iter().map(|alert| alert.time.to_string()).collect();
    assert_eq!(times, ["2026-11-23T16:38:41Z", "1970-01-01T00:00:01Z"]);
}

fn ms(milliseconds: u64) -> u64 {
    milliseconds * 1_000_000
}

/// An open at the tenth second, in a container whose runtime was asked so many milliseconds before, and what was told (or not)
/// behind it.
fn replayed_in_container(asked_before_ms: u64, behind: Vec<Item<'_>>) -> Vec<Alert> {
    let container = crate::enrich::container::Container {
        id: "abcdefabcdef".to_owned(),
        full_id: "abcdefabcdef00".to_owned(),
        runtime: "docker",
        pod_uid: None,
    };
    let earlier = Builder::open("/tmp/x", 3).at(ms(10_000 - asked_before_ms)).bytes();
    let open = Builder::open("/etc/shadow", 3).at(ms(10_000)).in_cgroup(77).bytes();
    let items = vec![
        Item::Record(Record::parse(&earlier).unwrap()),
        Item::Container { cgroup_id: 77, container: Some(container) },
        Item::Metadata { full_id: "abcdefabcdef00", metadata: None },
        Item::Record(Record::parse(&open).unwrap()),
    ];
    alerts(&recording(&[processes(), items, behind].concat())).0
}

#[test]
fn an_event_waits_for_the_container_s_name_as_it_did_when_it_was_recorded() {
    let told = Item::Metadata { full_id: "abcdefabcdef00", metadata: Some(Box::new(crate::testing::metadata())) };
    let later = Builder::open("/etc/shadow", 3).at(ms(10_100)).bytes();
    // The container's first program may run long after it was heard of.
    for asked_before_ms in [100, 600, 2_000] {
        let alerts =
            replayed_in_container(asked_before_ms, vec![told.clone(), Item::Record(Record::parse(&later).unwrap())]);
        assert_eq!(alerts.len(), 2);
        for alert in &alerts {
            assert_eq!(alert.field("container.name").unwrap(), "app");
            assert_eq!(alert.field("k8s.ns.name").unwrap(), "shop");
            assert_eq!(alert.field("tercel.metadata"), None);
            assert!(alert.output.contains("read by cat of sh, user root, in abcdefabcdef"), "{}", alert.output);
        }
        assert_eq!(alerts[0].field("evt.num").unwrap(), 2, "the number is the event's own");
    }
}

#[test]
fn an_event_that_waited_in_vain_says_so() {
    let much_later = Builder::open("/tmp/x", 3).at(ms(10_500)).bytes();
    let too_late = Item::Metadata { full_id: "abcdefabcdef00", metadata: Some(Box::new(crate::testing::metadata())) };
    let behind = vec![Item::Record(Record::parse(&much_later).unwrap()), too_late];
    for behind in [behind, Vec::new()] {
        let alerts = replayed_in_container(100, behind);
        assert_eq!(alerts.len(), 1);
        assert_eq!(alerts[0].field("tercel.metadata").unwrap(), "late");
        assert_eq!(alerts[0].field("container.name"), None);
    }
}

#[test]
fn an_event_that_does_not_wait_because_nobody_answered_says_so_too() {
    let alerts = replayed_in_container(9_000, Vec::new());
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].field("tercel.metadata").unwrap(), "late");
}

#[test]
fn an_event_that_waited_in_vain_has_what_was_announced() {
    let announced = Metadata { is_partial: true, ..crate::testing::metadata() };
    let announced = Item::Metadata { full_id: "abcdefabcdef00", metadata: Some(Box::new(announced)) };
    let alerts = replayed_in_container(100, vec![announced]);
    assert_eq!(alerts[0].field("tercel.metadata").unwrap(), "late");
    assert_eq!(alerts[0].field("container.name").unwrap(), "app");
}
