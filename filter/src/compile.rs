//! Syntax tree → [`Filter`]: macros in their places, fields looked up, every comparison checked.

mod literal;

use std::collections::BTreeSet;

use crate::DEPTH_MAX;
use crate::NODES_MAX;
use crate::ast::{self, Expr, FieldName};
use crate::catalog::{Argument, Catalog, Field, FieldId, Values};
use crate::error::{Error, shown, suggestion};
use crate::eval::{Check, Filter, Node};
use crate::parser::parse;
use crate::scope::Scope;

impl Filter {
    /// Parses and compiles a condition.
    ///
    /// # Errors
    ///
    /// Those of [`parse`] and of [`Filter::compile`].
    pub fn parse(text: &str, scope: &Scope, catalog: &dyn Catalog) -> Result<Self, Error> {
        Self::compile(&parse(text)?, scope, catalog)
    }

    /// Compiles a condition for the catalog's fields.
    ///
    /// # Errors
    ///
    /// An unknown field, macro or enum value; an operator that the field's type does not take; a value that is none of
    /// its type; a field argument too few or too many; more than [`NODES_MAX`] nodes or [`DEPTH_MAX`] levels.
    pub fn compile(expr: &Expr, scope: &Scope, catalog: &dyn Catalog) -> Result<Self, Error> {
        let mut compiler = Compiler { scope, catalog, nodes: 0, fields: BTreeSet::new(), expanding: Vec::new() };
        let root = compiler.node(expr, usize::MAX, 0)?;
        Ok(Self { root, fields: compiler.fields.into_iter().collect() })
    }
}

struct Compiler<'a> {
    scope: &'a Scope,
    catalog: &'a dyn Catalog,
    /// Counted against [`NODES_MAX`].
    nodes: usize,
    fields: BTreeSet<(FieldId, Option<Box<str>>)>,
    /// The macros around the place, outermost first.
    expanding: Vec<String>,
}

impl Compiler<'_> {
    /// `sees`: which macros are visible from here. `depth`: levels above, macros' included.
    fn node(&mut self, expr: &Expr, sees: usize, depth: usize) -> Result<Node, Error> {
        self.count(1, expr)?;
        match &expr.node {
            ast::Node::And(operands) => Ok(Node::All(self.nodes(operands, sees, depth + 1)?)),
            ast::Node::Or(operands) => Ok(Node::Any(self.nodes(operands, sees, depth + 1)?)),
            ast::Node::Not(operand) => Ok(Node::Not(Box::new(self.node(operand, sees, depth + 1)?))),
            ast::Node::Macro(name) => self.expand(name, expr, sees, depth + 1),
            ast::Node::Check(check) => self.check(check, expr).map(|check| Node::Check(Box::new(check))),
        }
    }

    fn nodes(&mut self, operands: &[Expr], sees: usize, depth: usize) -> Result<Box<[Node]>, Error> {
        // A plain loop: in a debug build, iterator adapters would cost several stack frames for each level.
        let mut nodes = Vec::with_capacity(operands.len());
        for operand in operands {
            nodes.push(self.node(operand, sees, depth)?);
        }
        Ok(nodes.into())
    }

    fn expand(&mut self, name: &str, expr: &Expr, sees: usize, depth: usize) -> Result<Node, Error> {
        let scope = self.scope;
        let Some(definition) = scope.definition(name) else {
            return Err(self.unknown_macro(name, expr));
        };
        if !definition.is_visible_to(sees) {
            let message = format!("macro {} must be defined before the macro that uses it", shown(name));
            return Err(Error::new(expr.span.clone(), message));
        }
        if self.expanding.iter().any(|outer| outer == name) {
            return Err(Error::new(expr.span.clone(), format!("macro {} names itself in a loop", shown(name))));
        }
        if depth + definition.body.height > DEPTH_MAX {
            let message = format!("with its macros the condition is nested deeper than {DEPTH_MAX} levels");
            return Err(Error::new(expr.span.clone(), message));
        }
        self.expanding.push(name.to_owned());
        let body = self.node(&definition.body, definition.sees, depth);
        self.expanding.pop();
        body.map_err(|error| error.inside_macro(name))
    }

    fn unknown_macro(&self, name: &str, expr: &Expr) -> Error {
        let message = if self.catalog.field(name).is_some() {
            format!("expected an operator after the field {}", shown(name))
        } else if self.scope.list(name).is_some() {
            format!("{} is a list and stands only after `in`, `intersects` or `pmatch`", shown(name))
        } else {
            format!("undefined macro {}{}", shown(name), suggestion(name, self.scope.macro_names()))
        };
        Error::new(expr.span.clone(), message)
    }

    fn check(&mut self, check: &ast::Check, expr: &Expr) -> Result<Check, Error> {
        let field = self.field(&check.field)?;
        let literals = literal::resolve(check, self.scope);
        self.count(literals.len(), expr)?;
        let test = literal::test(self.catalog, &field, check, &literals)?;
        let argument: Option<Box<str>> = check.field.argument.as_deref().map(Box::from);
        self.fields.insert((field.id, argument.clone()));
        let many = argument.is_none() && matches!(field.values, Values::AnyOf | Values::EitherOf);
        Ok(Check { field: field.id, argument, many, test })
    }

    fn field(&self, written: &FieldName) -> Result<Field, Error> {
        let error = |message: String| Err(Error::new(written.span.clone(), message));
        let name = shown(&written.name);
        let Some(field) = self.catalog.field(&written.name) else {
            return error(format!("unknown field {name}{}", suggestion(&written.name, self.catalog.names())));
        };
        match (field.argument, &written.argument) {
            (Argument::None, Some(_)) => error(format!("the field {name} takes no argument in brackets")),
            (Argument::Required | Argument::Dotted, None) => {
                error(format!("the field {name} needs an argument in brackets"))
            }
            _ => Ok(field),
        }
    }

    fn count(&mut self, nodes: usize, expr: &Expr) -> Result<(), Error> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            let message = format!("with its macros and lists the condition has more than {NODES_MAX} parts");
            return Err(Error::new(expr.span.clone(), message));
        }
        Ok(())
    }
}
