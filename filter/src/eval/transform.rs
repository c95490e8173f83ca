//! Where a compared value comes from: a field, or transformers around fields.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::ast::Function;
use crate::catalog::{FieldId, Fields, Value};
use crate::scratch::Room;

/// With or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A value's origin.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Field(FieldRef),
    Term(Box<Apply>),
}

#[derive(Debug, Clone)]
pub(crate) struct FieldRef {
    pub(crate) id: FieldId,
    pub(crate) argument: Option<Box<str>>,
    /// Of an enum field: what its values are as text.
    pub(crate) names: &'static [&'static str],
}

/// A transformer with what it is put around.
#[derive(Debug, Clone)]
pub(crate) struct Apply {
    pub(crate) function: Function,
    pub(crate) inputs: Box<[Term]>,
    pub(crate) index: Option<Box<str>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Term {
    Field(FieldRef),
    Text(Box<[u8]>),
    List(Box<[Term]>),
    Apply(Box<Apply>),
}

/// What a term came to; texts lie in the [`Room`].
#[derive(Debug, Clone)]
pub(crate) enum Made {
    Text(Range<usize>),
    Number(i64),
    /// A range of the room's items.
    List(Range<usize>),
}

impl FieldRef {
    pub(super) fn is(&self, field: FieldId) -> bool {
        self.id == field && self.argument.is_none()
    }

    pub(crate) fn value<'f>(&self, fields: &'f (impl Fields + ?Sized)) -> Option<Value<'f>> {
        fields.value(self.id, self.argument.as_deref())
    }

    /// The same; the name of an enum's value as text.
    pub(super) fn value_as_text<'f>(&self, fields: &'f (impl Fields + ?Sized)) -> Option<Value<'f>> {
        self.value(fields).map(|value| named(value, self.names))
    }
}

/// An enum's value as the text that names it; other values as they are.
pub(super) fn named<'f>(value: Value<'f>, names: &'static [&'static str]) -> Value<'f> {
    match value {
        Value::Enum(index) => Value::Text(names.get(usize::from(index)).map_or(b"", |name| name.as_bytes())),
        other => other,
    }
}

impl Term {
    /// `None`: missing, or larger than the room.
    fn make(&self, fields: &(impl Fields + ?Sized), room: &mut Room) -> Option<Made> {
        match self {
            Self::Field(field) => match field.value_as_text(fields)? {
                Value::Text(text) => room.push(text).map(Made::Text),
                Value::Number(number) => Some(Made::Number(number)),
                Value::List(list) => {
                    let start = room.items.len();
                    for element in list {
                        let item = room.push(element.as_bytes())?;
                        room.push_item(item)?;
                    }
                    Some(Made::List(start..room.items.len()))
                }
                _ => None,
            },
            Self::Text(text) => room.push(text).map(Made::Text),
            Self::List(terms) => {
                // First all elements, then their places side by side: an element may make items of its own.
                let mut elements = [const { 0..0 }; LIST_MAX];
                for (place, term) in elements.iter_mut().zip(terms) {
                    *place = term.text(fields, room)?;
                }
                let start = room.items.len();
                for element in elements.into_iter().take(terms.len()) {
                    room.push_item(element)?;
                }
                Some(Made::List(start..room.items.len()))
            }
            Self::Apply(apply) => apply.make(fields, room),
        }
    }

    fn text(&self, fields: &(impl Fields + ?Sized), room: &mut Room) -> Option<Range<usize>> {
        match self.make(fields, room)? {
            Made::Text(text) => Some(text),
            Made::Number(_) | Made::List(_) => None,
        }
    }

    /// The elements of a list, or the text as the only one.
    fn items(&self, fields: &(impl Fields + ?Sized), room: &mut Room) -> Option<Range<usize>> {
        match self.make(fields, room)? {
            Made::List(items) => Some(items),
            Made::Text(_) | Made::Number(_) => None,
        }
    }
}

/// Elements of a list that is written in a condition.
pub(crate) const LIST_MAX: usize = 32;

