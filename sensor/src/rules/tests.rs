//! Rule files → rules and problems.

use std::fmt::Write as _;
use std::fs;

use tercel_alert::Priority;
use tercel_filter::{Catalog, Field, FieldId, Fields, Kind, Scratch, Value};

use super::*;

struct TestCatalog;

const NAMES: [&str; 2] = ["proc.name", "evt.type"];

impl Catalog for TestCatalog {
    fn field(&self, name: &str) -> Option<Field> {
        let kind = match name {
            "proc.name" => Kind::Text,
            "evt.type" => Kind::Enum { what: "event type", names: &["open", "execve"], ordered: false },
            _ => return None,
        };
        let id = FieldId(u16::from(name == "evt.type"));
        Some(Field::new(id, kind))
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(NAMES.into_iter())
    }
}

/// An `execve` by a process of this name.
struct Exec(&'static str);

impl Fields for Exec {
    fn value(&self, field: FieldId, _: Option<&str>) -> Option<Value<'_>> {
        Some(if field.0 == 0 { Value::Text(self.0.as_bytes()) } else { Value::Enum(1) })
    }
}

/// Loads files of one directory, named `a.yaml`, `b.yaml`, ….
fn load_files(files: &[&str]) -> Result<RuleSet, Vec<Problem>> {
    let directory = tempfile::tempdir().unwrap();
    for (text, name) in files.iter().zip('a'..) {
        fs::write(directory.path().join(format!("{name}.yaml")), text).unwrap();
    }
    load(&[directory.path().to_owned()], &TestCatalog)
}

#[track_caller]
fn loaded(files: &[&str]) -> RuleSet {
    load_files(files).unwrap_or_else(|problems| panic!("{}", problems[0]))
}

/// The problem as `file:line:column: message`, its directory left away.
fn printed(problem: &Problem) -> String {
    let text = problem.to_string();
    let start = text.find(".yaml").map_or(0, |end| end - 1);
    text[start..].to_owned()
}

#[track_caller]
fn check_error(file: &str, expected: &str) {
    let problems = load_files(&[file]).expect_err(expected);
    let errors: Vec<_> = problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1, "{problems:?}");
    let text = printed(errors[0]);
    assert!(text.starts_with(expected), "{text}\nexpected {expected}");
}

#[track_caller]
fn check_warning(file: &str, expected: &str) {
    let warnings = loaded(&[file]).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let text = printed(&warnings[0]);
    assert!(text.contains(expected), "{text}\nexpected {expected}");
}

const RULE: &str = "
- rule: shell
  desc: a shell
  condition: evt.type = execve and proc.name in (shells)
  output: 'shell %proc.name'
  priority: WARNING
  tags: [b, a]
- list: shells
  items: [bash]
";

#[test]
fn a_rule_is_read_and_compiled() {
    let set = loaded(&[RULE]);
    let [rule] = set.rules.as_slice() else { panic!("{set:?}") };
    assert_eq!((rule.name.as_str(), rule.priority, &*rule.output), ("shell", Priority::Warning, "shell %proc.name"));
    assert_eq!(rule.tags.iter().collect::<Vec<_>>(), ["a", "b"]);
    assert!(rule.enabled && set.warnings.is_empty());
    assert!(
        rule.filter.matches(&Exec("bash"), &mut Scratch::new())
            && !rule.filter.matches(&Exec("cat"), &mut Scratch::new())
    );
    let (place, snippet) = rule.output.locate(6..16);
    assert_eq!((place.line, place.column), (5, 18));
    assert_eq!(snippet, "    output: 'shell %proc.name'\n                   ^^^^^^^^^^");
}

