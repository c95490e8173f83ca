//! Conditions that are asked together.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Filter, Node};
use crate::catalog::Fields;
use crate::scratch::Scratch;

/// Conditions that are asked one after the other about the same values, as all rules are about an event: what several of
/// them ask is asked once.
#[derive(Debug, Clone, Default)]
pub struct FilterSet {
    conditions: Vec<Node>,
    /// Answers that are kept while a set of values is asked about.
    answers: usize,
}

impl FilterSet {
    /// The order of the filters is that in which they are asked.
    pub fn new<'f>(filters: impl IntoIterator<Item = &'f Filter>) -> Self {
        let mut numbers = Numbers::default();
        let roots: Vec<Numbered<'_>> = filters.into_iter().map(|filter| numbers.of(&filter.root)).collect();
        let mut places = Places { counts: &numbers.counts, places: HashMap::new() };
        let conditions = roots.iter().map(|root| places.shared(root, 1)).collect();
        Self { conditions, answers: places.places.len() }
    }

    pub fn len(&self) -> usize {
        self.conditions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.conditions
    }

    /// The places of the conditions that hold, in order. They are asked as far as the iterator is driven.
    pub fn matches(&self, fields: &(impl Fields + ?Sized), scratch: &mut Scratch) -> impl Iterator<Item = usize> {
        self.matches_among(0..self.conditions.len(), fields, scratch)
    }

    /// The same, of the conditions at these places alone.
    pub fn matches_among(
        &self,
        places: impl IntoIterator<Item = usize>,
        fields: &(impl Fields + ?Sized),
        scratch: &mut Scratch,
    ) -> impl Iterator<Item = usize> {
        scratch.begin_answers(self.answers);
        let holds = move |place: &usize| self.conditions.get(*place).is_some_and(|node| node.holds(fields, scratch));
        places.into_iter().filter(holds)
    }
}

/// A part with the number of what it asks: parts of one number ask the same.
struct Numbered<'f> {
    number: usize,
    node: &'f Node,
    below: Vec<Numbered<'f>>,
}

/// What a part asks, its own parts by their numbers.
#[derive(PartialEq, Eq, Hash)]
enum Question {
    All(Vec<usize>),
    Any(Vec<usize>),
    Not(usize),
    Check(Arc<str>),
}

/// Numbers, from the innermost parts outwards, and how often each is asked.
#[derive(Default)]
struct Numbers {
    known: HashMap<Question, usize>,
    counts: Vec<usize>,
}

impl Numbers {
    fn of<'f>(&mut self, node: &'f Node) -> Numbered<'f> {
        let below: Vec<_> = match node {
            Node::All(nodes) | Node::Any(nodes) => nodes.iter().map(|node| self.of(node)).collect(),
            Node::Not(node) => vec![self.of(node)],
            Node::Once(_, node) => return self.of(node),
            Node::Check(_) => Vec::new(),
        };
        let numbers = || below.iter().map(|part| part.number).collect();
        let question = match node {
            Node::Check(check) => Question::Check(Arc::clone(&check.key)),
            Node::Any(_) => Question::Any(numbers()),
            Node::Not(_) => Question::Not(below.first().map_or(0, |part| part.number)),
            Node::All(_) | Node::Once(..) => Question::All(numbers()),
        };
        let next = self.counts.len();
        let number = *self.known.entry(question).or_insert(next);
        if number == next {
            self.counts.push(0);
        }
        self.counts[number] += 1;
        Numbered { number, node, below }
    }
}

/// Where answers are kept, by the number of what is asked.
struct Places<'n> {
    counts: &'n [usize],
    places: HashMap<usize, usize>,
}

impl Places<'_> {
    /// The same part with its answer kept where it is asked more often than the part it stands in (`around` times).
    fn shared(&mut self, part: &Numbered<'_>, around: usize) -> Node {
        let times = self.counts.get(part.number).copied().unwrap_or(1);
        let rebuilt = match (part.node, part.below.first()) {
            // What is negated keeps its answer itself.
            (Node::Not(_), Some(inner)) => return Node::Not(Box::new(self.shared(inner, around))),
            (Node::Any(_), _) => Node::Any(part.below.iter().map(|part| self.shared(part, times)).collect()),
            (Node::Check(check), _) => Node::Check(Arc::clone(check)),
            _ => Node::All(part.below.iter().map(|part| self.shared(part, times)).collect()),
        };
        if times <= around {
            return rebuilt;
        }
        let next = self.places.len();
        Node::Once(*self.places.entry(part.number).or_insert(next), Box::new(rebuilt))
    }
}
