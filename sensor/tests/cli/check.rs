//! `check` and `rules`.

use super::{BAD_CONFIGURATION, Folder, GOOD_RULE, sensor, shipped_rules, stderr, stdout};

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
fn a_configuration_file_that_is_not_there_is_bad_configuration() {
    let output = sensor(&["check", "--config", "/nonexistent/sensor.toml"]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(stderr(&output).contains("/nonexistent/sensor.toml"), "{}", stderr(&output));
}
