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
        let roots: Vec<&Node> = filters.into_iter().map(|filter| &filter.root).collect();
        let mut counts = HashMap::new();
        for root in &roots {
            count(root, &mut counts);
        }
        let mut places = HashMap::new();
        let conditions = roots.into_iter().map(|root| shared(root, 1, &counts, &mut places)).collect();
        Self { conditions, answers: places.len() }
    }

    pub fn len(&self) -> usize {
        self.conditions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The places of the conditions that hold, in order. They are asked as far as the iterator is driven.
    pub fn matches(&self, fields: &(impl Fields + ?Sized), scratch: &mut Scratch) -> impl Iterator<Item = usize> {
        scratch.begin_answers(self.answers);
        let holds = move |(place, condition): (usize, &Node)| condition.holds(fields, scratch).then_some(place);
        self.conditions.iter().enumerate().filter_map(holds)
    }
}

/// Part → how often it is asked.
type Counts = HashMap<String, usize>;

/// What is the same for parts that ask the same.
fn key(node: &Node) -> String {
    let keys = |nodes: &[Node]| nodes.iter().map(key).collect::<Vec<_>>();
    match node {
        Node::All(nodes) => format!("({})", keys(nodes).join(" and ")),
        Node::Any(nodes) => format!("({})", keys(nodes).join(" or ")),
        Node::Not(node) => format!("not {}", key(node)),
        Node::Check(check) => check.key.to_string(),
        Node::Once(_, node) => key(node),
    }
}

fn count(node: &Node, counts: &mut Counts) {
    *counts.entry(key(node)).or_default() += 1;
    match node {
        Node::All(nodes) | Node::Any(nodes) => nodes.iter().for_each(|node| count(node, counts)),
        Node::Not(node) | Node::Once(_, node) => count(node, counts),
        Node::Check(_) => {}
    }
}

/// The same part with its answers kept where it is asked more often than the part it stands in (`around` times).
fn shared(node: &Node, around: usize, counts: &Counts, places: &mut HashMap<String, usize>) -> Node {
    let key = key(node);
    let times = counts.get(&key).copied().unwrap_or(1);
    let all = |nodes: &[Node], places: &mut HashMap<String, usize>| {
        nodes.iter().map(|node| shared(node, times, counts, places)).collect()
    };
    let rebuilt = match node {
        Node::All(nodes) => Node::All(all(nodes, places)),
        Node::Any(nodes) => Node::Any(all(nodes, places)),
        // What is negated keeps its answer itself.
        Node::Not(node) => return Node::Not(Box::new(shared(node, around, counts, places))),
        Node::Check(check) => Node::Check(Arc::clone(check)),
        Node::Once(_, node) => return shared(node, around, counts, places),
    };
    if times <= around {
        return rebuilt;
    }
    let next = places.len();
    Node::Once(*places.entry(key).or_insert(next), Box::new(rebuilt))
}
