//! What is compared: fields looked up, transformers checked against the types they take.

use std::ops::Range;

use crate::ast::{self, FieldName, Function, Input, Operand, Operator};
use crate::catalog::{Argument, Field, Kind, Values};
use crate::compile::{Compiler, literal};
use crate::error::{Error, ErrorKind, shown, suggestion};
use crate::eval::{Apply, Comparison, FieldRef, LIST_MAX, Source, Term};

/// The type's name of a text, as a transformer makes it.
const TEXT: &str = "CHARBUF";

/// The type's name of a length.
const LENGTH: &str = "UINT64";

/// One side of a comparison with its type.
pub(super) struct Typed {
    pub(super) source: Source,
    /// As it is written, for errors.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) type_name: &'static str,
    pub(super) values: Values,
    pub(super) counts_from_one: bool,
    /// The field itself, where nothing is put around it.
    pub(super) field: Option<Field>,
}

/// A transformer's argument with its type.
struct Part {
    term: Term,
    kind: Kind,
    type_name: &'static str,
    is_list: bool,
}

impl Compiler<'_> {
    pub(super) fn operand(&mut self, operand: &Operand) -> Result<Typed, Error> {
        match operand {
            Operand::Field(written) => {
                let (reference, field) = self.field(written)?;
                // With an argument it is one of the several values.
                let several = matches!(field.values, Values::AnyOf | Values::EitherOf | Values::Aliases);
                let values = if several && reference.argument.is_some() { Values::One } else { field.values };
                Ok(Typed {
                    source: Source::Field(reference),
                    name: written.to_string(),
                    kind: field.kind,
                    type_name: field.type_name,
                    values,
                    counts_from_one: field.counts_from_one,
                    field: Some(field),
                })
            }
            Operand::Transformer(transformer) => {
                let part = self.transformer(transformer)?;
                let Term::Apply(apply) = part.term else {
                    return Err(Error::new(transformer.span.clone(), "expected a transformer"));
                };
                Ok(Typed {
                    source: Source::Term(apply),
                    name: transformer.to_string(),
                    kind: part.kind,
                    type_name: part.type_name,
                    values: if part.is_list { Values::List } else { Values::One },
                    counts_from_one: false,
                    field: None,
                })
            }
        }
    }

    /// `val(field)` or a transformer on the right-hand side.
    pub(super) fn operand_on_the_right(&mut self, operand: &Operand) -> Result<Typed, Error> {
        let typed = self.operand(operand)?;
        if typed.field.is_some_and(|field| !field.right_hand) {
            let message = format!("the field {} cannot stand on the right-hand side", shown(&typed.name));
            return Err(Error::mismatch(operand.span().clone(), message));
        }
        Ok(typed)
    }

    fn field(&mut self, written: &FieldName) -> Result<(FieldRef, Field), Error> {
        let name = shown(&written.name);
        let mismatch = |message: String| Err(Error::mismatch(written.span.clone(), message));
        let Some((field, argument)) = self.look_up(written) else {
            let message = format!("unknown field {name}{}", suggestion(&written.name, self.catalog.names()));
            return Err(Error::of(ErrorKind::UnknownField, written.span.clone(), message));
        };
        match (field.argument, argument) {
            (Argument::None, Some(_)) => return mismatch(format!("the field {name} takes no argument in brackets")),
            (Argument::Required | Argument::Dotted, None) => {
                return mismatch(format!("the field {name} needs an argument in brackets"));
            }
            (_, Some(argument)) => {
                if let Err(message) = self.catalog.check_argument(field.id, argument) {
                    return mismatch(message);
                }
            }
            (_, None) => {}
        }
        let argument: Option<Box<str>> = argument.map(Box::from);
        self.fields.insert((field.id, argument.clone()));
        let names = match field.kind {
            Kind::Enum { names, .. } => names,
            _ => &[],
        };
        Ok((FieldRef { id: field.id, argument, names }, field))
    }

    /// The field, and its argument in brackets or behind a dot.
    fn look_up<'w>(&self, written: &'w FieldName) -> Option<(Field, Option<&'w str>)> {
        if let Some(field) = self.catalog.field(&written.name) {
            return Some((field, written.argument.as_deref()));
        }
        if written.argument.is_some() {
            return None;
        }
        let dots = written.name.match_indices('.').map(|(dot, _)| dot);
        dots.rev().find_map(|dot| {
            let field = self.catalog.field(&written.name[..dot])?;
            (field.argument == Argument::Dotted).then_some((field, Some(&written.name[dot + 1..])))
        })
    }

    fn transformer(&mut self, written: &ast::Transformer) -> Result<Part, Error> {
        let function = written.function;
        check_count(written)?;
        let mut parts = Vec::with_capacity(written.arguments.len());
        for input in &written.arguments {
            parts.push(self.input(input, function)?);
        }
        let (kind, type_name, is_list) = result_type(written, &parts)?;
        let inputs = parts.into_iter().map(|part| part.term).collect();
        let apply = Apply { function, inputs, index: written.index.as_deref().map(Box::from) };
        Ok(Part { term: Term::Apply(Box::new(apply)), kind, type_name, is_list })
    }

    fn input(&mut self, input: &Input, function: Function) -> Result<Part, Error> {
        match input {
            Input::Literal(literal) => {
                let term = Term::Text(literal.bytes().into());
                Ok(Part { term, kind: Kind::Text, type_name: TEXT, is_list: false })
            }
            Input::List(inputs, span) => {
                if inputs.len() > LIST_MAX {
                    let message = format!("a list in a transformer takes at most {LIST_MAX} elements");
                    return Err(Error::new(span.clone(), message));
                }
                let mut terms = Vec::with_capacity(inputs.len());
                for input in inputs {
                    let part = self.input(input, function)?;
                    if !is_text(part.kind) && !matches!(part.kind, Kind::Number | Kind::Port) {
                        let message =
                            format!("a list in a transformer holds texts and numbers, found {}", part.type_name);
                        return Err(Error::mismatch(input.span().clone(), message));
                    }
                    terms.push(part.term);
                }
                Ok(Part { term: Term::List(terms.into()), kind: Kind::Text, type_name: TEXT, is_list: true })
            }
            Input::Operand(Operand::Transformer(transformer)) => self.transformer(transformer),
            Input::Operand(Operand::Field(written)) => {
                let (reference, field) = self.field(written)?;
                if !field.transformable {
                    let message =
                        format!("`{function}` cannot be put around the field {}", shown(&written.to_string()));
                    return Err(Error::mismatch(written.span.clone(), message));
                }
                let is_list = field.values == Values::List && reference.argument.is_none();
                Ok(Part { term: Term::Field(reference), kind: field.kind, type_name: field.type_name, is_list })
            }
        }
    }
}

