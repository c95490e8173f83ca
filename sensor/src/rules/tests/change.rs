//! Items that change earlier ones: `append`, `override`, redefinition, switches.

use super::*;

const RULE: &str = "
- rule: r
  desc: first
  condition: proc.name = cat
  output: one
  priority: info
  tags: [a]
  warn_evttypes: false
  exceptions:
  - name: e
    fields: [proc.pname]
    values: [[sh]]
";

/// What the rule is after an item with these lines.
fn changed(lines: &str) -> Rule {
    loaded(&[RULE, &format!("- rule: r\n{lines}")]).rules.remove(0)
}

fn condition(rule: &Rule) -> String {
    rule.expr.to_string()
}

#[test]
fn each_key_is_replaced() {
    let replaced = |line: &str, key: &str| changed(&format!("  {line}\n  override:\n    {key}: replace\n"));
    assert_eq!(condition(&replaced("condition: fd.name = x", "condition")), "(fd.name = x and not proc.pname = sh)");
    assert_eq!(&*replaced("output: two", "output").output, "two");
    assert_eq!(replaced("desc: second", "desc").description, "second");
    assert_eq!(replaced("priority: ERROR", "priority").priority, Priority::Error);
    assert_eq!(replaced("tags: [b]", "tags").tags, BTreeSet::from(["b".to_owned()]));
    assert!(!replaced("enabled: false", "enabled").enabled);
    assert_eq!(condition(&replaced("exceptions: []", "exceptions")), "proc.name = cat");
    for line in ["capture: true", "capture_duration: 10", "skip-if-unknown-filter: true"] {
        replaced(line, line.split_once(':').unwrap().0);
    }
    let warned = "- rule: r\n  warn_evttypes: true\n  override:\n    warn_evttypes: replace\n";
    check_problems(&[RULE, warned], &["a.yaml:2:3: warning LOAD_NO_EVTTYPE: rule `r`"]);
    let skipped = "- rule: r\n  skip-if-unknown-filter: true\n  condition: or nosuch.field = 1\n  override:\n    skip-if-unknown-filter: replace\n    condition: append\n";
    check_problems(&[RULE, skipped], &["b.yaml:3:17: warning LOAD_UNKNOWN_FILTER: rule `r`: unknown field"]);
}

#[test]
fn each_key_is_appended_to() {
    let appended = |line: &str, key: &str| changed(&format!("  {line}\n  override:\n    {key}: append\n"));
    let rule = appended("condition: or fd.name = x", "condition");
    assert_eq!(condition(&rule), "((proc.name = cat or fd.name = x) and not proc.pname = sh)");
    assert_eq!(&*rule.condition, "proc.name = cat or fd.name = x");
    assert_eq!(&*appended("output: two", "output").output, "one two");
    assert_eq!(appended("desc: second", "desc").description, "first second");
    assert_eq!(appended("tags: [b, a]", "tags").tags.len(), 2);
    let rows = appended("exceptions: [{name: e, values: [[zsh]]}]", "exceptions");
    assert_eq!(condition(&rows), "(proc.name = cat and not (proc.pname = sh or proc.pname = zsh))");
    let new = appended("exceptions: [{name: f, fields: proc.name, values: [x]}]", "exceptions");
    assert_eq!(condition(&new), "(proc.name = cat and not proc.pname = sh and not proc.name in (x))");
}

#[test]
fn appends_come_before_replacements() {
    let rule = changed("  desc: second\n  condition: or fd.name = x\n  override: {desc: replace, condition: append}\n");
    assert_eq!((&*rule.description, &*rule.condition), ("second", "proc.name = cat or fd.name = x"));
}

