//! An event given as a map of field names to values, for conditions to be asked about: `eval` reads them from JSON,
//! `test` from YAML.
//!
//! A field that is not in the map, or is null, is missing. A key with an argument (`proc.aname[2]`, `evt.arg.flags`) is
//! that field with that argument and nothing else. Some fields follow from others where they are not in the map
//! themselves:
//!
//! - `proc.aname[n]` and the other ancestor fields from their list, which starts at the parent; `[0]` from the process's
//!   own field, which is also what they are where one value is asked for;
//! - `fd.ip`, `fd.port` and `fd.net` from the client's and the server's; `fd.cnet`, `fd.snet`, `fd.lnet` and `fd.rnet` from
//!   the addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use serde_json::Value as Json;
use tercel_filter::{Argument, Catalog as _, Field, FieldId, Fields, Kind, Value, Values};

use crate::fields::{SensorCatalog, event_type_field};

/// Fields of one event.
pub const FIELDS_MAX: usize = 1_000;

/// Elements of one list: of ancestors, for one.
pub const ELEMENTS_MAX: usize = 1_000;

/// What an event has as its type whose type the sensor has no name for: no condition can name it, `!=` holds.
const FOREIGN_TYPE: u16 = u16::MAX;

/// Where a field comes from that is not in the map: field, sources. The ends of a connection may be several.
const DERIVED: [(&str, &[&str]); 7] = [
    ("fd.ip", &["fd.cip", "fd.sip"]),
    ("fd.port", &["fd.cport", "fd.sport"]),
    ("fd.net", &["fd.cip", "fd.sip"]),
    ("fd.cnet", &["fd.cip"]),
    ("fd.snet", &["fd.sip"]),
    ("fd.lnet", &["fd.lip"]),
    ("fd.rnet", &["fd.rip"]),
];

/// A field of all ancestors, and the same of the process itself.
const OWN: [(&str, &str); 7] = [
    ("proc.aargs", "proc.args"),
    ("proc.acmdline", "proc.cmdline"),
    ("proc.aenv", "proc.env"),
    ("proc.aexe", "proc.exe"),
    ("proc.aexepath", "proc.exepath"),
    ("proc.aname", "proc.name"),
    ("proc.apid", "proc.pid"),
];

/// One event's fields.
#[derive(Debug, Clone, Default)]
pub struct FieldMap {
    plain: HashMap<FieldId, Held>,
    /// With an argument.
    keyed: HashMap<FieldId, Vec<(Box<str>, Held)>>,
}

/// A field that cannot be put into the map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("unknown field `{}`; `tercel-sensor fields` lists them", .0.escape_debug())]
    UnknownField(String),
    #[error("field `{}`: {message}", .name.escape_debug())]
    Argument { name: String, message: String },
    #[error("field `{field}`: no event has the type `{}`", .found.escape_debug())]
    UnknownEventType { field: String, found: String },
    #[error("field `{field}`: expected {expected}, found {found}")]
    Value { field: String, expected: &'static str, found: String },
    #[error("an event has at most {FIELDS_MAX} fields")]
    TooManyFields,
}

/// A value, ready to be lent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Held {
    Text(Box<[u8]>),
    Number(i64),
    Float(f64),
    Bool(bool),
    Ip(IpAddr),
    Enum(u16),
    List(Vec<String>),
    /// Of a field that stands for several; a missing one keeps its place.
    Several(Vec<Option<Held>>),
}

impl FieldMap {
    /// Puts a value under a field's name as rules write it; null takes it away. A text is read as what the field is: a
    /// number, an address.
    ///
    /// # Errors
    ///
    /// The name is no field's, the value is none that the field can have, or there are [`FIELDS_MAX`] already.
    pub fn set(&mut self, name: &str, value: &Json) -> Result<(), Error> {
        let (field, argument) = resolve(name)?;
        let held = held_of(name, &field, argument, value)?;
        self.put(field.id, argument, held)
    }

    /// Gives the event a type that is none of those that conditions can name.
    pub fn set_foreign_type(&mut self) -> Result<(), Error> {
        self.put(event_type_field(), None, Some(Held::Enum(FOREIGN_TYPE)))
    }

    /// Adds what follows from the other fields. To be called when they are all there.
    #[must_use]
    pub fn complete(mut self) -> Self {
        for (id, values, sources) in derived() {
            if self.plain.contains_key(id) {
                continue;
            }
            let found: Vec<_> = sources.iter().filter_map(|source| self.plain.get(source)).cloned().collect();
            let held = match values {
                Values::One | Values::Aliases | Values::Distance | Values::List => found.into_iter().next(),
                Values::AnyOf | Values::EitherOf if found.is_empty() => None,
                Values::AnyOf | Values::EitherOf => Some(Held::Several(found.into_iter().map(Some).collect())),
            };
            self.plain.extend(held.map(|held| (*id, held)));
        }
        self
    }

