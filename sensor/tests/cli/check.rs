//! `check`: what is wrong with rule files, for people and for programs.

use std::path::Path;

use super::{BAD_CONFIGURATION, Folder, GOOD_RULE, sensor, shipped_rules, stderr, stdout};

#[test]
fn good_files_are_counted() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", GOOD_RULE);
    for arguments in [&["check", &rules][..], &["check", "--rules", &rules], &["check", "--strict", &rules]] {
        let output = sensor(arguments);
        let expected = format!("{rules}: Ok\n1 rules, 0 macros, 0 lists; 0 errors, 0 warnings\n");
        assert_eq!((output.status.code(), stdout(&output)), (Some(0), &*expected));
    }
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let folder = Folder::new();
    let first = folder.file("a.yaml", &GOOD_RULE.replace("%fd.name", "%fd.nmae"));
    let second = folder.file("b.yaml", &GOOD_RULE.replace("fd.name = ", "fd.nmae = ").replace("Shadow", "Other"));
    let output = sensor(&["check", &first, &second]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    for line in [
        format!("{first}: Invalid\n"),
        format!("{first}:5:16: error LOAD_ERR_COMPILE_OUTPUT: rule `Shadow read`: unknown field `fd.nmae`"),
        format!("{second}:4:36: error LOAD_ERR_COMPILE_CONDITION: rule `Other read`: unknown field `fd.nmae`"),
        "; 2 errors, 0 warnings\n".to_owned(),
    ] {
        assert!(stdout(&output).contains(&line), "{line}\n{}", stdout(&output));
    }
}

#[test]
fn warnings_fail_only_where_that_is_asked_for() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", &format!("- list: unused\n  items: [a]\n{GOOD_RULE}"));
    let output = sensor(&["check", &rules]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).starts_with(&format!("{rules}: Ok, with warnings\n{rules}:1:")), "{}", stdout(&output));
    assert!(stdout(&output).contains("warning LOAD_UNUSED_LIST"), "{}", stdout(&output));
    assert_eq!(sensor(&["check", "--strict", &rules]).status.code(), Some(BAD_CONFIGURATION));
}

#[test]
fn programs_are_told_in_falco_s_json() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", &GOOD_RULE.replace("WARNING", "LOUD"));
    let output = sensor(&["check", "--json", &rules]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &report["falco_load_results"][0];
    assert_eq!((&result["name"], &result["successful"]), (&rules.clone().into(), &false.into()));
    let error = &result["errors"][0];
    assert_eq!(error["code"], "LOAD_ERR_YAML_VALIDATE");
    let locations = error["context"]["locations"].as_array().unwrap();
    // Falco counts lines from 0.
    assert_eq!(locations.last().unwrap()["position"]["line"], 5);
    assert_eq!(locations.last().unwrap()["position"]["name"], rules);
}

#[test]
fn the_shipped_rules_are_in_order() {
    let output = sensor(&["check", "--strict", shipped_rules().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}

#[test]
fn upstream_s_stable_rules_are_in_order() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/falco-rules/falco_rules.yaml");
    if !rules.exists() {
        eprintln!("SKIPPED: {} is not here", rules.display());
        return;
    }
    let output = sensor(&["check", rules.to_str().unwrap()]);
    let expected = "25 rules, 87 macros, 49 lists; 0 errors, 0 warnings\n";
    assert!(output.status.success() && stdout(&output).ends_with(expected), "{}", stdout(&output));
}

#[test]
fn a_configuration_file_that_is_not_there_is_bad_configuration() {
    let output = sensor(&["check", "--config", "/nonexistent/sensor.toml"]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert!(stderr(&output).contains("/nonexistent/sensor.toml"), "{}", stderr(&output));
}
