//! Every mistake with its code and its place.

use super::*;

/// What each file's problems begin with, in order.
const TABLE: &[(&str, &[&str])] = &[
    // The file.
    ("", &[]),
    ("# nothing\n---\n---\n", &[]),
    ("-\n- ~\n", &[]),
    (
        "a: b\n",
        &["a.yaml:1:1: error LOAD_ERR_YAML_VALIDATE: expected a sequence of items (`- rule: …`), found a mapping"],
    ),
    ("text\n", &["a.yaml:1:1: error LOAD_ERR_YAML_VALIDATE: expected a sequence of items (`- rule: …`), found a text"]),
    ("- text\n", &["a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: expected an item with keys (`- rule: …`), found a text"]),
    ("- [a]\n", &["a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: expected an item with keys"]),
    ("- rule: [\n", &["a.yaml:2:1: error LOAD_ERR_YAML_PARSE: not YAML that can be read: "]),
    ("- rule: r\n desc: d\n", &["a.yaml:2:2: error LOAD_ERR_YAML_PARSE: "]),
    ("- *nosuch\n", &["a.yaml:1:3: error LOAD_ERR_YAML_PARSE: "]),
    (
        "- plugin: x\n",
        &["a.yaml:1:3: warning LOAD_UNKNOWN_ITEM: unknown item: none of its keys is one of required_engine"],
    ),
    // All that is wrong with one rule.
    (
        "- rule: r\n  desc: d\n  condition: fd.nam = x\n  output: '%fd.nme'\n  priority: soon\n  enabled: perhaps\n",
        &[
            "a.yaml:3:14: error LOAD_ERR_COMPILE_CONDITION: rule `r`: unknown field `fd.nam`",
            "a.yaml:4:12: error LOAD_ERR_COMPILE_OUTPUT: rule `r`: unknown field `fd.nme`",
            "a.yaml:5:13: error LOAD_ERR_YAML_VALIDATE: rule `r`: unknown priority `soon`",
            "a.yaml:6:12: error LOAD_ERR_YAML_VALIDATE: rule `r`: expected true or false after `enabled`",
        ],
    ),
    // Requirements.
    ("- required_engine_version: 0.63.0\n- required_engine_version: 26\n- required_engine_version: 63\n", &[]),
    (
        "- required_engine_version: 0.64.0\n",
        &["a.yaml:1:28: error LOAD_ERR_VALIDATE: the file is written for engine version 0.64.0, this is 0.63.0"],
    ),
    ("- required_engine_version: 64\n", &["a.yaml:1:28: error LOAD_ERR_VALIDATE: "]),
    ("- required_engine_version: 1.0.0\n", &["a.yaml:1:28: error LOAD_ERR_VALIDATE: "]),
    (
        "- required_engine_version: soon\n",
        &["a.yaml:1:28: error LOAD_ERR_YAML_VALIDATE: expected a version as `0.57.0` or a number, found `soon`"],
    ),
    (
        "- required_engine_version:\n",
        &["a.yaml:1:26: error LOAD_ERR_YAML_VALIDATE: expected text after `required_engine_version`, found null"],
    ),
    ("- required_plugin_versions:\n  - name: container\n    version: 0.4.0\n", &[]),
    (
        "- required_plugin_versions: [{name: json, version: 9.0.0, alternatives: [{name: container, version: 0.7.1}]}]\n",
        &[],
    ),
    (
        "- required_plugin_versions: [{name: container, version: 0.9.0}]\n",
        &[
            "a.yaml:1:30: warning LOAD_WARNING_EXTENSION: the file asks for plugin `container` 0.9.0; built in are container 0.7.1",
        ],
    ),
    (
        "- required_plugin_versions: [{name: json, version: 0.7.0}]\n",
        &["a.yaml:1:30: warning LOAD_WARNING_EXTENSION: "],
    ),
    ("- required_plugin_versions: x\n", &["a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: expected a sequence of plugins"]),
    (
        "- required_plugin_versions: [x]\n",
        &["a.yaml:1:30: error LOAD_ERR_YAML_VALIDATE: expected a plugin with `name` and `version`, found a text"],
    ),
    (
        "- required_plugin_versions: [{name: x}]\n",
        &["a.yaml:1:30: error LOAD_ERR_YAML_VALIDATE: the key `version` is missing"],
    ),
    (
        "- required_plugin_versions: [{name: x, version: new}]\n",
        &["a.yaml:1:49: error LOAD_ERR_VALIDATE: expected a version as `0.4.0`, found `new`"],
    ),
    (
        "- required_plugin_versions: [{name: container, version: 0.4.0, alternatives: [{name: container, version: 0.1.0}]}]\n",
        &["a.yaml:1:79: error LOAD_ERR_VALIDATE: the plugin `container` stands twice"],
    ),
    // Lists.
    (
        "- list: l\n  items: [a]\n",
        &["a.yaml:1:3: warning LOAD_UNUSED_LIST: list `l`: no rule, macro or list uses this list"],
    ),
    ("- list: l\n", &["a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: list `l`: the key `items` is missing"]),
    (
        "- list: l\n  items: a\n",
        &["a.yaml:2:10: error LOAD_ERR_YAML_VALIDATE: list `l`: expected a sequence after `items`, found a text"],
    ),
    (
        "- list: l\n  items: [a, null, [b]]\n",
        &[
            "a.yaml:2:14: error LOAD_ERR_YAML_VALIDATE: list `l`: expected a text in `items`, found null; quote it",
            "a.yaml:2:20: error LOAD_ERR_YAML_VALIDATE: list `l`: expected a text in `items`, found a sequence",
        ],
    ),
    ("- list:\n  items: []\n", &["a.yaml:1:7: error LOAD_ERR_YAML_VALIDATE: expected text after `list`, found null"]),
    (
        "- list: a b\n  items: []\n",
        &[
            "a.yaml:1:3: warning LOAD_UNUSED_LIST: list `a b`",
            "a.yaml:1:3: warning LOAD_INVALID_LIST_NAME: list `a b`: ",
        ],
    ),
    (
        "- list: l\n  items: [x, '\"open']\n- list: m\n  items: [l]\n",
        &["a.yaml:2:14: error LOAD_ERR_VALIDATE: list `l`: this quoted string has no end"],
    ),
    // Macros.
    (
        "- macro: m\n  condition: proc.name = x\n",
        &["a.yaml:1:3: warning LOAD_UNUSED_MACRO: macro `m`: no rule or macro uses this macro"],
    ),
    ("- macro: m\n", &["a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: macro `m`: the key `condition` is missing"]),
    (
        "- macro: m\n  condition:\n",
        &["a.yaml:2:12: error LOAD_ERR_YAML_VALIDATE: macro `m`: expected text after `condition`, found null"],
    ),
    (
        "- macro: 1m\n  condition: proc.name = x\n",
        &[
            "a.yaml:1:3: warning LOAD_UNUSED_MACRO: macro `1m`",
            "a.yaml:1:3: warning LOAD_INVALID_MACRO_NAME: macro `1m`: ",
        ],
    ),
    ("- macro: m\n  condition: proc.name =\n", &["a.yaml:2:25: error LOAD_ERR_COMPILE_CONDITION: macro `m`: "]),
    // Known only to rules, so an unused macro may name any field.
    ("- macro: m\n  condition: nosuch.field = 1\n", &["a.yaml:1:3: warning LOAD_UNUSED_MACRO: "]),
    (
        "- macro: m\n  condition: proc.name = x or nosuch\n",
        &["a.yaml:2:31: error LOAD_ERR_VALIDATE: macro `m`: undefined macro `nosuch`"],
    ),
    (
        "- macro: m\n  condition: (m)\n",
        &["a.yaml:2:14: error LOAD_ERR_VALIDATE: macro `m`: macro `m` must be defined before the macro that uses it"],
    ),
    (
        "- macro: a\n  condition: b\n- macro: b\n  condition: proc.name = x\n",
        &["a.yaml:2:14: error LOAD_ERR_VALIDATE: macro `a`: macro `b` must be defined before"],
    ),
    (
        "- macro: a\n  condition: proc.name = x\n- macro: b\n  condition: a\n- macro: a\n  condition: b\n",
        &["a.yaml:6:14: error LOAD_ERR_VALIDATE: macro `a`: macro `a` names itself in a loop: `a` → `b` → `a`"],
    ),
    // Keys.
    (
        "- list: l\n  items: []\n  append: maybe\n",
        &["a.yaml:3:11: error LOAD_ERR_YAML_VALIDATE: list `l`: expected true or false after `append`, found `maybe`"],
    ),
    (
        "- list: l\n  itemz: []\n  items: []\n  items: [b]\n",
        &[
            "a.yaml:1:3: warning LOAD_UNUSED_LIST: ",
            "a.yaml:2:3: warning LOAD_UNKNOWN_KEY: list `l`: unknown key `itemz`, known keys: list, items, append, override; ignored",
            "a.yaml:4:3: warning LOAD_UNKNOWN_KEY: list `l`: the key `items` stands here a second time; ignored",
        ],
    ),
    // Rules.
    (
        "- rule: r\n  desc: d\n  priority: loud\n  tags: x\n  enabled: maybe\n  capture_duration: long\n",
        &[
            "a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `condition` is missing",
            "a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `output` is missing",
            "a.yaml:3:13: error LOAD_ERR_YAML_VALIDATE: rule `r`: unknown priority `loud`, expected one of",
            "a.yaml:4:9: error LOAD_ERR_YAML_VALIDATE: rule `r`: expected a sequence after `tags`, found a text",
            "a.yaml:5:12: error LOAD_ERR_YAML_VALIDATE: rule `r`: expected true or false after `enabled`, found `maybe`",
            "a.yaml:6:21: error LOAD_ERR_YAML_VALIDATE: rule `r`: expected milliseconds after `capture_duration`, found `long`",
        ],
    ),
    (
        "- rule: r\n  tags: [a]\n",
        &["a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: rule `r`: the keys `condition`, `output`"],
    ),
    ("- rule: {a: b}\n", &["a.yaml:1:9: error LOAD_ERR_YAML_VALIDATE: expected text after `rule`, found a mapping"]),
    (
        "- rule: nosuch\n  enabled: false\n",
        &[
            "a.yaml:1:3: error LOAD_ERR_VALIDATE: rule `nosuch`: there is no earlier rule `nosuch` to change",
            "a.yaml:1:3: warning LOAD_DEPRECATED_ITEM: rule `nosuch`: `enabled` on its own",
        ],
    ),
];

