//! Which comparisons of a condition decided, for an alert.

use serde::Serialize;
use serde_json::Value as Json;
use tercel_alert::Alert;
use tercel_filter::{CONDITION_BYTES_MAX, Check, DEPTH_MAX, Expr, FieldName, Node, Operand, parse};

use super::{Condition, FIXED, output_field};
use prometheus::IntCounter;

/// One comparison that decided, and what it saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// As it is written.
    pub text: String,
    pub holds: bool,
    /// The fields in it; `null` where the alert has none.
    pub values: Vec<(String, Json)>,
}

/// The comparisons without which `condition` could have come out otherwise: of an `and` that does not hold the first that
/// does not, of an `or` that does the first that does; else all of them. Nothing where it cannot be read.
pub(crate) fn why(condition: &str, alert: &Alert, mismatches: &IntCounter) -> Vec<Comparison> {
    let mut found = Vec::new();
    if condition.len() > CONDITION_BYTES_MAX {
        return found;
    }
    if let Ok(expr) = parse(condition) {
        let judge = Judge { condition, alert, mismatches };
        judge.collect(&expr, judge.holds(&expr), 0, &mut found);
    }
    found
}

struct Judge<'a> {
    condition: &'a str,
    alert: &'a Alert,
    mismatches: &'a IntCounter,
}

impl Judge<'_> {
    fn collect(&self, expr: &Expr, holds: bool, depth: usize, found: &mut Vec<Comparison>) {
        if depth > DEPTH_MAX {
            return;
        }
        let mut go_on = |operand: &Expr, holds: bool| self.collect(operand, holds, depth + 1, found);
        match &expr.node {
            Node::And(operands) | Node::Or(operands) => {
                // One part is enough to make an `or` true, or an `and` false.
                if holds == matches!(expr.node, Node::Or(_)) {
                    if let Some(first) = operands.iter().find(|operand| self.holds(operand) == holds) {
                        go_on(first, holds);
                    }
                } else {
                    for operand in operands {
                        go_on(operand, holds);
                    }
                }
            }
            Node::Not(operand) => go_on(operand, !holds),
            Node::Check(check) => found.push(self.comparison(expr, check, holds)),
            // There are none over alerts.
            Node::Macro(_) => {}
        }
    }

    fn comparison(&self, expr: &Expr, check: &Check, holds: bool) -> Comparison {
        let written = self.condition.get(expr.span.clone());
        let fields = check.operands().flat_map(Operand::fields);
        let values = fields.map(|field| (field.to_string(), value(self.alert, field))).collect();
        Comparison { text: written.map_or_else(|| expr.to_string(), str::to_owned), holds, values }
    }

    fn holds(&self, expr: &Expr) -> bool {
        Condition::parse(&expr.to_string()).is_ok_and(|condition| condition.matches(self.alert, self.mismatches))
    }
}

fn value(alert: &Alert, field: &FieldName) -> Json {
    let text = |text: &str| if text.is_empty() { Json::Null } else { text.into() };
    match field.name.as_str() {
        "priority" => alert.priority.name().into(),
        "rule" => text(&alert.rule),
        "source" => text(&alert.source),
        "hostname" => text(&alert.hostname),
        "output" => text(&alert.output),
        "tags" => alert.tags.iter().cloned().collect::<Vec<_>>().into(),
        name => {
            debug_assert!(FIXED.iter().all(|(fixed, _)| *fixed != name), "`{name}` has no value here");
            output_field(alert, name, field.argument.as_deref()).cloned().unwrap_or(Json::Null)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(condition: &str) -> String {
        let alert = serde_json::from_value(json!({
            "time": "2026-01-01T00:00:00Z", "rule": "Shell", "priority": "Warning", "tags": ["a", "b"],
            "output_fields": {"k8s.ns.name": "dev", "proc.aname[2]": "sshd"}
        }))
        .unwrap();
        let found = why(condition, &alert, &IntCounter::new("m", "m").unwrap());
        let told = found.iter().map(|one| format!("{} {} {}", one.text, one.holds, json!(one.values)));
        told.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_first_false_part_of_an_and_decides() {
        let condition = "rule = Shell and priority >= critical and k8s.ns.name = x";
        assert_eq!(told(condition), r#"priority >= critical false [["priority","Warning"]]"#);
    }

    #[test]
    fn every_part_of_a_true_and_decides_and_the_first_true_one_of_an_or() {
        let condition = "rule = Shell and (hostname exists or tags = b or tags = a)";
        assert_eq!(told(condition), r#"rule = Shell true [["rule","Shell"]]; tags = b true [["tags",["a","b"]]]"#);
    }

    #[test]
    fn a_negation_is_decided_by_what_stands_in_it() {
        let condition = "not (k8s.ns.name in (dev, staging) or proc.aname[2] = sshd)";
        assert_eq!(told(condition), r#"k8s.ns.name in (dev, staging) true [["k8s.ns.name","dev"]]"#);
        assert_eq!(told("not proc.name = cat"), r#"proc.name = cat false [["proc.name",null]]"#);
    }
}