#[test]
fn the_old_append_extends_condition_and_exceptions() {
    let old = "- rule: r\n  append: true\n  condition: or fd.name = x\n  exceptions: [{name: e, values: [[zsh]]}]\n";
    let set = loaded(&[RULE, old]);
    assert_eq!(
        condition(&set.rules[0]),
        "((proc.name = cat or fd.name = x) and not (proc.pname = sh or proc.pname = zsh))"
    );
    check_problems(&[RULE, old], &["b.yaml:1:3: warning LOAD_DEPRECATED_ITEM: rule `r`: `append: true` is deprecated"]);
    assert!(loaded(&[RULE, "- rule: r\n  enabled: no\n"]).rules.iter().all(|rule| !rule.enabled));
}

#[test]
fn lists_and_macros_are_extended_and_replaced() {
    let base = "- list: l\n  items: [a]\n- macro: m\n  condition: proc.name in (l)\n";
    let all = |more: &str| compiled(&[base, more, &rule("m", "")]);
    assert_eq!(all(""), "proc.name in (a)");
    assert_eq!(all("- list: l\n  items: [b]\n  override: {items: append}\n"), "proc.name in (a, b)");
    assert_eq!(all("- list: l\n  items: [b]\n  override: {items: replace}\n"), "proc.name in (b)");
    assert_eq!(all("- list: l\n  items: [b]\n  append: true\n"), "proc.name in (a, b)");
    assert_eq!(all("- list: l\n  items: [b]\n"), "proc.name in (b)");
    assert_eq!(
        all("- macro: m\n  condition: or proc.pid = 1\n  override: {condition: append}\n"),
        "(proc.name in (a) or proc.pid = 1)"
    );
    assert_eq!(all("- macro: m\n  condition: or proc.pid = 1\n  append: true\n"), "(proc.name in (a) or proc.pid = 1)");
    // The list is then used by nothing, which is worth a warning and no more.
    assert_eq!(all("- macro: m\n  condition: proc.pid = 1\n  override: {condition: replace}\n"), "proc.pid = 1");
    assert_eq!(all("- macro: m\n  condition: proc.pid = 1\n"), "proc.pid = 1");
}

#[test]
fn a_change_that_cannot_be_made_says_why() {
    let b = "b.yaml:1:3: error LOAD_ERR_VALIDATE:";
    let table: &[(&str, &[&str])] = &[
        (
            "- rule: s\n  enabled: true\n  override: {enabled: replace}\n",
            &[&format!("{b} rule `s`: there is no earlier rule `s` to change")],
        ),
        (
            "- rule: s\n  condition: x\n  override: {condition: append}\n",
            &[&format!("{b} rule `s`: there is no earlier rule `s`")],
        ),
        (
            "- list: s\n  items: []\n  override: {items: append}\n",
            &[&format!("{b} list `s`: there is no earlier list `s`")],
        ),
        (
            "- macro: s\n  condition: x\n  override: {condition: append}\n",
            &[&format!("{b} macro `s`: there is no earlier macro `s`")],
        ),
        (
            "- rule: r\n  desc: d\n  output: o\n  priority: info\n  condition: proc.pid = 1\n  source: other\n",
            &[&format!("{b} rule `r`: the rule is there with another source, `syscall`")],
        ),
        (
            "- rule: r\n  append: true\n  output: o\n",
            &[
                &format!("{b} rule `r`: `append: true` needs a `condition` or `exceptions`"),
                "b.yaml:1:3: warning LOAD_DEPRECATED_ITEM: ",
            ],
        ),
        (
            "- rule: r\n  append: true\n  output: o\n  override: {output: append}\n",
            &[
                "b.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: rule `r`: `override` and `append: true` exclude each other",
                "b.yaml:1:3: warning LOAD_DEPRECATED_ITEM: ",
            ],
        ),
        (
            "- rule: r\n  priority: info\n  override: {priority: append}\n",
            &[
                "b.yaml:3:14: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `priority` cannot be appended to; write `replace`",
            ],
        ),
        (
            "- rule: r\n  source: x\n  override: {source: replace}\n",
            &["b.yaml:3:14: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `source` cannot be overridden"],
        ),
        (
            "- rule: r\n  desc: x\n  override: {desc: erase}\n",
            &[
                "b.yaml:3:14: error LOAD_ERR_YAML_VALIDATE: rule `r`: expected append or replace for `desc`, found `erase`",
            ],
        ),
        (
            "- rule: r\n  desc: x\n  override: {desc: replace, output: append}\n",
            &[
                "b.yaml:3:29: error LOAD_ERR_YAML_VALIDATE: rule `r`: `override` names `output`, but the item has no such key",
            ],
        ),
        (
            "- rule: r\n  desc: x\n  output: y\n  override: {desc: replace}\n",
            &[
                "b.yaml:3:11: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `output` has no entry under `override`; write `output: replace` there",
            ],
        ),
        (
            "- rule: r\n  desc: x\n  override: all\n",
            &["b.yaml:3:13: error LOAD_ERR_YAML_VALIDATE: rule `r`: expected keys with `append` or `replace`"],
        ),
        (
            "- list: l\n  items: []\n  override: {list: append}\n",
            &[
                "b.yaml:3:14: error LOAD_ERR_YAML_VALIDATE: list `l`: the key `list` cannot be overridden, those that can are items",
            ],
        ),
    ];
    for (file, expected) in table {
        check_problems(&[RULE, file], expected);
    }
}

