//! Syntax tree → [`Filter`]: macros in their places, fields looked up, every comparison checked.

mod literal;
mod merge;
mod operand;
mod service;
mod warning;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use warning::{Warning, WarningKind};

use crate::REGEX_BYTES_MAX;
use crate::ast::{self, Expr, Operand, Right};
use crate::catalog::{Catalog, Field, FieldId, Values};
use crate::error::{Error, ErrorKind};
use crate::eval::{Check, Filter, Mode, Node, Source, Test};
use crate::parser::parse;
use crate::scope::Scope;
use operand::Typed;

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
    /// Those of [`Scope::expand`]; an unknown field or enum value; an operator, a transformer or a value that the field's
    /// type does not take; a field argument too few, too many or wrong.
    pub fn compile(expr: &Expr, scope: &Scope, catalog: &dyn Catalog) -> Result<Self, Error> {
        let expanded = scope.expand_for(expr, catalog)?;
        let mut compiler = Compiler::new(catalog);
        let root = compiler.node(&expanded)?;
        let Compiler { fields, warnings, regex_bytes, .. } = compiler;
        Ok(Self { root, fields: fields.into_iter().collect(), warnings, regex_bytes })
    }
}

/// A field or transformer alone; the field where nothing is put around it.
pub(crate) fn compile_operand(operand: &Operand, catalog: &dyn Catalog) -> Result<(Source, Option<Field>), Error> {
    let mut compiler = Compiler::new(catalog);
    compiler.operand(operand).map(|typed| (typed.source, typed.field))
}

struct Compiler<'a> {
    catalog: &'a dyn Catalog,
    fields: BTreeSet<(FieldId, Option<Box<str>>)>,
    warnings: Vec<Warning>,
    regex_bytes: usize,
}

impl<'a> Compiler<'a> {
    fn new(catalog: &'a dyn Catalog) -> Self {
        Self { catalog, fields: BTreeSet::new(), warnings: Vec::new(), regex_bytes: 0 }
    }
}

impl Compiler<'_> {
    fn node(&mut self, expr: &Expr) -> Result<Node, Error> {
        match &expr.node {
            ast::Node::And(operands) => Ok(merge::all(self.nodes(operands)?)),
            ast::Node::Or(operands) => Ok(merge::any(self.nodes(operands)?)),
            ast::Node::Not(operand) => Ok(merge::not(self.node(operand)?)),
            ast::Node::Check(check) => self.check(check, expr).map_err(|error| error.inside(expr)),
            ast::Node::Macro(_) => Err(Error::new(expr.span.clone(), "a macro was not put in its place")),
        }
    }

    fn nodes(&mut self, operands: &[Expr]) -> Result<Vec<Node>, Error> {
        // A plain loop: in a debug build, iterator adapters would cost several stack frames for each level.
        let mut nodes = Vec::with_capacity(operands.len());
        for operand in operands {
            nodes.push(self.node(operand)?);
        }
        Ok(nodes)
    }

    fn check(&mut self, check: &ast::Check, expr: &Expr) -> Result<Node, Error> {
        let left = self.operand(&check.left)?;
        self.warnings.extend(warning::of(check, self.catalog).map(|warning| warning.inside(expr)));
        let (test, mode) = match &check.right {
            Right::Operand(right) => {
                let right = self.operand_on_the_right(right)?;
                let test = operand::comparison(check, &left, right)?;
                (Test::Compare(Box::new(test)), mode(left.values, false))
            }
            _ => self.literal_test(check, &left)?,
        };
        self.regex_bytes += test.regex_bytes();
        if self.regex_bytes > REGEX_BYTES_MAX {
            let message = format!(
                "with this one the condition's regular expressions take {} bytes, at most {REGEX_BYTES_MAX} are taken",
                self.regex_bytes
            );
            return Err(Error::of(ErrorKind::TooLarge, check.operator_span.clone(), message));
        }
        let Typed { source, counts_from_one, .. } = left;
        let never = counts_from_one && test.is_equal_to_zero();
        let key = check.to_string().into();
        Ok(Node::Check(Arc::new(Check { source, mode, test, never, key })))
    }

    /// Of the names of one thing, `exists` asks for one.
    fn literal_test(&self, check: &ast::Check, left: &Typed) -> Result<(Test, Mode), Error> {
        let can_be_none = matches!(left.values, Values::EitherOf | Values::Aliases);
        let (test, negated) = literal::test(self.catalog, left, check, can_be_none)?;
        let is_one = left.values == Values::Aliases && matches!(test, Test::Exists);
        let mode = if is_one { Mode::One } else { mode(left.values, negated) };
        Ok((test, mode))
    }
}

fn mode(values: Values, negated: bool) -> Mode {
    match (values, negated) {
        (Values::One | Values::Distance | Values::List, _) => Mode::One,
        (_, false) => Mode::Any,
        (_, true) => Mode::NoneOf,
    }
}
