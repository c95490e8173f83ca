//! Exceptions and the conditions that they make.

use super::*;

fn with(exceptions: &str) -> String {
    let lines = exceptions.replace('\n', "\n  ");
    rule("evt.type = open or proc.pid = 1", &format!("  exceptions:\n  {lines}\n"))
}

/// The exception's expression, behind `and not`.
#[track_caller]
fn check(exception: &str, expected: &str) {
    let text = compiled(&["- list: names\n  items: [cat, \"two words\"]\n", &with(&format!("- {exception}"))]);
    assert_eq!(text, format!("((evt.type = open or proc.pid = 1) and not {expected})"), "{exception}");
}

#[test]
fn each_form_makes_its_condition() {
    let table = [
        ("{name: e, fields: [proc.name], values: [[cat]]}", "proc.name = cat"),
        (
            "{name: e, fields: [proc.name, fd.name], comps: [=, startswith], values: [[cat, /tmp], [ls, '/a b']]}",
            "((proc.name = cat and fd.name startswith /tmp) or (proc.name = ls and fd.name startswith \"/a b\"))",
        ),
        ("{name: e, fields: [proc.name, fd.name], values: [[cat, /tmp]]}", "(proc.name = cat and fd.name = /tmp)"),
        ("{name: e, fields: proc.name, values: [cat, ls, a b]}", "proc.name in (cat, ls, \"a b\")"),
        ("{name: e, fields: proc.name, values: ['\"a b\"', \"'c'\"]}", "proc.name in (\"a b\", c)"),
        ("{name: e, fields: proc.name, values: [names]}", "proc.name in (cat, \"two words\")"),
        ("{name: e, fields: fd.name, comps: pmatch, values: [/tmp, /var]}", "fd.name pmatch (/tmp, /var)"),
        ("{name: e, fields: fd.name, comps: startswith anyof, values: [/tmp]}", "fd.name startswith anyof (/tmp)"),
        ("{name: e, fields: [proc.name], comps: [in], values: [[[cat, a b]]]}", "proc.name in (cat, \"a b\")"),
        ("{name: e, fields: [proc.name], comps: [in], values: [[names]]}", "proc.name in (cat, \"two words\")"),
        (
            "{name: e, fields: [proc.name], comps: [in], values: [[cat], ['(ls, dd)']]}",
            "(proc.name in (cat) or proc.name in (ls, dd))",
        ),
        ("{name: e, fields: [fd.name], comps: [endswith oneof], values: [[[a, b]]]}", "fd.name endswith oneof (a, b)"),
        ("{name: e, fields: ['proc.aname[2]'], comps: ['!='], values: [[cat]]}", "proc.aname[2] != cat"),
        ("{name: e, fields: [proc.pid], comps: ['>='], values: [[5]]}", "proc.pid >= 5"),
    ];
    for (exception, expected) in table {
        check(exception, expected);
    }
}

#[test]
fn an_exception_without_values_has_no_effect() {
    for exception in ["{name: e, fields: proc.name}", "{name: e, fields: [proc.name], values: []}"] {
        assert_eq!(compiled(&[&with(&format!("- {exception}"))]), "(evt.type = open or proc.pid = 1)");
    }
    assert_eq!(compiled(&[&rule("evt.type = open", "  exceptions:\n")]), "evt.type = open");
}

#[test]
fn several_exceptions_hold_back_each_on_its_own() {
    let set = loaded(&[&rule(
        "proc.name != x",
        "  exceptions:\n  - {name: e, fields: proc.name, values: [cat]}\n  - {name: f, fields: proc.name, values: [ls]}\n",
    )]);
    let found = ["cat", "ls", "dd", "x"].map(|name| matches(&set.rules[0], name));
    assert_eq!(found, [false, false, true, false]);
}

