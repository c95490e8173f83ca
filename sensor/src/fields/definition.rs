//! What is known of one field: a row of the table.

use tercel_filter::{Argument, Field, FieldId, Kind, Value, Values};

use super::parameters;
use crate::enrich::container::{Container, Metadata};
use crate::enrich::process::Process;
use crate::event::{Endpoint, Event, EventType, NAMES};

pub(super) type Getter = for<'e> fn(&'e Event<'_>, Option<&str>) -> Option<Value<'e>>;
pub(super) type PlaceGetter = for<'e> fn(Place<'e>, Option<&str>) -> Option<Value<'e>>;
pub(super) type AncestorGetter = fn(&Process) -> Option<Value<'_>>;
pub(super) type EndGetter = fn(Endpoint) -> Value<'static>;
pub(super) type AddressGetter = fn(&Event<'_>) -> Option<Endpoint>;

/// One field: everything that is known of it.
#[derive(Clone, Copy)]
pub struct Definition {
    pub name: &'static str,
    pub value_type: Type,
    /// One sentence, or two, in Markdown.
    pub doc: &'static str,
    pub argument: Argument,
    /// What the argument looks like. `None`: there is none.
    pub shape: Option<Shape>,
    pub values: Values,
    pub flags: &'static [Flag],
    pub(super) get: Get,
}

/// Where an event happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// `None`: outside of containers.
    pub(crate) container: Option<&'a Container>,
    /// What its runtime told, so far.
    pub(crate) metadata: Option<&'a Metadata>,
    /// When, nanoseconds since 1970.
    pub(crate) time_ns: i64,
}

/// Where a value comes from.
#[derive(Clone, Copy)]
pub(super) enum Get {
    Nothing,
    Event(Getter),
    /// Of the container: known with the process.
    Place(PlaceGetter),
    /// Of the container: known when its runtime told it.
    Told(PlaceGetter),
    /// `[n]`: the n-th ancestor, 0 is the process itself. Without it: any ancestor from the parent up.
    Ancestor(AncestorGetter),
    /// Both ends of a connection, as far as they are known.
    Ends(EndGetter),
    /// The hosts that rules name and that have this end's address.
    Hosts(AddressGetter),
}

/// A field's type, by Falco's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Nanoseconds since 1970.
    AbsTime,
    Bool,
    Bytes,
    Double,
    /// Known with the value.
    Dynamic,
    /// A text of which every value is known.
    EventType,
    Int16,
    Int32,
    Int64,
    Ip,
    Net,
    Port,
    /// Nanoseconds.
    RelTime,
    Text,
    Uint32,
    Uint64,
}

impl Type {
    /// As Falco's own list of fields names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AbsTime => "ABSTIME",
            Self::Bool => "BOOL",
            Self::Bytes => "BYTEBUF",
            Self::Double => "DOUBLE",
            Self::Dynamic => "DYN",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Ip => "IPADDR",
            Self::Net => "IPNET",
            Self::Port => "PORT",
            Self::RelTime => "RELTIME",
            Self::Text | Self::EventType => "CHARBUF",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
        }
    }

    /// What the condition language makes of it.
    pub const fn kind(self) -> Kind {
        match self {
            Self::AbsTime | Self::Int16 | Self::Int32 | Self::Int64 | Self::RelTime | Self::Uint32 | Self::Uint64 => {
                Kind::Number
            }
            Self::Bool => Kind::Bool,
            Self::Bytes => Kind::Bytes,
            Self::Double => Kind::Float,
            Self::Dynamic => Kind::Dynamic,
            Self::EventType => Kind::Enum { what: "event type", names: NAMES, ordered: false },
            Self::Ip => Kind::Ip,
            Self::Net => Kind::Net,
            Self::Port => Kind::Port,
            Self::Text => Kind::Text,
        }
    }
}