#[test]
fn every_mistake_has_its_code_and_its_place() {
    for (file, expected) in TABLE {
        check_problems(&[file], expected);
    }
}

/// The same of rules that have everything but this condition and these lines from the seventh on.
const RULES: &[(&str, &str, &[&str])] = &[
    ("evt.type = open", "", &[]),
    ("evt.type = open", "  tags: [a, b]\n  capture: true\n  capture_duration: 500\n  source: syscall\n", &[]),
    ("evt.type =", "", &["a.yaml:6:24: error LOAD_ERR_COMPILE_CONDITION: rule `r`: expected a value after `=`"]),
    (
        "nosuch.field = 1",
        "",
        &["a.yaml:6:14: error LOAD_ERR_COMPILE_CONDITION: rule `r`: unknown field `nosuch.field`"],
    ),
    (
        "evt.type = nosuch",
        "",
        &["a.yaml:6:25: error LOAD_ERR_COMPILE_CONDITION: rule `r`: unknown event type `nosuch`"],
    ),
    ("proc.pid = x", "", &["a.yaml:6:25: error LOAD_ERR_COMPILE_CONDITION: rule `r`: "]),
    ("nosuch", "", &["a.yaml:6:14: error LOAD_ERR_VALIDATE: rule `r`: undefined macro `nosuch`"]),
    (
        "nosuch.field = 1",
        "  skip-if-unknown-filter: true\n",
        &["a.yaml:6:14: warning LOAD_UNKNOWN_FILTER: rule `r`: unknown field `nosuch.field`"],
    ),
    (
        "evt.type = nosuch",
        "  skip-if-unknown-filter: true\n",
        &["a.yaml:6:25: warning LOAD_UNKNOWN_FILTER: rule `r`: "],
    ),
    ("evt.type =", "  skip-if-unknown-filter: true\n", &["a.yaml:6:24: error LOAD_ERR_COMPILE_CONDITION: rule `r`: "]),
    (
        "evt.type = open",
        "  source: k8s_audit\n",
        &["a.yaml:1:3: warning LOAD_UNKNOWN_SOURCE: rule `r`: unknown source `k8s_audit`"],
    ),
    ("evt.dir = <", "", &["a.yaml:6:14: warning LOAD_DEPRECATED_ITEM: rule `r`: the field `evt.dir` is deprecated"]),
    (
        "evt.latency.s > 1",
        "",
        &["a.yaml:6:14: warning LOAD_DEPRECATED_ITEM: rule `r`: the field `evt.latency.s` is deprecated"],
    ),
    (
        "proc.name = proc.pname",
        "",
        &["a.yaml:6:26: warning LOAD_COMPILE_CONDITION: rule `r`: `proc.pname` is a field's name taken as text"],
    ),
    ("proc.name regex 'ba.*'", "", &["a.yaml:6:30: warning LOAD_COMPILE_CONDITION: rule `r`: "]),
    ("proc.name = <NA>", "", &[]),
    (
        "evt.type = open",
        "  nosuch: x\n",
        &["a.yaml:7:3: warning LOAD_UNKNOWN_KEY: rule `r`: unknown key `nosuch`, known keys: rule, condition,"],
    ),
];

