//! Fields that stand for one thing under several names, and distances.

use std::collections::BTreeSet;

use tercel_filter::{Catalog, Field, FieldId, Fields, Filter, Kind, Scope, Scratch, Value, Values};

const HOST: FieldId = FieldId(0);
const DISTANCE: FieldId = FieldId(1);

struct Network;

impl Catalog for Network {
    fn field(&self, name: &str) -> Option<Field> {
        match name {
            "host.name" => Some(Field { values: Values::Aliases, ..Field::new(HOST, Kind::Text) }),
            "host.distance" => Some(Field { values: Values::Distance, ..Field::new(DISTANCE, Kind::Number) }),
            _ => None,
        }
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(["host.name", "host.distance"].into_iter())
    }
}

/// A host with these names and, where it is there at all, an address.
struct Host {
    names: &'static [&'static str],
    address: Option<&'static str>,
}

impl Fields for Host {
    fn value(&self, field: FieldId, _: Option<&str>) -> Option<Value<'_>> {
        match field {
            HOST => self.names.first().map(|name| Value::Text(name.as_bytes())),
            _ => Some(Value::Number(5)),
        }
    }

    fn any(&self, _: FieldId, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        self.names.iter().chain(&self.address).any(|name| test(Value::Text(name.as_bytes())))
    }
}

#[track_caller]
fn check(condition: &str, host: &Host, expected: bool) {
    let filter = Filter::parse(condition, &Scope::new(), &Network).unwrap();
    assert_eq!(filter.matches(host, &mut Scratch::new()), expected, "{condition}");
}

#[test]
fn a_host_is_each_of_its_names_and_differs_from_all_others() {
    let named = Host { names: &["a.test", "b.test"], address: Some("10.0.0.1") };
    check("host.name = a.test", &named, true);
    check("host.name = b.test", &named, true);
    check("host.name = 10.0.0.1", &named, true);
    check("host.name in (c.test, b.test)", &named, true);
    check("host.name = c.test", &named, false);
    check("host.name != b.test", &named, false);
    check("host.name != c.test", &named, true);
    check("host.name exists", &named, true);
}

#[test]
fn a_host_without_a_name_differs_from_every_name_and_one_that_is_missing_from_none() {
    let nameless = Host { names: &[], address: Some("10.0.0.1") };
    check("host.name != a.test", &nameless, true);
    check("host.name = a.test", &nameless, false);
    check("host.name exists", &nameless, false);
    let missing = Host { names: &[], address: None };
    check("host.name != a.test", &missing, false);
    check("not host.name = a.test", &missing, true);
}

#[test]
fn only_equality_is_asked_of_names() {
    for condition in [
        "host.name startswith a",
        "host.name intersects (a, b)",
        "host.name glob a*",
        "host.name != anyof (a, b)",
        "host.distance > 3",
        "host.distance in (3, 4)",
    ] {
        let error = Filter::parse(condition, &Scope::new(), &Network).unwrap_err().to_string();
        assert!(error.contains("does not apply to") || error.contains("only values"), "{condition}: {error}");
    }
}

#[test]
fn a_distance_is_equal_to_all_that_are_not_shorter() {
    let host = Host { names: &[], address: None };
    check("host.distance = 5", &host, true);
    check("host.distance = 6", &host, true);
    check("host.distance = 4", &host, false);
}

#[test]
fn the_names_that_a_condition_asks_for_are_known_beforehand() {
    let condition =
        "(host.name = a or host.name = b or host.name in (c, d)) and not host.name != e and host.distance = 7";
    let filter = Filter::parse(condition, &Scope::new(), &Network).unwrap();
    let expected: BTreeSet<&[u8]> = [&b"a"[..], b"b", b"c", b"d", b"e"].into();
    assert_eq!(filter.texts_of(HOST), expected);
    assert!(filter.texts_of(DISTANCE).is_empty());
}
