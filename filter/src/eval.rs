//! A compiled filter and its evaluation.

mod compare;
mod dynamic;
mod enums;
mod relaxed;
mod set;
mod text;
mod transform;

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::FxHashSet;

pub(crate) use compare::Comparison;
pub use set::FilterSet;

pub(crate) use dynamic::{DynamicSet, DynamicTest, Number};
pub(crate) use text::{Affixes, Alternatives, TextTest, Words};
pub(crate) use transform::{Apply, FieldRef, LIST_MAX, Made, Source, Term};

use enums::Known;

use crate::ast::{Operator, Quantifier};
use crate::catalog::{FieldId, Fields, Value};
use crate::compile::Warning;
use crate::enum_set::EnumSet;
use crate::scratch::Scratch;

/// A condition ready to be asked: macros and lists are in their places, types are checked, sets and patterns are built.
#[derive(Debug, Clone)]
pub struct Filter {
    pub(crate) root: Node,
    pub(crate) fields: Vec<(FieldId, Option<Box<str>>)>,
    pub(crate) warnings: Vec<Warning>,
    /// Bytes of its regular expressions, at most.
    pub(crate) regex_bytes: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
    /// Shared by the conditions that [`Filter::given`] makes of one.
    Check(Arc<Check>),
    /// Only in a [`FilterSet`]: asked once for all conditions, the answer kept under this number.
    Once(usize, Box<Node>),
}

#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) source: Source,
    pub(crate) mode: Mode,
    pub(crate) test: Test,
    /// No event there is can pass; see [`crate::Field::counts_from_one`].
    pub(crate) never: bool,
    /// The comparison as text: equal for comparisons that are the same.
    pub(crate) key: Arc<str>,
}

/// Of which of a field's values the test is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    One,
    Any,
    /// There are values, and none passes.
    NoneOf,
}

/// What a value is compared with, by the field's type.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Exists,
    Number(NumberTest),
    Float(FloatTest),
    /// Whether false and true are accepted.
    Bool([bool; 2]),
    Ip {
        accepted: Box<[IpNet]>,
        negated: bool,
    },
    Enum(EnumSet),
    Text(TextTest),
    /// A list of which all or any elements must be in the set.
    List {
        accepted: FxHashSet<Box<[u8]>>,
        all: bool,
    },
    Dynamic(Box<DynamicTest>),
    Quantified(Quantifier, Box<[Test]>),
    Compare(Box<Comparison>),
}

#[derive(Debug, Clone)]
pub(crate) enum NumberTest {
    Equal(i64),
    NotEqual(i64),
    In(FxHashSet<i64>),
    Order(Order, i64),
}

#[derive(Debug, Clone)]
pub(crate) enum FloatTest {
    In(Box<[f64]>),
    NotEqual(f64),
    Order(Order, f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    pub(crate) fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Less => Some(Self::Less),
            Operator::LessOrEqual => Some(Self::LessOrEqual),
            Operator::Greater => Some(Self::Greater),
            Operator::GreaterOrEqual => Some(Self::GreaterOrEqual),
            _ => None,
        }
    }

    pub(crate) fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Filter {
    /// Whether the condition holds for these values. Cannot fail, and allocates nothing once `scratch` has grown to what
    /// the condition's transformers and regular expressions need.
    pub fn matches(&self, fields: &(impl Fields + ?Sized), scratch: &mut Scratch) -> bool {
        self.root.holds(fields, scratch)
    }

    /// The same condition for events whose enum field has one value: what that decides is left out. `None`: no such event
    /// can match.
    #[must_use]
    pub fn given(&self, field: FieldId, value: u16) -> Option<Self> {
        let root = match self.root.given(field, value) {
            Known::Is(false) => return None,
            Known::Is(true) => Node::All(Box::default()),
            Known::If(node) => node,
        };
        Some(Self { root, ..self.clone() })
    }

    /// How each comparison of an enum field falls out for a value: values with the same answers make the same condition of
    /// [`Filter::given`].
    pub fn answers_for(&self, field: FieldId, value: u16) -> Vec<bool> {
        let mut answers = Vec::new();
        self.root.answers_for(field, value, &mut answers);
        answers
    }

    /// The fields the condition reads, with their arguments; each pair once.
    pub fn fields(&self) -> impl Iterator<Item = (FieldId, Option<&str>)> {
        self.fields.iter().map(|(field, argument)| (*field, argument.as_deref()))
    }

    /// Bytes that its regular expressions take, at most; a set of filters may be bounded by their sum.
    pub fn regex_bytes(&self) -> usize {
        self.regex_bytes
    }

    /// What is odd about the condition.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The values of an enum field with which the condition can be true: all where it says nothing about the field, none
    /// where it can never be true. Never misses one; may hold one too many.
    pub fn possible_enum_values(&self, field: FieldId) -> EnumSet {
        self.root.possible(field).when_true
    }
}

impl Node {
    fn holds(&self, fields: &(impl Fields + ?Sized), scratch: &mut Scratch) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.holds(fields, scratch)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(fields, scratch)),
            Self::Not(node) => !node.holds(fields, scratch),
            Self::Check(check) => check.holds(fields, scratch),
            Self::Once(place, node) => scratch.answer(*place).unwrap_or_else(|| {
                let answer = node.holds(fields, scratch);
                scratch.keep_answer(*place, answer);
                answer
            }),
        }
    }
}

