//! The shipped rules as a set, and their own tests in rules/tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::{folder, shipped};
use crate::rule_test::{self, Suite};
use crate::rules::{Priority, Rule, RuleSet};

/// MITRE ATT&CK's tactics that happen on a machine, as tags.
const TACTICS: [&str; 12] = [
    "mitre_initial_access",
    "mitre_execution",
    "mitre_persistence",
    "mitre_privilege_escalation",
    "mitre_defense_evasion",
    "mitre_credential_access",
    "mitre_discovery",
    "mitre_lateral_movement",
    "mitre_collection",
    "mitre_exfiltration",
    "mitre_command_and_control",
    "mitre_impact",
];

/// Whoever is woken up reads no more than this.
const SENTENCES: std::ops::RangeInclusive<usize> = 2..=4;

fn suite() -> Suite {
    rule_test::load(&folder()).unwrap_or_else(|problems| panic!("{}", problems[0]))
}

fn rule<'a>(set: &'a RuleSet, name: &str) -> &'a Rule {
    set.rules.iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule `{name}`"))
}

/// The names of the rule files, without their extension.
fn files() -> BTreeSet<String> {
    yaml_files(folder()).difference(&["lists", "macros"].map(str::to_owned).into()).cloned().collect()
}

fn yaml_files(folder: PathBuf) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned)).collect()
}

#[test]
fn every_test_of_a_rule_passes() {
    let (set, suite) = (shipped(), suite());
    let failures: Vec<_> = suite
        .run(&set)
        .into_iter()
        .flat_map(|outcome| {
            let test = outcome.test;
            outcome.failures.into_iter().map(move |failure| format!("{}: {}: {failure}", test.place, test.name))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_rule_has_an_event_that_it_matches_and_one_close_to_it_that_it_leaves_alone() {
    let suite = suite();
    for rule in shipped().rules {
        let matches = |test: &&rule_test::Test| test.matches.contains(&rule.name);
        let matching: BTreeSet<_> = suite.tests.iter().filter(matches).map(|test| test.name.as_str()).collect();
        assert!(!matching.is_empty(), "{}: no test in which it matches", rule.name);
        let mut others = suite.tests.iter().filter(|test| !matches(test));
        let is_close = |test: &rule_test::Test| test.like.as_deref().is_some_and(|like| matching.contains(like));
        assert!(others.any(is_close), "{}: no test that is like one of {matching:?} and does not match", rule.name);
    }
}

/// The first rule that matches raises the alert, so a mild one must not stand before a grave one.
#[test]
fn of_the_rules_that_match_an_event_the_first_is_the_gravest() {
    let (set, suite) = (shipped(), suite());
    for outcome in suite.run(&set) {
        let priorities: Vec<_> = outcome.matched.iter().map(|name| rule(&set, name).priority).collect();
        let gravest = priorities.iter().max();
        assert_eq!(priorities.first(), gravest, "{}: {:?}", outcome.test.name, outcome.matched);
    }
}

/// What is left out by image is not left out where no runtime tells the image.
#[test]
fn no_rule_that_needs_to_know_the_image_wakes_anybody() {
    for rule in shipped().rules {
        let needs_image = rule.expr.fields().iter().any(|field| field.starts_with("container.image"));
        assert!(!needs_image || rule.priority <= Priority::Warning, "{}", rule.name);
    }
}

#[test]
fn every_tag_is_a_tactic_a_technique_or_a_place_and_each_rule_has_all_three() {
    for rule in shipped().rules {
        let tags: Vec<_> = rule.tags.iter().map(String::as_str).collect();
        let (tactics, rest): (Vec<_>, Vec<_>) = tags.into_iter().partition(|tag| TACTICS.contains(tag));
        let (places, techniques): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|tag| ["host", "container"].contains(tag));
        assert!(!tactics.is_empty() && !places.is_empty() && !techniques.is_empty(), "{}", rule.name);
        assert!(techniques.iter().all(|tag| is_technique(tag)), "{}: {techniques:?}", rule.name);
    }
}

/// `T1059` or `T1059.004`.
fn is_technique(tag: &str) -> bool {
    let (technique, sub) = tag.split_once('.').unwrap_or((tag, "000"));
    let has_digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    technique.strip_prefix('T').is_some_and(|number| has_digits(number, 4)) && has_digits(sub, 3)
}

#[test]
fn there_are_rules_for_every_tactic() {
    let set = shipped();
    assert!(set.rules.len() >= 45, "{} rules", set.rules.len());
    for tactic in TACTICS {
        assert!(set.rules.iter().any(|rule| rule.tags.contains(tactic)), "{tactic}");
    }
}

#[test]
fn every_rule_says_what_happened_what_it_means_and_where_to_look() {
    for rule in shipped().rules {
        let description = rule.description.trim_end();
        assert!(SENTENCES.contains(&description.split(". ").count()), "{}: {description}", rule.name);
        assert!(description.ends_with('.'), "{}: {description}", rule.name);
    }
}

#[test]
fn every_file_of_rules_has_tests_and_one_of_them_shows_an_output() {
    let suite = suite();
    for file in files() {
        let mut tests =
            suite.tests.iter().filter(|test| test.place.file.file_stem().is_some_and(|stem| *stem == *file));
        assert!(tests.any(|test| test.output.is_some()), "tests/{file}.yaml");
    }
}

#[test]
fn the_kustomization_names_every_file() {
    let kustomization = fs::read_to_string(folder().join("Kustomization")).unwrap();
    for file in yaml_files(folder()) {
        assert!(kustomization.lines().any(|line| line.trim() == format!("- {file}.yaml")), "{file}.yaml");
    }
}
