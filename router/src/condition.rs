//! Conditions over alerts, in the language of the rules: the fields that they may name, and what those hold.

mod why;

use std::cell::RefCell;

use prometheus::IntCounter;
use serde_json::Value as Json;
use tercel_alert::{Alert, Priority};
use tercel_filter::{Argument, Catalog, Error, Field, FieldId, Fields, Filter, Kind, Scope, Scratch, Value, Values};

pub use why::Comparison;
pub(crate) use why::why;

/// The fields that every alert has; a name with a dot is a key of `output_fields`.
const FIXED: [(&str, Kind); 6] = [
    ("priority", Kind::Enum { what: "priority", names: &PRIORITY_NAMES, ordered: true }),
    ("rule", Kind::Text),
    ("source", Kind::Text),
    ("hostname", Kind::Text),
    ("output", Kind::Text),
    ("tags", Kind::Text),
];
const PRIORITY: u16 = 0;
const RULE: u16 = 1;
const SOURCE: u16 = 2;
const HOSTNAME: u16 = 3;
const OUTPUT: u16 = 4;
const TAGS: u16 = 5;
/// Ids from here on are output fields.
const FIRST_OUTPUT_FIELD: u16 = 6;

/// Output fields that all conditions together may name: far more than Falco has.
const OUTPUT_FIELDS_MAX: usize = 4_096;

/// Least urgent first, as [`Priority::ALL`] (a test compares them).
const PRIORITY_NAMES: [&str; 8] =
    ["debug", "informational", "notice", "warning", "error", "critical", "alert", "emergency"];

/// One condition with the names that it uses, for those that come and go one by one.
#[derive(Debug)]
pub(crate) struct Condition {
    filter: Filter,
    names: Vec<Box<str>>,
}

/// The fields that a condition over alerts may name. Remembers the output fields that were asked for.
#[derive(Default)]
pub(crate) struct AlertCatalog {
    names: RefCell<Vec<Box<str>>>,
}

/// One alert as conditions see it.
pub(crate) struct AlertFields<'a> {
    pub(crate) alert: &'a Alert,
    /// Of the catalog with which the condition was compiled.
    pub(crate) names: &'a [Box<str>],
    pub(crate) mismatches: &'a IntCounter,
}

impl Condition {
    /// # Errors
    /// Those of [`Filter::parse`].
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let catalog = AlertCatalog::default();
        let filter = Filter::parse(text, &Scope::default(), &catalog)?;
        Ok(Self { filter, names: catalog.into_names() })
    }

    pub(crate) fn matches(&self, alert: &Alert, mismatches: &IntCounter) -> bool {
        self.filter.matches(&AlertFields { alert, names: &self.names, mismatches }, &mut Scratch::new())
    }
}

impl AlertCatalog {
    /// The output fields that were asked for, as [`AlertFields`] need them.
    pub(crate) fn into_names(self) -> Vec<Box<str>> {
        self.names.into_inner()
    }
}

impl Catalog for AlertCatalog {
    fn field(&self, name: &str) -> Option<Field> {
        if let Some(position) = FIXED.iter().position(|(fixed, _)| *fixed == name) {
            let id = FieldId(u16::try_from(position).ok()?);
            let values = if id.0 == TAGS { Values::EitherOf } else { Values::One };
            return Some(Field { values, ..Field::new(id, FIXED[position].1) });
        }
        if !name.contains('.') {
            return None;
        }
        let mut names = self.names.borrow_mut();
        let position = names.iter().position(|known| **known == *name).unwrap_or(names.len());
        if position == names.len() {
            if position == OUTPUT_FIELDS_MAX {
                return None;
            }
            names.push(name.into());
        }
        let id = FieldId(FIRST_OUTPUT_FIELD + u16::try_from(position).ok()?);
        Some(Field { argument: Argument::Optional, ..Field::new(id, Kind::Dynamic) })
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(FIXED.iter().map(|(name, _)| *name))
    }

    fn enum_alias(&self, field: FieldId, name: &str) -> Option<u16> {
        if field.0 != PRIORITY {
            return None;
        }
        name.parse::<Priority>().ok().map(priority_index)
    }
}

