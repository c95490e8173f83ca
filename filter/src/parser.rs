//! Text → [`Expr`]. Open parentheses stand on a stack of their own, so depth is a number and not a crash; only
//! transformers recurse, a few levels.

mod sides;

use std::ops::Range;

use crate::ast::{Check, Expr, Function, Node, Operand, Operator};
use crate::error::{Error, shown, suggestion};
use crate::lexer::{Cursor, is_blank};
use crate::{CONDITION_BYTES_MAX, DEPTH_MAX};

/// The syntax tree of a condition.
///
/// # Errors
///
/// The first thing that is not grammatical, or text beyond [`CONDITION_BYTES_MAX`] or [`DEPTH_MAX`].
pub fn parse(text: &str) -> Result<Expr, Error> {
    parse_up_to(text, CONDITION_BYTES_MAX)
}

/// The same with a bound of the caller's, for conditions that nobody wrote by hand.
///
/// # Errors
///
/// Those of [`parse`], with text beyond `bytes_max`.
pub fn parse_up_to(text: &str, bytes_max: usize) -> Result<Expr, Error> {
    if text.len() > bytes_max {
        let message = format!("the condition has {} bytes, at most {bytes_max} are read", text.len());
        return Err(Error::new(0..0, message));
    }
    Parser { cursor: Cursor::new(text), group: Group::default(), outer: Vec::new() }.run()
}

/// The field or transformer that a text begins with, and how many bytes it has.
pub(crate) fn parse_operand(text: &str) -> Result<(Operand, usize), Error> {
    let mut cursor = Cursor::new(text.get(..CONDITION_BYTES_MAX).unwrap_or(text));
    let operand = cursor.left()?;
    Ok((operand, cursor.position()))
}

/// Whether a text begins with a transformer's name and its parenthesis.
pub(crate) fn starts_transformer(text: &str) -> bool {
    let word = Cursor::new(text).peek_word();
    Function::from_name(word).is_some() && text[word.len()..].starts_with('(')
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    /// What is being read: the inside of the innermost open parenthesis, or the whole condition.
    group: Group,
    /// What is read on after the parentheses that are open, outermost first.
    outer: Vec<Group>,
}

/// What was read of the inside of one pair of parentheses: `finished or finished or current and current and not not …`.
#[derive(Default)]
struct Group {
    open: usize,
    finished: Vec<Expr>,
    current: Vec<Expr>,
    /// Where the `not`s before the next operand begin.
    nots: Vec<usize>,
}

impl Group {
    fn push(&mut self, mut operand: Expr) -> Result<(), Error> {
        // Two in a row take each other back.
        if let (Some(start), 1) = (self.nots.first(), self.nots.len() % 2) {
            let span = *start..operand.span.end;
            operand = node(Node::Not(Box::new(operand)), span)?;
        }
        self.nots.clear();
        self.current.push(operand);
        Ok(())
    }

    /// Ends a run of `and`s.
    fn end_and(&mut self) -> Result<(), Error> {
        let operands = std::mem::take(&mut self.current);
        self.finished.push(join(operands, Node::And)?);
        Ok(())
    }

    fn finish(mut self) -> Result<Expr, Error> {
        self.end_and()?;
        join(self.finished, Node::Or)
    }

    /// The same with the parentheses in the span; `end` is behind the closing one.
    fn finish_in_parentheses(self, end: usize) -> Result<Expr, Error> {
        let open = self.open;
        let mut inner = self.finish()?;
        inner.span = open..end;
        Ok(inner)
    }
}

/// One operand alone stays itself.
fn join(mut operands: Vec<Expr>, kind: fn(Vec<Expr>) -> Node) -> Result<Expr, Error> {
    if operands.len() == 1
        && let Some(only) = operands.pop()
    {
        return Ok(only);
    }
    let span = operands.first().map_or(0, |first| first.span.start)..operands.last().map_or(0, |last| last.span.end);
    node(kind(operands), span)
}

fn node(node: Node, span: Range<usize>) -> Result<Expr, Error> {
    let below = match &node {
        Node::And(operands) | Node::Or(operands) => operands.iter().map(|operand| operand.height).max().unwrap_or(0),
        Node::Not(operand) => operand.height,
        Node::Macro(_) | Node::Check(_) => 0,
    };
    let height = below + 1;
    if height > DEPTH_MAX {
        return Err(too_deep(span));
    }
    Ok(Expr { node, span, height, origin: None })
}

