//! Connectives, with many comparisons of one field made into one look-up.
//!
//! `fd.name startswith a or fd.name startswith b or fd.name in (c, d)` asks for the field once. Whether a value is missing
//! decides each of the comparisons alike, so the result is the same.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::enum_set::EnumSet;
use crate::eval::{Affixes, Alternatives, Check, Mode, Node, Source, Test, TextTest, Words};

/// Two parts or more joined by `and`.
pub(super) fn all(nodes: Vec<Node>) -> Node {
    let mut flat = Vec::with_capacity(nodes.len());
    for node in nodes {
        match node {
            Node::All(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    let mut merged = unequal(flat);
    // not a and not b = not (a or b)
    let negated = |node: &Node| matches!(node, Node::Not(inner) if text_key(inner).is_some());
    if merged.iter().filter(|node| negated(node)).count() > 1 {
        let first = merged.iter().position(negated).unwrap_or(0);
        let (inner, mut others): (Vec<_>, Vec<_>) = merged.into_iter().partition(negated);
        let inner = inner.into_iter().map(not).collect();
        let negated = match any(inner) {
            Node::Any(nodes) => nodes.into_iter().map(not).collect(),
            one => vec![not(one)],
        };
        others.splice(first..first, negated);
        merged = others;
    }
    only(merged, Node::All)
}

/// Two parts or more joined by `or`.
pub(super) fn any(nodes: Vec<Node>) -> Node {
    let mut flat = Vec::with_capacity(nodes.len());
    for node in nodes {
        match node {
            Node::Any(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    only(alternatives(enums(flat)), Node::Any)
}

pub(super) fn not(node: Node) -> Node {
    match node {
        Node::Not(inner) => *inner,
        other => Node::Not(Box::new(other)),
    }
}

fn only(mut nodes: Vec<Node>, join: fn(Box<[Node]>) -> Node) -> Node {
    if nodes.len() == 1
        && let Some(node) = nodes.pop()
    {
        return node;
    }
    join(nodes.into())
}

/// The field of a plain comparison, and of which of its values it is asked.
type Key = (crate::catalog::FieldId, Option<Box<str>>, Mode);

fn key(node: &Node) -> Option<(Key, &Test)> {
    match node {
        Node::Check(check) if !check.never => match &check.source {
            Source::Field(field) => Some(((field.id, field.argument.clone(), check.mode), &check.test)),
            Source::Term(_) => None,
        },
        _ => None,
    }
}

/// The field of a comparison that can be one of several [`Alternatives`].
fn text_key(node: &Node) -> Option<Key> {
    match key(node)? {
        (key, Test::Text(test)) if key.2 != Mode::NoneOf && is_positive(test) => Some(key),
        _ => None,
    }
}

/// Replaces every group of nodes of one key by one node, at the place of its first.
fn group(nodes: Vec<Node>, key: impl Fn(&Node) -> Option<Key>, join: impl Fn(Vec<Node>) -> Vec<Node>) -> Vec<Node> {
    let mut groups: Vec<(Option<Key>, Vec<Node>)> = Vec::new();
    for node in nodes {
        let key = key(&node);
        match groups.iter_mut().find(|(known, _)| key.is_some() && *known == key) {
            Some((_, group)) => group.push(node),
            None => groups.push((key, vec![node])),
        }
    }
    let joined = groups.into_iter().flat_map(|(_, group)| if group.len() > 1 { join(group) } else { group });
    joined.collect()
}

/// `evt.type = a or evt.type = b`.
fn enums(nodes: Vec<Node>) -> Vec<Node> {
    let is_enum = |node: &Node| key(node).filter(|(_, test)| matches!(test, Test::Enum(_))).map(|(key, _)| key);
    group(nodes, is_enum, |nodes| {
        let keys = keys(&nodes);
        let mut nodes = nodes.into_iter();
        let Some(Node::Check(first)) = nodes.next() else { return Vec::new() };
        let mut first = Arc::unwrap_or_clone(first);
        let all = nodes.fold(EnumSet::none(), |all, node| match node {
            Node::Check(check) => match &check.test {
                Test::Enum(set) => all.union(set),
                _ => all,
            },
            _ => all,
        });
        if let Test::Enum(set) = first.test {
            first.test = Test::Enum(set.union(&all));
        }
        first.key = keys.into();
        vec![Node::Check(Arc::new(first))]
    })
}

/// `x != a and x != b`.
fn unequal(nodes: Vec<Node>) -> Vec<Node> {
    let is_unequal = |node: &Node| {
        key(node)
            .filter(|(key, test)| key.2 == Mode::One && matches!(test, Test::Text(TextTest::NotEqual(_))))
            .map(|(key, _)| key)
    };
    group(nodes, is_unequal, |nodes| {
        join(nodes, |tests| {
            let texts = tests.into_iter().filter_map(|test| match test {
                TextTest::NotEqual(text) => Some(text),
                _ => None,
            });
            TextTest::NotIn(texts.collect())
        })
    })
}

/// `x = a or x startswith b or x in (c, d)`.
fn alternatives(nodes: Vec<Node>) -> Vec<Node> {
    group(nodes, text_key, |nodes| join(nodes, any_of))
}

/// One check of the first node's field, with a test made of all.
fn join(nodes: Vec<Node>, make: impl Fn(Vec<TextTest>) -> TextTest) -> Vec<Node> {
    let keys = keys(&nodes);
    let mut source = None;
    let mut tests = Vec::with_capacity(nodes.len());
    for node in nodes {
        if let Node::Check(check) = node
            && let Check { source: from, mode, test: Test::Text(test), .. } = Arc::unwrap_or_clone(check)
        {
            source.get_or_insert((from, mode));
            tests.push(test);
        }
    }
    let check = source.map(|(source, mode)| Check {
        source,
        mode,
        test: Test::Text(make(tests)),
        never: false,
        key: keys.into(),
    });
    check.into_iter().map(|check| Node::Check(Arc::new(check))).collect()
}

/// What tells a merged comparison from others: all that went into it.
fn keys(nodes: &[Node]) -> String {
    let keys = nodes.iter().filter_map(|node| match node {
        Node::Check(check) => Some(&*check.key),
        _ => None,
    });
    keys.collect::<Vec<_>>().join("; ")
}

fn is_positive(test: &TextTest) -> bool {
    !matches!(test, TextTest::NotEqual(_) | TextTest::NotIn(_))
}

/// A test that holds where one of these holds.
pub(super) fn any_of(tests: Vec<TextTest>) -> TextTest {
    let mut equal = FxHashSet::default();
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    let (mut contains, mut icontains) = (Vec::new(), Vec::new());
    let mut others = Vec::new();
    let mut pending = tests;
    while let Some(test) = pending.pop() {
        match test {
            TextTest::Equal(text) => _ = equal.insert(text),
            TextTest::In(set) => equal.extend(set),
            TextTest::StartsWith(text) => starts.push(text),
            TextTest::EndsWith(text) => ends.push(text.iter().rev().copied().collect()),
            TextTest::Contains(finder) => contains.push(finder.needle().into()),
            TextTest::IContains(text) => icontains.push(text),
            other => others.push(other),
        }
    }
    if starts.is_empty() && ends.is_empty() && contains.is_empty() && icontains.is_empty() && others.is_empty() {
        return TextTest::In(equal);
    }
    // An automaton that cannot be built leaves its texts to be looked for one by one.
    let found = Words::new(&contains, false);
    if found.is_none() {
        others.extend(
            contains.iter().map(|text| TextTest::Contains(Box::new(memchr::memmem::Finder::new(text).into_owned()))),
        );
    }
    let found_ignoring_case = Words::new(&icontains, true);
    if found_ignoring_case.is_none() {
        others.extend(icontains.iter().cloned().map(TextTest::IContains));
    }
    TextTest::AnyOf(Box::new(Alternatives {
        equal,
        starts: Affixes::new(starts),
        ends: Affixes::new(ends),
        contains: found,
        icontains: found_ignoring_case,
        others,
    }))
}