#[test]
fn every_mistake_of_a_rule_has_its_code_and_its_place() {
    for (condition, more, expected) in RULES {
        check_problems(&[&rule(condition, more)], expected);
    }
}

#[test]
fn a_rule_that_matches_many_event_types_is_warned_about() {
    let rule = |condition: &str| rule(condition, "").replace("  warn_evttypes: false\n", "");
    let warning = "a.yaml:1:3: warning LOAD_NO_EVTTYPE: rule `r`: the rule can match ";
    check_problems(&[&rule("proc.name = x")], &[warning]);
    check_problems(&[&rule("evt.type != open")], &[warning]);
    check_problems(&[&rule("evt.type = open and evt.type = execve")], &[&format!("{warning}no event type")]);
    check_problems(&[&rule("evt.type = open and proc.name = x")], &[]);
}

#[test]
fn outputs_are_checked() {
    let with_output =
        |output: &str, more: &str| rule("evt.type = open", more).replace("output: o", &format!("output: {output}"));
    check_problems(&[&with_output("a %nosuch.field", "")], &["a.yaml:3:13: error LOAD_ERR_COMPILE_OUTPUT: rule `r`: "]);
    check_problems(&[&with_output("50%", "")], &["a.yaml:3:13: error LOAD_ERR_COMPILE_OUTPUT: rule `r`: "]);
    check_problems(
        &[&with_output("a %nosuch.field", "  skip-if-unknown-filter: true\n")],
        &["a.yaml:3:13: warning LOAD_UNKNOWN_FILTER: rule `r`: "],
    );
    check_problems(
        &[&with_output("x %container.info", "")],
        &["a.yaml:1:3: warning LOAD_DEPRECATED_ITEM: rule `r`: `%container.info` stands for nothing"],
    );
    check_problems(
        &[&with_output("x %evt.latency.ns", "")],
        &["a.yaml:3:14: warning LOAD_DEPRECATED_ITEM: rule `r`: the field `evt.latency.ns` is deprecated"],
    );
}

