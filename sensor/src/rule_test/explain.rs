//! Why does a rule not match?

use tercel_filter::{Expr, Filter, Node, Scope, Scratch};

use crate::field_map::FieldMap;
use crate::fields::SensorCatalog;
use crate::rules::{Rule, RuleSet};

/// Characters of a condition that are shown.
const SHOWN_CHARS_MAX: usize = 160;

/// The first part of a rule's condition that is false: of its `and`, and of the macros' in it.
pub(super) fn first_false(rule: &Rule, set: &RuleSet, event: &FieldMap) -> String {
    let mut place = String::new();
    let mut expr = &rule.expr;
    loop {
        let inner = match &expr.node {
            Node::And(operands) => operands.iter().find(|operand| is_false(operand, &set.scope, event)),
            Node::Macro(name) => {
                place = format!(" (in macro `{name}`)");
                set.scope.macro_expr(name)
            }
            Node::Or(_) | Node::Not(_) | Node::Check(_) => None,
        };
        match inner {
            Some(inner) => expr = inner,
            None => return format!("`{}` is false{place}", shown(expr)),
        }
    }
}

fn is_false(expr: &Expr, scope: &Scope, event: &FieldMap) -> bool {
    Filter::parse(&expr.to_string(), scope, &SensorCatalog)
        .is_ok_and(|filter| !filter.matches(event, &mut Scratch::new()))
}

fn shown(expr: &Expr) -> String {
    let text = expr.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