#[test]
fn mistakes_have_their_code_and_place() {
    let table: &[(&str, &[&str])] = &[
        ("- x", &["a.yaml:8:5: error LOAD_ERR_YAML_VALIDATE: rule `r`: expected an exception with keys"]),
        (
            "  x: y",
            &[
                "a.yaml:8:5: error LOAD_ERR_YAML_VALIDATE: rule `r`: expected a sequence after `exceptions`, found a mapping",
            ],
        ),
        ("- fields: proc.name", &["a.yaml:8:5: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `name` is missing"]),
        ("- name: e", &["a.yaml:8:5: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `fields` is missing"]),
        ("- {name: e, fields: []}", &["a.yaml:8:5: error LOAD_ERR_VALIDATE: rule `r`: `fields` is empty"]),
        (
            "- {name: e, fields: proc.name, values: x}",
            &["a.yaml:8:42: error LOAD_ERR_YAML_VALIDATE: rule `r`: expected a sequence after `values`"],
        ),
        (
            "- {name: e, fields: proc.name, valuse: [x]}",
            &[
                "a.yaml:8:34: warning LOAD_UNKNOWN_KEY: rule `r`: unknown key `valuse`, known keys: name, fields, comps, values",
            ],
        ),
        (
            "- {name: e, fields: [proc.name, fd.name], comps: [=]}",
            &["a.yaml:8:5: error LOAD_ERR_VALIDATE: rule `r`: `fields` has 2 elements and `comps` 1"],
        ),
        (
            "- {name: e, fields: [proc.name], comps: =}",
            &["a.yaml:8:5: error LOAD_ERR_VALIDATE: rule `r`: `comps` is one operator for a list"],
        ),
        (
            "- {name: e, fields: proc.name, comps: [in]}",
            &["a.yaml:8:5: error LOAD_ERR_VALIDATE: rule `r`: `comps` is a list for one field"],
        ),
        (
            "- {name: e, fields: proc.name, comps: =}",
            &[
                "a.yaml:8:5: error LOAD_ERR_VALIDATE: rule `r`: `=` is no operator that `comps` can have here, expected one of in,",
            ],
        ),
        (
            "- {name: e, fields: [proc.name], comps: [like]}",
            &["a.yaml:8:5: error LOAD_ERR_VALIDATE: rule `r`: `like` is no operator"],
        ),
        (
            "- {name: e, fields: [nosuch.field]}",
            &[
                "a.yaml:8:5: error LOAD_ERR_VALIDATE: rule `r`: `nosuch.field` is no field: unknown field `nosuch.field`",
            ],
        ),
        (
            "- {name: e, fields: ['proc.name exists or proc.pname', 'evt.num = 1 or fd.name']}",
            &["a.yaml:8:5: error LOAD_ERR_VALIDATE: rule `r`: `proc.name exists or proc.pname` is no field: ` exists"],
        ),
        (
            "- {name: e, fields: nosuch.field}",
            &["a.yaml:8:5: error LOAD_ERR_VALIDATE: rule `r`: `nosuch.field` is no field"],
        ),
        (
            "- {name: e, fields: [proc.name, fd.name], values: [[x]]}",
            &[
                "a.yaml:8:54: error LOAD_ERR_VALIDATE: rule `r`: expected a row of 2 values, one for each of `fields`, found 1",
            ],
        ),
        (
            "- {name: e, fields: [proc.name], values: [x]}",
            &[
                "a.yaml:8:45: error LOAD_ERR_VALIDATE: rule `r`: expected a row of 1 values, one for each of `fields`, found a text",
            ],
        ),
        (
            "- {name: e, fields: proc.name, values: [[x]]}",
            &["a.yaml:8:43: error LOAD_ERR_VALIDATE: rule `r`: expected a text among the values, found a sequence"],
        ),
        (
            "- {name: e, fields: proc.name, values: [null]}",
            &["a.yaml:8:43: error LOAD_ERR_VALIDATE: rule `r`: expected a text among the values, found null"],
        ),
        (
            "- {name: e, fields: proc.name, values: [x]}\n- {name: e, fields: fd.name, values: [y]}",
            &[
                "a.yaml:9:5: warning LOAD_EXCEPTION_NAME_NOT_UNIQUE: rule `r`: a second exception of this rule has the name `e`",
            ],
        ),
        // What only the condition's compiler sees stands at the value.
        (
            "- {name: e, fields: [proc.pid], values: [[1], [x]]}",
            &["a.yaml:8:50: error LOAD_ERR_COMPILE_CONDITION: rule `r`: "],
        ),
        (
            "- {name: e, fields: proc.name, values: [a, 'it''s']}",
            &["a.yaml:8:49: error LOAD_ERR_COMPILE_CONDITION: rule `r`: "],
        ),
        (
            "- {name: e, fields: [proc.pid], comps: [startswith], values: [[1]]}",
            &["a.yaml:8:43: error LOAD_ERR_COMPILE_CONDITION: rule `r`: "],
        ),
    ];
    for (exceptions, expected) in table {
        check_problems(&[&with(exceptions)], expected);
    }
}

#[test]
fn an_appended_exception_brings_values_alone() {
    let base = with("- {name: e, fields: [proc.name], values: [[x]]}");
    let append =
        |exception: &str| format!("- rule: r\n  exceptions:\n  - {exception}\n  override: {{exceptions: append}}\n");
    let b = "b.yaml:3:5: error LOAD_ERR_VALIDATE: rule `r`:";
    let table: &[(&str, &[&str])] = &[
        ("{name: e, values: [[y]]}", &[]),
        (
            "{name: e}",
            &[
                "b.yaml:3:5: warning LOAD_APPEND_NO_VALUES: rule `r`: the exception is appended to and brings no `values`",
            ],
        ),
        (
            "{name: e, fields: [proc.name], values: [[y]]}",
            &[&format!("{b} only `values` can be appended to an exception")],
        ),
        ("{name: e, comps: [=], values: [[y]]}", &[&format!("{b} only `values` can be appended to an exception")]),
        (
            "{name: f, values: [y]}",
            &[&format!("{b} there is no earlier exception of this name, and a new one needs `fields`")],
        ),
        (
            "{name: f, fields: proc.name}",
            &[
                &format!("{b} there is no earlier exception of this name, and a new one needs `values`"),
                "b.yaml:3:5: warning LOAD_APPEND_NO_VALUES: ",
            ],
        ),
        (
            "{name: e, values: [[y, z]]}",
            &["b.yaml:3:24: error LOAD_ERR_VALIDATE: rule `r`: expected a row of 1 values"],
        ),
    ];
    for (exception, expected) in table {
        check_problems(&[&base, &append(exception)], expected);
    }
}

#[test]
fn a_rule_of_another_source_has_fields_that_are_not_known() {
    let rule = with("- {name: e, fields: ka.user.name, values: [x]}") + "  source: k8s_audit\n";
    check_problems(&[&rule], &["a.yaml:1:3: warning LOAD_UNKNOWN_SOURCE: rule `r`"]);
}
