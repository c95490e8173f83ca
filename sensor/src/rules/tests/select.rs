//! Rules switched on and off by the settings.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Settings {
    rules: Vec<Selection>,
}

/// Of `net in` (tag `network`), `net out` (disabled, tags `network` and `host`) and `file` (tag `host`), those in force.
#[track_caller]
fn check(settings: &str, expected: &[&str]) {
    let rule = |name: &str, more: &str| rule("proc.pid = 1", more).replace("rule: r", &format!("rule: {name}"));
    let files = [
        rule("net in", "  tags: [network]\n"),
        rule("net out", "  tags: [network, host]\n  enabled: false\n"),
        rule("file", "  tags: [host]\n").replace("info", "error"),
    ];
    let mut set = loaded(&[&files.concat()]);
    let Settings { rules } = toml::from_str(&format!("rules = [{settings}]")).unwrap();
    assert!(set.select(&rules).is_empty());
    let enabled = set.rules.iter().filter(|rule| rule.enabled);
    assert_eq!(enabled.map(|rule| rule.name.as_str()).collect::<Vec<_>>(), expected, "{settings}");
}

#[test]
fn selections_are_done_one_after_the_other() {
    check("", &["net in", "file"]);
    check("{ disable = { rule = '*' } }", &[]);
    check("{ disable = { rule = 'net*' } }", &["file"]);
    check("{ enable = { tag = 'network' } }", &["net in", "net out", "file"]);
    check("{ disable = { tag = 'host' } }", &["net in"]);
    check(
        "{ disable = { rule = '*' } }, { enable = { tag = 'network' } }, { disable = { rule = '* out' } }",
        &["net in"],
    );
    check("{ disable = { rule = 'f*l*e' } }, { disable = { rule = 'n*t i*' } }", &[]);
    check("{ enable = { rule = 'net out' } }", &["net in", "net out", "file"]);
}

#[test]
fn a_selection_of_no_rule_is_told() {
    let mut set = loaded(&[&rule("proc.pid = 1", "")]);
    let selection = |pattern: &str| Selection::Disable(Selector::Rule(pattern.to_owned()));
    let idle = [selection("x*"), selection("R"), selection("rr"), selection("r*r"), selection("")];
    assert_eq!(set.select(&idle).len(), idle.len());
    assert_eq!(set.select(&[selection("r")]).len(), 0);
    assert!(!set.rules[0].enabled);
}

#[test]
fn a_selector_is_one_rule_or_one_tag() {
    for settings in ["{ enable = { name = 'x' } }", "{ enable = {} }", "{ toggle = { rule = 'x' } }"] {
        assert!(toml::from_str::<Settings>(&format!("rules = [{settings}]")).is_err(), "{settings}");
    }
}

#[test]
fn rules_below_the_priority_are_off_whatever_was_selected() {
    let mut set = loaded(&[&rule("proc.pid = 1", "")]);
    set.require_priority(Priority::Informational);
    assert!(set.rules[0].enabled);
    set.require_priority(Priority::Notice);
    assert!(!set.rules[0].enabled);
}