fn too_deep(span: Range<usize>) -> Error {
    Error::new(span, format!("the condition is nested deeper than {DEPTH_MAX} levels"))
}

impl Parser<'_> {
    fn run(mut self) -> Result<Expr, Error> {
        loop {
            self.openings()?;
            let operand = self.operand()?;
            self.group.push(operand)?;
            if !self.closings_and_connective()? {
                return self.end();
            }
        }
    }

    /// Any number of `not` and `(`.
    fn openings(&mut self) -> Result<(), Error> {
        loop {
            self.cursor.skip_blanks();
            let start = self.cursor.position();
            if self.cursor.eat_keyword("not") {
                self.group.nots.push(start);
                if self.group.nots.len() > DEPTH_MAX {
                    return Err(too_deep(start..start + 3));
                }
            } else if self.cursor.eat('(') {
                if self.outer.len() >= DEPTH_MAX {
                    return Err(too_deep(start..start + 1));
                }
                let inner = Group { open: start, ..Group::default() };
                self.outer.push(std::mem::replace(&mut self.group, inner));
            } else {
                return Ok(());
            }
        }
    }

    /// Any number of `)`, then `and`, `or` or, with false, the end.
    fn closings_and_connective(&mut self) -> Result<bool, Error> {
        loop {
            self.cursor.skip_blanks();
            let at = self.cursor.clone();
            if self.cursor.eat(')') {
                let outer = self.outer.pop().ok_or_else(|| at.error("this `)` closes nothing"))?;
                let closed = std::mem::replace(&mut self.group, outer);
                let inner = closed.finish_in_parentheses(self.cursor.position())?;
                self.group.push(inner)?;
            } else if self.cursor.eat_keyword("and") {
                return Ok(true);
            } else if self.cursor.eat_keyword("or") {
                self.group.end_and()?;
                return Ok(true);
            } else if self.cursor.rest().is_empty() {
                return Ok(false);
            } else {
                let hint = if at.rest().starts_with('=') { "; a value with `=` in it needs quotes" } else { "" };
                return Err(at.error(format!("expected `and`, `or` or `)`, found {}{hint}", at.found())));
            }
        }
    }

    fn end(self) -> Result<Expr, Error> {
        if !self.outer.is_empty() {
            let open = self.group.open;
            return Err(Error::new(open..open + 1, "this `(` is never closed"));
        }
        self.group.finish()
    }

    /// A macro's name, or a field or transformer with its operator and what follows.
    fn operand(&mut self) -> Result<Expr, Error> {
        let start = self.cursor.position();
        let left = self.cursor.left()?;
        self.cursor.skip_blanks();
        let operator_start = self.cursor.position();
        let Some(operator) = self.operator()? else {
            return match left {
                Operand::Field(field) if field.argument.is_none() && !field.name.contains('.') => {
                    node(Node::Macro(field.name), field.span)
                }
                left => Err(self.missing_operator(&left)),
            };
        };
        let operator_span = operator_start..self.cursor.position();
        let right = self.cursor.right(operator)?;
        let span = start..self.cursor.position();
        node(Node::Check(Box::new(Check { left, operator, operator_span, right })), span)
    }

    /// `None` where no operator is next.
    fn operator(&mut self) -> Result<Option<Operator>, Error> {
        if let Some((operator, length)) = Operator::from_sign(self.cursor.rest()) {
            self.cursor.advance(length);
            return Ok(Some(operator));
        }
        let word = self.cursor.peek_word();
        let Some(operator) = Operator::from_word(word) else {
            return Ok(None);
        };
        let at = self.cursor.clone();
        self.cursor.advance(operator.name().len());
        if operator.takes_list() || operator == Operator::Exists || self.cursor.rest().starts_with(is_blank) {
            return Ok(Some(operator));
        }
        let at = if self.cursor.rest().is_empty() { &self.cursor } else { &at };
        Err(at.error(format!("expected a blank and a value after `{word}`")))
    }

    fn missing_operator(&self, left: &Operand) -> Error {
        let near = suggestion(self.cursor.peek_word(), Operator::names());
        let what = match left {
            Operand::Field(field) => shown(&field.name),
            Operand::Transformer(transformer) => format!("`{}(…)`", transformer.function.name()),
        };
        self.cursor.error(format!("expected an operator after {what}, found {}{near}", self.cursor.found()))
    }
}
