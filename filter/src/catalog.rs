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
    pub argument: Argument,
}

/// The type of a field: which operators it takes and what its literals look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes, compared bytewise; most are UTF-8, none need be.
    Text,
    /// A signed 64-bit number: uids, pids, results, sizes, times in ns.
    Number,
    Bool,
    /// An IPv4 or IPv6 address.
    Ip,
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

/// Whether a field takes an argument in brackets, as in `proc.aname[2]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    None,
    Optional,
    Required,
}

/// The fields that conditions may name.
pub trait Catalog {
    /// `None`: there is no such field.
    fn field(&self, name: &str) -> Option<Field>;

    /// Every field name, for "did you mean" in errors.
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;

    /// Whether the field, written without an argument, stands for several values of which any may satisfy the
    /// comparison (`proc.aname`: any ancestor). Such a field is read through [`Fields::any`].
    fn has_many_values(&self, _field: FieldId) -> bool {
        false
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

    /// Whether `test` holds for any of the field's values; false where there are none. Called only for fields for which
    /// [`Catalog::has_many_values`] says so, and only without an argument.
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
    Text(&'a [u8]),
    Number(i64),
    /// Only for [`Kind::Dynamic`]: a JSON number with a fraction.
    Float(f64),
    Bool(bool),
    Ip(IpAddr),
    /// For [`Kind::Enum`]: an index into its names.
    Enum(u16),
    /// Only for [`Kind::Dynamic`] and list-valued fields: several texts (an alert's tags).
    List(&'a [String]),
}
