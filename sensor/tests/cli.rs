//! The command line from outside: exit codes, and what is said to whom.

#![expect(clippy::unwrap_used, reason = "a helper that cannot start the program has failed, and so has its test")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const BAD_CONFIGURATION: i32 = 64;

const GOOD_RULE: &str = "
- rule: Shadow read
  desc: d
  condition: evt.type = openat and fd.name = /etc/shadow
  output: read %fd.name
  priority: WARNING
";

/// Runs the binary without the environment's settings.
fn sensor(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercel-sensor"));
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("TERCEL_SENSOR")) {
        command.env_remove(key);
    }
    command.args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn shipped_rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules")
}

#[test]
fn a_missing_rule_file_is_bad_configuration_and_named() {
    let output = sensor(&["run", "--rules", "/nonexistent/rules.yaml"]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(stderr(&output).contains("/nonexistent/rules.yaml: cannot read the rule file"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_broken_rule_is_told_with_line_and_column_before_anything_starts() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", &GOOD_RULE.replace("fd.name = ", "fd.nmae = "));
    let output = sensor(&["run", "--rules", &rules]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(stderr(&output).contains(&format!("{rules}:4:36: rule `Shadow read`:")), "{}", stderr(&output));
    assert!(stderr(&output).contains("error: a problem in the rules"));
}

#[test]
fn a_broken_output_is_told_with_line_and_column_too() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", &GOOD_RULE.replace("%fd.name", "%fd.nmae"));
    let output = sensor(&["check", "--rules", &rules]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(stdout(&output).starts_with(&format!("{rules}:5:16: rule `Shadow read`: output: unknown field `fd.nmae`")));
}

#[test]
fn check_tells_programs_in_json() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", &GOOD_RULE.replace("WARNING", "LOUD"));
    let output = sensor(&["check", "--json", "--rules", &rules]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert_eq!((&report["ok"], &report["problems"][0]["line"]), (&false.into(), &6.into()));
    assert_eq!(report["problems"][0]["file"], rules);
}

#[test]
fn the_shipped_rules_are_in_order() {
    let rules = shipped_rules();
    let output = sensor(&["check", "--rules", rules.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let output = sensor(&["rules", "--rules", rules.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).lines().count() >= 8);
}

#[test]
fn an_unknown_output_is_bad_usage_and_names_the_known_ones() {
    let output = sensor(&["run", "--output", "kafka://broker"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("unknown output `kafka://broker`; use `stdout`"), "{}", stderr(&output));
}

#[test]
fn an_unknown_flag_or_command_is_bad_usage() {
    for arguments in [&["run", "--rulez", "x"][..], &["walk"], &[]] {
        assert_eq!(sensor(arguments).status.code(), Some(2), "{arguments:?}");
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
fn a_configuration_file_that_is_not_there_is_bad_configuration() {
    let output = sensor(&["check", "--config", "/nonexistent/sensor.toml"]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(stderr(&output).contains("/nonexistent/sensor.toml"), "{}", stderr(&output));
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

#[test]
fn the_committed_field_reference_is_the_generated_one() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fields.md");
    let output = sensor(&["fields"]);
    assert_eq!(output.status.code(), Some(0));
    let committed = std::fs::read_to_string(committed).unwrap();
    assert!(committed == stdout(&output), "docs/fields.md is out of date: run `cargo xtask docs`");
}