#[test]
fn a_directory_is_one_set_in_the_order_of_its_file_names() {
    let second = "
- list: shells
  items: [zsh, \"'two words'\", 0x1f, yes, 1.50]
- macro: later
  condition: (evt.type = execve)
- rule: shell
  desc: d
  condition: later and proc.name in (shells)
  output: o
  priority: info
  enabled: false
";
    let set = loaded(&[RULE, second]);
    let [rule] = set.rules.as_slice() else { panic!("{set:?}") };
    assert_eq!((rule.priority, rule.enabled), (Priority::Informational, false));
    for (name, expected) in
        [("zsh", true), ("two words", true), ("0x1f", true), ("yes", true), ("1.50", true), ("bash", false)]
    {
        assert_eq!(rule.filter.matches(&Exec(name), &mut Scratch::new()), expected, "{name}");
    }
}

#[test]
fn an_error_in_a_folded_condition_is_found_in_the_file() {
    check_error(
        "
- rule: r
  desc: d
  condition: >
    evt.type = execve
      and (proc.nam = bash or
           proc.name = sh)
  output: o
  priority: info
",
        "a.yaml:6:12: rule `r`: unknown field `proc.nam`; did you mean `proc.name`?\n        and (proc.nam = bash or\n             ^^^^^^^^",
    );
}

#[test]
fn an_error_in_a_plain_or_quoted_condition_is_found_in_the_file() {
    let rule =
        |condition: &str| format!("- rule: r\n  desc: d\n  output: o\n  priority: info\n  condition: {condition}\n");
    check_error(
        &rule("evt.type = open and\n    evt.type = nosuch"),
        "a.yaml:6:16: rule `r`: unknown event type `nosuch`",
    );
    check_error(&rule("'evt.type = open and nosuch'"), "a.yaml:5:35: rule `r`: undefined macro `nosuch`");
    check_error(&rule("\"evt.type = open and nosuch\""), "a.yaml:5:35: rule `r`: undefined macro `nosuch`");
    check_error(&rule("\"evt.type = open\\tand nosuch\""), "a.yaml:5:14: rule `r`: undefined macro `nosuch`");
    check_error(
        &rule("|\n    evt.type = open and"),
        "a.yaml:6:24: rule `r`: expected a field or a macro, found the end",
    );
}

#[test]
fn a_broken_macro_is_one_problem_at_the_macro() {
    let rule = |name: &str| format!("- rule: {name}\n  desc: d\n  output: o\n  priority: info\n  condition: broken\n");
    let file = format!("- macro: broken\n  condition: nosuch.field = 1\n{}{}", rule("one"), rule("two"));
    check_error(&file, "a.yaml:2:14: rule `one`: in macro `broken`: unknown field `nosuch.field`");
}

#[test]
fn all_errors_are_reported_in_one_run() {
    let problems = load_files(&[
        "- rule: r\n  desc: d\n  priority: loud\n- macro: m\n  condition: evt.type =\n- list: l\n  items: [null]\n",
        "a: b",
        "- rule: [",
    ])
    .unwrap_err();
    let texts: Vec<_> = problems.iter().map(printed).collect();
    let expected = [
        "a.yaml:1:9: rule `r`: the key `condition` is missing",
        "a.yaml:1:9: rule `r`: the key `output` is missing",
        "a.yaml:3:13: rule `r`: unknown priority `loud`",
        "a.yaml:5:24: macro `m`: expected a value after `=`",
        "a.yaml:7:11: list `l`: expected a value in the list",
        "b.yaml:1:1: expected a sequence of items",
        "c.yaml:2:1: not YAML: ",
    ];
    assert_eq!(texts.len(), expected.len(), "{texts:#?}");
    for (text, expected) in texts.iter().zip(expected) {
        assert!(text.starts_with(expected), "{text}\n{expected}");
    }
}

#[test]
fn what_is_not_supported_yet_says_so_at_its_place() {
    check_error(
        "- list: l\n  items: [a]\n  append: true\n",
        "a.yaml:3:11: list `l`: not supported yet: `append: true`",
    );
    check_error(
        "- macro: m\n  condition: x\n  override:\n    condition: append\n",
        "a.yaml:4:5: macro `m`: not supported yet: `override`",
    );
    let rule = "- rule: r\n  desc: d\n  output: o\n  priority: info\n  condition: proc.name = x\n";
    let exceptions = "  exceptions:\n    - name: e\n      fields: proc.name\n";
    assert!(load_files(&[&format!("{rule}{exceptions}")]).is_ok());
    check_error(
        &format!("{rule}{exceptions}      values: [cat]\n"),
        "a.yaml:7:5: rule `r`: not supported yet: `exceptions`",
    );
}

#[test]
fn odd_things_are_warnings() {
    let rule = "- rule: r\n  desc: d\n  output: o\n  priority: info\n  condition: proc.name = x\n";
    check_warning(&format!("{rule}  outpt: o\n"), "a.yaml:6:3: warning: rule `r`: unknown key `outpt`");
    check_warning(&format!("{rule}  source: k8s_audit\n"), "unknown source `k8s_audit`");
    check_warning("- plugin: x\n", "unknown item `plugin`");
    check_warning(&format!("{rule}- rule: r\n  enabled: false\n"), "deprecated");
    assert!(loaded(&["- required_engine_version: 0.63.0\n-\n---\n", ""]).warnings.is_empty());
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.yaml");
    let problems = load(&[path.clone(), directory.path().to_owned()], &TestCatalog).unwrap_err();
    assert!(problems[0].to_string().starts_with(&format!("{}: the directory holds no", directory.path().display())));
    assert!(problems[1].to_string().starts_with(&format!("{}: cannot read the rule file", path.display())));

    fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert!(load(std::slice::from_ref(&path), &TestCatalog).unwrap_err()[0].message.contains("larger than 1048576"));
    fs::write(&path, b"# caf\xe9").unwrap();
    assert!(load(&[path], &TestCatalog).unwrap_err()[0].message.contains("not UTF-8 from byte 5 on"));
}

#[test]
fn nesting_and_aliases_are_bounded() {
    check_error(&"- ".repeat(10_000), "a.yaml:1:65: not YAML: nested deeper than 32 levels");
    check_error(&"[".repeat(100_000), "a.yaml:1:256: not YAML: ");
    let mut bomb = String::from("- &a0 [x]\n");
    for level in 1..30 {
        let below = level - 1;
        writeln!(bomb, "- &a{level} [*a{below}, *a{below}]").unwrap();
    }
    check_error(&bomb, "a.yaml");
}
