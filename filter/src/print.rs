//! [`Expr`] → text, in the one form in which Falco prints compiled conditions: parentheses around each `and` and `or`,
//! lists as `(a, b, "two words")`, quotes only where they are needed. What is printed parses to the same tree.

use std::fmt::{self, Display, Formatter, Write};

use crate::ast::{Check, Expr, FieldName, Function, Input, Literal, Node, Operand, Right, Transformer};
use crate::lexer::is_bare;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::And(operands) => joined(f, operands, " and "),
            Node::Or(operands) => joined(f, operands, " or "),
            // Two in a row would take each other back.
            Node::Not(operand) if matches!(operand.node, Node::Not(_)) => write!(f, "not ({operand})"),
            Node::Not(operand) => write!(f, "not {operand}"),
            Node::Macro(name) => f.write_str(name),
            Node::Check(check) => check.fmt(f),
        }
    }
}

fn joined<T: Display>(f: &mut Formatter<'_>, parts: &[T], between: &str) -> fmt::Result {
    f.write_char('(')?;
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        part.fmt(f)?;
    }
    f.write_char(')')
}

impl Display for Check {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.left, self.operator.name())?;
        match &self.right {
            Right::Nothing => Ok(()),
            Right::Value(literal) => write!(f, " {literal}"),
            Right::List(literals) => {
                f.write_char(' ')?;
                joined(f, literals, ", ")
            }
            Right::Quantified(quantifier, literals) => {
                write!(f, " {} ", quantifier.name())?;
                joined(f, literals, ", ")
            }
            Right::Operand(Operand::Field(field)) => write!(f, " val({field})"),
            Right::Operand(operand) => write!(f, " {operand}"),
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => field.fmt(f),
            Self::Transformer(transformer) => transformer.fmt(f),
        }
    }
}

impl Display for FieldName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        index(f, self.argument.as_deref())
    }
}

impl Display for Transformer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())?;
        joined(f, &self.arguments, ", ")?;
        index(f, self.index.as_deref())
    }
}

impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Display for Input {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operand(operand) => operand.fmt(f),
            // Without quotes only a number is none of a field's or transformer's names.
            Self::Literal(literal) if literal.quoted => quoted(f, literal.bytes()),
            Self::Literal(literal) => f.write_str(&literal.text),
            Self::List(inputs, _) => joined(f, inputs, ", "),
        }
    }
}

/// What stands in brackets.
fn index(f: &mut Formatter<'_>, argument: Option<&str>) -> fmt::Result {
    let Some(argument) = argument else { return Ok(()) };
    f.write_char('[')?;
    if is_plain(argument) {
        f.write_str(argument)?;
    } else {
        quoted(f, argument.as_bytes())?;
    }
    f.write_char(']')
}

/// Whether an argument in brackets needs no quotes.
fn is_plain(argument: &str) -> bool {
    !argument.contains(|c: char| matches!(c, '[' | ']' | '"' | '\'') || c.is_whitespace() || c == '\u{8}')
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.quoted || !is_bare(&self.text) { quoted(f, self.bytes()) } else { f.write_str(&self.text) }
    }
}

fn quoted(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_char('"')?;
    for chunk in bytes.utf8_chunks() {
        let mut characters = chunk.valid().chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                // The closing quote must not have a backslash before it.
                '\\' if characters.peek().is_none() => f.write_str("\\ ")?,
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\u{8}' => f.write_str("\\b")?,
                '\u{c}' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                other => f.write_char(other)?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    f.write_char('"')
}
