//! `eval`: conditions and rules asked about events that a file holds.

use super::{BAD_CONFIGURATION, Folder, GOOD_RULE, sensor, sensor_reading, stderr, stdout};

/// Bad usage, or input that cannot be read.
const UNREADABLE: i32 = 2;

const EVENTS: &str = r#"{"num":1,"fields":{"evt.type":"openat","fd.num":3,"fd.name":"/etc/shadow","proc.name":"cat"}}
{"num":2,"fields":{"evt.type":"execve","proc.name":"ls","proc.aname":["bash","sshd"]}}
{"num":9,"fields":{"evt.type":"openat","fd.name":"/etc/hosts","proc.name":"cat"}}
"#;

const CONDITIONS: [&str; 4] =
    ["proc.name = cat", "proc.aname = sshd", "fd.nmae = x", "evt.type = openat and\n fd.nmae = x"];

const ANSWERS: &str = r#"{"filter":"proc.name = cat","nums":[1,9]}
{"filter":"proc.aname = sshd","nums":[2]}
{"filter":"fd.nmae = x","error":"1:1: unknown field `fd.nmae`; did you mean `fd.name`?"}
{"filter":"evt.type = openat and\n fd.nmae = x","error":"2:2: unknown field `fd.nmae`; did you mean `fd.name`?"}
"#;

#[test]
fn each_condition_is_answered_in_order_and_errors_do_not_fail() {
    let folder = Folder::new();
    let events = folder.file("events.ndjson", EVENTS);
    for output in [
        sensor(&[&["eval", "--fields", &events][..], &CONDITIONS].concat()),
        sensor_reading(&[&["eval", "--fields", "-"][..], &CONDITIONS].concat(), EVENTS),
    ] {
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
        assert_eq!(stdout(&output), ANSWERS);
    }
}

#[test]
fn each_rule_of_the_files_is_answered_disabled_ones_too_and_after_the_conditions() {
    let folder = Folder::new();
    let first = folder.file("a.yaml", GOOD_RULE);
    let second =
        folder.file("b.yaml", &GOOD_RULE.replace("Shadow read", "Off").replace("WARNING", "INFO\n  enabled: false"));
    let output = sensor_reading(&["eval", "--fields", "-", "proc.name = ls", "--rules", &first, &second], EVENTS);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let expected = [
        r#"{"filter":"proc.name = ls","nums":[2]}"#,
        r#"{"rule":"Shadow read","nums":[1]}"#,
        r#"{"rule":"Off","nums":[1]}"#,
    ];
    assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_rule_that_does_not_compile_has_its_error_in_its_place() {
    let folder = Folder::new();
    let bad = GOOD_RULE.replace("fd.name = ", "fd.nmae = ").replacen("- rule: ", "- rule: Bad ", 1);
    let rules = folder.file("rules.yaml", &format!("{bad}{GOOD_RULE}"));
    let output = sensor_reading(&["eval", "--fields", "-", "--rules", &rules], EVENTS);
    let lines: Vec<_> = stdout(&output).lines().collect();
    assert_eq!((output.status.code(), lines.len()), (Some(0), 2), "{}", stdout(&output));
    assert!(lines[0].starts_with("{\"rule\":\"Bad ") && lines[0].contains("\"error\":\"4:36: unknown field `fd.nmae`"));
    assert!(lines[1].contains("\"nums\":["), "{}", lines[1]);
}

#[test]
fn rule_files_that_say_nothing_are_bad_configuration_and_missing_ones_bad_input() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", "- rule: [\n");
    let output = sensor_reading(&["eval", "--fields", "-", "--rules", &rules], EVENTS);
    assert_eq!((output.status.code(), stdout(&output)), (Some(BAD_CONFIGURATION), ""));
    assert!(stderr(&output).contains(&format!("{rules}:2:1: ")), "{}", stderr(&output));
    let output = sensor_reading(&["eval", "--fields", "-", "--rules", "/nonexistent"], EVENTS);
    assert_eq!((output.status.code(), stdout(&output)), (Some(UNREADABLE), ""));
}

#[test]
fn values_of_unknown_fields_are_left_out_with_a_warning() {
    let events = r#"{"num":1,"fields":{"no.such":1,"proc.name":"cat"}}"#;
    let output = sensor_reading(&["eval", "--fields", "-", "proc.name = cat"], events);
    assert_eq!(stdout(&output), "{\"filter\":\"proc.name = cat\",\"nums\":[1]}\n");
    assert_eq!(stderr(&output), "warning: 1 values of unknown fields were left out: `no.such`\n");
}

#[test]
fn values_that_their_field_cannot_have_are_left_out_with_a_warning_for_each_field() {
    let events = "\u{feff}{\"num\":1,\"fields\":{\"proc.name\":\"cat\"}}
{\"num\":2,\"fields\":{\"fd.num\":true,\"fd.sip\":\"zz\",\"proc.name\":\"cat\"}}
{\"num\":3,\"fields\":{\"fd.num\":3.7}}
";
    let output = sensor_reading(&["eval", "--fields", "-", "proc.name = cat", "fd.num exists"], events);
    let answers = "{\"filter\":\"proc.name = cat\",\"nums\":[1,2]}\n{\"filter\":\"fd.num exists\",\"nums\":[]}\n";
    let warnings = "warning: 2 values of `fd.num` were left out, the first at standard input:2: field `fd.num`: expected a \
                    whole number, found true\nwarning: 1 values of `fd.sip` were left out, the first at standard input:2: \
                    field `fd.sip`: expected an IP address, found \"zz\"\n";
    assert_eq!((output.status.code(), stdout(&output), stderr(&output)), (Some(0), answers, warnings));
}

#[test]
fn input_that_cannot_be_read_is_named_with_its_line() {
    let folder = Folder::new();
    let check = |file: &str, message: &str| {
        let output = sensor(&["eval", "--fields", file, "proc.name = cat"]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(UNREADABLE), ""));
        assert!(stderr(&output).starts_with(&format!("error: {message}")), "{}", stderr(&output));
    };
    check("/nonexistent", "cannot read /nonexistent: ");
    check(folder.0.path().to_str().unwrap(), "cannot read ");
    let good = EVENTS.lines().next().unwrap();
    for (line, message) in [
        ("nonsense", "not an event, column 2"),
        (r#"{"fields":{}}"#, "not an event, column 13: missing field `num`"),
        (r#"{"num":"1","fields":{}}"#, "not an event, column 10: invalid type: string"),
        ("\0", "not an event, column 1"),
    ] {
        let file = folder.file("events.ndjson", &format!("{good}\n{line}\n"));
        check(&file, &format!("{file}:2: {message}"));
    }
    let file = folder.file("long.ndjson", &format!("{good}\n{}", "x".repeat(2 * 1024 * 1024)));
    check(&file, &format!("{file}:2: the line is longer than 1048576 bytes"));
}

#[test]
fn something_must_be_asked() {
    assert_eq!(sensor(&["eval", "--fields", "-"]).status.code(), Some(UNREADABLE));
}
