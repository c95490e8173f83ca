//! A rule's output text → an alert: the text with its fields filled in, and the fields with their types.

mod append;
mod escape;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::tz::TimeZone;
use serde_json::Value as Json;
use tercel_alert::{OutputFields, Priority};
use tercel_filter::{FieldId, Fields, Scratch, Value};

pub(crate) use crate::fields::time::timestamp;
pub use append::{Append, Appendix, ExtraField, Matches, SUGGESTED};

use crate::event::{Event, EventType};
use crate::fields::time::TimeForm;
pub(crate) use escape::push_escaped;
use escape::{bounded_text, cut};
use token::{Part, Token};

/// Bytes of one field in an alert. A longer one is cut and says so.
pub const FIELD_BYTES_MAX: usize = 4_096;

/// Bytes of a whole output text.
pub const OUTPUT_BYTES_MAX: usize = 16_384;

/// What Falco prints for a field that the event does not have.
const MISSING: &str = "<NA>";

/// In every alert, whatever its rule's output names: the default fingerprint, and where it happened.
const ALWAYS: [&str; 9] = [
    "container.id",
    "container.image.repository",
    "container.image.tag",
    "container.name",
    "evt.time",
    "k8s.ns.name",
    "k8s.pod.name",
    "proc.exepath",
    "user.name",
];

/// A compiled output.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<Part>,
    /// The alert's fields by name.
    fields: BTreeMap<String, Content>,
}

/// What an alert's field holds.
#[derive(Debug, Clone)]
enum Content {
    /// A field's value, with its type.
    Value(Token),
    Text(Vec<Part>),
}

/// The output text cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Byte of the text at which the trouble starts.
    pub offset: usize,
    pub message: String,
    /// It names a field that there is not: Falco's `skip-if-unknown-filter` is about that.
    pub is_unknown_field: bool,
}

impl Error {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into(), is_unknown_field: false }
    }
}

/// An alert's text and fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    pub output: String,
    pub fields: OutputFields,
}

/// When it happened, and how the time is told.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Nanoseconds since 1970.
    pub time_ns: i64,
    /// Of the times in the text.
    pub zone: &'a TimeZone,
}

impl Template {
    /// `%field`, `%field[argument]` and `%transformer(field)` stand for values; the longest name that is a field counts,
    /// so that `%fd.name.` ends with a full stop. `%20field` takes 20 characters, filled up with blanks or cut. White
    /// space at the end is left out: a folded YAML scalar ends with a line break.
    ///
    /// # Errors
    ///
    /// A percent sign without a field behind it; an unknown field; one that only conditions may name.
    pub fn compile(text: &str) -> Result<Self, Error> {
        Self::compile_with(text, &Appendix::default())
    }

    /// The same, with what the settings append to the rule's own output.
    ///
    /// # Errors
    ///
    /// Those of [`Template::compile`]; what is wrong in the appendix is told at the text's beginning.
    pub fn compile_with(text: &str, appendix: &Appendix) -> Result<Self, Error> {
        let mut parts = token::parse(text.trim_end())?;
        let tail = appendix.parts()?;
        if !parts.is_empty() && !tail.is_empty() {
            parts.push(Part::Text(" ".to_owned()));
        }
        parts.extend(tail);
        let always = ALWAYS.iter().filter_map(|name| Token::of_field(name).ok());
        let named = parts.iter().filter_map(Part::as_field).cloned();
        let mut fields: BTreeMap<_, _> =
            always.chain(named).map(|token| (token.name().to_owned(), Content::Value(token))).collect();
        fields.extend(appendix.fields()?);
        Ok(Self { parts, fields })
    }

