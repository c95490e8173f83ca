//! Which routes want an alert: the tree of routes, and the fields that their conditions may name.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use serde_json::Value as Json;
use tercel_alert::{Alert, Priority};
use tercel_filter::{Argument, Catalog, Field, FieldId, Fields, Filter, Kind, Scratch, Value, Values};

use crate::fingerprint::KeyField;

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

/// One route, ready to run.
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    /// `None`: every alert.
    when: Option<Filter>,
    /// Where the route's alerts go, unless a child takes them.
    pub(crate) targets: Vec<Target>,
    /// What makes alerts equal.
    pub(crate) by: Vec<KeyField>,
    /// How long repeats are counted instead of delivered; zero: never.
    pub(crate) window: Duration,
    goes_on: bool,
    children: Vec<Route>,
}

/// One destination of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// Index into the destinations.
    pub(crate) destination: usize,
    /// Index into the limits; every route × destination has its own.
    pub(crate) limit: Option<usize>,
}

/// All routes in the order of the file, with the names that their conditions use.
pub(crate) struct Routes {
    tree: Vec<Route>,
    names: Vec<Box<str>>,
    mismatches: IntCounter,
}

/// The fields that a condition over alerts may name. Remembers the output fields that were asked for.
#[derive(Default)]
pub(crate) struct AlertCatalog {
    names: RefCell<Vec<Box<str>>>,
}

/// One alert as conditions see it.
struct AlertFields<'a> {
    alert: &'a Alert,
    names: &'a [Box<str>],
    mismatches: &'a IntCounter,
}

/// What [`Route::new`] needs.
pub(crate) struct RouteParts {
    pub(crate) name: Arc<str>,
    pub(crate) when: Option<Filter>,
    pub(crate) targets: Vec<Target>,
    pub(crate) by: Vec<KeyField>,
    pub(crate) window: Duration,
    pub(crate) goes_on: bool,
    pub(crate) children: Vec<Route>,
}

impl Route {
    pub(crate) fn new(parts: RouteParts) -> Self {
        let RouteParts { name, when, targets, by, window, goes_on, children } = parts;
        Self { name, when, targets, by, window, goes_on, children }
    }

    /// The route and everything below it.
    pub(crate) fn with_children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        Box::new(std::iter::once(self).chain(self.children.iter().flat_map(Self::with_children)))
    }

    fn wants(&self, fields: &AlertFields<'_>, scratch: &mut Scratch) -> bool {
        self.when.as_ref().is_none_or(|filter| filter.matches(fields, scratch))
    }
}

impl Routes {
    /// `catalog`: the one with which the conditions of `tree` were compiled.
    pub(crate) fn new(tree: Vec<Route>, catalog: AlertCatalog, mismatches: IntCounter) -> Self {
        Self { tree, names: catalog.names.into_inner(), mismatches }
    }

    /// The routes that take the alert, in the order of the file.
    pub(crate) fn of(&self, alert: &Alert) -> Vec<&Route> {
        let fields = AlertFields { alert, names: &self.names, mismatches: &self.mismatches };
        let mut taken = Vec::new();
        descend(&self.tree, &fields, &mut Scratch::new(), &mut taken);
        taken
    }
}

/// The first route that wants the alert takes it, and later ones too as long as `continue` says so. Its children are asked
/// before itself. True: somebody took it.
fn descend<'a>(
    routes: &'a [Route],
    fields: &AlertFields<'_>,
    scratch: &mut Scratch,
    taken: &mut Vec<&'a Route>,
) -> bool {
    let mut any = false;
    for route in routes {
        if !route.wants(fields, scratch) {
            continue;
        }
        if !descend(&route.children, fields, scratch, taken) {
            taken.push(route);
        }
        any = true;
        if !route.goes_on {
            break;
        }
    }
    any
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
    use tercel_filter::Scope;

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
        let catalog = AlertCatalog::default();
        let filter = Filter::parse(condition, &Scope::default(), &catalog)
            .unwrap_or_else(|error| panic!("{condition}: {error}"));
        let mismatches = IntCounter::new("m", "m").unwrap();
        filter.matches(
            &AlertFields { alert: &alert(), names: &catalog.names.into_inner(), mismatches: &mismatches },
            &mut Scratch::new(),
        )
    }

    fn route(name: &str, when: &str, goes_on: bool, children: Vec<Route>, catalog: &AlertCatalog) -> Route {
        let when = (!when.is_empty()).then(|| Filter::parse(when, &Scope::default(), catalog).unwrap());
        let (targets, by) = (Vec::new(), Vec::new());
        Route::new(RouteParts { name: name.into(), when, targets, by, window: Duration::ZERO, goes_on, children })
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
        let error = Filter::parse("prioriti >= error", &Scope::default(), &AlertCatalog::default()).unwrap_err();
        assert!(error.to_string().contains("prioriti"), "{error}");
    }

    #[test]
    fn the_first_match_wins_unless_it_continues_and_children_go_before_their_parent() {
        let catalog = AlertCatalog::default();
        let tree = vec![
            route("copy", "", true, vec![], &catalog),
            route("other host", "hostname = x", false, vec![], &catalog),
            route(
                "urgent",
                "priority >= error",
                false,
                vec![
                    route("network", "fd.sip = 1.1.1.1", false, vec![], &catalog),
                    route("cat", "proc.name = cat", false, vec![], &catalog),
                ],
                &catalog,
            ),
            route("rest", "", false, vec![], &catalog),
        ];
        let routes = Routes::new(tree, catalog, IntCounter::new("m", "m").unwrap());
        let names: Vec<_> = routes.of(&alert()).iter().map(|route| &*route.name).collect();
        assert_eq!(names, ["copy", "cat"]);
    }
}
