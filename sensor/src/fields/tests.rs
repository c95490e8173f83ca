//! The catalog against Falco's list of fields.

mod values;

use std::collections::BTreeSet;

use tercel_filter::{Argument, Values};

use super::*;

/// Falco's 294 fields with their types and flags, where the reference is at hand.
const FALCO_FIELDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/reference/falco-fields.tsv");

#[test]
fn the_catalog_has_every_field_of_falco_with_its_type_and_flags() {
    let Ok(list) = std::fs::read_to_string(FALCO_FIELDS) else {
        return println!("skipped: {FALCO_FIELDS} is not here");
    };
    let mut names = BTreeSet::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let members: Vec<_> = line.split('\t').collect();
        let (name, flags) =
            (members[0], members[2].split(',').filter(|flag| !flag.is_empty()).collect::<BTreeSet<_>>());
        let (_, definition) = find(name).unwrap_or_else(|| panic!("no field {name}"));
        assert_eq!(definition.value_type.name(), members[1], "{name}");
        assert_eq!(flags_of(definition), flags_of_falco(name, flags), "{name}");
        names.insert(name);
    }
    assert_eq!(names.len(), 294);
    let ours: Vec<_> = TABLE.iter().filter(|definition| !names.contains(definition.name)).collect();
    assert_eq!(
        ours.iter().map(|definition| definition.name).collect::<Vec<_>>(),
        ["evt.abspath.src", "evt.abspath.dst", "fd.realpath"]
    );
}

fn flags_of(definition: &Definition) -> BTreeSet<&'static str> {
    let is_ours = |name: &&str| matches!(*name, "racy" | "not-in-falco");
    let mut flags: BTreeSet<_> = definition.flags.iter().filter_map(|flag| flag.name()).collect();
    flags.retain(|name| !is_ours(name));
    flags.extend((definition.values == Values::List).then_some("list"));
    match definition.argument {
        Argument::None => {}
        Argument::Optional => _ = flags.insert("arg-allowed"),
        Argument::Required | Argument::Dotted => _ = flags.insert("arg-required"),
    }
    flags
}

/// What Falco flags of a plugin's field, in the words of its own fields. That `evt.abspath` needs an argument is only
/// written, not asked for.
fn flags_of_falco<'a>(name: &str, mut flags: BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let (is_index, is_key) = (flags.remove("arg-index"), flags.remove("arg-key"));
    if is_key {
        let shape = if is_index { Shape::IndexOrName } else { Shape::Name };
        assert_eq!(find(name).unwrap().1.shape, Some(shape), "{name}");
        flags.remove("arg-allowed");
    }
    if flags.remove("suggested") {
        let suggested = crate::output::Template::compile(crate::output::SUGGESTED).unwrap();
        assert!(suggested.fields().any(|field| field == name), "{name}");
    }
    if name == "evt.abspath" {
        flags.remove("arg-required");
    }
    flags
}

#[test]
fn every_field_is_found_by_its_name_once() {
    for (index, definition) in TABLE.iter().enumerate() {
        let (id, found) = find(definition.name).unwrap();
        assert_eq!((usize::from(id.0), found.name), (index, definition.name));
    }
}

#[test]
fn fields_of_one_class_stand_together_and_are_documented() {
    let mut classes: Vec<_> = TABLE.iter().map(|definition| definition.name.split_once('.').unwrap().0).collect();
    classes.dedup();
    assert_eq!(classes.len(), classes.iter().collect::<BTreeSet<_>>().len(), "{classes:?}");
    assert!(TABLE.iter().all(|definition| definition.doc.ends_with('.') && !definition.doc.contains('|')));
}

#[test]
fn the_type_of_an_event_is_known_to_the_compiler_and_its_number_is_never_zero() {
    let field = |name: &str| SensorCatalog.field(name).unwrap();
    assert_eq!(field("evt.type").id, event_type_field());
    assert!(field("evt.num").counts_from_one && !field("proc.pid").counts_from_one);
    assert!(!field("proc.aname").transformable && !field("fd.ip").right_hand && field("proc.name").right_hand);
    assert_eq!(field("user.loginuid").type_name, "INT64");
}

#[test]
fn an_argument_that_no_event_has_is_refused() {
    let check = |name: &str, argument: &str| SensorCatalog.check_argument(find(name).unwrap().0, argument);
    assert_eq!(check("evt.arg", "nosuch"), Err("unknown event argument `nosuch`".to_owned()));
    assert_eq!(check("evt.rawarg", "res"), Ok(()));
    assert!(check("proc.aname", "x").is_err() && check("proc.env", "X").is_ok());
}
