use std::fs;

use super::*;
use crate::fields::SensorCatalog;

const RULES: &str = r#"
- list: secrets
  items: [/etc/shadow, /etc/gshadow]
- macro: open_read
  condition: (evt.type in (open, openat) and evt.is_open_read = true)
- rule: Secret read
  desc: d
  condition: open_read and fd.name in (secrets) and not proc.name = sshd
  output: "%proc.name read %fd.name (parent=%proc.aname[1] user=%user.name)\n"
  priority: WARNING
- rule: Anything below etc
  desc: d
  condition: open_read and fd.name startswith /etc/
  output: o
  priority: NOTICE
- rule: Lines
  desc: d
  condition: open_read and fd.name startswith /tmp
  output: |
    %proc.name read
    %fd.name
  priority: NOTICE
- rule: Never on
  desc: d
  condition: open_read
  output: o
  priority: NOTICE
  enabled: false
"#;

const EVENT: &str = r"
- event: a file is read
  fields: { evt.type: openat, evt.is_open_read: true, fd.name: /etc/hosts, proc.name: cat, proc.aname: [bash, sshd], user.name: root }
";

fn folder(tests: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tests")).unwrap();
    fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    fs::write(folder.path().join("tests/all.yaml"), tests).unwrap();
    folder
}

/// The failures of the tests, as they are printed, and the rules that match the last test's event.
fn run(tests: &str) -> (Vec<String>, Vec<String>) {
    let folder = folder(&format!("{EVENT}{tests}"));
    let rules = crate::rules::load(&[folder.path().to_owned()], &SensorCatalog).unwrap();
    let suite = load(folder.path()).unwrap_or_else(|problems| panic!("{}", problems[0]));
    let outcomes = suite.run(&rules);
    let failures = outcomes.iter().flat_map(|outcome| outcome.failures.iter().map(ToString::to_string)).collect();
    let matched = outcomes.last().map(|outcome| outcome.matched.iter().map(ToString::to_string).collect());
    (failures, matched.unwrap_or_default())
}

#[track_caller]
fn check(test: &str, expected: &[&str]) {
    assert_eq!(run(test).0, expected, "{test}");
}

#[track_caller]
fn refused(tests: &str, place: &str, message: &str) {
    let problem = load(folder(tests).path()).unwrap_err().remove(0);
    let found = format!("{}:{}", problem.place.line, problem.place.column);
    assert!(found == place && problem.message.contains(message), "{problem}");
}

#[test]
fn rules_that_match_as_expected_pass() {
    let test = r#"
- test: shadow
  like: a file is read
  fields: { fd.name: /etc/shadow }
  match: [Secret read, Anything below etc]
  no_match: "*"
  output: cat read /etc/shadow (parent=bash user=root)
- test: by sshd
  like: shadow
  fields: { proc.name: sshd }
  match: Anything below etc
  no_match: [Secret read]
"#;
    let (failures, matched) = run(test);
    assert_eq!(failures, [""; 0]);
    assert_eq!(matched, ["Anything below etc"]);
}

#[test]
fn a_rule_that_does_not_match_is_told_with_what_is_false() {
    let test =
        |fields: &str| format!("\n- test: t\n  like: a file is read\n  fields: {fields}\n  match: Secret read\n");
    let not = |why: &str| format!("`Secret read` must match and does not: {why}");
    check(&test("{}"), &[&not("`fd.name in (secrets)` is false")]);
    check(&test("{ evt.is_open_read: false }"), &[&not("`evt.is_open_read = true` is false (in macro `open_read`)")]);
    check(&test("{ fd.name: /etc/shadow, proc.name: sshd }"), &[&not("`not proc.name = sshd` is false")]);
    check(&test("{ evt.type: ~ }"), &[&not("`evt.type in (open, openat)` is false (in macro `open_read`)")]);
}

#[test]
fn a_rule_that_matches_and_must_not_fails() {
    let test = |expected: &str| format!("\n- test: t\n  like: a file is read\n  {expected}\n");
    check(&test("no_match: Anything below etc"), &["`Anything below etc` must not match and does"]);
    check(&test("no_match: \"*\""), &["`Anything below etc` must not match and does"]);
    check(&test("no_match: Never on"), &["`Never on` must not match and does"]);
    check(&test("match: [Anything below etc, Never on]"), &[]);
}

#[test]
fn a_rule_that_is_not_there_fails() {
    let test = "\n- test: t\n  like: a file is read\n  match: Sekret\n  no_match: [Nothing]\n";
    check(test, &["there is no rule `Sekret`", "there is no rule `Nothing`"]);
}

#[test]
fn an_output_that_differs_is_shown_beside_the_expected_one() {
    let test = "
- test: t
  like: a file is read
  fields: { fd.name: /etc/shadow, user.name: ~ }
  match: [Secret read]
  output: cat read /etc/shadow (parent=zsh user=<NA>)
";
    let expected = "`Secret read` says something else
  expected: cat read /etc/shadow (parent=zsh user=<NA>)
  found:    cat read /etc/shadow (parent=bash user=<NA>)
                                         ^";
    check(test, &[expected]);
}

