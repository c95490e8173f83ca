//! Rules, macros and lists described as Falco does.

use serde_json::json;

use super::*;
use crate::fields::SensorCatalog;

const FILE: &str = "
- required_engine_version: 0.57.0
- required_plugin_versions: [{name: container, version: 0.4.0}]
- list: shells
  items: [bash, 'two words']
- list: programs
  items: [shells, cat]
- macro: spawned
  condition: (evt.type in (execve, execveat))
- macro: spawned_shell
  condition: spawned and proc.name in (shells)
- rule: shell
  desc: a shell
  condition: spawned_shell and not proc.pname in (programs) and proc.pid > 1
  output: shell %proc.name by %proc.pname
  priority: warning
  tags: [b, a]
  exceptions:
  - name: known
    fields: [proc.name, fd.name]
    comps: [=, startswith]
    values: [[cat, /tmp]]
  - name: later
    fields: proc.pname
";

fn set() -> RuleSet {
    load_text(&[("a.yaml", FILE.as_bytes())], &SensorCatalog).unwrap_or_else(|problems| panic!("{}", problems[0]))
}

#[test]
fn a_rule_is_described_with_all_that_it_is_made_of() {
    let json = crate::rules::describe(&set(), &[]);
    assert_eq!(json["required_engine_version"], "0.57.0");
    assert_eq!(
        json["required_plugin_versions"],
        json!([{"name": "container", "version": "0.4.0", "alternatives": []}])
    );
    assert_eq!(
        json["rules"][0]["info"],
        json!({
            "name": "shell",
            "condition": "spawned_shell and not proc.pname in (programs) and proc.pid > 1",
            "output": "shell %proc.name by %proc.pname",
            "description": "a shell",
            "priority": "Warning",
            "source": "syscall",
            "enabled": true,
            "tags": ["a", "b"],
        })
    );
    assert_eq!(
        json["rules"][0]["details"],
        json!({
            "condition_compiled": "(((evt.type in (execve, execveat) and proc.name in (bash, \"two words\")) and not proc.pname in (bash, \"two words\", cat) and proc.pid > 1) and not (proc.name = cat and fd.name startswith /tmp))",
            "output_compiled": "shell %proc.name by %proc.pname",
            "macros": ["spawned_shell"],
            "lists": ["programs"],
            "condition_operators": ["=", ">", "in", "startswith"],
            "condition_fields": ["evt.type", "fd.name", "proc.name", "proc.pid", "proc.pname"],
            "output_fields": ["proc.name", "proc.pname"],
            "exception_names": ["known", "later"],
            "exception_operators": ["=", "in", "startswith"],
            "exception_fields": ["fd.name", "proc.name"],
            "events": ["execve", "execveat"],
            "plugins": [],
        })
    );
}

#[test]
fn macros_and_lists_are_described_too() {
    let json = crate::rules::describe(&set(), &[]);
    assert_eq!(
        json["macros"][1]["info"],
        json!({"name": "spawned_shell", "condition": "spawned and proc.name in (shells)"})
    );
    assert_eq!(json["macros"][1]["details"]["macros"], json!(["spawned"]));
    assert_eq!(json["macros"][1]["details"]["lists"], json!(["shells"]));
    assert_eq!(json["macros"][1]["details"]["used"], true);
    assert_eq!(
        json["macros"][1]["details"]["condition_compiled"],
        "(evt.type in (execve, execveat) and proc.name in (bash, \"two words\"))"
    );
    assert_eq!(
        json["lists"][1],
        json!({
            "info": {"name": "programs", "items": ["cat"]},
            "details": {"used": true, "lists": ["shells"], "items_compiled": ["bash", "two words", "cat"], "plugins": []},
        })
    );
}

#[test]
fn the_text_is_for_people() {
    let text = describe_text(&set(), &[]);
    let expected = "\
Warning: shell
  a shell
    at: a.yaml:12:3
    tags: a b
    condition: (((evt.type in (execve, execveat) and";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("\n    events: execve execveat\n"), "{text}");
}