    fn put(&mut self, id: FieldId, argument: Option<&str>, held: Option<Held>) -> Result<(), Error> {
        match argument {
            None => {
                self.plain.remove(&id);
            }
            Some(argument) => {
                if let Some(known) = self.keyed.get_mut(&id) {
                    known.retain(|(other, _)| &**other != argument);
                }
            }
        }
        let Some(held) = held else { return Ok(()) };
        if self.plain.len() + self.keyed.values().map(Vec::len).sum::<usize>() >= FIELDS_MAX {
            return Err(Error::TooManyFields);
        }
        match argument {
            None => _ = self.plain.insert(id, held),
            Some(argument) => self.keyed.entry(id).or_default().push((argument.into(), held)),
        }
        Ok(())
    }

    /// The `distance`-th ancestor's; 0: the process's own.
    fn ancestor(&self, field: FieldId, distance: usize) -> Option<&Held> {
        let Some(above_parent) = distance.checked_sub(1) else { return self.plain.get(own().get(&field)?) };
        match self.plain.get(&field)? {
            Held::Several(values) => values.get(above_parent)?.as_ref(),
            _ => None,
        }
    }
}

impl Fields for FieldMap {
    fn value(&self, field: FieldId, argument: Option<&str>) -> Option<Value<'_>> {
        let Some(argument) = argument else {
            let held = self.plain.get(&field).and_then(Held::value);
            return held.or_else(|| self.ancestor(field, 0)?.value());
        };
        let literal = self.keyed.get(&field).and_then(|known| known.iter().find(|(other, _)| &**other == argument));
        match literal {
            Some((_, held)) => held.value(),
            None => self.ancestor(field, argument.parse().ok()?)?.value(),
        }
    }

    fn any(&self, field: FieldId, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        match self.plain.get(&field) {
            Some(Held::Several(values)) => values.iter().flatten().filter_map(Held::value).any(test),
            other => other.and_then(Held::value).is_some_and(test),
        }
    }
}

impl From<Value<'_>> for Held {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.into()),
            Value::Number(number) => Self::Number(number),
            Value::Float(number) => Self::Float(number),
            Value::Bool(truth) => Self::Bool(truth),
            Value::Ip(address) => Self::Ip(address),
            Value::Enum(index) => Self::Enum(index),
            Value::List(texts) => Self::List(texts.to_vec()),
        }
    }
}

impl Held {
    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Text(text) => text.len(),
                Self::List(texts) => texts.iter().map(|text| size_of::<String>() + text.len()).sum(),
                Self::Several(values) => values.iter().flatten().map(Self::bytes).sum(),
                _ => 0,
            }
    }

    /// `None`: it is several.
    pub(crate) fn value(&self) -> Option<Value<'_>> {
        Some(match self {
            Self::Text(text) => Value::Text(text),
            Self::Number(number) => Value::Number(*number),
            Self::Float(number) => Value::Float(*number),
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Ip(address) => Value::Ip(*address),
            Self::Enum(index) => Value::Enum(*index),
            Self::List(texts) => Value::List(texts),
            Self::Several(_) => return None,
        })
    }
}

/// The field and the argument of a key.
fn resolve(name: &str) -> Result<(Field, Option<&str>), Error> {
    let unknown = || Error::UnknownField(name.to_owned());
    let refused = |message: String| Error::Argument { name: name.to_owned(), message };
    let (field, argument) = split(name).ok_or_else(unknown)?;
    match (field.argument, argument) {
        (Argument::None, Some(_)) => return Err(refused("it takes no argument".to_owned())),
        (Argument::Required | Argument::Dotted, None) => {
            return Err(refused(format!("it needs an argument, as in `{name}[…]`")));
        }
        (_, Some(argument)) => SensorCatalog.check_argument(field.id, argument).map_err(refused)?,
        (_, None) => {}
    }
    Ok((field, argument))
}

/// `None`: there is no such field.
fn split(name: &str) -> Option<(Field, Option<&str>)> {
    if let Some((base, argument)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        return Some((SensorCatalog.field(base)?, Some(unquoted(argument))));
    }
    if let Some(field) = SensorCatalog.field(name) {
        return Some((field, None));
    }
    name.rmatch_indices('.').find_map(|(dot, _)| {
        let field = SensorCatalog.field(&name[..dot])?;
        (field.argument == Argument::Dotted).then(|| (field, Some(&name[dot + 1..])))
    })
}

fn unquoted(argument: &str) -> &str {
    let inside = |quote: char| argument.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(argument)
}

/// `None`: the value is null.
fn held_of(name: &str, field: &Field, argument: Option<&str>, value: &Json) -> Result<Option<Held>, Error> {
    let Json::Array(elements) = value else { return one_of_several(name, field, argument, value) };
    if elements.len() > ELEMENTS_MAX {
        let found = format!("a list of {}", elements.len());
        return Err(Error::Value { field: name.to_owned(), expected: "at most 1,000 elements", found });
    }
    match field.values {
        Values::AnyOf | Values::EitherOf if argument.is_none() => {
            let several = elements.iter().map(|element| held(name, field.kind, element)).collect::<Result<_, _>>()?;
            Ok(Some(Held::Several(several)))
        }
        Values::List => list(name, elements).map(Some),
        _ if field.kind == Kind::Dynamic => list(name, elements).map(Some),
        _ => Err(wrong(name, "one value", value)),
    }
}