#[test]
fn an_output_of_several_lines_is_compared_and_shown_as_it_is_printed() {
    let test = |output: &str| {
        let fields = "{ fd.name: /tmp/x }";
        format!("\n- test: t\n  like: a file is read\n  fields: {fields}\n  match: [Lines]\n  output: {output}\n")
    };
    check(&test("|\n    cat read\n    /tmp/x"), &[]);
    check(&test(r"cat read\n/tmp/x"), &[]);
    let expected = r"`Lines` says something else
  expected: cat read\n/tmp/y
  found:    cat read\n/tmp/x
                           ^";
    check(&test("|\n    cat read\n    /tmp/y"), &[expected]);
}

#[test]
fn an_event_may_be_a_recorded_one() {
    let test = "
- test: t
  record: { file: recorded.ndjson, num: 2 }
  fields: { fd.name: /etc/shadow }
  match: [Secret read]
";
    let folder = folder(test);
    let recorded = r#"{"num":1,"fields":{}}
{"num":2,"fields":{"evt.type":"openat","evt.is_open_read":true,"fd.name":"/tmp/x","proc.name":"cat","unknown":1}}
"#;
    fs::write(folder.path().join("tests/recorded.ndjson"), recorded).unwrap();
    let rules = crate::rules::load(&[folder.path().to_owned()], &SensorCatalog).unwrap();
    let suite = load(folder.path()).unwrap();
    assert_eq!(suite.run(&rules)[0].failures, []);
}

#[test]
fn a_record_that_is_not_there_is_told() {
    refused("- test: t\n  record: { file: no.ndjson, num: 1 }\n  match: R\n", "2:11", "no.ndjson: No such file");
    refused("- test: t\n  record: { file: all.yaml, num: 1 }\n  match: R\n", "2:11", "all.yaml:1: not an event");
    refused("- test: t\n  record: { file: x }\n  match: R\n", "2:11", "expected `{ file: events.ndjson, num: 3 }`");
    refused("- test: t\n  record: x\n  match: R\n", "2:11", "expected `{ file: events.ndjson, num: 3 }`");
    refused("- test: t\n  like: x\n  record: { file: x, num: 1 }\n  match: R\n", "2:9", "`like` or `record`, not both");
}

#[test]
fn a_recorded_value_that_its_field_cannot_have_is_refused() {
    let folder = folder("- test: t\n  record: { file: recorded.ndjson, num: 1 }\n  match: R\n");
    fs::write(folder.path().join("tests/recorded.ndjson"), r#"{"num":1,"fields":{"fd.num":true}}"#).unwrap();
    let problem = load(folder.path()).unwrap_err().remove(0);
    let expected = "recorded.ndjson:1: field `fd.num`: expected a whole number, found true";
    assert!(problem.message.ends_with(expected), "{problem}");
}

#[test]
fn a_test_that_cannot_be_used_is_told_with_its_place() {
    refused("- test: t\n  fields: { evt.type: openat }\n", "1:9", "expects nothing");
    refused("- test: t\n  match: [R]\n  lik: x\n", "3:3", "unknown key `lik`, expected one of event, test, like");
    refused("- test: t\n  match: [R]\n  match: [S]\n", "3:3", "twice");
    refused("- test: t\n  like: nobody\n  match: [R]\n", "2:9", "no event or test before this one is called `nobody`");
    refused("- test: t\n  fields: { fd.nmae: x }\n  match: [R]\n", "2:13", "unknown field `fd.nmae`");
    refused("- test: t\n  fields: { fd.num: x }\n  match: [R]\n", "2:21", "expected a whole number, found \"x\"");
    refused("- test: t\n  fields: { evt.type: opn }\n  match: [R]\n", "2:23", "no event has the type `opn`");
    refused("- test: t\n  fields: { fd.name: { a: b } }\n  match: [R]\n", "2:22", "found a map");
    refused("- test: t\n  fields: [a]\n  match: [R]\n", "2:11", "expected fields");
    refused("- test: t\n  no_match: [R]\n  output: x\n", "3:11", "`match`, which is empty");
    refused("- event: e\n  match: [R]\n", "1:3", "`match` is for tests");
    refused("- event: e\n- event: e\n", "2:10", "of this name already");
    refused("- like: e\n", "1:3", "expected either `test: …` or `event: …`");
    refused("- x\n", "1:3", "expected a test");
    refused("a: b\n", "1:1", "expected a sequence of tests");
    refused("- [\n", "2:1", "not YAML");
}

#[test]
fn a_folder_without_tests_is_refused() {
    refused("", "0:0", "no tests here");
    refused(EVENT, "0:0", "no tests here");
    let folder = tempfile::tempdir().unwrap();
    assert!(load(folder.path()).unwrap_err()[0].message.contains("cannot list the folder"));
}

#[test]
fn all_problems_are_told_at_once() {
    let problems = load(folder("- test: a\n- test: b\n").path()).unwrap_err();
    assert_eq!(problems.len(), 2);
}
