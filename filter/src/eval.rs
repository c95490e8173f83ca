//! A compiled filter and its evaluation.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use memchr::memmem;
use regex::{Regex, bytes};

use crate::catalog::{FieldId, Fields, Value};
use crate::enum_set::EnumSet;
use crate::pattern::Paths;
use crate::scratch::Scratch;

/// A condition ready to be asked: macros and lists are in their places, types are checked, sets and patterns are built.
#[derive(Debug, Clone)]
pub struct Filter {
    pub(crate) root: Node,
    pub(crate) fields: Vec<(FieldId, Option<Box<str>>)>,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
    Check(Box<Check>),
}

#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) field: FieldId,
    pub(crate) argument: Option<Box<str>>,
    /// Read through [`Fields::any`].
    pub(crate) many: bool,
    pub(crate) test: Test,
}

/// What a value is compared with, by the field's type.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Exists,
    Number(NumberTest),
    /// Whether false and true are accepted.
    Bool([bool; 2]),
    Ip {
        accepted: Box<[IpNet]>,
        negated: bool,
    },
    Enum(EnumSet),
    Text(TextTest),
    Dynamic(Box<DynamicTest>),
}

#[derive(Debug, Clone)]
pub(crate) enum NumberTest {
    In(HashSet<i64>),
    NotEqual(i64),
    Order(Order, i64),
}

#[derive(Debug, Clone)]
pub(crate) enum TextTest {
    Equal(Box<[u8]>),
    NotEqual(Box<[u8]>),
    In(HashSet<Box<[u8]>>),
    Contains(Box<memmem::Finder<'static>>),
    /// The text in lower case.
    IContains(Box<[u8]>),
    StartsWith(Box<[u8]>),
    EndsWith(Box<[u8]>),
    Glob(bytes::Regex),
    Regex(Regex),
    Paths(Paths),
}

/// A comparison of which the value's type decides.
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
    pub(crate) texts: HashSet<Box<[u8]>>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
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
    /// Whether the condition holds for these values.
    pub fn matches(&self, fields: &(impl Fields + ?Sized), _scratch: &mut Scratch) -> bool {
        self.root.holds(fields)
    }

    /// The fields the condition reads, with their arguments; each pair once.
    pub fn fields(&self) -> impl Iterator<Item = (FieldId, Option<&str>)> {
        self.fields.iter().map(|(field, argument)| (*field, argument.as_deref()))
    }

    /// The values of an enum field with which the condition can be true: all where it says nothing about the field, none
    /// where it can never be true. Never misses one; may hold one too many.
    pub fn possible_enum_values(&self, field: FieldId) -> EnumSet {
        self.root.possible(field).when_true
    }
}

/// The enum values with which a condition can be true and with which it can be false.
struct Possible {
    when_true: EnumSet,
    when_false: EnumSet,
}

impl Possible {
    fn and(self, other: &Self) -> Self {
        Self {
            when_true: self.when_true.intersection(&other.when_true),
            when_false: self.when_false.union(&other.when_false),
        }
    }

    fn not(self) -> Self {
        Self { when_true: self.when_false, when_false: self.when_true }
    }
}

impl Node {
    fn holds(&self, fields: &(impl Fields + ?Sized)) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.holds(fields)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(fields)),
            Self::Not(node) => !node.holds(fields),
            Self::Check(check) => check.holds(fields),
        }
    }

    fn possible(&self, field: FieldId) -> Possible {
        let always = || Possible { when_true: EnumSet::all(), when_false: EnumSet::none() };
        match self {
            Self::All(nodes) => nodes.iter().fold(always(), |all, node| all.and(&node.possible(field))),
            // a or b = not (not a and not b)
            Self::Any(nodes) => nodes.iter().fold(always(), |all, node| all.and(&node.possible(field).not())).not(),
            Self::Not(node) => node.possible(field).not(),
            Self::Check(check) => check.possible(field),
        }
    }
}

