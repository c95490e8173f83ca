//! Any text as a condition: it compiles or says where it is wrong, prints as itself, and evaluates to what its own event
//! types allow.

#![no_main]
#![allow(dead_code, reason = "the tests' catalog and event have more than is asked for here")]

#[path = "../filter/tests/conformance/event.rs"]
mod event;
#[path = "../filter/tests/conformance/falco.rs"]
mod falco;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tercel_filter::{Catalog, Filter, Scope, Scratch, parse};

use crate::event::{Event, event_type};
use crate::falco::Falco;

static SCOPE: LazyLock<Scope> = LazyLock::new(|| {
    let mut scope = Scope::new();
    scope.add_list("pets", vec!["cat".to_owned(), "'two words'".to_owned()]).unwrap();
    scope.add_list("empty", Vec::new()).unwrap();
    scope.add_list("numbers", vec!["1".to_owned(), "3".to_owned()]).unwrap();
    scope.add_macro("opens", parse("evt.type in (open, openat)").unwrap());
    scope.add_macro("is_cat", parse("proc.name in (pets) or not opens").unwrap());
    scope
});

static EVENTS: LazyLock<[Event; 2]> = LazyLock::new(|| [Event::shadow(), Event::empty()]);

fuzz_target!(|text: &str| {
    if let Ok(expr) = parse(text) {
        let printed = expr.to_string();
        let again = parse(&printed).unwrap_or_else(|error| panic!("{}", error.render(text, &printed)));
        assert_eq!(again.to_string(), printed, "printed again");
    }
    match Filter::parse(text, &SCOPE, &Falco) {
        Ok(filter) => evaluate(&filter),
        Err(error) => {
            assert!(error.macro_name().is_some() || text.get(error.span()).is_some(), "{error}: {:?}", error.span());
            assert!(!error.render("place", text).is_empty());
        }
    }
});

fn evaluate(filter: &Filter) {
    let mut scratch = Scratch::new();
    let [event, empty] = &*EVENTS;
    filter.matches(empty, &mut scratch);
    if filter.matches(event, &mut scratch) {
        let possible = filter.possible_enum_values(Falco.field("evt.type").unwrap().id);
        assert!(possible.contains(event_type("openat")), "holds for an event type that is not among the possible");
    }
}
