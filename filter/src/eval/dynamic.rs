//! Comparisons of which the value's type decides.

use std::cmp::Ordering;
use std::net::IpAddr;

use rustc_hash::FxHashSet;

use super::{Order, TextTest};
use crate::catalog::Value;
use crate::scratch::Scratch;

#[derive(Debug, Clone)]
pub(crate) enum DynamicTest {
    In(DynamicSet),
    NotIn(DynamicSet),
    Order(Order, Number),
    Text(TextTest),
}

/// The same literals read as each type that they can be read as.
#[derive(Debug, Clone, Default)]
pub(crate) struct DynamicSet {
    pub(crate) texts: FxHashSet<Box<[u8]>>,
    pub(crate) numbers: Vec<Number>,
    pub(crate) bools: Vec<bool>,
    pub(crate) addresses: Vec<IpAddr>,
}

/// A literal as a number: with all its digits where it is whole, and as a float.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Number {
    pub(crate) whole: Option<i64>,
    pub(crate) float: f64,
}

impl DynamicTest {
    pub(super) fn accepts(&self, value: Value<'_>, scratch: &mut Scratch) -> Option<bool> {
        match (self, value) {
            (Self::In(set), value) => set.contains(value),
            (Self::NotIn(set), value) => set.contains(value).map(|contained| !contained),
            (Self::Order(order, number), value) => number.compare(value).map(|ordering| order.accepts(ordering)),
            (Self::Text(test), Value::Text(bytes)) => Some(test.accepts(bytes, scratch)),
            (Self::Text(test), Value::List(list)) => Some(test.accepts_list(list, scratch)),
            (Self::Text(_), _) => None,
        }
    }
}

impl DynamicSet {
    /// `None`: no literal can be read as the value's type.
    fn contains(&self, value: Value<'_>) -> Option<bool> {
        match value {
            Value::Text(text) => Some(self.texts.contains(text)),
            Value::List(list) => Some(list.iter().any(|element| self.texts.contains(element.as_bytes()))),
            Value::Bool(value) => self.some_of(&self.bools, |literal| *literal == value),
            Value::Ip(address) => self.some_of(&self.addresses, |literal| *literal == address),
            Value::Number(_) | Value::Float(_) => {
                self.some_of(&self.numbers, |literal| literal.compare(value) == Some(Ordering::Equal))
            }
            Value::Enum(_) => None,
        }
    }

    /// An empty list is a list of every type.
    fn some_of<T>(&self, literals: &[T], equals: impl Fn(&T) -> bool) -> Option<bool> {
        (self.texts.is_empty() || !literals.is_empty()).then(|| literals.iter().any(equals))
    }
}

impl Number {
    /// How the value stands to this literal; `None` where it is no number.
    fn compare(&self, value: Value<'_>) -> Option<Ordering> {
        match (value, self.whole) {
            (Value::Number(number), Some(whole)) => Some(number.cmp(&whole)),
            #[expect(clippy::cast_precision_loss, reason = "the literal has a fraction: 53 bits decide")]
            (Value::Number(number), None) => (number as f64).partial_cmp(&self.float),
            (Value::Float(float), _) => float.partial_cmp(&self.float),
            _ => None,
        }
    }
}