#[test]
fn an_error_in_appended_text_is_found_in_the_file_that_appended_it() {
    let append =
        "- rule: r\n  condition: >\n    and fd.name = x\n    and nosuch.field = 1\n  override: {condition: append}\n";
    check_problems(
        &[RULE, append],
        &["b.yaml:4:9: error LOAD_ERR_COMPILE_CONDITION: rule `r`: unknown field `nosuch.field`"],
    );
    let found = &problems(&[RULE, append])[0];
    assert!(found.ends_with("\n      and nosuch.field = 1\n          ^^^^^^^^^^^^"), "{found}");
    let output = "- rule: r\n  output: now %nosuch.field\n  override: {output: append}\n";
    check_problems(&[RULE, output], &["b.yaml:2:15: error LOAD_ERR_COMPILE_OUTPUT: rule `r`: "]);
    let unfinished = "- rule: r\n  condition: and\n  override: {condition: append}\n";
    check_problems(&[RULE, unfinished], &["b.yaml:2:17: error LOAD_ERR_COMPILE_CONDITION: rule `r`: "]);
}

#[test]
fn a_definition_keeps_its_place_and_sees_what_was_defined_before_its_last_word() {
    let rule = |name: &str, condition: &str| rule(condition, "").replace("rule: r", &format!("rule: {name}"));
    let set = loaded(&[&(rule("one", "proc.pid = 1") + &rule("two", "proc.pid = 2")), &rule("one", "proc.pid = 3")]);
    let conditions: Vec<_> = set.rules.iter().map(|rule| format!("{} {}", rule.name, rule.expr)).collect();
    assert_eq!(conditions, ["one proc.pid = 3", "two proc.pid = 2"]);
    // `a` names `b`, which is defined later, and may: its last word is later still.
    let macros =
        "- macro: a\n  condition: proc.pid = 1\n- macro: b\n  condition: proc.pid = 2\n- macro: a\n  condition: b\n";
    assert_eq!(compiled(&[macros, &rule("r", "a")]), "proc.pid = 2");
    let appended = "- macro: a\n  condition: proc.pid = 1\n- macro: b\n  condition: proc.pid = 2\n- macro: a\n  condition: or b\n  append: true\n";
    assert_eq!(compiled(&[appended, &rule("r", "a")]), "(proc.pid = 1 or proc.pid = 2)");
    // A later definition counts for the rules of all files.
    assert_eq!(
        compiled(&["- list: l\n  items: [a]\n", &rule("r", "proc.name in (l)"), "- list: l\n  items: [b]\n"]),
        "proc.name in (b)"
    );
}
