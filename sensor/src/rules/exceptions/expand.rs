//! Exceptions → the text of a condition.

use super::{Comparison, Comparisons, Exception, takes_list};
use crate::rules::keys::{Reported, shape};
use crate::rules::problem::{Code, Problems};
use crate::rules::text::{Scalar, Text};
use crate::rules::yaml::Node;

/// The condition with its exceptions: `(condition) and not (…) and not (…)`.
pub(in crate::rules) fn expand(
    condition: &Text,
    exceptions: &[Exception],
    problems: &mut Problems,
) -> Result<Text, Reported> {
    if !exceptions.iter().any(Exception::has_values) {
        return Ok(condition.clone());
    }
    let mut text = condition.in_parentheses();
    for exception in exceptions.iter().filter(|exception| exception.has_values()) {
        text.push_words(" and not (");
        match &exception.comparisons {
            Comparisons::One(comparison) => push_list(&mut text, exception, comparison, problems)?,
            Comparisons::Row(comparisons) => push_rows(&mut text, exception, comparisons, problems)?,
        }
        text.push_words(")");
    }
    Ok(text)
}

fn push_comparison(text: &mut Text, comparison: &Comparison, absent: &str) {
    text.push(&comparison.field);
    text.push_words(" ");
    match &comparison.operator {
        Some(operator) => text.push(operator),
        None => text.push_words(absent),
    }
    text.push_words(" ");
}

fn push_list(
    text: &mut Text,
    exception: &Exception,
    comparison: &Comparison,
    problems: &mut Problems,
) -> Result<(), Reported> {
    push_comparison(text, comparison, "in");
    push_items(text, exception, &exception.values, problems)
}

fn push_rows(
    text: &mut Text,
    exception: &Exception,
    comparisons: &[Comparison],
    problems: &mut Problems,
) -> Result<(), Reported> {
    for (index, row) in exception.values.iter().enumerate() {
        let values = match row {
            Node::Sequence(values, _) if values.len() == comparisons.len() => values,
            other => {
                let fields = comparisons.len();
                let message =
                    format!("expected a row of {fields} values, one for each of `fields`, found {}", size(other));
                return Err(refuse(exception, other, message, problems));
            }
        };
        text.push_words(if index == 0 { "(" } else { " or (" });
        for (index, (comparison, value)) in comparisons.iter().zip(values).enumerate() {
            text.push_words(if index == 0 { "" } else { " and " });
            push_comparison(text, comparison, "=");
            push_value(text, exception, comparison, value, problems)?;
        }
        text.push_words(")");
    }
    Ok(())
}

fn push_value(
    text: &mut Text,
    exception: &Exception,
    comparison: &Comparison,
    value: &Node,
    problems: &mut Problems,
) -> Result<(), Reported> {
    match value {
        Node::Sequence(values, _) => push_items(text, exception, values, problems)?,
        // What begins with a parenthesis is a list that was written as text.
        Node::Scalar(scalar) if takes_list(comparison.operator("=")) && !scalar.starts_with('(') => {
            text.push_words("(");
            push_scalar(text, exception, value, Scalar::push_as_is, problems)?;
            text.push_words(")");
        }
        Node::Scalar(_) if takes_list(comparison.operator("=")) => {
            push_scalar(text, exception, value, Scalar::push_as_is, problems)?;
        }
        _ => push_scalar(text, exception, value, Scalar::push_quoted, problems)?,
    }
    Ok(())
}

/// `(a, b, "two words")`.
fn push_items(
    text: &mut Text,
    exception: &Exception,
    values: &[Node],
    problems: &mut Problems,
) -> Result<(), Reported> {
    text.push_words("(");
    for (index, value) in values.iter().enumerate() {
        text.push_words(if index == 0 { "" } else { ", " });
        push_scalar(text, exception, value, Scalar::push_quoted, problems)?;
    }
    text.push_words(")");
    Ok(())
}

fn push_scalar(
    text: &mut Text,
    exception: &Exception,
    value: &Node,
    push: fn(&Scalar, &mut Text),
    problems: &mut Problems,
) -> Result<(), Reported> {
    match value.scalar() {
        Some(scalar) if !scalar.is_empty() => {
            push(scalar, text);
            Ok(())
        }
        _ => {
            let message = format!("expected a text among the values, found {}", shape(value));
            Err(refuse(exception, value, message, problems))
        }
    }
}

impl Scalar {
    fn push_as_is(&self, text: &mut Text) {
        text.push(self);
    }

    /// In quotes where it has a blank and none of its own.
    fn push_quoted(&self, text: &mut Text) {
        let quote = if self.contains(' ') && !self.starts_with(['"', '\'']) { "\"" } else { "" };
        text.push_words(quote);
        text.push(self);
        text.push_words(quote);
    }
}

fn refuse(exception: &Exception, value: &Node, message: String, problems: &mut Problems) -> Reported {
    problems.report(Code::Validate, &exception.context.within("exception value", "", value.mark()), message);
    Reported
}

fn size(node: &Node) -> String {
    match node {
        Node::Sequence(elements, _) => elements.len().to_string(),
        other => shape(other).to_owned(),
    }
}
