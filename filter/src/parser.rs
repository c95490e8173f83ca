//! Text → [`Expr`]. No recursion: open parentheses stand on a stack of their own, so depth is a number and not a crash.

use std::ops::Range;

use crate::ast::{Check, Expr, FieldName, Literal, Node, Operator};
use crate::error::{Error, shown, suggestion};
use crate::lexer::{Cursor, is_blank};
use crate::{CONDITION_BYTES_MAX, DEPTH_MAX};

/// What Falco has and this language does not have yet.
const TRANSFORMERS: [&str; 9] = ["tolower", "toupper", "b64", "basename", "len", "join", "concat", "getopt", "val"];
const LIST_MODIFIERS: [&str; 3] = ["oneof", "anyof", "allof"];

/// The syntax tree of a condition.
///
/// # Errors
///
/// The first thing that is not grammatical, or text beyond [`CONDITION_BYTES_MAX`] or [`DEPTH_MAX`].
pub fn parse(text: &str) -> Result<Expr, Error> {
    if text.len() > CONDITION_BYTES_MAX {
        let message = format!("the condition has {} bytes, at most {CONDITION_BYTES_MAX} are read", text.len());
        return Err(Error::new(0..0, message));
    }
    Parser { cursor: Cursor::new(text), group: Group::default(), outer: Vec::new() }.run()
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
        for start in self.nots.drain(..).rev() {
            let span = start..operand.span.end;
            operand = node(Node::Not(Box::new(operand)), span)?;
        }
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
    Ok(Expr { node, span, height })
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

    /// A macro's name, or a field with its operator and values.
    fn operand(&mut self) -> Result<Expr, Error> {
        let start = self.cursor.position();
        let before = self.cursor.clone();
        let name = self.cursor.name();
        if name.is_empty() {
            return Err(before.error(format!("expected a field or a macro, found {}", before.found())));
        }
        if self.cursor.rest().starts_with('(') {
            return Err(Error::new(start..self.cursor.position(), transformer_message(name)));
        }
        let argument = self.cursor.argument()?;
        let span = start..self.cursor.position();
        let field = FieldName { name: name.to_owned(), argument, span: span.clone() };
        self.cursor.skip_blanks();
        let operator_start = self.cursor.position();
        let Some(operator) = self.operator()? else {
            if field.argument.is_none() && !field.name.contains('.') {
                return node(Node::Macro(field.name), span);
            }
            return Err(self.missing_operator(&field));
        };
        let operator_span = operator_start..self.cursor.position();
        let literals = self.literals(operator)?;
        let span = start..self.cursor.position();
        node(Node::Check(Check { field, operator, operator_span, literals }), span)
    }

    /// `None` where no operator is next.
    fn operator(&mut self) -> Result<Option<Operator>, Error> {
        if let Some((operator, length)) = Operator::from_sign(self.cursor.rest()) {
            self.cursor.advance(length);
            return Ok(Some(operator));
        }
        let word = self.cursor.peek_word();
        if matches!(word, "bcontains" | "bstartswith") {
            return Err(self.cursor.error(format!("the operator `{word}` is not supported yet")));
        }
        let Some(operator) = Operator::from_word(word) else {
            return Ok(None);
        };
        let at = self.cursor.clone();
        self.cursor.advance(word.len());
        let blank_follows = self.cursor.rest().starts_with(is_blank);
        if blank_follows || operator.takes_list() || operator == Operator::Exists {
            return Ok(Some(operator));
        }
        Err(at.error(format!("expected a blank and a value after `{word}`")))
    }

    fn missing_operator(&self, field: &FieldName) -> Error {
        let near = suggestion(self.cursor.peek_word(), Operator::names());
        let message = format!("expected an operator after {}, found {}{near}", shown(&field.name), self.cursor.found());
        self.cursor.error(message)
    }

    fn literals(&mut self, operator: Operator) -> Result<Vec<Literal>, Error> {
        self.cursor.skip_blanks();
        if operator == Operator::Exists {
            return Ok(Vec::new());
        }
        if operator.takes_list() && self.cursor.eat('(') {
            return self.list();
        }
        let at = self.cursor.clone();
        let literal = self.cursor.literal()?;
        let literal = literal
            .ok_or_else(|| at.error(format!("expected a value after `{}`, found {}", operator.name(), at.found())))?;
        self.refuse_unsupported(&literal)?;
        Ok(vec![literal])
    }

    /// The rest of a list, after its parenthesis.
    fn list(&mut self) -> Result<Vec<Literal>, Error> {
        let mut literals = Vec::new();
        self.cursor.skip_blanks();
        if self.cursor.eat(')') {
            return Ok(literals);
        }
        loop {
            self.cursor.skip_blanks();
            let at = self.cursor.clone();
            let literal = self.cursor.literal()?;
            literals.push(literal.ok_or_else(|| at.error(format!("expected a value, found {}", at.found())))?);
            self.cursor.skip_blanks();
            if self.cursor.eat(')') {
                return Ok(literals);
            }
            if !self.cursor.eat(',') {
                let message = format!("expected `,` or `)` in the list, found {}", self.cursor.found());
                return Err(self.cursor.error(message));
            }
        }
    }

    /// `val(…)`, transformers and list modifiers on the right-hand side, before they surprise as plain words.
    fn refuse_unsupported(&self, literal: &Literal) -> Result<(), Error> {
        let word = literal.text.as_str();
        let mut after = self.cursor.clone();
        if !literal.quoted && after.eat('(') {
            return Err(Error::new(literal.span.clone(), transformer_message(word)));
        }
        after.skip_blanks();
        if !literal.quoted && LIST_MODIFIERS.contains(&word) && after.eat('(') {
            return Err(Error::new(literal.span.clone(), format!("the modifier `{word}` is not supported yet")));
        }
        Ok(())
    }
}

fn transformer_message(name: &str) -> String {
    if TRANSFORMERS.contains(&name) {
        return format!("the function `{name}(…)` is not supported yet");
    }
    format!("{} is no function; a parenthesis is opened after a blank, `and`, `or` or `not`", shown(name))
}
