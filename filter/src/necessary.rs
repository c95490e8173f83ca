//! What a text must begin with for a condition to hold, where hardly anything else is known.
//!
//! For deciding early: who sees a text and a few values, long before a condition's other values are gathered, asks here
//! which beginnings of the text leave a condition a chance. The answer is never too narrow: what it rules out cannot match,
//! what it lets through may still fail to.
//!
//! A condition is walked over with two answers for each of its parts: with which beginnings it may be true, and with which
//! it may be false. `and` takes what both allow of the one and what either allows of the other, `or` the other way round,
//! `not` swaps them. A comparison with something unknown may be both, whatever the text.

mod beginnings;
mod test;

use std::collections::BTreeSet;

pub use beginnings::Beginnings;

use crate::catalog::{FieldId, Value};
use crate::eval::{Apply, Check, FieldRef, Filter, FilterSet, Mode, Node, Source, Term, Test};

/// What is known before a condition is asked. The *subject* is the text of which the beginning is sought.
pub trait Question {
    fn known(&self, field: FieldId, argument: Option<&str>) -> Known<'_>;

    /// Whether the subject may hold this text. Yes, where it is not known.
    fn may_hold(&self, text: &[u8]) -> bool;

    /// Whether the subject may begin with this text.
    fn may_begin(&self, text: &[u8]) -> bool;

    /// Whether the subject may be this text.
    fn may_be(&self, text: &[u8]) -> bool;
}

/// What is known of a field that has at most one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known<'a> {
    Nothing,
    Missing,
    /// Present, and this.
    Value(Value<'a>),
    /// Present, and a number from this to that, both included.
    Between(i64, i64),
    /// Present, and a text that is not this one.
    OtherThan(&'a [u8]),
    /// Present, and a text that holds one of these and none of the others.
    Holding {
        this: &'a [u8],
        none_of: &'a [&'a [u8]],
    },
    /// The subject, or missing.
    Subject,
    /// What stands before the subject's last slash (`/` where that is the first as well), or missing.
    SubjectDirectory,
}

/// One condition of a [`FilterSet`].
#[derive(Debug, Clone, Copy)]
pub struct Condition<'a>(&'a Node);

impl Filter {
    /// The beginnings of the subject with which the condition may hold.
    pub fn necessary(&self, question: &dyn Question) -> Beginnings {
        self.root.truth(question).when_true
    }
}

impl FilterSet {
    /// The conditions one by one, in order.
    pub fn conditions(&self) -> impl Iterator<Item = Condition<'_>> {
        self.nodes().iter().map(Condition)
    }
}

impl Condition<'_> {
    /// The beginnings of the subject with which it may hold.
    pub fn necessary(self, question: &dyn Question) -> Beginnings {
        self.0.truth(question).when_true
    }

    /// The fields that it reads.
    pub fn fields(self) -> BTreeSet<FieldId> {
        let mut fields = BTreeSet::new();
        self.0.collect_fields(&mut fields);
        fields
    }
}

/// With which beginnings of the subject something may be true, and with which false.
struct Truth {
    when_true: Beginnings,
    when_false: Beginnings,
}

impl Truth {
    fn unknown() -> Self {
        Self { when_true: Beginnings::all(), when_false: Beginnings::all() }
    }

    fn is(truth: bool) -> Self {
        Self::may_be(truth, !truth)
    }

    /// Whatever the subject.
    fn may_be(when_true: bool, when_false: bool) -> Self {
        let of = |possible| if possible { Beginnings::all() } else { Beginnings::none() };
        Self { when_true: of(when_true), when_false: of(when_false) }
    }

    /// True with these beginnings only, false with any.
    fn only_with(when_true: Beginnings) -> Self {
        Self { when_true, when_false: Beginnings::all() }
    }

    fn and(self, other: &Self) -> Self {
        Self {
            when_true: self.when_true.intersection(&other.when_true),
            when_false: self.when_false.union(&other.when_false),
        }
    }

    fn or(self, other: &Self) -> Self {
        self.not().and(&other.as_negated()).not()
    }

    fn not(self) -> Self {
        Self { when_true: self.when_false, when_false: self.when_true }
    }

    fn as_negated(&self) -> Self {
        Self { when_true: self.when_false.clone(), when_false: self.when_true.clone() }
    }
}

impl Node {
    fn truth(&self, question: &dyn Question) -> Truth {
        match self {
            Self::All(nodes) => nodes.iter().fold(Truth::is(true), |all, node| all.and(&node.truth(question))),
            Self::Any(nodes) => nodes.iter().fold(Truth::is(false), |any, node| any.or(&node.truth(question))),
            Self::Not(node) => node.truth(question).not(),
            Self::Once(_, node) => node.truth(question),
            Self::Check(check) => check.truth(question),
        }
    }

    pub(crate) fn collect_fields(&self, fields: &mut BTreeSet<FieldId>) {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.collect_fields(fields)),
            Self::Not(node) | Self::Once(_, node) => node.collect_fields(fields),
            Self::Check(check) => {
                let mut take = |field: &FieldRef| _ = fields.insert(field.id);
                check.source.each_field(&mut take);
                if let Test::Compare(comparison) = &check.test {
                    comparison.right.each_field(&mut take);
                }
            }
        }
    }
}

impl Check {
    fn truth(&self, question: &dyn Question) -> Truth {
        match &self.source {
            _ if self.never => Truth::is(false),
            Source::Field(field) if self.mode == Mode::One => {
                self.test.truth(question.known(field.id, field.argument.as_deref()), question)
            }
            _ => Truth::unknown(),
        }
    }
}

impl Source {
    /// Shows every field that it is made of.
    pub(crate) fn each_field<'s>(&'s self, show: &mut dyn FnMut(&'s FieldRef)) {
        match self {
            Self::Field(field) => show(field),
            Self::Term(apply) => apply.each_field(show),
        }
    }
}

impl Apply {
    fn each_field<'s>(&'s self, show: &mut dyn FnMut(&'s FieldRef)) {
        self.inputs.iter().for_each(|input| input.each_field(show));
    }
}

impl Term {
    fn each_field<'s>(&'s self, show: &mut dyn FnMut(&'s FieldRef)) {
        match self {
            Self::Field(field) => show(field),
            Self::Text(_) => {}
            Self::List(terms) => terms.iter().for_each(|term| term.each_field(show)),
            Self::Apply(apply) => apply.each_field(show),
        }
    }
}
