//! What is left of a condition while some of the values are not known yet.

use std::collections::BTreeSet;

use super::enums::Known;
use super::{Filter, Node};
use crate::catalog::FieldId;

impl Filter {
    /// The condition without the comparisons that read such a field, each taken to fall out as the condition wants it: it
    /// holds wherever the whole condition may hold once the values are known. `None`: it can never hold.
    #[must_use]
    pub fn relaxed(&self, is_unknown: &dyn Fn(FieldId) -> bool) -> Option<Self> {
        let root = match self.root.relaxed(is_unknown, true) {
            Known::Is(false) => return None,
            Known::Is(true) => Node::All(Box::default()),
            Known::If(node) => node,
        };
        Some(Self { root, ..self.clone() })
    }
}

impl Node {
    /// `wanted`: what an unknown comparison is taken to be, the opposite below a `not`.
    fn relaxed(&self, is_unknown: &dyn Fn(FieldId) -> bool, wanted: bool) -> Known {
        let parts = |nodes: &'_ [Self]| nodes.iter().map(|node| node.relaxed(is_unknown, wanted)).collect::<Vec<_>>();
        match self {
            Self::All(nodes) => Known::all(parts(nodes), true, Self::All),
            Self::Any(nodes) => Known::all(parts(nodes), false, Self::Any),
            Self::Not(node) => node.relaxed(is_unknown, !wanted).not(),
            Self::Once(_, node) => node.relaxed(is_unknown, wanted),
            Self::Check(check) if check.never => Known::Is(false),
            Self::Check(_) => {
                let mut fields = BTreeSet::new();
                self.collect_fields(&mut fields);
                if fields.into_iter().any(is_unknown) { Known::Is(wanted) } else { Known::If(self.clone()) }
            }
        }
    }
}
