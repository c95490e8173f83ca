//! Values outside of conditions: the fields and transformers of an output text.

use std::collections::BTreeSet;

use crate::ast::Operand;
use crate::catalog::{Argument, Catalog, Field, FieldId, Fields, Value};
use crate::compile::compile_operand;
use crate::error::{Error, ErrorKind, shown, suggestion};
use crate::eval::{Made, Source};
use crate::parser::{parse_operand, starts_transformer};
use crate::scratch::Scratch;

/// Bytes of the longest name that is looked for, an argument behind a dot included.
const NAME_BYTES_MAX: usize = 256;

/// A field or a transformer, compiled, that gives its value for an event.
#[derive(Debug, Clone)]
pub struct Extractor {
    name: String,
    field: Option<Field>,
    source: Source,
}

impl Extractor {
    /// Compiles the longest beginning of the text that is a field (`proc.name`, `proc.aname[2]`) or a transformer
    /// (`toupper(proc.name)`), and says how many bytes it has.
    ///
    /// # Errors
    ///
    /// The text begins with neither; an argument that the field does not take; a type that the transformer does not take.
    pub fn parse_prefix(text: &str, catalog: &dyn Catalog) -> Result<(Self, usize), Error> {
        if starts_transformer(text) {
            return Self::parse(text, catalog);
        }
        // The longest name that is a field's: a full stop or an `s` may follow it.
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
        let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len()).min(NAME_BYTES_MAX);
        let length = (1..=end).rev().find(|length| is_field(&text[..*length], catalog));
        let length = length.ok_or_else(|| unknown(&text[..end], catalog))?;
        let with_argument = if text[length..].starts_with('[') { text } else { &text[..length] };
        match Self::parse(with_argument, catalog) {
            // What stands in brackets behind a field without an argument is text.
            Err(error) if error.kind() == ErrorKind::Syntax => Self::parse(&text[..length], catalog),
            other => other,
        }
    }

    fn parse(text: &str, catalog: &dyn Catalog) -> Result<(Self, usize), Error> {
        let (operand, length) = parse_operand(text)?;
        let (source, field) = compile_operand(&operand, catalog)?;
        let name = match &operand {
            Operand::Field(field) => field.to_string(),
            Operand::Transformer(transformer) => transformer.to_string(),
        };
        Ok((Self { name, field, source }, length))
    }

    /// As it was written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The field, where no transformer is put around it.
    pub fn field(&self) -> Option<&Field> {
        self.field.as_ref()
    }

    /// Its argument, where it is a field and has one.
    pub fn argument(&self) -> Option<&str> {
        match &self.source {
            Source::Field(field) => field.argument.as_deref(),
            Source::Term(_) => None,
        }
    }

    /// The fields that it reads.
    pub fn fields(&self) -> BTreeSet<FieldId> {
        self.reads().into_iter().map(|(field, _)| field).collect()
    }

    /// The fields that it reads, with their arguments.
    pub fn reads(&self) -> BTreeSet<(FieldId, Option<&str>)> {
        let mut fields = BTreeSet::new();
        self.source.each_field(&mut |field| _ = fields.insert((field.id, field.argument.as_deref())));
        fields
    }

    /// Shows the value; `None`: missing. A list that a transformer made is shown as text: `(a,b)`.
    pub fn with<T>(
        &self,
        fields: &(impl Fields + ?Sized),
        scratch: &mut Scratch,
        show: impl FnOnce(Option<Value<'_>>) -> T,
    ) -> T {
        let apply = match &self.source {
            Source::Field(field) => return show(field.value(fields)),
            Source::Term(apply) => apply,
        };
        let mut room = scratch.take();
        let made = apply.make(fields, &mut room).and_then(|made| match made {
            Made::List(items) => room.list_as_text(items).map(Made::Text),
            other => Some(other),
        });
        let shown = show(made.map(|made| match made {
            Made::Text(text) => Value::Text(&room.bytes[text]),
            Made::Number(number) => Value::Number(number),
            Made::List(_) => Value::Text(b""),
        }));
        scratch.give_back(room);
        shown
    }
}

/// Whether a name is a field's, or a field's with an argument behind a dot.
fn is_field(name: &str, catalog: &dyn Catalog) -> bool {
    if name.ends_with('.') {
        return false;
    }
    let is_dotted = |dot: usize| catalog.field(&name[..dot]).is_some_and(|field| field.argument == Argument::Dotted);
    catalog.field(name).is_some() || name.match_indices('.').any(|(dot, _)| is_dotted(dot))
}

fn unknown(name: &str, catalog: &dyn Catalog) -> Error {
    let message = format!("unknown field {}{}", shown(name), suggestion(name, catalog.names()));
    Error::of(ErrorKind::UnknownField, 0..name.len(), message)
}