impl Apply {
    pub(crate) fn make(&self, fields: &(impl Fields + ?Sized), room: &mut Room) -> Option<Made> {
        let first = self.inputs.first()?;
        match self.function {
            Function::ToLower => each(first, fields, room, |room, text| {
                room.bytes[text.clone()].make_ascii_lowercase();
                Some(text)
            }),
            Function::ToUpper => each(first, fields, room, |room, text| {
                room.bytes[text.clone()].make_ascii_uppercase();
                Some(text)
            }),
            Function::BaseName => each(first, fields, room, |room, text| {
                let slash = room.bytes[text.clone()].iter().rposition(|byte| *byte == b'/');
                Some(slash.map_or(text.start, |slash| text.start + slash + 1)..text.end)
            }),
            Function::Base64 => each(first, fields, room, decode),
            Function::Length => length(first, fields, room).and_then(|length| length.try_into().ok()).map(Made::Number),
            Function::Concat => {
                let mut parts = [const { 0..0 }; LIST_MAX];
                for (part, term) in parts.iter_mut().zip(&self.inputs) {
                    *part = term.text(fields, room)?;
                }
                let start = room.bytes.len();
                for part in parts.into_iter().take(self.inputs.len()) {
                    room.repeat(part)?;
                }
                Some(Made::Text(start..room.bytes.len()))
            }
            Function::Join => {
                let separator = first.text(fields, room)?;
                let items = self.inputs.get(1)?.items(fields, room)?;
                join_items(room, &separator, items).map(Made::Text)
            }
            Function::GetOpt => {
                let items = first.items(fields, room)?;
                let options = self.inputs.get(1)?.text(fields, room)?;
                let wanted = *self.index.as_deref()?.as_bytes().first()?;
                getopt(room, items, &options, wanted).map(Made::Text)
            }
        }
    }
}

/// Changes a text, or every text of a list.
fn each(
    input: &Term,
    fields: &(impl Fields + ?Sized),
    room: &mut Room,
    change: impl Fn(&mut Room, Range<usize>) -> Option<Range<usize>>,
) -> Option<Made> {
    match input.make(fields, room)? {
        Made::Text(text) => change(room, text).map(Made::Text),
        Made::List(items) => {
            for index in items.clone() {
                let item = room.items[index].clone();
                room.items[index] = change(room, item)?;
            }
            Some(Made::List(items))
        }
        Made::Number(_) => None,
    }
}

/// Without copying a field's text or list.
fn length(input: &Term, fields: &(impl Fields + ?Sized), room: &mut Room) -> Option<usize> {
    if let Term::Field(field) = input {
        return match field.value_as_text(fields)? {
            Value::Text(text) => Some(text.len()),
            Value::List(list) => Some(list.len()),
            _ => None,
        };
    }
    match input.make(fields, room)? {
        Made::Text(range) | Made::List(range) => Some(range.len()),
        Made::Number(_) => None,
    }
}

/// `None` where the text is not base64.
fn decode(room: &mut Room, text: Range<usize>) -> Option<Range<usize>> {
    let start = room.bytes.len();
    let estimate = base64::decoded_len_estimate(text.len());
    room.reserve(estimate)?;
    room.bytes.resize(start + estimate, 0);
    let (before, output) = room.bytes.split_at_mut(start);
    let decoded = BASE64.decode_slice(&before[text], output).ok();
    room.bytes.truncate(start + decoded.unwrap_or(0));
    decoded.map(|length| start..start + length)
}

fn join_items(room: &mut Room, separator: &Range<usize>, items: Range<usize>) -> Option<Range<usize>> {
    let start = room.bytes.len();
    for index in items.clone() {
        if index > items.start {
            room.repeat(separator.clone())?;
        }
        let item = room.items[index].clone();
        room.repeat(item)?;
    }
    Some(start..room.bytes.len())
}

/// The argument of the last option `wanted`, empty where it takes none; `None` where it is not there. Options may stand
/// between other arguments, as GNU's getopt has it; `--` ends them.
fn getopt(room: &Room, items: Range<usize>, options: &Range<usize>, wanted: u8) -> Option<Range<usize>> {
    let takes_argument = |option: u8| {
        let options = &room.bytes[options.clone()];
        let index = options.iter().position(|known| *known == option && option != b':');
        index.map(|index| options.get(index + 1) == Some(&b':'))
    };
    let mut found = None;
    let mut rest = items;
    while let Some(index) = rest.next() {
        let item = room.items[index].clone();
        let text = &room.bytes[item.clone()];
        if text == b"--" {
            break;
        }
        let Some(letters) = text.strip_prefix(b"-") else { continue };
        for (offset, letter) in letters.iter().enumerate() {
            let behind = item.start + 1 + offset + 1;
            let argument = match takes_argument(*letter) {
                None => continue,
                Some(false) => item.end..item.end,
                Some(true) if behind < item.end => behind..item.end,
                Some(true) => match rest.next() {
                    Some(next) => room.items[next].clone(),
                    None => break,
                },
            };
            if *letter == wanted {
                found = Some(argument.clone());
            }
            if takes_argument(*letter) == Some(true) {
                break;
            }
        }
    }
    found
}
