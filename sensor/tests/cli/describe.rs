//! `rules` and `fields`: what there is.

use serde_json::{Value, json};

use super::{BAD_CONFIGURATION, Folder, sensor, stderr, stdout};

const RULES: &str = "
- list: secrets
  items: [/etc/shadow, /etc/gshadow]
- macro: opened
  condition: evt.type in (open, openat)
- rule: Secret read
  desc: d
  condition: opened and fd.name in (secrets)
  output: read %fd.name
  priority: WARNING
  tags: [T1003]
- rule: Passwords read
  desc: d
  condition: opened and fd.name = /etc/passwd
  output: o
  priority: INFO
";

fn described(arguments: &[&str]) -> Value {
    let output = sensor(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_rule_is_described_with_macros_and_lists_in_their_places() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", RULES);
    let output = sensor(&["rules", &rules]);
    assert_eq!(output.status.code(), Some(0));
    let condition = "(evt.type in (open, openat) and fd.name in (/etc/shadow, /etc/gshadow))";
    for part in ["Warning: Secret read\n", condition, "macros: opened\n", "lists: secrets\n", "events: open openat\n"] {
        assert!(stdout(&output).contains(part), "{part}\n{}", stdout(&output));
    }

    let description = described(&["rules", "--json", &rules]);
    let rule = &description["rules"][0];
    assert_eq!((&rule["info"]["name"], &rule["info"]["enabled"]), (&"Secret read".into(), &true.into()));
    assert_eq!(rule["details"]["condition_compiled"], condition);
    assert_eq!(rule["details"]["events"], json!(["open", "openat"]));
    assert_eq!(description["macros"][0]["info"]["name"], "opened");
}

#[test]
fn the_settings_say_which_rules_are_in_force() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", RULES);
    let enabled = |settings: &str| -> Vec<bool> {
        let config = folder.file("sensor.toml", settings);
        let description = described(&["rules", "--json", "--config", &config, &rules]);
        let rules = description["rules"].as_array().unwrap();
        rules.iter().map(|rule| rule["info"]["enabled"].as_bool().unwrap()).collect()
    };
    assert_eq!(enabled(""), [true, true]);
    assert_eq!(enabled("priority = \"notice\""), [true, false]);
    assert_eq!(
        enabled("rules = [{ disable = { rule = \"*read\" } }, { enable = { tag = \"T1003\" } }]"),
        [true, false]
    );
}

#[test]
fn what_the_settings_append_stands_in_the_compiled_output() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", RULES);
    let outputs = |arguments: &[&str]| -> Vec<Value> {
        let description = described(&[&["rules", "--json"], arguments, &[&rules]].concat());
        let rules = description["rules"].as_array().unwrap();
        rules.iter().map(|rule| json!([rule["details"]["output_compiled"], rule["details"]["output_fields"]])).collect()
    };
    let own = [json!(["read %fd.name", ["fd.name"]]), json!(["o", []])];
    assert_eq!(outputs(&[]), own);
    let silent = folder.file("silent.toml", "priority = \"info\"");
    assert_eq!(outputs(&["--config", &silent]), own);

    let settings = "[[append_output]]\nmatch.tags = [\"T1003\"]\nextra_output = \"by %proc.name\"\nextra_fields = [\"proc.pid\"]\n";
    let config = folder.file("sensor.toml", settings);
    let expected = [json!(["read %fd.name by %proc.name", ["fd.name", "proc.name"]]), own[1].clone()];
    assert_eq!(outputs(&["--config", &config]), expected);
    let output = sensor(&["rules", "--config", &config, &rules]);
    assert!(stdout(&output).contains("    output: read %fd.name by %proc.name\n"), "{}", stdout(&output));

    let suggested = folder.file("suggested.toml", "append_output = [{ suggested_output = true }]");
    assert!(outputs(&["--config", &suggested])[1][0].as_str().unwrap().starts_with("o container_id=%container.id "));
}

#[test]
fn rules_that_do_not_load_are_not_described() {
    let folder = Folder::new();
    let rules = folder.file("rules.yaml", &RULES.replace("fd.name = ", "fd.nmae = "));
    let output = sensor(&["rules", &rules]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(BAD_CONFIGURATION), ""));
    assert!(stderr(&output).contains(":14:"), "{}", stderr(&output));
}

#[test]
fn one_field_or_all_of_them_are_described() {
    let output = sensor(&["fields", "proc.aname"]);
    let expected = "proc.aname, proc.aname[n]\n  The name of the n-th ancestor (0 is the process, 1 its parent); without a \
                    number, of any ancestor.\n  type: CHARBUF\n  notes: no-transformer, no-rhs\n";
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), expected));

    assert!(described(&["fields", "--json"])["fields"].as_array().unwrap().len() >= 294);
    let two = described(&["fields", "--json", "fd.num", "proc.pid"]);
    assert_eq!((&two["fields"][0]["name"], &two["fields"][1]["type"]), (&"fd.num".into(), &"INT64".into()));
}

#[test]
fn an_unknown_field_is_bad_usage_and_a_near_one_is_named() {
    let output = sensor(&["fields", "proc.nam"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "error: unknown field `proc.nam`; did you mean `proc.name`?\n");
}
