//! One comparison, of a field of which something is known.

use super::{Beginnings, Known, Question, Truth};
use crate::ast::Quantifier;
use crate::catalog::{FieldId, Fields, Value};
use crate::eval::{Alternatives, NumberTest, Test, TextTest, Words};
use crate::pattern::glob::Glob;
use crate::scratch::Scratch;

/// For comparisons with what is written in the condition: those read no field.
struct NoFields;

impl Fields for NoFields {
    fn value(&self, _: FieldId, _: Option<&str>) -> Option<Value<'_>> {
        None
    }
}

impl Test {
    pub(super) fn truth(&self, known: Known<'_>, question: &dyn Question) -> Truth {
        match (self, known) {
            (_, Known::Missing) => Truth::is(false),
            (_, Known::Nothing) | (Self::Compare(_), _) => Truth::unknown(),
            (Self::Quantified(quantifier, tests), _) => quantified(*quantifier, tests, known, question),
            (_, Known::Value(value)) => Truth::is(self.accepts(value, &NoFields, &mut Scratch::new()) == Some(true)),
            (Self::Exists, Known::Between(..) | Known::OtherThan(_) | Known::Holding { .. }) => Truth::is(true),
            (Self::Number(test), Known::Between(least, most)) => test.truth(least, most),
            (Self::Text(test), Known::OtherThan(known)) => test.truth_of_other(known),
            (Self::Text(test), Known::Holding { this, none_of }) => test.truth_of_holder(this, none_of),
            (Self::Text(test), Known::Subject) => Truth::only_with(test.beginnings(&Subject { question, whole: true })),
            (Self::Text(test), Known::SubjectDirectory) => {
                Truth::only_with(test.beginnings(&Subject { question, whole: false }))
            }
            _ => Truth::unknown(),
        }
    }
}

fn quantified(quantifier: Quantifier, tests: &[Test], known: Known<'_>, question: &dyn Question) -> Truth {
    let truths = tests.iter().map(|test| test.truth(known, question));
    match quantifier {
        Quantifier::AllOf if tests.is_empty() => Truth::is(false),
        Quantifier::AllOf => truths.fold(Truth::is(true), |all, truth| all.and(&truth)),
        Quantifier::AnyOf => truths.fold(Truth::is(false), |any, truth| any.or(&truth)),
        // Two that hold make it false.
        Quantifier::OneOf => {
            Truth::only_with(truths.fold(Beginnings::none(), |any, truth| any.union(&truth.when_true)))
        }
    }
}

impl NumberTest {
    /// Of any number from `least` to `most`.
    fn truth(&self, least: i64, most: i64) -> Truth {
        let range = least..=most;
        match self {
            Self::Equal(number) => Truth::may_be(range.contains(number), least != most || least != *number),
            Self::NotEqual(number) => Truth::may_be(least != most || least != *number, range.contains(number)),
            Self::In(numbers) => {
                let is_one_of = numbers.iter().any(|number| range.contains(number));
                Truth::may_be(is_one_of, least != most || !is_one_of)
            }
            // Between the ends the answer changes at most once.
            Self::Order(order, number) => {
                let answers = [least, most].map(|end| order.accepts(end.cmp(number)));
                Truth::may_be(answers.contains(&true), answers.contains(&false))
            }
        }
    }
}

impl TextTest {
    /// Of any text but this one.
    fn truth_of_other(&self, text: &[u8]) -> Truth {
        match self {
            Self::Equal(other) if **other == *text => Truth::is(false),
            Self::NotEqual(other) if **other == *text => Truth::is(true),
            Self::In(texts) => Truth::may_be(texts.iter().any(|other| **other != *text), true),
            Self::AnyOf(alternatives) if alternatives.are_only(text) => Truth::is(false),
            _ => Truth::unknown(),
        }
    }

    /// Of any text that holds `this` and none of the others.
    fn truth_of_holder(&self, this: &[u8], none_of: &[&[u8]]) -> Truth {
        let is_held = |text: &[u8]| holds(this, text);
        let is_absent = |text: &[u8]| none_of.iter().any(|absent| holds(text, absent));
        match self {
            Self::Contains(finder) if is_held(finder.needle()) => Truth::is(true),
            Self::Contains(finder) => Truth::may_be(!is_absent(finder.needle()), true),
            Self::Equal(text) | Self::StartsWith(text) | Self::EndsWith(text) => Truth::may_be(!is_absent(text), true),
            Self::In(texts) => Truth::may_be(!texts.iter().all(|text| is_absent(text)), true),
            Self::AnyOf(alternatives) => match alternatives.contained() {
                Some(texts) if texts.iter().any(|text| is_held(text)) => Truth::is(true),
                Some(texts) => Truth::may_be(!texts.iter().all(|text| is_absent(text)), true),
                None => Truth::unknown(),
            },
            _ => Truth::unknown(),
        }
    }

