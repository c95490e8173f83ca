//! A small catalog and a record of values for it.

use std::cell::Cell;
use std::net::IpAddr;

use tercel_filter::{Argument, Catalog, Field, FieldId, Fields, Filter, Kind, Scope, Scratch, Value, Values, parse};

pub(crate) const EVENT_TYPES: &[&str] = &["open", "openat", "execve", "connect"];
const PRIORITIES: &[&str] = &["debug", "informational", "critical"];

const FIELDS: &[(&str, Kind, Argument)] = &[
    ("proc.name", Kind::Text, Argument::None),
    ("proc.cmdline", Kind::Text, Argument::None),
    ("proc.aname", Kind::Text, Argument::Optional),
    ("proc.env", Kind::Text, Argument::Required),
    ("container.name", Kind::Text, Argument::None),
    ("fd.num", Kind::Number, Argument::None),
    ("evt.failed", Kind::Bool, Argument::None),
    ("fd.sip", Kind::Ip, Argument::None),
    ("evt.type", Kind::Enum { what: "event type", names: EVENT_TYPES, ordered: false }, Argument::None),
    ("priority", Kind::Enum { what: "priority", names: PRIORITIES, ordered: true }, Argument::None),
    ("tags", Kind::Dynamic, Argument::None),
    ("count", Kind::Dynamic, Argument::None),
    ("ratio", Kind::Dynamic, Argument::None),
    ("flag", Kind::Dynamic, Argument::None),
    ("word", Kind::Dynamic, Argument::None),
];

pub(crate) struct Sample;

pub(crate) fn id(name: &str) -> FieldId {
    let index = FIELDS.iter().position(|(field, ..)| *field == name).unwrap();
    FieldId(u16::try_from(index).unwrap())
}

impl Catalog for Sample {
    fn field(&self, name: &str) -> Option<Field> {
        let (_, kind, argument) = FIELDS.iter().find(|(field, ..)| *field == name)?;
        let values = if name == "proc.aname" { Values::AnyOf } else { Values::One };
        Some(Field { argument: *argument, values, ..Field::new(id(name), *kind) })
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(FIELDS.iter().map(|(name, ..)| *name))
    }

    fn enum_alias(&self, field: FieldId, name: &str) -> Option<u16> {
        (field == id("priority") && name == "info").then_some(1)
    }
}

/// `bash -c "echo hi"` run by sshd, which systemd runs.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) mismatches: Cell<usize>,
    tags: Vec<String>,
}

pub(crate) fn record() -> Record {
    Record { tags: vec!["host".to_owned(), "T1059".to_owned()], ..Record::default() }
}

const ANCESTORS: [&[u8]; 2] = [b"sshd", b"systemd"];

impl Fields for Record {
    fn value(&self, field: FieldId, argument: Option<&str>) -> Option<Value<'_>> {
        Some(match FIELDS[usize::from(field.0)].0 {
            "proc.name" => Value::Text(b"bash"),
            "proc.cmdline" => Value::Text(b"bash -c \"Echo hi\" \xff"),
            "proc.aname" => Value::Text(ANCESTORS.get(argument?.parse::<usize>().ok()?.checked_sub(1)?)?),
            "proc.env" => Value::Text(if argument == Some("HOME") { b"/root" } else { b"" }),
            "fd.num" => Value::Number(-2),
            "evt.failed" => Value::Bool(true),
            "fd.sip" => Value::Ip(IpAddr::from([169, 254, 169, 254])),
            "evt.type" | "priority" => Value::Enum(1),
            "tags" => Value::List(&self.tags),
            "count" => Value::Number(9_007_199_254_740_993),
            "ratio" => Value::Float(0.5),
            "flag" => Value::Bool(false),
            "word" => Value::Text(b"7"),
            _ => return None,
        })
    }

    fn any(&self, _: FieldId, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        ANCESTORS.iter().any(|name| test(Value::Text(name)))
    }

    fn mismatch(&self, _: FieldId) {
        self.mismatches.set(self.mismatches.get() + 1);
    }
}

pub(crate) fn scope() -> Scope {
    let mut scope = Scope::new();
    let items = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    scope.add_list("shells", items(&["sh", "bash"])).unwrap();
    scope.add_list("programs", items(&["cat", "shells", "\"two words\""])).unwrap();
    scope.add_list("empty", items(&[])).unwrap();
    for (name, condition) in [
        ("opens", "evt.type in (open, openat)"),
        ("either", "proc.name = nothing or fd.num < 0"),
        ("nested", "opens and either"),
    ] {
        scope.add_macro(name, parse(condition).unwrap());
    }
    scope
}

pub(crate) fn compile(condition: &str) -> Result<Filter, tercel_filter::Error> {
    Filter::parse(condition, &scope(), &Sample)
}

pub(crate) fn holds(condition: &str) -> bool {
    let filter = compile(condition).unwrap_or_else(|error| panic!("{}", error.render("condition", condition)));
    filter.matches(&record(), &mut Scratch::new())
}
