//! What a rule is made of, and where its errors stand.

use super::*;

const SHELL: &str = "
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
    let set = loaded(&[SHELL]);
    let [rule] = set.rules.as_slice() else { panic!("{set:?}") };
    assert_eq!((rule.name.as_str(), rule.priority, &*rule.output), ("shell", Priority::Warning, "shell %proc.name"));
    assert_eq!(rule.tags.iter().collect::<Vec<_>>(), ["a", "b"]);
    assert!(rule.enabled && set.warnings.is_empty());
    assert_eq!(rule.place.to_string(), "a.yaml:2:3");
    let (place, snippet) = rule.output.locate(6..16);
    assert_eq!((place.line, place.column), (5, 18));
    assert_eq!(snippet, "    output: 'shell %proc.name'\n                   ^^^^^^^^^^");
}

#[test]
fn scalars_in_lists_stay_the_text_that_they_were_written_as() {
    let list =
        "- list: l\n  items: [zsh, \"'two words'\", 0x1f, yes, 1.50, 8080, '~', 'null', '\"75-system-updat\"']\n";
    let set = loaded(&[list, &rule("proc.name in (l)", "")]);
    for (name, expected) in [
        ("zsh", true),
        ("two words", true),
        ("0x1f", true),
        ("yes", true),
        ("1.50", true),
        ("8080", true),
        ("~", true),
        ("null", true),
        ("75-system-updat", true),
        ("bash", false),
        ("true", false),
    ] {
        assert_eq!(matches(&set.rules[0], name), expected, "{name}");
    }
}

#[test]
fn an_error_in_a_folded_condition_is_found_in_the_file() {
    let found = problems(&["
- rule: r
  desc: d
  condition: >
    evt.type = execve
      and (proc.nam = bash or
           proc.name = sh)
  output: o
  priority: info
"]);
    let expected = "a.yaml:6:12: error LOAD_ERR_COMPILE_CONDITION: rule `r`: unknown field `proc.nam`; did you mean `proc.name`?\n        and (proc.nam = bash or\n             ^^^^^^^^";
    assert_eq!(found, [expected]);
}

#[test]
fn an_error_in_a_plain_or_quoted_condition_is_found_in_the_file() {
    for (condition, expected) in [
        (
            "evt.type = open and\n    evt.type = nosuch",
            "a.yaml:7:16: error LOAD_ERR_COMPILE_CONDITION: rule `r`: unknown event type `nosuch`",
        ),
        ("'evt.type = open and nosuch'", "a.yaml:6:35: error LOAD_ERR_VALIDATE: rule `r`: undefined macro `nosuch`"),
        ("\"evt.type = open and nosuch\"", "a.yaml:6:35: error LOAD_ERR_VALIDATE: rule `r`: undefined macro `nosuch`"),
        (
            "\"evt.type = open\\tand nosuch\"",
            "a.yaml:6:36: error LOAD_ERR_VALIDATE: rule `r`: undefined macro `nosuch`",
        ),
        (
            "|\n    evt.type = open and",
            "a.yaml:7:24: error LOAD_ERR_COMPILE_CONDITION: rule `r`: expected a field or a macro, found the end",
        ),
        (
            ">-\n\n    proc.name = 'é' and\r\n    nosuch",
            "a.yaml:9:5: error LOAD_ERR_VALIDATE: rule `r`: undefined macro `nosuch`",
        ),
    ] {
        check_problems(&[&rule(condition, "")], &[expected]);
    }
}

#[test]
fn what_is_wrong_within_a_macro_is_told_once_and_there() {
    let rules = ["one", "two"].map(|name| rule("broken", "").replace("rule: r", &format!("rule: {name}"))).concat();
    let file = |condition: &str| format!("- macro: broken\n  condition: {condition}\n{rules}");
    check_problems(
        &[&file("nosuch.field = 1")],
        &["a.yaml:2:14: error LOAD_ERR_COMPILE_CONDITION: macro `broken`: unknown field `nosuch.field`"],
    );
    check_problems(
        &[&file("proc.name = proc.pname")],
        &["a.yaml:2:26: warning LOAD_COMPILE_CONDITION: macro `broken`: "],
    );
    check_problems(&[&file("evt.dir = <")], &["a.yaml:2:14: warning LOAD_DEPRECATED_ITEM: macro `broken`: "]);
    check_problems(
        &[&(file("nosuch.field = 1").replace("info\n", "info\n  skip-if-unknown-filter: true\n"))],
        &["a.yaml:2:14: warning LOAD_UNKNOWN_FILTER: macro `broken`: unknown field `nosuch.field`"],
    );
}

#[test]
fn a_rule_sees_the_macros_and_lists_of_all_files_and_documents() {
    let set = loaded(&[
        &rule("m", ""),
        "- macro: m\n  condition: proc.name in (l)\n---\n- list: l\n  items: [k]\n- list: k\n  items: [x]\n",
    ]);
    // A list, unlike a rule, sees only what was defined before it.
    assert!(matches(&set.rules[0], "k") && !matches(&set.rules[0], "x"));
}

#[test]
fn anchors_and_repeated_values_are_yaml_s_own() {
    let set =
        loaded(&["- list: l\n  items: &items [x, y]\n- list: k\n  items: *items\n", &rule("proc.name in (k, l)", "")]);
    assert_eq!(set.lists[1].items, ["x", "y"]);
}

/// The line of the first error in a rule with this condition, and what the carets stand under.
#[track_caller]
fn underlined(condition: &str) -> (usize, String) {
    let problems = load_files(&[&rule(condition, "")]).unwrap_err();
    let (line, carets) = problems[0].snippet.split_once('\n').unwrap();
    let under = line.chars().zip(carets.chars()).filter(|(_, caret)| *caret == '^').map(|(character, _)| character);
    (problems[0].place().line, under.collect())
}

#[test]
fn an_error_in_a_condition_with_escapes_is_found_in_the_file() {
    for (condition, line, expected) in [
        (r#""proc.name = \"a\" and no.such = b""#, 6, "no.such"),
        (r#""proc.name = a and\n no.such = b""#, 6, "no.such"),
        (r#""proc.name =\x20a\u0020and\U00000020no.such = b""#, 6, "no.such"),
        (r#""proc.name = \x61 and no\x2esuch = b""#, 6, r"no\x2esuch"),
        (r#""proc.name = '\e\a\b' and\tno.such = b""#, 6, "no.such"),
        (r#""proc.name = '\\\/\_' and no.such = b""#, 6, "no.such"),
        ("\"proc.name = a \\\n    and no.such = b\"", 7, "no.such"),
        ("\"proc.name = ab\\\n    c and no.such = b\"", 7, "no.such"),
        ("'proc.name = ''a'' and no.such = b'", 6, "no.such"),
        ("'proc.name = ''a''\n    and no.such = b'", 7, "no.such"),
        (r"'proc.name = a\n and no.such = b'", 6, "no.such"),
        (r#"&anchor !!str "proc.name = \"é\" and no.such = b""#, 6, "no.such"),
        ("&anchor proc.name = é and no.such = b", 6, "no.such"),
        ("&anchor >\n    proc.name = é and\n    no.such = b", 8, "no.such"),
    ] {
        assert_eq!(underlined(condition), (line, expected.to_owned()), "{condition}");
    }
}
