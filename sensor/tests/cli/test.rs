//! `test`: unit tests of rules.

use super::{BAD_CONFIGURATION, Folder, GOOD_RULE, sensor, stderr, stdout};

const TESTS: &str = r#"
- event: a file is opened
  fields: { evt.type: openat, fd.name: /etc/hosts, proc.name: cat }
- test: reading the shadow file
  like: a file is opened
  fields: { fd.name: /etc/shadow }
  match: [Shadow read]
  output: read /etc/shadow
- test: reading another
  like: a file is opened
  no_match: "*"
"#;

/// A folder with a rule and tests for it; its path.
fn folder(tests: &str) -> (Folder, String) {
    let folder = Folder::new();
    folder.file("rules.yaml", GOOD_RULE);
    std::fs::create_dir(folder.0.path().join("tests")).unwrap();
    folder.file("tests/all.yaml", tests);
    let path = folder.0.path().to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn tests_that_pass_are_listed_and_counted() {
    let (_folder, path) = folder(TESTS);
    let output = sensor(&["test", &path]);
    let expected = format!(
        "ok     {path}/tests/all.yaml:4 reading the shadow file\nok     {path}/tests/all.yaml:9 reading another\n2 tests, 0 \
         failed\n"
    );
    assert_eq!((output.status.code(), stdout(&output), stderr(&output)), (Some(0), &*expected, ""));
}

#[test]
fn a_test_that_fails_says_what_differs() {
    let tests = TESTS
        .replace("output: read /etc/shadow", "output: read /etc/passwd")
        .replace("no_match: \"*\"", "match: Shadow read");
    let (_folder, path) = folder(&tests);
    let output = sensor(&["test", &path]);
    let expected = format!(
        "FAILED {path}/tests/all.yaml:4 reading the shadow file
         `Shadow read` says something else
           expected: read /etc/passwd
           found:    read /etc/shadow
                               ^
FAILED {path}/tests/all.yaml:9 reading another
         `Shadow read` must match and does not: `fd.name = /etc/shadow` is false
2 tests, 2 failed
"
    );
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), &*expected));

    let output = sensor(&["test", "--json", &path]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((&report["passed"], &report["failed"]), (&0.into(), &2.into()));
    let first = &report["tests"][0];
    assert_eq!(
        (&first["line"], &first["passed"], &first["matched"][0]),
        (&4.into(), &false.into(), &"Shadow read".into())
    );
}

#[test]
fn tests_or_rules_that_cannot_be_read_are_bad_configuration() {
    let check = |tests: &str, rule: &str, message: &str| {
        let (folder, path) = folder(tests);
        folder.file("rules.yaml", rule);
        let output = sensor(&["test", &path]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(BAD_CONFIGURATION), ""));
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    };
    check(
        &TESTS.replace("like: a file", "like: a folder"),
        GOOD_RULE,
        "tests/all.yaml:5:9: no event or test before this one",
    );
    check("- test: nothing\n", GOOD_RULE, "tests/all.yaml:1:9: a test needs `match` or `no_match`");
    check("", GOOD_RULE, "tests: no tests here");
    check(TESTS, &GOOD_RULE.replace("WARNING", "LOUD"), "rules.yaml:6:");
    check(&format!("- test: deep\n  fields: {}", "[".repeat(10_000)), GOOD_RULE, "tests/all.yaml:2:");
    assert_eq!(sensor(&["test", "/nonexistent"]).status.code(), Some(BAD_CONFIGURATION));
    assert_eq!(sensor(&["test"]).status.code(), Some(2));
}
