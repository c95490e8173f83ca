//! What `record` says before it records.

use super::{BAD_CONFIGURATION, Folder, GOOD_RULE, sensor, stderr, stdout};

#[test]
fn what_contradicts_itself_is_bad_usage() {
    for (arguments, message) in [
        (&["--all", "--rules", "x"][..], "cannot be used with"),
        (&["--with-data"], "--all"),
        (&["--seconds", "0"], "0 is not in 1.."),
        (&["--max-bytes", "0"], "0 is not in 1.."),
        (&["--seconds", "soon"], "invalid value 'soon'"),
        (&["cat", "/etc/shadow"], "unexpected argument 'cat'"),
    ] {
        let output = sensor(&[&["record"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    }
}

#[test]
fn rules_that_cannot_be_used_are_bad_configuration_and_leave_no_file_behind() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", &GOOD_RULE.replace("fd.name = ", "fd.nmae = "));
    let recording = folder.0.path().join("records");
    let output = sensor(&["record", "--rules", &rules, "--output", recording.to_str().unwrap(), "--", "true"]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(
        stderr(&output).contains(&format!("{rules}:4:36: error LOAD_ERR_COMPILE_CONDITION")),
        "{}",
        stderr(&output)
    );
    assert!(!recording.exists());
}

#[test]
fn the_help_says_what_is_redacted_and_how_a_command_is_given() {
    let output = sensor(&["record", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    for said in ["-- <COMMAND>...", "--with-environment", "they hold secrets", "[default: 268435456]", "only its owner"]
    {
        assert!(stdout(&output).contains(said), "{said}: {}", stdout(&output));
    }
}
