//! What `run` says before it watches.

use std::net::TcpListener;

use super::{BAD_CONFIGURATION, Folder, GOOD_RULE, sensor, stderr};

#[test]
fn a_missing_rule_file_is_bad_configuration_and_named() {
    let output = sensor(&["run", "--rules", "/nonexistent/rules.yaml"]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(
        stderr(&output).contains("/nonexistent/rules.yaml: error LOAD_ERR_FILE_READ: cannot read the file"),
        "{}",
        stderr(&output)
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn a_broken_rule_is_told_with_line_and_column_before_anything_starts() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", &GOOD_RULE.replace("fd.name = ", "fd.nmae = "));
    let output = sensor(&["run", "--rules", &rules]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(
        stderr(&output).contains(&format!("{rules}:4:36: error LOAD_ERR_COMPILE_CONDITION: rule `Shadow read`:")),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("error: a problem in the rules"));
}

#[test]
fn an_unknown_output_is_bad_usage_and_names_the_known_ones() {
    let output = sensor(&["run", "--output", "kafka://broker"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("unknown output `kafka://broker`; use `stdout`"), "{}", stderr(&output));
}

#[test]
fn a_flag_with_a_value_that_is_none_is_bad_usage_and_names_the_known_ones() {
    for (flag, value, message) in [
        ("--rule-matching", "some", "unknown rule matching `some`, expected first or all"),
        ("--priority", "loud", "unknown priority `loud`, expected one of emergency, alert, critical"),
    ] {
        let output = sensor(&["run", flag, value]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    }
}

#[test]
fn a_misspelt_key_is_bad_configuration_and_names_the_known_ones() {
    let folder = Folder::new();
    let file = folder.file("sensor.toml", "outptu = \"stdout\"\n");
    let output = sensor(&["run", "--config", &file]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(
        stderr(&output).contains(&file) && stderr(&output).contains("unknown field `outptu`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_log_level_that_is_none_is_bad_configuration() {
    let folder = Folder::new();
    let file = folder.file("sensor.toml", "log = \"tercel_sensor=loud\"\n");
    let output = sensor(&["run", "--config", &file]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(stderr(&output).contains("log `tercel_sensor=loud`; use a level"), "{}", stderr(&output));
}

#[test]
fn a_port_in_use_is_a_failure_that_says_what_would_do() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", GOOD_RULE);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = sensor(&["run", "--rules", &rules, "--metrics", &address]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("error: cannot serve metrics on {address}; another one with --metrics ADDRESS: ");
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
}

#[test]
fn a_token_file_that_cannot_be_read_is_named_and_its_text_never_shown() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", GOOD_RULE);
    let output = sensor(&["run", "--rules", &rules, "--token-file", "/nonexistent/token"]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(stderr(&output).contains("cannot read the token file /nonexistent/token"), "{}", stderr(&output));

    let token = folder.file("token", "s3cr\net");
    let output = sensor(&["run", "--rules", &rules, "--token-file", &token]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(stderr(&output).contains(&token) && !stderr(&output).contains("s3cr"), "{}", stderr(&output));
}
