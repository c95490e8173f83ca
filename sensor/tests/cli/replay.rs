//! `replay`: recordings that can be used and others.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{BAD_CONFIGURATION, Folder, GOOD_RULE, command, sensor, stderr, stdout};

/// Input that cannot be read.
const UNREADABLE: i32 = 2;

/// Every open of a secret, and every program that was started in the recording.
const RULES: &str = "
- rule: Secret read
  desc: d
  condition: evt.type in (open, openat) and fd.realpath = /etc/shadow and proc.env[HOME] = /root
  output: >
    %fd.name read by %proc.cmdline, started by %proc.pcmdline in %proc.cwd for %user.name of %evt.hostname,
    path %proc.env[PATH] home %user.homedir
  priority: WARNING
- rule: Program started
  desc: d
  condition: evt.type = execve
  output: '%proc.exepath: %proc.cmdline by %proc.aname[1] of %proc.aname[2]'
  priority: INFO
";

fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/records/shadow.records")
}

/// Replays in UTC.
fn replay(file: &str, arguments: &[&str]) -> std::process::Output {
    command(&[&["replay", file], arguments].concat()).env("TZ", "UTC").output().unwrap()
}

/// What changes whenever the recording is made anew is checked, and left out.
fn lasting(mut alert: Value) -> Value {
    let time = alert["time"].as_str().unwrap().to_owned();
    let output = alert["output"].as_str().unwrap().to_owned();
    let (clock, text) = output.split_once(' ').unwrap();
    assert!(time.contains(clock.trim_end_matches(':')), "{time} {clock}");
    alert["output"] = text.into();
    let fields = alert["output_fields"].as_object_mut().unwrap();
    assert!(fields.remove("evt.time").unwrap().is_i64());
    let uuid = alert["uuid"].as_str().unwrap().to_owned();
    assert!(uuid.contains("-7000-8000-00000000000"), "{uuid}");
    alert.as_object_mut().unwrap().retain(|key, _| key != "uuid" && key != "time");
    alert
}

#[test]
fn the_committed_recording_raises_its_alerts_on_every_machine() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", RULES);
    let file = recording().display().to_string();
    let output = replay(&file, &["--rules", &rules]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let alerts = stdout(&output).lines().map(|line| lasting(serde_json::from_str(line).unwrap()));
    insta::assert_json_snapshot!(alerts.collect::<Vec<_>>());
    let said = stderr(&output);
    assert!(said.starts_with("node-7, Linux 6.18.0, x86_64: records ") && said.contains("alerts 3, "), "{said}");
    assert_eq!(output.stdout, replay(&file, &["--rules", &rules]).stdout, "every replay prints the same bytes");
}

#[test]
fn all_matching_rules_raise_alerts_where_that_is_asked_for() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", &format!("{RULES}{}", RULES.replace("rule: ", "rule: Again ")));
    let count = |arguments: &[&str]| {
        let output = replay(&recording().display().to_string(), &[&["--rules", &rules], arguments].concat());
        stdout(&output).lines().count()
    };
    assert_eq!((count(&[]), count(&["--rule-matching", "all"])), (3, 6));
}

#[test]
fn what_is_no_recording_or_half_of_one_is_told_with_its_name() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", GOOD_RULE);
    let check = |file: &str, message: &str| {
        let output = replay(file, &["--rules", &rules]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(UNREADABLE), ""));
        assert!(stderr(&output).starts_with(&format!("error: {message}")), "{}", stderr(&output));
    };
    check("/nonexistent", "cannot read /nonexistent: ");
    let text = folder.file("text", "{\"num\":1}\n");
    check(&text, &format!("{text}: this is no recording of `tercel-sensor record`"));
    let mut bytes = std::fs::read(recording()).unwrap();
    bytes[12] += 1;
    let newer = folder.0.path().join("newer");
    std::fs::write(&newer, &bytes).unwrap();
    check(newer.to_str().unwrap(), &format!("{}: it has records of ABI version ", newer.display()));
    bytes[12] -= 1;
    bytes.truncate(40);
    let half = folder.0.path().join("half");
    std::fs::write(&half, &bytes).unwrap();
    check(half.to_str().unwrap(), &format!("{}: item 1 at byte 16: the recording breaks off", half.display()));
}

#[test]
fn alerts_in_front_of_the_place_where_a_recording_breaks_off_are_printed() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", RULES);
    let mut bytes = std::fs::read(recording()).unwrap();
    bytes.truncate(bytes.len() - 1);
    let file = folder.0.path().join("cut");
    std::fs::write(&file, &bytes).unwrap();
    let output = replay(file.to_str().unwrap(), &["--rules", &rules]);
    assert_eq!((output.status.code(), stdout(&output).lines().count()), (Some(UNREADABLE), 3));
    let first: Value = serde_json::from_str(stdout(&output).lines().next().unwrap()).unwrap();
    assert_eq!(first["hostname"], json!("node-7"));
}

#[test]
fn rules_that_cannot_be_used_are_bad_configuration() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", &GOOD_RULE.replace("fd.name = ", "fd.nmae = "));
    let output = replay(&recording().display().to_string(), &["--rules", &rules]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert_eq!(sensor(&["replay"]).status.code(), Some(2), "a file must be named");
}