    /// The beginnings of the subject with which the comparison may hold.
    fn beginnings(&self, subject: &Subject<'_>) -> Beginnings {
        match self {
            Self::Equal(text) => subject.being([&**text]),
            Self::In(texts) => subject.being(texts.iter().map(|text| &**text)),
            Self::StartsWith(text) => subject.beginning([text.to_vec()]),
            Self::EndsWith(text) => subject.holding(text),
            Self::Contains(finder) => subject.holding(finder.needle()),
            Self::IContains(text) => subject.holding_ignoring_case(text),
            Self::Glob(glob) => subject.matching(glob),
            Self::Paths(paths) => subject.beginning(paths.beginnings()),
            Self::AnyOf(alternatives) => alternatives.beginnings(subject),
            Self::NotEqual(_) | Self::NotIn(_) | Self::Order(..) | Self::Regex(_) => Beginnings::all(),
        }
    }
}

impl Alternatives {
    fn beginnings(&self, subject: &Subject<'_>) -> Beginnings {
        let equal = subject.being(self.equal.iter().map(|text| &**text));
        let starts = subject.beginning(self.starts.texts().iter().map(|text| text.to_vec()));
        let ends = self.ends.texts().iter().map(|text| {
            let forwards: Vec<u8> = text.iter().rev().copied().collect();
            subject.holding(&forwards)
        });
        let contains = self.contains.iter().flat_map(Words::texts).map(|text| subject.holding(text));
        let icontains = self.icontains.iter().flat_map(Words::texts);
        let icontains = icontains.map(|text| subject.holding_ignoring_case(text));
        let others = self.others.iter().map(|test| test.beginnings(subject));
        let parts = ends.chain(contains).chain(icontains).chain(others);
        parts.fold(equal.union(&starts), |all, part| all.union(&part))
    }

    /// Whether nothing but this text is accepted.
    fn are_only(&self, text: &[u8]) -> bool {
        self.others.is_empty()
            && self.starts.texts().is_empty()
            && self.ends.texts().is_empty()
            && self.contains.is_none()
            && self.icontains.is_none()
            && self.equal.iter().all(|other| **other == *text)
    }

    /// The texts one of which must be contained, where the alternatives are of that kind only.
    fn contained(&self) -> Option<&[Box<[u8]>]> {
        let is_plain = self.others.is_empty()
            && self.starts.texts().is_empty()
            && self.ends.texts().is_empty()
            && self.icontains.is_none()
            && self.equal.is_empty();
        self.contains.as_ref().filter(|_| is_plain).map(Words::texts)
    }
}

/// What is compared: the subject or its directory.
struct Subject<'a> {
    question: &'a dyn Question,
    whole: bool,
}

impl Subject<'_> {
    fn being<'t>(&self, texts: impl IntoIterator<Item = &'t [u8]>) -> Beginnings {
        let texts = texts.into_iter();
        if self.whole {
            return texts.filter(|text| self.question.may_be(text)).map(Box::from).collect();
        }
        // Behind a directory stands a slash; the topmost is one.
        let with_slash = |text: &[u8]| if text == b"/" { text.to_vec() } else { [text, b"/"].concat() };
        self.beginning(texts.map(with_slash))
    }

    /// What the directory begins with the subject begins with as well.
    fn beginning(&self, texts: impl IntoIterator<Item = Vec<u8>>) -> Beginnings {
        let possible = |text: &Vec<u8>| self.question.may_begin(text);
        texts.into_iter().filter(possible).map(Vec::into_boxed_slice).collect()
    }

    fn holding(&self, text: &[u8]) -> Beginnings {
        if self.question.may_hold(text) { Beginnings::all() } else { Beginnings::none() }
    }

    /// Only letters have a case: what stands between them is as it is written.
    fn holding_ignoring_case(&self, text: &[u8]) -> Beginnings {
        let is_possible = text.split(u8::is_ascii_alphabetic).all(|part| self.question.may_hold(part));
        if is_possible { Beginnings::all() } else { Beginnings::none() }
    }

    fn matching(&self, glob: &Glob) -> Beginnings {
        let is_possible = |text: &[u8]| {
            if glob.ignores_case() { !self.holding_ignoring_case(text).is_none() } else { self.question.may_hold(text) }
        };
        if !glob.literals().all(|text| is_possible(&text)) {
            return Beginnings::none();
        }
        let mut head = glob.literals().next().filter(|_| glob.begins_literally()).unwrap_or_default();
        if glob.ignores_case() {
            head.truncate(head.iter().position(u8::is_ascii_alphabetic).unwrap_or(head.len()));
        } else if glob.is_literal() {
            return self.being([&*head]);
        }
        self.beginning([head])
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}
