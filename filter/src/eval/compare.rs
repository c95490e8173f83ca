//! Comparisons of which both sides have a value: `proc.name = val(proc.pname)`.

use super::text::contains_ignoring_case;
use super::transform::{Made, named};
use super::{Order, Source};
use crate::ast::Operator;
use crate::catalog::{Fields, Value};
use crate::pattern::glob::Glob;
use crate::scratch::Scratch;

#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    pub(crate) operator: Operator,
    /// What the left side's enum values are as text.
    pub(crate) names: &'static [&'static str],
    pub(crate) right: Source,
}

impl Comparison {
    /// `None`: values of these types cannot be compared.
    pub(super) fn accepts(
        &self,
        left: Value<'_>,
        fields: &(impl Fields + ?Sized),
        scratch: &mut Scratch,
    ) -> Option<bool> {
        let left = named(left, self.names);
        let is_glob = matches!(self.operator, Operator::Glob | Operator::IGlob);
        let apply = match &self.right {
            Source::Term(apply) => apply,
            Source::Field(field) => {
                let Some(right) = field.value_as_text(fields) else { return Some(false) };
                if !is_glob {
                    return compare(self.operator, left, right, &mut Glob::default());
                }
                let mut room = scratch.take();
                let result = compare(self.operator, left, right, &mut room.glob);
                scratch.give_back(room);
                return result;
            }
        };
        let mut room = scratch.take();
        let result = match apply.make(fields, &mut room) {
            Some(Made::Text(text)) => compare(self.operator, left, Value::Text(&room.bytes[text]), &mut room.glob),
            Some(Made::Number(number)) => compare(self.operator, left, Value::Number(number), &mut room.glob),
            Some(Made::List(_)) => None,
            None => Some(false),
        };
        scratch.give_back(room);
        result
    }
}

#[expect(clippy::float_cmp, reason = "the language asks whether two values are the same")]
fn compare(operator: Operator, left: Value<'_>, right: Value<'_>, glob: &mut Glob) -> Option<bool> {
    let equal = match (left, right) {
        (Value::Text(left), Value::Text(right)) => return texts(operator, left, right, glob),
        (Value::Number(left), Value::Number(right)) => match Order::of(operator) {
            Some(order) => return Some(order.accepts(left.cmp(&right))),
            None => left == right,
        },
        (Value::Float(left), Value::Float(right)) => match Order::of(operator) {
            Some(order) => return left.partial_cmp(&right).map(|ordering| order.accepts(ordering)),
            None => left == right,
        },
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Ip(left), Value::Ip(right)) => left == right,
        _ => return None,
    };
    match operator {
        Operator::Equal | Operator::In | Operator::Intersects => Some(equal),
        Operator::NotEqual => Some(!equal),
        _ => None,
    }
}

fn texts(operator: Operator, left: &[u8], right: &[u8], glob: &mut Glob) -> Option<bool> {
    Some(match operator {
        Operator::Equal | Operator::In | Operator::Intersects => left == right,
        Operator::NotEqual => left != right,
        Operator::Contains | Operator::BContains => memchr::memmem::find(left, right).is_some(),
        Operator::IContains => contains_ignoring_case(left, right),
        Operator::StartsWith | Operator::BStartsWith => left.starts_with(right),
        Operator::EndsWith => left.ends_with(right),
        Operator::Glob | Operator::IGlob => {
            glob.reset(right, operator == Operator::IGlob);
            glob.matches(left)
        }
        other => Order::of(other)?.accepts(left.cmp(right)),
    })
}