/// A single value is a list of one where the field has several.
fn one_of_several(name: &str, field: &Field, argument: Option<&str>, value: &Json) -> Result<Option<Held>, Error> {
    let Some(one) = held(name, field.kind, value)? else { return Ok(None) };
    Ok(Some(match field.values {
        Values::AnyOf | Values::EitherOf if argument.is_none() => Held::Several(vec![Some(one)]),
        Values::List => list(name, std::slice::from_ref(value))?,
        _ => one,
    }))
}

fn list(name: &str, elements: &[Json]) -> Result<Held, Error> {
    let text = |element: &Json| scalar_text(element).ok_or_else(|| wrong(name, "a list of texts", element));
    elements.iter().map(text).collect::<Result<_, _>>().map(Held::List)
}

/// `None`: the value is null.
fn held(name: &str, kind: Kind, value: &Json) -> Result<Option<Held>, Error> {
    if value.is_null() {
        return Ok(None);
    }
    let (read, expected) = match kind {
        Kind::Text | Kind::Bytes => (scalar_text(value).map(text), "a text"),
        Kind::Number => (whole_number(value).map(Held::Number), "a whole number"),
        Kind::Port => (port(value).map(Held::Number), "a port, 0 to 65535"),
        Kind::Float => (float(value).map(Held::Float), "a number"),
        Kind::Bool => (truth(value).map(Held::Bool), "true or false"),
        Kind::Ip | Kind::Net => (address(value).map(Held::Ip), "an IP address"),
        Kind::Enum { names, .. } => return enum_value(name, names, value).map(Some),
        Kind::Dynamic => (dynamic(value), "a number, a text, true or false"),
    };
    read.map(Some).ok_or_else(|| wrong(name, expected, value))
}

fn wrong(name: &str, expected: &'static str, value: &Json) -> Error {
    const SHOWN_CHARS_MAX: usize = 60;
    let found = match value {
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "a map".to_owned(),
        scalar => scalar.to_string().chars().take(SHOWN_CHARS_MAX).collect(),
    };
    Error::Value { field: name.to_owned(), expected, found }
}

fn text(text: String) -> Held {
    Held::Text(text.into_bytes().into())
}

/// A scalar as it is written.
fn scalar_text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Numbers beyond 63 bits, which Falco has in some unsigned fields, become the greatest.
fn whole_number(value: &Json) -> Option<i64> {
    match value {
        Json::Number(number) => number
            .as_i64()
            .or_else(|| number.as_u64().map(|_| i64::MAX))
            .or_else(|| number.as_f64().and_then(whole_float)),
        Json::String(text) => text.parse().ok().or_else(|| text.parse::<u64>().ok().map(|_| i64::MAX)),
        _ => None,
    }
}

fn whole_float(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

fn port(value: &Json) -> Option<i64> {
    whole_number(value).filter(|port| u16::try_from(*port).is_ok())
}

fn float(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn truth(value: &Json) -> Option<bool> {
    match value {
        Json::Bool(truth) => Some(*truth),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn address(value: &Json) -> Option<IpAddr> {
    // A peer of an IPv6 socket that speaks IPv4 is an IPv4 address, as in Falco.
    value.as_str()?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn dynamic(value: &Json) -> Option<Held> {
    match value {
        Json::Bool(truth) => Some(Held::Bool(*truth)),
        Json::String(written) => Some(text(written.clone())),
        Json::Number(_) => whole_number(value).map(Held::Number).or_else(|| float(value).map(Held::Float)),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// `evt.type` is the only field of this kind.
fn enum_value(name: &str, names: &[&str], value: &Json) -> Result<Held, Error> {
    let found = value.as_str().ok_or_else(|| wrong(name, "the name of an event type", value))?;
    let index = names.iter().position(|known| *known == found).and_then(|index| u16::try_from(index).ok());
    let unknown = || Error::UnknownEventType { field: name.to_owned(), found: found.to_owned() };
    index.map(Held::Enum).ok_or_else(unknown)
}

/// [`DERIVED`] by number, without the fields that the catalog does not have.
fn derived() -> &'static [(FieldId, Values, Vec<FieldId>)] {
    static FIELDS: LazyLock<Vec<(FieldId, Values, Vec<FieldId>)>> = LazyLock::new(|| {
        let known = |(name, sources): &(&str, &[&str])| {
            let field = SensorCatalog.field(name)?;
            Some((field.id, field.values, sources.iter().filter_map(|source| id(source)).collect()))
        };
        DERIVED.iter().filter_map(known).collect()
    });
    &FIELDS
}

/// [`OWN`] by number.
fn own() -> &'static HashMap<FieldId, FieldId> {
    static FIELDS: LazyLock<HashMap<FieldId, FieldId>> =
        LazyLock::new(|| OWN.iter().filter_map(|(all, own)| Some((id(all)?, id(own)?))).collect());
    &FIELDS
}

fn id(name: &str) -> Option<FieldId> {
    SensorCatalog.field(name).map(|field| field.id)
}

#[cfg(test)]
mod tests;
