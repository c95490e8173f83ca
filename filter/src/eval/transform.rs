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
                let begun = room.begin_list();
                for term in terms {
                    let made = term.make(fields, room)?;
                    room.push_element(made)?;
                }
                Some(Made::List(room.end_list(begun)))
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
                let begun = room.begin_list();
                for term in &self.inputs {
                    let part = term.text(fields, room)?;
                    room.push_element(Made::Text(part))?;
                }
                let parts = room.end_list(begun);
                join(room, &(0..0), parts).map(Made::Text)
            }
            Function::Join => {
                let separator = first.text(fields, room)?;
                let items = self.inputs.get(1)?.items(fields, room)?;
                join(room, &separator, items).map(Made::Text)
            }
            Function::GetOpt => {
                let items = first.items(fields, room)?;
                let options = self.inputs.get(1)?.text(fields, room)?;
                getopt(room, items, &options, self.index.as_deref())
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

/// The items one behind another.
fn join(room: &mut Room, separator: &Range<usize>, items: Range<usize>) -> Option<Range<usize>> {
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

/// Reads arguments as getopt(3) does: up to `--` or the first that is no option; long options are left out. Without `wanted`
/// a list of the letters that were found, each with its value behind it where it takes one; an unknown letter is `?`. With
/// it the last value of that letter, the letter itself where it takes none, `None` where it is not there.
fn getopt(room: &mut Room, items: Range<usize>, options: &Range<usize>, wanted: Option<&str>) -> Option<Made> {
    let begun = room.begin_list();
    let mut found = None;
    let mut rest = items;
    while let Some(item) = rest.next().map(|index| room.items[index].clone()) {
        let text = &room.bytes[item.clone()];
        if text == b"--" || text == b"-" || !text.starts_with(b"-") {
            break;
        }
        let mut at = if text.starts_with(b"--") { item.end } else { item.start + 1 };
        while at < item.end {
            let letter = at..at + 1;
            at += 1;
            let takes_value = takes_value(room, options, room.bytes[letter.start]);
            let letter = if takes_value.is_some() { letter } else { room.push(b"?")? };
            let mut value = None;
            let mut is_complete = true;
            if takes_value == Some(true) {
                let next =
                    if at < item.end { Some(at..item.end) } else { rest.next().map(|next| room.items[next].clone()) };
                is_complete = next.is_some();
                value = Some(next.unwrap_or(item.end..item.end));
                at = item.end;
            }
            // An option whose value is missing leaves only the empty value.
            if is_complete {
                room.push_element(Made::Text(letter.clone()))?;
            }
            if let Some(value) = value.clone() {
                room.push_element(Made::Text(value))?;
            }
            if wanted.is_some_and(|wanted| *wanted.as_bytes() == room.bytes[letter.clone()]) {
                found = Some(value.unwrap_or(letter));
            }
        }
    }
    let all = room.end_list(begun);
    if wanted.is_some() { found.map(Made::Text) } else { Some(Made::List(all)) }
}

/// Whether a letter is followed by a value; `None`: it is no option.
fn takes_value(room: &Room, options: &Range<usize>, letter: u8) -> Option<bool> {
    let options = &room.bytes[options.clone()];
    let index = options.iter().position(|known| *known == letter && letter != b':')?;
    Some(options.get(index + 1) == Some(&b':'))
}