impl Check {
    fn possible(&self, field: FieldId) -> Possible {
        match &self.test {
            // A missing value makes the check false whatever the set: but it then has no value to be asked for.
            Test::Enum(accepted) if self.field == field && self.argument.is_none() && !self.many => {
                Possible { when_true: accepted.clone(), when_false: accepted.clone().complement() }
            }
            _ => Possible { when_true: EnumSet::all(), when_false: EnumSet::all() },
        }
    }

    fn holds(&self, fields: &(impl Fields + ?Sized)) -> bool {
        if self.many {
            return fields.any(self.field, &mut |value| self.accepts(value, fields));
        }
        fields.value(self.field, self.argument.as_deref()).is_some_and(|value| self.accepts(value, fields))
    }

    fn accepts(&self, value: Value<'_>, fields: &(impl Fields + ?Sized)) -> bool {
        self.test.accepts(value).unwrap_or_else(|| {
            fields.mismatch(self.field);
            false
        })
    }
}

impl Test {
    /// `None`: the value is of a type with which this comparison has no meaning.
    fn accepts(&self, value: Value<'_>) -> Option<bool> {
        match (self, value) {
            (Self::Exists, _) => Some(true),
            (Self::Number(test), Value::Number(number)) => Some(test.accepts(number)),
            (Self::Bool(accepted), Value::Bool(value)) => Some(accepted[usize::from(value)]),
            (Self::Ip { accepted, negated }, Value::Ip(address)) => {
                Some(accepted.iter().any(|net| net.contains(&address)) != *negated)
            }
            (Self::Enum(accepted), Value::Enum(index)) => Some(accepted.contains(index)),
            (Self::Text(test), Value::Text(bytes)) => Some(test.accepts(bytes)),
            (Self::Text(test), Value::List(list)) => Some(test.accepts_list(list)),
            (Self::Dynamic(test), value) => test.accepts(value),
            _ => None,
        }
    }
}

impl NumberTest {
    fn accepts(&self, number: i64) -> bool {
        match self {
            Self::In(numbers) => numbers.contains(&number),
            Self::NotEqual(other) => number != *other,
            Self::Order(order, other) => order.accepts(number.cmp(other)),
        }
    }
}

impl TextTest {
    fn accepts(&self, text: &[u8]) -> bool {
        match self {
            Self::Equal(other) => **other == *text,
            Self::NotEqual(other) => **other != *text,
            Self::In(texts) => texts.contains(text),
            Self::Contains(finder) => finder.find(text).is_some(),
            Self::IContains(lower) => contains_ignoring_case(text, lower),
            Self::StartsWith(start) => text.starts_with(start),
            Self::EndsWith(end) => text.ends_with(end),
            Self::Glob(glob) => glob.is_match(text),
            Self::Regex(regex) => regex.is_match(&String::from_utf8_lossy(text)),
            Self::Paths(paths) => paths.contain(text),
        }
    }

    /// One element is enough, except for `!=`, which holds where no element is equal.
    fn accepts_list(&self, list: &[String]) -> bool {
        match self {
            Self::NotEqual(_) => list.iter().all(|element| self.accepts(element.as_bytes())),
            _ => list.iter().any(|element| self.accepts(element.as_bytes())),
        }
    }
}

fn contains_ignoring_case(text: &[u8], lower: &[u8]) -> bool {
    lower.is_empty() || text.windows(lower.len()).any(|window| window.eq_ignore_ascii_case(lower))
}

impl DynamicTest {
    fn accepts(&self, value: Value<'_>) -> Option<bool> {
        match (self, value) {
            (Self::In(set), value) => set.contains(value),
            (Self::NotIn(set), value) => set.contains(value).map(|contained| !contained),
            (Self::Order(order, number), value) => number.compare(value).map(|ordering| order.accepts(ordering)),
            (Self::Text(test), Value::Text(bytes)) => Some(test.accepts(bytes)),
            (Self::Text(test), Value::List(list)) => Some(test.accepts_list(list)),
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
