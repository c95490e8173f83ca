//! What a condition says of an enum field: with which values it can be true, and what is left of it where the value is known.

use super::{Check, Mode, Node, Source, Test};
use crate::catalog::FieldId;
use crate::enum_set::EnumSet;

/// The enum values with which a condition can be true and with which it can be false.
pub(super) struct Possible {
    pub(super) when_true: EnumSet,
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

/// What is known of a part of a condition.
pub(super) enum Known {
    Is(bool),
    If(Node),
}

impl Known {
    pub(super) fn not(self) -> Self {
        match self {
            Self::Is(truth) => Self::Is(!truth),
            Self::If(node) => Self::If(Node::Not(Box::new(node))),
        }
    }

    /// Of all parts together. `neutral`: the truth of a part that changes nothing; the other one decides.
    pub(super) fn all(parts: impl IntoIterator<Item = Self>, neutral: bool, join: fn(Box<[Node]>) -> Node) -> Self {
        let mut left = Vec::new();
        for part in parts {
            match part {
                Self::Is(truth) if truth == neutral => {}
                Self::Is(_) => return Self::Is(!neutral),
                Self::If(node) => left.push(node),
            }
        }
        match left.pop() {
            None => Self::Is(neutral),
            Some(only) if left.is_empty() => Self::If(only),
            Some(last) => {
                left.push(last);
                Self::If(join(left.into()))
            }
        }
    }
}

impl Node {
    pub(super) fn answers_for(&self, field: FieldId, value: u16, answers: &mut Vec<bool>) {
        match self {
            Self::All(nodes) | Self::Any(nodes) => {
                for node in nodes {
                    node.answers_for(field, value, answers);
                }
            }
            Self::Not(node) | Self::Once(_, node) => node.answers_for(field, value, answers),
            Self::Check(check) => match (&check.test, &check.source) {
                (Test::Enum(accepted), Source::Field(name)) if name.is(field) && check.mode == Mode::One => {
                    answers.push(accepted.contains(value));
                }
                _ => {}
            },
        }
    }

    /// Allocates: done once for each rule and event type.
    pub(super) fn given(&self, field: FieldId, value: u16) -> Known {
        match self {
            Self::All(nodes) => Known::all(nodes.iter().map(|node| node.given(field, value)), true, Self::All),
            Self::Any(nodes) => Known::all(nodes.iter().map(|node| node.given(field, value)), false, Self::Any),
            Self::Not(node) => node.given(field, value).not(),
            Self::Check(check) => match (&check.test, &check.source) {
                (Test::Enum(accepted), Source::Field(name)) if name.is(field) && check.mode == Mode::One => {
                    Known::Is(accepted.contains(value))
                }
                _ if check.never => Known::Is(false),
                _ => Known::If(self.clone()),
            },
            Self::Once(_, node) => node.given(field, value),
        }
    }

    pub(super) fn possible(&self, field: FieldId) -> Possible {
        let always = || Possible { when_true: EnumSet::all(), when_false: EnumSet::none() };
        match self {
            Self::All(nodes) => nodes.iter().fold(always(), |all, node| all.and(&node.possible(field))),
            // a or b = not (not a and not b)
            Self::Any(nodes) => nodes.iter().fold(always(), |all, node| all.and(&node.possible(field).not())).not(),
            Self::Not(node) => node.possible(field).not(),
            Self::Check(check) => check.possible(field),
            Self::Once(_, node) => node.possible(field),
        }
    }
}

impl Check {
    fn possible(&self, field: FieldId) -> Possible {
        match (&self.test, &self.source) {
            // A missing value makes the check false whatever the set: but it then has no value to be asked for.
            (Test::Enum(accepted), Source::Field(name)) if name.is(field) && self.mode == Mode::One => {
                Possible { when_true: accepted.clone(), when_false: accepted.clone().complement() }
            }
            // An event has a type, so `exists` is never false of it.
            (Test::Exists, Source::Field(name)) if name.is(field) && self.mode == Mode::One => {
                Possible { when_true: EnumSet::all(), when_false: EnumSet::none() }
            }
            _ if self.never => Possible { when_true: EnumSet::none(), when_false: EnumSet::all() },
            _ => Possible { when_true: EnumSet::all(), when_false: EnumSet::all() },
        }
    }
}
