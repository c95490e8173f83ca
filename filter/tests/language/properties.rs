//! What is true of every condition.

use proptest::prelude::*;
use tercel_filter::{Filter, Scratch, parse};

use crate::sample::{EVENT_TYPES, Sample, compile, id, record, scope};

/// Text made of what the language is made of, so that much of it parses.
fn fragments() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "(",
        ")",
        " and ",
        " or ",
        "not ",
        "proc.name",
        "fd.num",
        "evt.type",
        "opens",
        " in ",
        " = ",
        " >= ",
        "\"",
        "'",
        "\\",
        ",",
        "[",
        "]",
        "x",
        "1",
        "open",
        "é",
        "\0",
        " exists",
        " glob ",
        "*",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Conditions that compile.
fn conditions() -> impl Strategy<Value = String> {
    let check = prop::sample::select(vec![
        "proc.name = bash",
        "proc.name != x",
        "container.name = x",
        "fd.num < 0",
        "evt.type = open",
        "opens",
        "either",
        "evt.type in (open, connect)",
        "proc.aname = sshd",
        "evt.failed = false",
    ]);
    check.prop_map(str::to_owned).prop_recursive(6, 40, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("not ({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) or ({b})")),
        ]
    })
}

fn holds(condition: &str) -> bool {
    compile(condition).unwrap().matches(&record(), &mut Scratch::new())
}

proptest! {
    #[test]
    fn parsing_never_panics_and_errors_point_into_the_text(text in ".{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!(text.get(error.span()).is_some(), "{error}");
        }
    }

    #[test]
    fn fragments_never_panic(text in fragments()) {
        if let Err(error) = Filter::parse(&text, &scope(), &Sample) && error.macro_name().is_none() {
            prop_assert!(text.get(error.span()).is_some(), "{error}");
            prop_assert!(!error.render("place", &text).is_empty());
        }
    }

    #[test]
    fn two_negations_change_nothing(condition in conditions()) {
        prop_assert_eq!(holds(&condition), holds(&format!("not not ({condition})")));
    }

    #[test]
    fn de_morgan_holds(a in conditions(), b in conditions()) {
        let left = holds(&format!("not (({a}) and ({b}))"));
        prop_assert_eq!(left, holds(&format!("not ({a}) or not ({b})")));
    }

    #[test]
    fn a_condition_that_holds_has_its_event_type_among_the_possible(condition in conditions()) {
        let filter = compile(&condition).unwrap();
        let openat = EVENT_TYPES.iter().position(|name| *name == "openat").and_then(|index| u16::try_from(index).ok());
        if filter.matches(&record(), &mut Scratch::new()) {
            prop_assert!(filter.possible_enum_values(id("evt.type")).contains(openat.unwrap()));
        }
    }
}