    /// The fields that the text names, each once, in their order; not those that a transformer is put around.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let names = self.parts.iter().filter_map(Part::as_field).map(Token::name);
        let mut seen = BTreeSet::new();
        names.filter(move |name| seen.insert(*name))
    }

    /// Whether the text, or one of the alert's fields, is made of this field's value.
    pub(crate) fn reads(&self, field: FieldId) -> bool {
        let reads = |part: &Part| part.as_value().is_some_and(|token| token.extractor.fields().contains(&field));
        let is_made_of = |content: &Content| match content {
            Content::Value(token) => token.extractor.fields().contains(&field),
            Content::Text(parts) => parts.iter().any(reads),
        };
        self.parts.iter().any(reads) || self.fields.values().any(is_made_of)
    }

    /// The fields that text and fields are made of, with their arguments.
    pub(crate) fn reads_all(&self) -> BTreeSet<(FieldId, Option<&str>)> {
        let in_fields = self.fields.values().flat_map(|content| match content {
            Content::Value(token) => vec![token],
            Content::Text(parts) => parts.iter().filter_map(Part::as_value).collect(),
        });
        let in_text = self.parts.iter().filter_map(Part::as_value);
        in_text.chain(in_fields).flat_map(|token| token.extractor.reads()).collect()
    }

    /// Fills in an event's fields.
    pub fn render(&self, event: &Event<'_>, priority: Priority, zone: &TimeZone) -> Rendered {
        self.render_fields(event, priority, Moment { time_ns: event.time_ns, zone })
    }

    /// Fills in the fields of whatever has such: the text starts with time and priority.
    pub fn render_fields(&self, fields: &dyn Fields, priority: Priority, moment: Moment<'_>) -> Rendered {
        let mut filling = Filling { fields, moment: Some(moment), scratch: Scratch::new() };
        let clock = TimeForm::Time.write(moment.time_ns, moment.zone);
        let mut output = format!("{clock}: {priority} ");
        filling.write(&self.parts, &mut output);
        cut(&mut output, OUTPUT_BYTES_MAX);
        let fields = self.fields.iter().map(|(name, content)| (name.clone(), filling.content(content))).collect();
        Rendered { output, fields }
    }

    /// The text alone, without time and priority; times in it are what the fields say they are.
    pub fn text(&self, fields: &dyn Fields) -> String {
        let mut text = String::new();
        Filling { fields, moment: None, scratch: Scratch::new() }.write(&self.parts, &mut text);
        cut(&mut text, OUTPUT_BYTES_MAX);
        text
    }
}

/// One event on its way into the templates.
struct Filling<'a> {
    fields: &'a dyn Fields,
    moment: Option<Moment<'a>>,
    /// For transformers, which few outputs have.
    scratch: Scratch,
}

impl Filling<'_> {
    fn write(&mut self, parts: &[Part], text: &mut String) {
        for part in parts {
            match part {
                Part::Text(constant) => push_escaped(text, constant),
                Part::Value(token) => {
                    let from = text.len();
                    match token.time.and_then(|form| Some(form.write(self.moment?.time_ns, self.moment?.zone))) {
                        Some(time) => text.push_str(&time),
                        None => push_value(text, &self.value(token)),
                    }
                    fit(text, from, token.width);
                }
            }
        }
    }

    fn content(&mut self, content: &Content) -> Json {
        match content {
            Content::Value(token) => match (token.time, self.moment) {
                (Some(_), Some(moment)) => moment.time_ns.into(),
                _ => self.value(token),
            },
            Content::Text(parts) => {
                let mut text = String::new();
                self.write(parts, &mut text);
                cut(&mut text, FIELD_BYTES_MAX);
                text.into()
            }
        }
    }

    fn value(&mut self, token: &Token) -> Json {
        token.extractor.with(self.fields, &mut self.scratch, json)
    }
}

fn json(value: Option<Value<'_>>) -> Json {
    match value {
        None => Json::Null,
        Some(Value::Text(bytes)) => Json::String(bounded_text(bytes)),
        Some(Value::Number(number)) => number.into(),
        Some(Value::Float(number)) => number.into(),
        Some(Value::Bool(truth)) => truth.into(),
        Some(Value::Ip(ip)) => ip.to_string().into(),
        Some(Value::Enum(index)) => EventType(index).name().into(),
        Some(Value::List(texts)) => bounded_text(format!("({})", texts.join(",")).as_bytes()).into(),
    }
}

fn push_value(output: &mut String, value: &Json) {
    match value {
        Json::Null => output.push_str(MISSING),
        Json::String(text) => push_escaped(output, text),
        other => _ = write!(output, "{other}"),
    }
}

/// Cuts what stands behind `from` to so many characters, or fills it up with blanks.
fn fit(text: &mut String, from: usize, width: Option<usize>) {
    let Some(width) = width else { return };
    let written = text[from..].chars().count();
    if let Some((end, _)) = text[from..].char_indices().nth(width) {
        text.truncate(from + end);
    }
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(written)));
}

#[cfg(test)]
mod tests;