/// What is particular to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// A number that is never 0.
    CountsFromOne,
    /// Falco wants to be rid of it.
    Deprecated,
    /// Stands in conditions, not in outputs.
    FilterOnly,
    /// May not stand in `val()`.
    NoRightHand,
    /// No transformer may be put around it.
    NoTransformer,
    NotInFalco,
    /// Makes sense in outputs alone.
    PrintOnly,
    /// Read from the program's memory when the call returned: another of its threads may have written something else
    /// there after the kernel had read it. Or read from /proc when a rule asked: the process may have changed it by then.
    Racy,
    /// Of use in tables of events, which neither Falco nor Tercel makes.
    TableOnly,
}

impl Flag {
    /// In the lists of fields. `None`: nobody asks.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::CountsFromOne => None,
            Self::Deprecated => Some("deprecated"),
            Self::FilterOnly => Some("filter-only"),
            Self::NoRightHand => Some("no-rhs"),
            Self::NoTransformer => Some("no-transformer"),
            Self::NotInFalco => Some("not-in-falco"),
            Self::PrintOnly => Some("print-only"),
            Self::Racy => Some("racy"),
            Self::TableOnly => Some("table-only"),
        }
    }
}

/// What an argument looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `[n]`
    Index,
    /// `[name]`
    Name,
    /// `[n]` or `[name]`
    IndexOrName,
    /// `.name` or `[n]`: a parameter of the event.
    Parameter,
    /// `.name`: a parameter of the event.
    RawParameter,
    /// `.name`: an event type, or its number in Falco.
    EventType,
    /// `.name`: a cgroup controller.
    Controller,
    /// `[n]`: nanoseconds since 1970.
    Time,
}

impl Shape {
    /// How it is written behind the field's name.
    pub const fn forms(self) -> &'static [&'static str] {
        match self {
            Self::Index => &["[n]"],
            Self::Name => &["[name]"],
            Self::IndexOrName => &["[n]", "[name]"],
            Self::Parameter => &[".name", "[n]"],
            Self::RawParameter | Self::EventType | Self::Controller => &[".name"],
            Self::Time => &["[time]"],
        }
    }

    /// # Errors
    ///
    /// What is wrong with the argument, in one sentence.
    pub(super) fn check(self, argument: &str) -> Result<(), String> {
        let is_right = match self {
            Self::Name | Self::IndexOrName | Self::Controller => !argument.is_empty(),
            Self::Index => is_index(argument),
            Self::Time => argument.parse::<u64>().is_ok(),
            Self::Parameter => is_index(argument) || parameters::is_known(argument),
            Self::RawParameter => parameters::is_known(argument),
            Self::EventType => is_index(argument) || EventType::find(argument).is_some(),
        };
        if is_right { Ok(()) } else { Err(self.complaint(argument)) }
    }

    fn complaint(self, argument: &str) -> String {
        match self {
            Self::Index => format!("`{argument}` is not a number, as `[2]` would be"),
            Self::Time => format!("`{argument}` is not a time in nanoseconds since 1970"),
            Self::Name | Self::IndexOrName | Self::Controller => "the brackets are empty".to_owned(),
            Self::Parameter | Self::RawParameter => format!("unknown event argument `{argument}`"),
            Self::EventType => format!("unknown event type `{argument}`"),
        }
    }
}

fn is_index(argument: &str) -> bool {
    argument.parse::<u32>().is_ok() && !argument.starts_with('+')
}

/// A field without a value yet: methods say the rest.
pub(super) const fn row(name: &'static str, value_type: Type, doc: &'static str) -> Definition {
    Definition {
        name,
        value_type,
        doc,
        argument: Argument::None,
        shape: None,
        values: Values::One,
        flags: &[],
        get: Get::Nothing,
    }
}

impl Definition {
    pub(super) const fn get(self, get: Getter) -> Self {
        Self { get: Get::Event(get), ..self }
    }

    pub(super) const fn place(self, get: PlaceGetter) -> Self {
        Self { get: Get::Place(get), ..self }
    }

    pub(super) const fn told(self, get: PlaceGetter) -> Self {
        Self { get: Get::Told(get), ..self }
    }