impl Fields for AlertFields<'_> {
    fn value(&self, field: FieldId, argument: Option<&str>) -> Option<Value<'_>> {
        match field.0 {
            PRIORITY => Some(Value::Enum(priority_index(self.alert.priority))),
            RULE => Some(Value::Text(self.alert.rule.as_bytes())),
            SOURCE => text(&self.alert.source),
            HOSTNAME => text(&self.alert.hostname),
            OUTPUT => text(&self.alert.output),
            TAGS => self.alert.tags.first().map(|tag| Value::Text(tag.as_bytes())),
            id => {
                let name = self.names.get(usize::from(id - FIRST_OUTPUT_FIELD))?;
                json_value(output_field(self.alert, name, argument)?)
            }
        }
    }

    fn any(&self, field: FieldId, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        if field.0 == TAGS {
            return self.alert.tags.iter().any(|tag| test(Value::Text(tag.as_bytes())));
        }
        self.value(field, None).is_some_and(test)
    }

    fn mismatch(&self, _field: FieldId) {
        self.mismatches.inc();
    }
}

/// `proc.aname` with argument `2` is the key `proc.aname[2]`; looked for without building that text.
fn output_field<'a>(alert: &'a Alert, name: &str, argument: Option<&str>) -> Option<&'a Json> {
    let Some(argument) = argument else { return alert.output_fields.get(name) };
    let is_wanted = |key: &str| {
        key.strip_prefix(name).and_then(|rest| rest.strip_prefix('[')).and_then(|rest| rest.strip_suffix(']'))
            == Some(argument)
    };
    alert.output_fields.iter().find(|(key, _)| is_wanted(key)).map(|(_, value)| value)
}

/// A text that the sender may leave out.
fn text(value: &str) -> Option<Value<'_>> {
    (!value.is_empty()).then_some(Value::Text(value.as_bytes()))
}

/// Null, lists and objects cannot be compared and count as missing.
fn json_value(value: &Json) -> Option<Value<'_>> {
    match value {
        Json::String(text) => Some(Value::Text(text.as_bytes())),
        Json::Bool(value) => Some(Value::Bool(*value)),
        Json::Number(number) => number.as_i64().map(Value::Number).or_else(|| number.as_f64().map(Value::Float)),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn priority_index(priority: Priority) -> u16 {
    priority as u16
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alert() -> Alert {
        serde_json::from_value(json!({
            "time": "2026-01-01T00:00:00Z", "rule": "Read shadow", "priority": "Critical", "source": "syscall",
            "tags": ["T1003", "host"],
            "output_fields": {"proc.name": "cat", "user.uid": 0, "fd.sip": "10.1.2.3", "proc.aname[2]": "sshd",
                              "cpu.load": 0.5, "k8s.ns.name": null, "big.number": u64::MAX, "a.list": ["x"]}
        }))
        .unwrap()
    }

    fn matches(condition: &str) -> bool {
        let condition = Condition::parse(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
        condition.matches(&alert(), &IntCounter::new("m", "m").unwrap())
    }

    #[test]
    fn a_condition_reads_every_part_of_an_alert() {
        for condition in [
            "priority >= error",
            "priority = critical",
            "priority > info",
            "rule contains shadow",
            "source = syscall",
            "tags = T1003",
            "tags in (host, container)",
            "proc.name = cat",
            "user.uid = 0",
            "user.uid < 1000",
            "cpu.load < 1",
            "proc.aname[2] = sshd",
            "not k8s.ns.name exists",
            "not hostname exists",
            "not k8s.ns.name in (dev, staging)",
        ] {
            assert!(matches(condition), "{condition}");
        }
        for condition in
            ["priority < critical", "tags = T9", "user.uid = 1", "proc.aname[3] = sshd", "no.such = x", "a.list = x"]
        {
            assert!(!matches(condition), "{condition}");
        }
    }

    #[test]
    fn the_priority_names_are_those_of_the_alert_in_its_order() {
        for (priority, name) in Priority::ALL.into_iter().zip(PRIORITY_NAMES) {
            assert_eq!(priority.name().to_lowercase(), name);
            assert_eq!(PRIORITY_NAMES[usize::from(priority_index(priority))], name);
        }
    }

    #[test]
    fn an_unknown_undotted_name_is_an_error() {
        let error = Condition::parse("prioriti >= error").unwrap_err();
        assert!(error.to_string().contains("prioriti"), "{error}");
    }
}
