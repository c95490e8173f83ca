//! What stands left and right of an operator.

use crate::TRANSFORMERS_MAX;
use crate::ast::{FieldName, Function, Input, Literal, Operand, Operator, Quantifier, Right, Transformer};
use crate::error::{Error, shown, suggestion};
use crate::lexer::{Cursor, is_blank};

/// Puts a field on the right-hand side.
const VALUE_OF: &str = "val";

impl Cursor<'_> {
    /// A field or a transformer; a macro's name comes as a field.
    pub(super) fn left(&mut self) -> Result<Operand, Error> {
        let before = self.clone();
        match self.try_operand(0)?.filter(|operand| !is_keyword(operand)) {
            Some(operand) => Ok(operand),
            None => Err(before.error(format!("expected a field or a macro, found {}", before.found()))),
        }
    }

    /// `None`: no name is next. `depth`: transformers around it.
    fn try_operand(&mut self, depth: usize) -> Result<Option<Operand>, Error> {
        let start = self.position();
        let name = self.name();
        if name.is_empty() {
            return Ok(None);
        }
        if !self.rest().starts_with('(') {
            return self.field(name, start).map(Operand::Field).map(Some);
        }
        let span = start..self.position();
        let function = Function::from_name(name).ok_or_else(|| Error::new(span.clone(), no_function(name)))?;
        if depth == TRANSFORMERS_MAX {
            return Err(Error::new(span, format!("more than {TRANSFORMERS_MAX} transformers in one another")));
        }
        self.transformer(function, start, depth).map(Operand::Transformer).map(Some)
    }

    /// What may follow a field's name.
    fn field(&mut self, name: &str, start: usize) -> Result<FieldName, Error> {
        let argument = self.argument()?;
        Ok(FieldName { name: name.to_owned(), argument, span: start..self.position() })
    }

    /// The rest of a transformer, from its opening parenthesis on.
    fn transformer(&mut self, function: Function, start: usize, depth: usize) -> Result<Transformer, Error> {
        let arguments = self.inputs(depth)?;
        let index = self.argument()?;
        Ok(Transformer { function, arguments, index, span: start..self.position() })
    }

    /// What stands between parentheses, with commas in between.
    fn inputs(&mut self, depth: usize) -> Result<Vec<Input>, Error> {
        let open = self.position();
        self.advance(1);
        let mut inputs = Vec::new();
        self.skip_blanks();
        if self.eat(')') {
            return Ok(inputs);
        }
        loop {
            self.skip_blanks();
            inputs.push(self.input(depth)?);
            self.skip_blanks();
            if self.eat(')') {
                return Ok(inputs);
            }
            if self.rest().is_empty() {
                return Err(Error::new(open..open + 1, "this `(` is never closed"));
            }
            if !self.eat(',') {
                return Err(self.error(format!("expected `,` or `)`, found {}", self.found())));
            }
        }
    }

    fn input(&mut self, depth: usize) -> Result<Input, Error> {
        let start = self.position();
        if self.rest().starts_with('(') {
            if depth >= TRANSFORMERS_MAX {
                return Err(self.error(format!("more than {TRANSFORMERS_MAX} lists in one another")));
            }
            let inputs = self.inputs(depth + 1)?;
            if let Some(inner) = inputs.iter().find(|input| matches!(input, Input::List(..))) {
                return Err(Error::new(inner.span().clone(), "a list cannot stand in another one"));
            }
            return Ok(Input::List(inputs, start..self.position()));
        }
        let is_literal = self.rest().starts_with(|c: char| c.is_ascii_digit() || matches!(c, '"' | '\'' | '+' | '-'));
        if is_literal && let Some(literal) = self.literal()? {
            return Ok(Input::Literal(literal));
        }
        let before = self.clone();
        let found = || before.error(format!("expected a field, a quoted text or a number, found {}", before.found()));
        self.try_operand(depth + 1)?.map(Input::Operand).ok_or_else(found)
    }

    /// What an operator is followed by.
    pub(super) fn right(&mut self, operator: Operator) -> Result<Right, Error> {
        if operator == Operator::Exists {
            return Ok(Right::Nothing);
        }
        self.skip_blanks();
        if operator.takes_list() && self.rest().starts_with('(') {
            return self.list().map(Right::List);
        }
        if let Some(operand) = self.operand_on_the_right()? {
            return Ok(Right::Operand(operand));
        }
        if operator.takes_quantifier()
            && let Some(quantifier) = self.quantifier()
        {
            return self.list_or_name().map(|literals| Right::Quantified(quantifier, literals));
        }
        if operator.takes_list() {
            return self.name_of_list(operator).map(|name| Right::List(vec![name]));
        }
        self.value(operator).map(Right::Value)
    }

    /// A bare word: a list's name, or the only element of one.
    fn name_of_list(&mut self, operator: Operator) -> Result<Literal, Error> {
        let start = self.position();
        let word = self.peek_word().to_owned();
        if word.is_empty() {
            let message = format!(
                "expected a list in parentheses or a list's name after `{}`, found {}",
                operator.name(),
                self.found()
            );
            return Err(self.error(message));
        }
        self.advance(word.len());
        Ok(Literal { text: word, raw: None, quoted: false, span: start..self.position() })
    }

    /// `val(field)` or a transformer; `None` where neither is next.
    fn operand_on_the_right(&mut self) -> Result<Option<Operand>, Error> {
        let word = self.peek_word();
        if word.is_empty() || !self.rest()[word.len()..].starts_with('(') {
            return Ok(None);
        }
        if word != VALUE_OF {
            return self.try_operand(0);
        }
        self.advance(word.len() + 1);
        self.skip_blanks();
        let start = self.position();
        let name = self.name();
        if name.is_empty() {
            return Err(self.error(format!("expected a field in `val()`, found {}", self.found())));
        }
        if self.rest().starts_with('(') {
            let message = format!("`val()` takes a field, found {}", shown(name));
            return Err(Error::new(start..self.position(), message));
        }
        let field = self.field(name, start)?;
        self.skip_blanks();
        if !self.eat(')') {
            return Err(self.error(format!("expected `)` after the field in `val()`, found {}", self.found())));
        }
        Ok(Some(Operand::Field(field)))
    }

    /// Steps over `oneof`, `anyof` or `allof` where a list follows it.
    fn quantifier(&mut self) -> Option<Quantifier> {
        let word = self.peek_word();
        let quantifier = Quantifier::from_name(word)?;
        let mut after = self.clone();
        after.advance(word.len());
        let blank_follows = after.rest().starts_with(is_blank);
        after.skip_blanks();
        let list_follows = after.rest().starts_with('(') || !matches!(after.peek_word(), "" | "and" | "or");
        (blank_follows && list_follows).then(|| {
            *self = after;
            quantifier
        })
    }

    fn list_or_name(&mut self) -> Result<Vec<Literal>, Error> {
        if self.rest().starts_with('(') {
            return self.list();
        }
        let at = self.clone();
        match self.literal()? {
            Some(name) => Ok(vec![name]),
            None => Err(at.error(format!("expected a list, found {}", at.found()))),
        }
    }

    fn value(&mut self, operator: Operator) -> Result<Literal, Error> {
        let at = self.clone();
        if operator.is_order() {
            // A number, or a bare name where the field has ordered names.
            let number = self.number();
            let is_name = || !at.peek_word().is_empty();
            if number.is_none() && !is_name() {
                let message = format!("expected a number after `{}`, found {}", operator.name(), at.found());
                return Err(at.error(message));
            }
            if let Some(number) = number {
                return Ok(number);
            }
        }
        let literal = self
            .literal()?
            .ok_or_else(|| at.error(format!("expected a value after `{}`, found {}", operator.name(), at.found())))?;
        if !literal.quoted && self.rest().starts_with('(') {
            return Err(Error::new(literal.span, no_function(&literal.text)));
        }
        Ok(literal)
    }

    /// Literals in parentheses.
    fn list(&mut self) -> Result<Vec<Literal>, Error> {
        self.advance(1);
        let mut literals = Vec::new();
        self.skip_blanks();
        if self.eat(')') {
            return Ok(literals);
        }
        loop {
            self.skip_blanks();
            let at = self.clone();
            let literal = self.literal()?;
            literals.push(literal.ok_or_else(|| at.error(format!("expected a value, found {}", at.found())))?);
            self.skip_blanks();
            if self.eat(')') {
                return Ok(literals);
            }
            if !self.eat(',') {
                return Err(self.error(format!("expected `,` or `)` in the list, found {}", self.found())));
            }
        }
    }
}

/// No field bears the name of a connective.
fn is_keyword(operand: &Operand) -> bool {
    matches!(operand, Operand::Field(field) if ["and", "or", "not"].contains(&field.name.as_str()))
}

fn no_function(name: &str) -> String {
    let near = suggestion(name, Function::names().chain([VALUE_OF]));
    let hint = if near.is_empty() { "; a parenthesis is opened after a blank, `and`, `or` or `not`" } else { &near };
    format!("{} is no transformer{hint}", shown(name))
}
