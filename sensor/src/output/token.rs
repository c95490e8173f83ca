//! The output text as a list of constant pieces and values.

use tercel_filter::{Argument, ErrorKind, Extractor};

use super::Error;
use crate::fields::time::TimeForm;
use crate::fields::{Flag, SensorCatalog, definition};

/// Characters that a value may be filled up to: more is a mistake.
const WIDTH_MAX: usize = 1_024;

/// What older rules of Falco's name where it puts the container's fields. Falco has nothing there any more.
const CONTAINER_INFO: &str = "container.info";

/// One piece of an output text.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Text(String),
    Value(Token),
}

/// A value in an output text.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) extractor: Extractor,
    /// Of a field that tells the event's time.
    pub(super) time: Option<TimeForm>,
    /// Characters that it takes, whatever the value.
    pub(super) width: Option<usize>,
}

impl Part {
    /// A value without a transformer around it: those are fields of the alert.
    pub(super) fn as_field(&self) -> Option<&Token> {
        self.as_value().filter(|token| token.extractor.field().is_some())
    }

    pub(super) fn as_value(&self) -> Option<&Token> {
        match self {
            Self::Value(token) => Some(token),
            Self::Text(_) => None,
        }
    }
}

impl Token {
    /// The whole text is a field: `proc.name`, `proc.aname[2]`.
    pub(super) fn of_field(name: &str) -> Result<Self, Error> {
        let (token, length) = Self::read(name)?;
        if length < name.len() || token.extractor.field().is_none() {
            let message = format!("`{}` is not a field; `tercel-sensor fields` lists them", name.escape_debug());
            return Err(Error::new(0, message));
        }
        Ok(token)
    }

    /// As it is written.
    pub(super) fn name(&self) -> &str {
        self.extractor.name()
    }

    /// The value at the start of the text, which stands behind a percent sign, and how many bytes it takes.
    fn read(text: &str) -> Result<(Self, usize), Error> {
        let (width, digits) = read_width(text)?;
        let rest = &text[digits..];
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(Error::new(0, "`%` without a field name behind it"));
        }
        let (extractor, length) = extractor(rest)?;
        let field = extractor.field().and_then(|field| definition(field.id));
        if let Some(field) = field.filter(|field| field.has(Flag::FilterOnly)) {
            let message = format!("the field `{}` is for conditions only, not for outputs", field.name);
            return Err(Error::new(digits, message));
        }
        let time = field.and_then(|field| TimeForm::of_field(field.name));
        Ok((Self { extractor, time, width }, digits + length))
    }
}

/// # Errors
///
/// With the percent sign's place.
pub(super) fn parse(text: &str) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(percent) = rest.find('%') {
        push_text(&mut parts, &rest[..percent]);
        let behind = &rest[percent + 1..];
        let offset = text.len() - rest.len() + percent;
        if let Some(after) = behind.strip_prefix(CONTAINER_INFO) {
            rest = after;
            continue;
        }
        let (token, length) = Token::read(behind).map_err(|error| Error { offset: offset + error.offset, ..error })?;
        parts.push(Part::Value(token));
        rest = &behind[length..];
    }
    push_text(&mut parts, rest);
    Ok(parts)
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// Digits at the start: the width, and how many bytes they take.
fn read_width(text: &str) -> Result<(Option<usize>, usize), Error> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match text[..digits].parse() {
        _ if digits == 0 => Ok((None, 0)),
        Ok(width) if width <= WIDTH_MAX => Ok((Some(width), digits)),
        _ => {
            let message = format!("`%{}` is wider than {WIDTH_MAX} characters", &text[..digits]);
            Err(Error::new(0, message))
        }
    }
}

/// The longest name that is a field; brackets behind one that takes no argument are text.
fn extractor(text: &str) -> Result<(Extractor, usize), Error> {
    let read = |text: &str| Extractor::parse_prefix(text, &SensorCatalog).map_err(|error| of_filter(&error));
    let takes_none = |extractor: &Extractor| extractor.field().is_some_and(|field| field.argument == Argument::None);
    match read(text) {
        Ok((found, length)) if text[length..].starts_with('[') && found.argument().is_none() && !takes_none(&found) => {
            Err(Error::new(0, format!("`{}[` is not closed by `]`", found.name())))
        }
        Err(error) => {
            let bare = text.find('[').and_then(|bracket| read(&text[..bracket]).ok());
            bare.filter(|(found, _)| takes_none(found)).ok_or(error)
        }
        found => found,
    }
}

/// Its span is of no use: names are tried out at several lengths.
fn of_filter(error: &tercel_filter::Error) -> Error {
    let is_unknown_field = error.kind() == ErrorKind::UnknownField;
    let is_helpful = !is_unknown_field || error.message().ends_with('?');
    let help = if is_helpful { "" } else { "; `tercel-sensor fields` lists them" };
    Error { offset: 0, message: format!("{}{help}", error.message()), is_unknown_field }
}