#[test]
fn one_bad_rule_is_reported_with_all_others() {
    check_problems(
        &[
            "- rule: r\n  desc: d\n  priority: loud\n- macro: m\n  condition: evt.type =\n- list: l\n  items: [null]\n",
            "a: b",
            "- rule: [",
        ],
        &[
            "a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `condition` is missing",
            "a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `output` is missing",
            "a.yaml:3:13: error LOAD_ERR_YAML_VALIDATE: rule `r`: unknown priority `loud`",
            "a.yaml:5:24: error LOAD_ERR_COMPILE_CONDITION: macro `m`: expected a value after `=`",
            "a.yaml:7:11: error LOAD_ERR_YAML_VALIDATE: list `l`: expected a text in `items`, found null",
            "b.yaml:1:1: error LOAD_ERR_YAML_VALIDATE: expected a sequence of items",
            "c.yaml:1:10: error LOAD_ERR_YAML_PARSE: not YAML that can be read: ",
        ],
    );
}

#[test]
fn what_only_follows_from_a_mistake_is_not_told() {
    let rules = "- rule: r\n  enabled: false\n- rule: s\n  desc: d\n  output: o\n  priority: info\n  condition: evt.type = open and m and n\n";
    check_problems(
        &[&format!(
            "- rule: r\n  desc: d\n- macro: m\n  condition: [x]\n- macro: n\n  condition: m and nosuch\n{rules}"
        )],
        &[
            "a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `condition` is missing",
            "a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `output` is missing",
            "a.yaml:1:3: error LOAD_ERR_YAML_VALIDATE: rule `r`: the key `priority` is missing",
            "a.yaml:4:14: error LOAD_ERR_YAML_VALIDATE: macro `m`: expected text after `condition`, found a sequence",
            "a.yaml:6:20: error LOAD_ERR_VALIDATE: macro `n`: undefined macro `nosuch`",
            "a.yaml:7:3: warning LOAD_DEPRECATED_ITEM: rule `r`",
        ],
    );
}
