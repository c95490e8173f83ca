//! What a caller supplies: which fields there are ([`Catalog`]), and their values for one event or alert ([`Fields`]).

use std::net::IpAddr;

/// A field's number within its catalog; the catalog's owner gives it a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldId(pub u16);

/// What a name means to the compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub id: FieldId,
    pub kind: Kind,
    /// The type's name in errors (`UINT64`). Where both sides of a comparison are fields, the names must be equal.
    pub type_name: &'static str,
    pub argument: Argument,
    pub values: Values,
    /// Whether a transformer may be put around it.
    pub transformable: bool,
    /// Whether it may stand in `val()`.
    pub right_hand: bool,
    /// A number that is never 0: `= 0` rules the event out before it is looked at (`evt.num = 0` is Falco's way of writing
    /// "never").
    pub counts_from_one: bool,
}

impl Field {
    /// A scalar without an argument, with which everything may be done that its kind allows.
    pub const fn new(id: FieldId, kind: Kind) -> Self {
        Self {
            id,
            kind,
            type_name: kind.name(),
            argument: Argument::None,
            values: Values::One,
            transformable: true,
            right_hand: true,
            counts_from_one: false,
        }
    }
}

/// The type of a field: which operators it takes and what its literals look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes, compared bytewise; most are UTF-8, none need be.
    Text,
    /// Bytes that are no text: what was read or sent. Takes the operators with hexadecimal literals.
    Bytes,
    /// A signed 64-bit number: uids, pids, results, sizes, times in ns.
    Number,
    /// A number whose literals may be the names of services (`ssh`).
    Port,
    /// A number with a fraction.
    Float,
    Bool,
    /// An IPv4 or IPv6 address.
    Ip,
    /// An address too, compared with networks in CIDR notation.
    Net,
    /// One of a fixed set of names; an unknown one is an error at compile time. `ordered`: `<` and `>` follow the order
    /// of `names`, least first.
    Enum {
        what: &'static str,
        names: &'static [&'static str],
        ordered: bool,
    },
    /// The type is only known with the value (an alert's output fields): compared by it, a mismatch is false.
    Dynamic,
}

impl Kind {
    /// The type in one word or two.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Number => "number",
            Self::Port => "port",
            Self::Float => "number with a fraction",
            Self::Bool => "true or false",
            Self::Ip => "IP address",
            Self::Net => "IP network",
            Self::Enum { what, .. } => what,
            Self::Dynamic => "any",
        }
    }
}

/// How many values a field has where it is written without an argument, and what a comparison asks of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    One,
    /// Several, read through [`Fields::any`]; a comparison holds where it holds for any of them (`proc.aname != x`: some
    /// ancestor is not x).
    AnyOf,
    /// Several, read through [`Fields::any`], as the two ends of a connection; `!=` holds where it holds for all of them.
    EitherOf,
    /// Several texts that all stand for one thing, as the names of an address do; only `=`, `!=` and `in` are asked of them.
    /// Read through [`Fields::any`], which may also show another text that stands for it, so that `!=` holds of what has no
    /// name; `!=` holds where it holds for all of them. `exists` asks for [`Fields::value`].
    Aliases,
    /// One number, a distance, of which only `=` is asked: it holds up to it.
    Distance,
    /// One value that is a list ([`Value::List`]): `in` asks for all elements, `intersects` for any.
    List,
}

/// Whether a field takes an argument in brackets, as in `proc.aname[2]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    None,
    Optional,
    Required,
    /// Required, and a name may also stand behind a dot: `evt.arg.flags`, `evt.arg[0]`.
    Dotted,
}

/// The fields that conditions may name.
pub trait Catalog {
    /// `None`: there is no such field.
    fn field(&self, name: &str) -> Option<Field>;

    /// Every field name, for "did you mean" in errors.
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;

    /// Whether the field takes this argument.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in one sentence (``unknown event argument `nosuch` ``).
    fn check_argument(&self, _field: FieldId, _argument: &str) -> Result<(), String> {
        Ok(())
    }

    /// Another name for a value of an enum field (`info` for `informational`): its index. Asked only for names that are
    /// not among the field's own.
    fn enum_alias(&self, _field: FieldId, _name: &str) -> Option<u16> {
        None
    }
}

/// One event's or alert's values.
pub trait Fields {
    /// `None`: missing. Every comparison with it is false, `!=` too.
    fn value(&self, field: FieldId, argument: Option<&str>) -> Option<Value<'_>>;

    /// Whether `test` holds for any of the field's values; false where there are none. Called only for fields whose
    /// [`Values`] say so, and only without an argument.
    fn any(&self, field: FieldId, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        self.value(field, None).is_some_and(test)
    }

    /// Told when a value's type does not fit the comparison, which is then false. For counting; may be called while
    /// a value is borrowed.
    fn mismatch(&self, _field: FieldId) {}
}

/// A value as it is compared: borrowed, so that evaluation does not allocate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// For [`Kind::Text`] and [`Kind::Bytes`].
    Text(&'a [u8]),
    /// For [`Kind::Number`] and [`Kind::Port`].
    Number(i64),
    /// For [`Kind::Float`], and for a [`Kind::Dynamic`] number with a fraction.
    Float(f64),
    Bool(bool),
    /// For [`Kind::Ip`] and [`Kind::Net`].
    Ip(IpAddr),
    /// For [`Kind::Enum`]: an index into its names.
    Enum(u16),
    /// For [`Values::List`], and for a [`Kind::Dynamic`] list of texts (an alert's tags).
    List(&'a [String]),
}
