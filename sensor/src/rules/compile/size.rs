//! How large conditions are with macros and lists in their places, before that is done.

use std::collections::HashMap;

use tercel_filter::{Expr, Node, Operator, Scope, weight};

/// What a regular expression counts. What it takes when it is compiled has a bound of its own.
const REGEX_PARTS: usize = 100;

/// Sizes of macros and lists, each worked out once.
pub(super) struct Sizes<'a> {
    scope: &'a Scope,
    macros: HashMap<&'a str, usize>,
    lists: HashMap<String, usize>,
}

impl<'a> Sizes<'a> {
    /// `macros`: each behind those that it names.
    pub(super) fn new(scope: &'a Scope, macros: impl Iterator<Item = (&'a str, &'a Expr)>) -> Self {
        let mut sizes = Self { scope, macros: HashMap::new(), lists: HashMap::new() };
        for (name, expr) in macros {
            let size = sizes.of(expr);
            sizes.macros.insert(name, size);
        }
        sizes
    }

    /// Comparisons, connectives and values.
    pub(super) fn of(&mut self, expr: &Expr) -> usize {
        let mut size = 0_usize;
        expr.visit(&mut |part| {
            size = size.saturating_add(match &part.node {
                Node::And(_) | Node::Or(_) | Node::Not(_) => 1,
                Node::Macro(name) => self.macros.get(name.as_str()).copied().unwrap_or(1),
                Node::Check(check) => {
                    let each = if check.operator == Operator::Regex { REGEX_PARTS } else { 1 };
                    let literals = check.right.literals().iter();
                    let values = literals
                        .map(|literal| if literal.quoted { weight(&literal.text) } else { self.list(&literal.text) });
                    values.fold(1, |sum, values| sum.saturating_add(values.saturating_mul(each)))
                }
            });
        });
        size
    }

    /// Of the list of this name; of the value itself where there is none.
    fn list(&mut self, name: &str) -> usize {
        if let Some(size) = self.lists.get(name) {
            return *size;
        }
        let Some(items) = self.scope.list(name) else {
            return weight(name);
        };
        let size = items.into_iter().map(weight).sum();
        self.lists.insert(name.to_owned(), size);
        size
    }
}