impl Check {
    fn holds(&self, fields: &(impl Fields + ?Sized), scratch: &mut Scratch) -> bool {
        match (&self.source, self.mode) {
            (Source::Term(apply), _) => {
                let mut room = scratch.take();
                let result = match apply.make(fields, &mut room) {
                    Some(Made::Text(text)) => self.accepts(Value::Text(&room.bytes[text]), fields, scratch),
                    Some(Made::Number(number)) => self.accepts(Value::Number(number), fields, scratch),
                    Some(Made::List(items)) => {
                        self.test.accepts_items(room.items[items].iter().map(|item| &room.bytes[item.clone()]))
                    }
                    None => false,
                };
                scratch.give_back(room);
                result
            }
            (Source::Field(field), Mode::One) => {
                field.value(fields).is_some_and(|value| self.accepts(value, fields, scratch))
            }
            (Source::Field(field), Mode::Any) => {
                fields.any(field.id, &mut |value| self.accepts(value, fields, scratch))
            }
            (Source::Field(field), Mode::NoneOf) => {
                let mut present = false;
                let passes = fields.any(field.id, &mut |value| {
                    present = true;
                    self.accepts(value, fields, scratch)
                });
                present && !passes
            }
        }
    }

    fn accepts(&self, value: Value<'_>, fields: &(impl Fields + ?Sized), scratch: &mut Scratch) -> bool {
        self.test.accepts(value, fields, scratch).unwrap_or_else(|| {
            if let Source::Field(field) = &self.source {
                fields.mismatch(field.id);
            }
            false
        })
    }
}

impl Test {
    pub(crate) fn regex_bytes(&self) -> usize {
        match self {
            Self::Text(TextTest::Regex(pattern)) => pattern.bytes,
            Self::Dynamic(test) => match &**test {
                DynamicTest::Text(TextTest::Regex(pattern)) => pattern.bytes,
                _ => 0,
            },
            Self::Quantified(_, tests) => tests.iter().map(Self::regex_bytes).sum(),
            _ => 0,
        }
    }

    /// Whether it is the comparison `= 0`.
    pub(crate) fn is_equal_to_zero(&self) -> bool {
        match self {
            Self::Number(NumberTest::Equal(number)) => *number == 0,
            Self::Number(NumberTest::In(numbers)) => numbers.iter().all(|number| *number == 0),
            _ => false,
        }
    }

    /// `None`: the value is of a type with which this comparison has no meaning.
    pub(crate) fn accepts(
        &self,
        value: Value<'_>,
        fields: &(impl Fields + ?Sized),
        scratch: &mut Scratch,
    ) -> Option<bool> {
        match (self, value) {
            (Self::Exists, _) => Some(true),
            (Self::Number(test), Value::Number(number)) => Some(test.accepts(number)),
            (Self::Float(test), Value::Float(number)) => Some(test.accepts(number)),
            #[expect(clippy::cast_precision_loss, reason = "a float field that has no fraction here")]
            (Self::Float(test), Value::Number(number)) => Some(test.accepts(number as f64)),
            (Self::Bool(accepted), Value::Bool(value)) => Some(accepted[usize::from(value)]),
            (Self::Ip { accepted, negated }, Value::Ip(address)) => Some(contain(accepted, address) != *negated),
            (Self::Enum(accepted), Value::Enum(index)) => Some(accepted.contains(index)),
            (Self::Text(test), Value::Text(bytes)) => Some(test.accepts(bytes, scratch)),
            (Self::Text(test), Value::List(list)) => Some(test.accepts_list(list, scratch)),
            (Self::List { .. }, Value::List(list)) => Some(self.accepts_items(list.iter().map(String::as_bytes))),
            (Self::Dynamic(test), value) => test.accepts(value, scratch),
            (Self::Quantified(quantifier, tests), value) => {
                Some(quantified(*quantifier, tests, |test| test.accepts(value, fields, scratch) == Some(true)))
            }
            (Self::Compare(comparison), value) => comparison.accepts(value, fields, scratch),
            _ => None,
        }
    }
}

impl Test {
    /// Whether a list passes; only a [`Test::List`] or [`Test::Exists`] is asked.
    fn accepts_items<'a>(&self, mut items: impl Iterator<Item = &'a [u8]>) -> bool {
        match self {
            Self::Exists => true,
            Self::List { accepted, all: true } => items.all(|item| accepted.contains(item)),
            Self::List { accepted, all: false } => items.any(|item| accepted.contains(item)),
            _ => false,
        }
    }
}

fn quantified(quantifier: Quantifier, tests: &[Test], mut passes: impl FnMut(&Test) -> bool) -> bool {
    match quantifier {
        Quantifier::AnyOf => tests.iter().any(passes),
        // Of no values none passes.
        Quantifier::AllOf => !tests.is_empty() && tests.iter().all(passes),
        Quantifier::OneOf => tests.iter().filter(|test| passes(test)).take(2).count() == 1,
    }
}

fn contain(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

impl NumberTest {
    fn accepts(&self, number: i64) -> bool {
        match self {
            Self::Equal(other) => number == *other,
            Self::NotEqual(other) => number != *other,
            Self::In(numbers) => numbers.contains(&number),
            Self::Order(order, other) => order.accepts(number.cmp(other)),
        }
    }
}

impl FloatTest {
    #[expect(clippy::float_cmp, reason = "the language compares what is written with what is there")]
    fn accepts(&self, number: f64) -> bool {
        match self {
            Self::In(numbers) => numbers.contains(&number),
            Self::NotEqual(other) => number != *other,
            Self::Order(order, other) => number.partial_cmp(other).is_some_and(|ordering| order.accepts(ordering)),
        }
    }
}