fn check_count(written: &ast::Transformer) -> Result<(), Error> {
    let (function, count) = (written.function, written.arguments.len());
    let (least, most) = match function {
        Function::Join | Function::GetOpt => (2, 2),
        Function::Concat => (2, LIST_MAX),
        _ => (1, 1),
    };
    if count < least || count > most {
        let takes = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        let message = format!("`{function}` takes {takes} arguments, found {count}");
        return Err(Error::mismatch(written.span.clone(), message));
    }
    match &written.index {
        Some(index) if function == Function::GetOpt && index.len() != 1 => {
            let message = format!("expected the letter of one option in brackets, found {}", shown(index));
            Err(Error::mismatch(written.span.clone(), message))
        }
        Some(_) if function != Function::GetOpt => {
            Err(Error::mismatch(written.span.clone(), format!("`{function}` takes no argument in brackets")))
        }
        _ => Ok(()),
    }
}

/// What the transformer makes of these arguments: kind, type's name, whether it is a list.
fn result_type(written: &ast::Transformer, parts: &[Part]) -> Result<(Kind, &'static str, bool), Error> {
    let function = written.function;
    let refuse = |index: usize| {
        let (part, input) = (&parts[index], &written.arguments[index]);
        let list = if part.is_list { "a list of " } else { "" };
        let message = format!("the type {list}{} is not supported by the transformer `{function}`", part.type_name);
        Err(Error::mismatch(input.span().clone(), message))
    };
    let is = |index: usize, list: bool| parts[index].is_list == list && is_text(parts[index].kind);
    let first = &parts[0];
    match function {
        Function::ToLower | Function::ToUpper | Function::BaseName if is_text(first.kind) => {
            Ok((Kind::Text, first.type_name, first.is_list))
        }
        Function::Base64 if is_text(first.kind) || first.kind == Kind::Bytes => {
            let kind = if first.kind == Kind::Bytes { Kind::Bytes } else { Kind::Text };
            Ok((kind, first.type_name, first.is_list))
        }
        Function::Length if first.is_list || is_text(first.kind) || first.kind == Kind::Bytes => {
            Ok((Kind::Number, LENGTH, false))
        }
        Function::Join if !is(0, false) => refuse(0),
        Function::Join if !is(1, true) => refuse(1),
        Function::GetOpt if !is(0, true) => refuse(0),
        Function::GetOpt if !is(1, false) => refuse(1),
        Function::Concat => match (0..parts.len()).find(|index| !is(*index, false)) {
            Some(index) => refuse(index),
            None => Ok((Kind::Text, TEXT, false)),
        },
        Function::Join => Ok((Kind::Text, TEXT, false)),
        // Without a letter: all that it found.
        Function::GetOpt => Ok((Kind::Text, TEXT, written.index.is_none())),
        _ => refuse(0),
    }
}

/// Whether its values can be read as text.
fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Dynamic | Kind::Enum { ordered: false, .. })
}

/// A comparison of two sides that have values.
pub(super) fn comparison(check: &ast::Check, left: &Typed, right: Typed) -> Result<Comparison, Error> {
    let operator = check.operator;
    let only_values = |what: String, span: &Range<usize>| {
        Err(Error::mismatch(span.clone(), format!("{what} takes no field on the right-hand side, only values")))
    };
    if matches!(operator, Operator::PathMatch | Operator::Regex) {
        return only_values(format!("`{}`", operator.name()), &check.operator_span);
    }
    let is_compared = !matches!(left.kind, Kind::Net | Kind::Enum { .. });
    if !is_compared || left.field.is_some_and(|field| !field.right_hand) {
        return only_values(shown(&left.name), check.left.span());
    }
    literal::check_operator(check, left)?;
    let is_list = |typed: &Typed| typed.values == Values::List;
    if left.type_name != right.type_name || is_list(left) != is_list(&right) {
        let of = |typed: &Typed| format!("{}{}", if is_list(typed) { "list of " } else { "" }, typed.type_name);
        let message = format!(
            "{} is {} and {} is {}: both sides must be of one type",
            shown(&left.name),
            of(left),
            shown(&right.name),
            of(&right)
        );
        return Err(Error::mismatch(check.operator_span.clone(), message));
    }
    if is_list(left) {
        return Err(Error::mismatch(check.operator_span.clone(), "two lists cannot be compared with one another"));
    }
    let names = match left.kind {
        Kind::Enum { names, .. } => names,
        _ => &[],
    };
    Ok(Comparison { operator, names, right: right.source })
}
