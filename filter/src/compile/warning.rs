//! What compiles and is probably not what was meant.

use std::ops::Range;
use std::sync::Arc;

use crate::ast::{Check, Expr, Function, Literal, Operator};
use crate::catalog::Catalog;
use crate::error::shown;
use crate::pattern::regex;

/// Something odd about a condition that compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub kind: WarningKind,
    pub message: String,
    /// Bytes of the text that was parsed: of the macro's condition where `macro_name` names one.
    pub span: Range<usize>,
    pub macro_name: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningKind {
    /// A regular expression that an operator could do.
    SimpleRegex,
    /// A regular expression that Falco would refuse.
    WidenedRegex,
    /// A field's name where a text is expected.
    FieldAsText,
    /// A transformer where a text is expected.
    TransformerAsText,
}

impl Warning {
    pub(super) fn inside(mut self, expr: &Expr) -> Self {
        self.macro_name.clone_from(&expr.origin);
        self
    }
}

/// What is odd about a comparison.
pub(super) fn of<'a>(check: &'a Check, catalog: &'a dyn Catalog) -> impl Iterator<Item = Warning> + 'a {
    check.right.literals().iter().flat_map(move |literal| {
        let regex = (check.operator == Operator::Regex).then(|| of_regex(literal)).into_iter().flatten();
        regex.chain(of_text(literal, catalog))
    })
}

fn warning(kind: WarningKind, literal: &Literal, message: String) -> Warning {
    Warning { kind, message, span: literal.span.clone(), macro_name: None }
}

fn of_regex(literal: &Literal) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(simple) = regex::simpler(&literal.text) {
        let message = format!("this regular expression says no more than {}, which is faster", shown(&simple));
        warnings.push(warning(WarningKind::SimpleRegex, literal, message));
    }
    let widened = regex::translate(&literal.text).map(|translated| translated.widened).unwrap_or_default();
    if !widened.is_empty() {
        let parts: Vec<_> = widened.iter().map(|part| shown(part)).collect();
        let message = format!("{} is no POSIX syntax: Falco would refuse this regular expression", parts.join(", "));
        warnings.push(warning(WarningKind::WidenedRegex, literal, message));
    }
    warnings
}

fn of_text(literal: &Literal, catalog: &dyn Catalog) -> Option<Warning> {
    let text = literal.text.as_str();
    let (field, _) = text.split_once('[').unwrap_or((text, ""));
    if field.contains('.') && catalog.field(field).is_some() {
        let message =
            format!("{} is a field's name taken as text; its value is {}", shown(text), shown(&format!("val({text})")));
        return Some(warning(WarningKind::FieldAsText, literal, message));
    }
    let (name, _) = text.split_once('(')?;
    if Function::from_name(name).is_none() && name != "val" {
        return None;
    }
    let message = format!("{} is a transformer taken as text; without quotes its value is meant", shown(text));
    Some(warning(WarningKind::TransformerAsText, literal, message))
}