    /// Whether the value is missing until the container's runtime tells it.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self.get, Get::Told(_))
    }

    /// Of the n-th ancestor; of any where there is no number.
    pub(super) const fn ancestors(self, get: AncestorGetter) -> Self {
        Self { get: Get::Ancestor(get), ..self.any_ancestor(Shape::Index) }
    }

    pub(super) const fn any_ancestor(self, shape: Shape) -> Self {
        Self { argument: Argument::Optional, shape: Some(shape), values: Values::AnyOf, ..self }
    }

    /// Of both ends of a connection.
    pub(super) const fn ends(self, get: EndGetter) -> Self {
        Self { get: Get::Ends(get), values: Values::EitherOf, ..self }
    }

    /// The hosts that have this end's address.
    pub(super) const fn hosts(self, get: AddressGetter) -> Self {
        Self { get: Get::Hosts(get), values: Values::Aliases, ..self }
    }

    pub(super) const fn list(self) -> Self {
        Self { values: Values::List, ..self }
    }

    pub(super) const fn optional(self, shape: Shape) -> Self {
        Self { argument: Argument::Optional, shape: Some(shape), ..self }
    }

    pub(super) const fn required(self, shape: Shape) -> Self {
        Self { argument: Argument::Required, shape: Some(shape), ..self }
    }

    /// How far it is from something.
    pub(super) const fn distance(self) -> Self {
        Self { values: Values::Distance, ..self }
    }

    /// Required, behind a dot.
    pub(super) const fn dotted(self, shape: Shape) -> Self {
        Self { argument: Argument::Dotted, shape: Some(shape), ..self }
    }

    pub(super) const fn flags(self, flags: &'static [Flag]) -> Self {
        Self { flags, ..self }
    }

    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// Whether the sensor has a value for it, on some event. Else it is always missing.
    pub fn is_gathered(&self) -> bool {
        !matches!(self.get, Get::Nothing)
    }

    /// What the condition language must know of it.
    pub(super) fn to_field(self, id: FieldId) -> Field {
        Field {
            type_name: self.value_type.name(),
            argument: self.argument,
            values: self.values,
            transformable: !self.has(Flag::NoTransformer),
            right_hand: !self.has(Flag::NoRightHand),
            counts_from_one: self.has(Flag::CountsFromOne),
            ..Field::new(id, self.value_type.kind())
        }
    }
}

pub(super) fn text(text: &str) -> Value<'_> {
    Value::Text(text.as_bytes())
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
pub(super) fn number<'a>(number: impl TryInto<i64>) -> Option<Value<'a>> {
    Some(Value::Number(number.try_into().unwrap_or(i64::MAX)))
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
pub(super) fn truth<'a>(truth: bool) -> Option<Value<'a>> {
    Some(Value::Bool(truth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_falco_refuses_are_refused() {
        let check = |shape: Shape, argument: &str, complaint: Option<&str>| {
            let found = shape.check(argument).err();
            assert_eq!(found.is_some(), complaint.is_some(), "{shape:?} {argument}: {found:?}");
            assert!(found.as_deref().unwrap_or_default().contains(complaint.unwrap_or_default()), "{found:?}");
        };
        check(Shape::Index, "2", None);
        check(Shape::Index, "two", Some("`two` is not a number"));
        check(Shape::Index, "-1", Some("not a number"));
        check(Shape::Index, "", Some("not a number"));
        check(Shape::Index, "99999999999", Some("not a number"));
        check(Shape::Name, "LD_PRELOAD", None);
        check(Shape::Name, "", Some("empty"));
        check(Shape::IndexOrName, "/var/run/*", None);
        check(Shape::Parameter, "flags", None);
        check(Shape::Parameter, "0", None);
        check(Shape::Parameter, "nosuch", Some("unknown event argument `nosuch`"));
        check(Shape::RawParameter, "res", None);
        check(Shape::RawParameter, "0", Some("unknown event argument `0`"));
        check(Shape::EventType, "openat", None);
        check(Shape::EventType, "307", None);
        check(Shape::EventType, "nosuch", Some("unknown event type `nosuch`"));
        check(Shape::Time, "1404996934793590564", None);
        check(Shape::Time, "now", Some("not a time"));
    }
}
