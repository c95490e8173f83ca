//! Macros and lists put in their places.

use std::ops::Range;
use std::sync::Arc;

use super::Scope;
use crate::ast::{Expr, Literal, Node, Right, weight};
use crate::catalog::Catalog;
use crate::error::{Error, ErrorKind, shown, suggestion};
use crate::lexer::is_bare;
use crate::{DEPTH_MAX, NODES_MAX};

impl Scope {
    /// The condition with its macros' conditions and its lists' items in place of their names, and with no more quotes
    /// than it needs: what Falco calls the compiled condition.
    ///
    /// # Errors
    ///
    /// A macro that is undefined, defined later or names itself; a list of several items where one value is taken; more
    /// than [`NODES_MAX`] parts or [`DEPTH_MAX`] levels.
    pub fn expand(&self, expr: &Expr) -> Result<Expr, Error> {
        self.expand_with(expr, None)
    }

    /// The same for a condition that is compiled: the catalog tells a field without operator from a macro.
    pub(crate) fn expand_for(&self, expr: &Expr, catalog: &dyn Catalog) -> Result<Expr, Error> {
        self.expand_with(expr, Some(catalog))
    }

    fn expand_with(&self, expr: &Expr, catalog: Option<&dyn Catalog>) -> Result<Expr, Error> {
        let mut expanded = expr.clone();
        Expansion { scope: self, catalog, nodes: 0, macros: Vec::new() }.expand(&mut expanded, usize::MAX, 0)?;
        Ok(expanded)
    }
}

struct Expansion<'a> {
    scope: &'a Scope,
    catalog: Option<&'a dyn Catalog>,
    /// Counted against [`NODES_MAX`].
    nodes: usize,
    /// The macros around the place, outermost first.
    macros: Vec<Arc<str>>,
}

impl<'a> Expansion<'a> {
    /// In place, which takes little room on the stack: a condition may be a thousand levels deep. `sees`: which macros
    /// are visible from here. `depth`: levels above, macros' included.
    fn expand(&mut self, expr: &mut Expr, sees: usize, depth: usize) -> Result<(), Error> {
        self.count(1, &expr.span)?;
        expr.origin = self.macros.last().cloned();
        match &mut expr.node {
            Node::And(operands) | Node::Or(operands) => {
                for operand in operands {
                    self.expand(operand, sees, depth + 1)?;
                }
                Ok(())
            }
            Node::Not(operand) => self.expand(operand, sees, depth + 1),
            Node::Macro(_) => self.expand_macro(expr, sees, depth),
            Node::Check(check) => self.expand_lists(&mut check.right, &expr.span),
        }
    }

    fn expand_macro(&mut self, expr: &mut Expr, sees: usize, depth: usize) -> Result<(), Error> {
        let (body, name, sees) = self.definition(expr, sees, depth)?;
        *expr = body;
        self.macros.push(Arc::clone(&name));
        let result = self.expand(expr, sees, depth + 1);
        self.macros.pop();
        result.map_err(|error| error.inside_macro(&name))
    }

    /// A macro's condition, its name, and which macros are visible from there.
    fn definition(&self, expr: &Expr, sees: usize, depth: usize) -> Result<(Expr, Arc<str>, usize), Error> {
        let Node::Macro(name) = &expr.node else {
            return Err(Error::new(expr.span.clone(), "expected a macro"));
        };
        let error = |message| Err(Error::of(ErrorKind::UnknownMacro, expr.span.clone(), message));
        let Some(definition) = self.scope.macros.get(name) else {
            return error(self.unknown(name));
        };
        if !definition.is_visible_to(sees) {
            return error(format!("macro {} must be defined before the macro that uses it", shown(name)));
        }
        if self.macros.iter().any(|outer| **outer == **name) {
            return error(format!("macro {} names itself in a loop", shown(name)));
        }
        if depth + definition.body.height > DEPTH_MAX {
            let message = format!("with its macros the condition is nested deeper than {DEPTH_MAX} levels");
            return Err(Error::new(expr.span.clone(), message));
        }
        Ok((definition.body.clone(), name.as_str().into(), definition.sees))
    }

    fn unknown(&self, name: &str) -> String {
        if self.catalog.is_some_and(|catalog| catalog.field(name).is_some()) {
            return format!("expected an operator after the field {}", shown(name));
        }
        if self.scope.lists.contains_key(name) {
            return format!("{} is a list and stands only behind an operator", shown(name));
        }
        format!("undefined macro {}{}", shown(name), suggestion(name, self.scope.macros.keys().map(String::as_str)))
    }

    fn expand_lists(&mut self, right: &mut Right, span: &Range<usize>) -> Result<(), Error> {
        match right {
            Right::Value(literal) => {
                *literal = self.value(literal)?;
                self.count(weight(&literal.text), span)?;
            }
            Right::List(literals) | Right::Quantified(_, literals) => *literals = self.list(literals, span)?,
            Right::Nothing | Right::Operand(_) => {}
        }
        Ok(())
    }

    /// One value: itself, or the only item of the list that it names.
    fn value(&self, literal: &Literal) -> Result<Literal, Error> {
        match self.named(literal).as_deref() {
            None => Ok(same(literal)),
            Some([item]) => Ok(plain(item, literal)),
            Some(items) => {
                let (name, count) = (shown(&literal.text), items.len());
                let message = format!("the list {name} has {count} items where one value is taken; use `in`");
                Err(Error::mismatch(literal.span.clone(), message))
            }
        }
    }

    fn list(&mut self, literals: &[Literal], span: &Range<usize>) -> Result<Vec<Literal>, Error> {
        let mut all = Vec::with_capacity(literals.len());
        for literal in literals {
            match self.named(literal) {
                None => {
                    self.count(weight(&literal.text), span)?;
                    all.push(same(literal));
                }
                // Counted before it is copied.
                Some(items) => {
                    self.count(items.iter().map(|item| weight(item)).sum(), span)?;
                    all.extend(items.into_iter().map(|item| plain(item, literal)));
                }
            }
        }
        Ok(all)
    }

    fn named(&self, literal: &Literal) -> Option<Vec<&'a str>> {
        if literal.quoted { None } else { self.scope.list(&literal.text) }
    }

    fn count(&mut self, nodes: usize, span: &Range<usize>) -> Result<(), Error> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            let message = format!("with its macros and lists the condition has more than {NODES_MAX} parts");
            return Err(Error::new(span.clone(), message));
        }
        Ok(())
    }
}

/// A value with the quotes it needs.
fn same(literal: &Literal) -> Literal {
    Literal { quoted: literal.raw.is_some() || !is_bare(&literal.text), ..literal.clone() }
}

/// A list's item with the quotes it needs, at the place of the one it comes from.
fn plain(text: &str, from: &Literal) -> Literal {
    Literal { text: text.to_owned(), raw: None, quoted: !is_bare(text), span: from.span.clone() }
}
