//! YAML → nodes with places, bounded in size and depth.
//!
//! Scalars stay the text they were written as: `yes`, `0x1f` and `1.50` in a list are strings in Falco's language. Of keys
//! that a mapping has twice, both are kept.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser};

use super::place::{Mark, Source};
use super::text::Scalar;

/// Levels of nesting, aliases followed. Falco's items have five.
const NESTING_MAX: usize = 32;

/// Scalars, sequences and mappings that all files of a set may have, aliases followed: about 100 MB.
const NODES_MAX: usize = 500_000;

/// Bytes of all files of a set, and of what their aliases repeat.
pub(crate) const TOTAL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What may still be read into a set.
#[derive(Debug)]
pub(crate) struct Budget {
    nodes: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { nodes: NODES_MAX, bytes: TOTAL_BYTES_MAX }
    }
}

impl Budget {
    /// # Errors
    ///
    /// What is used up, in one sentence.
    pub(crate) fn take_bytes(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| {
            format!("the files, with what their aliases repeat, have more than {TOTAL_BYTES_MAX} bytes together")
        })?;
        Ok(())
    }

    fn take_nodes(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes = self.nodes.checked_sub(nodes).ok_or_else(|| {
            format!("the files have more than {NODES_MAX} values together, those repeated by aliases included")
        })?;
        Ok(())
    }
}

/// A value: the shapes that rule files use.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Scalar(Scalar),
    /// Its elements, and where it begins.
    Sequence(Vec<Self>, Mark),
    /// Its keys and values in order, and where it begins.
    Mapping(Vec<(Scalar, Self)>, Mark),
}

impl Node {
    /// Where it begins.
    pub(crate) fn mark(&self) -> &Mark {
        match self {
            Self::Scalar(scalar) => scalar.mark(),
            Self::Sequence(_, mark) | Self::Mapping(_, mark) => mark,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(scalar) if scalar.is_null())
    }

    /// The text of a scalar that is not null.
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match self {
            Self::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            _ => None,
        }
    }

    /// How many nodes and bytes of text it has, and how many levels.
    fn measure(&self) -> Measure {
        match self {
            Self::Scalar(scalar) => Measure { nodes: 1, bytes: scalar.len(), levels: 0 },
            Self::Sequence(elements, _) => Measure::around(elements.iter().map(Self::measure)),
            Self::Mapping(pairs, _) => Measure::around(pairs.iter().map(|(key, value)| {
                let value = value.measure();
                Measure { nodes: value.nodes + 1, bytes: value.bytes + key.len(), ..value }
            })),
        }
    }
}

struct Measure {
    nodes: usize,
    bytes: usize,
    levels: usize,
}

impl Measure {
    fn around(inner: impl Iterator<Item = Self>) -> Self {
        inner.fold(Self { nodes: 1, bytes: 0, levels: 1 }, |sum, next| Self {
            nodes: sum.nodes + next.nodes,
            bytes: sum.bytes + next.bytes,
            levels: sum.levels.max(next.levels + 1),
        })
    }
}

/// The text is no YAML, or more of it than is read.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) mark: Mark,
    pub(crate) message: String,
}

/// The documents of a YAML stream. An empty one is a null.
pub(crate) fn documents(source: &Arc<Source>, budget: &mut Budget) -> Result<Vec<Node>, Error> {
    let mut builder = Builder { budget, open: Vec::new(), anchors: HashMap::new(), documents: Vec::new() };
    for event in Parser::new_from_str(source.text()) {
        let (event, span) = event
            .map_err(|error| Error { mark: Mark::new(source, *error.marker()), message: error.info().to_owned() })?;
        let mark = Mark::new(source, span.start);
        builder.event(event, mark.clone()).map_err(|message| Error { mark, message })?;
    }
    Ok(builder.documents)
}

struct Builder<'a> {
    budget: &'a mut Budget,
    /// The collections around the place, outermost first.
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    documents: Vec<Node>,
}

struct Open {
    node: Node,
    /// In a mapping, the key that waits for its value.
    key: Option<Scalar>,
    anchor: usize,
}

/// What the parser calls a value without an anchor.
const NO_ANCHOR: usize = 0;

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, mark: Mark) -> Result<(), String> {
        match event {
            Event::Scalar(value, style, anchor, _) => {
                self.budget.take_nodes(1)?;
                self.finish(Node::Scalar(Scalar::new(value.into_owned(), style, mark)), anchor)
            }
            Event::SequenceStart(anchor, _) => self.start(Node::Sequence(Vec::new(), mark), anchor),
            Event::MappingStart(anchor, _) => self.start(Node::Mapping(Vec::new(), mark), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.finish(open.node, open.anchor),
                None => Ok(()),
            },
            Event::Alias(anchor) => self.repeat(anchor),
            _ => Ok(()),
        }
    }

    fn start(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.budget.take_nodes(1)?;
        self.open.push(Open { node, key: None, anchor });
        check_levels(self.open.len())
    }

    fn repeat(&mut self, anchor: usize) -> Result<(), String> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err("this alias stands inside of what it names".to_owned());
        };
        charge(self.budget, node, self.open.len())?;
        let node = node.clone();
        self.place(node)
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if anchor != NO_ANCHOR {
            charge(self.budget, &node, self.open.len())?;
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node)
    }

    /// Puts a node where it belongs: into the collection around it, or among the documents.
    fn place(&mut self, node: Node) -> Result<(), String> {
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match (&mut open.node, open.key.take(), node) {
            (Node::Sequence(elements, _), _, node) => elements.push(node),
            (Node::Mapping(pairs, _), Some(key), node) => pairs.push((key, node)),
            (_, None, Node::Scalar(key)) => open.key = Some(key),
            _ => return Err("a key must be a text, found a sequence or a mapping".to_owned()),
        }
        Ok(())
    }
}

/// Takes a copy of the node, `around` levels deep, out of the budget.
fn charge(budget: &mut Budget, node: &Node, around: usize) -> Result<(), String> {
    let measure = node.measure();
    check_levels(around + measure.levels)?;
    budget.take_nodes(measure.nodes)?;
    budget.take_bytes(measure.bytes)
}

fn check_levels(levels: usize) -> Result<(), String> {
    if levels > NESTING_MAX { Err(format!("nested deeper than {NESTING_MAX} levels")) } else { Ok(()) }
}
