//! Reports, for people and in Falco's JSON.

use serde_json::json;

use super::*;

fn report(files: &[(&str, &str)]) -> Report {
    let mut loading = Loading::default();
    for (name, text) in files {
        loading.bytes(Path::new(name), text.as_bytes().to_vec());
    }
    Report::new(loading.finish(&TestCatalog))
}

#[test]
fn each_file_has_a_verdict_and_the_whole_a_count() {
    let odd = "- list: l\n  itmes: [x]\n  items: []\n";
    let report = report(&[("good.yaml", &rule("proc.pid = 1", "")), ("odd.yaml", odd), ("bad.yaml", "x: y")]);
    assert!(!report.is_valid() && report.has_warnings());
    let expected = "\
good.yaml: Ok
odd.yaml: Ok, with warnings
odd.yaml:2:3: warning LOAD_UNKNOWN_KEY: list `l`: unknown key `itmes`, known keys: list, items, append, override; ignored
    itmes: [x]
    ^
bad.yaml: Invalid
bad.yaml:1:1: error LOAD_ERR_YAML_VALIDATE: expected a sequence of items (`- rule: …`), found a mapping
  x: y
  ^
1 rules, 0 macros, 1 lists; 1 errors, 1 warnings
";
    assert_eq!(report.to_string(), expected);
}

#[test]
fn the_json_is_falco_s_and_counts_from_0() {
    let text = format!("# é\n{}", rule("evt.type = nosuch or evt.dir = <", ""));
    let report = report(&[("a.yaml", &text), ("b.yaml", "- macro: m\n  condition: evt.dir = <\n")]);
    let at = |line: usize, column: usize, offset: usize| json!({"name": "a.yaml", "line": line, "column": column, "offset": offset});
    let location = |item_type: &str, item_name: &str, position| json!({"item_type": item_type, "item_name": item_name, "position": position});
    let json = report.to_json();
    assert_eq!(
        json["falco_load_results"][0],
        json!({
            "name": "a.yaml",
            "successful": false,
            "errors": [{
                "code": "LOAD_ERR_COMPILE_CONDITION",
                "codedesc": "Error compiling condition",
                "message": "unknown event type `nosuch`",
                "context": {
                    "locations": [
                        location("rules content", "", at(0, 0, 0)),
                        location("rule", "r", at(1, 2, 7)),
                        location("rule condition", "", at(6, 13, 90)),
                        location("condition expression", "", at(6, 24, 101)),
                    ],
                    "snippet": "    condition: evt.type = nosuch or evt.dir = <\n                          ^^^^^^",
                },
            }],
            "warnings": [],
        })
    );
    let warnings = &json["falco_load_results"][1]["warnings"];
    let named = (&json!("LOAD_DEPRECATED_ITEM"), &json!("Used deprecated item"));
    assert_eq!((&warnings[0]["code"], &warnings[0]["codedesc"]), named);
    assert_eq!(warnings[0]["deprecated_field"], "evt.dir");
}
