//! Conditions that are asked together.

use std::cell::Cell;

use proptest::prelude::*;
use tercel_filter::{FieldId, Fields, Filter, FilterSet, Scratch, Value};

use crate::sample::{Record, compile, record};

/// Counts how often a value is asked for.
struct Counting {
    record: Record,
    asked: Cell<usize>,
}

impl Fields for Counting {
    fn value(&self, field: FieldId, argument: Option<&str>) -> Option<Value<'_>> {
        self.asked.set(self.asked.get() + 1);
        self.record.value(field, argument)
    }
}

fn matching(conditions: &[&str]) -> (Vec<usize>, usize) {
    let filters: Vec<Filter> = conditions.iter().map(|condition| compile(condition).unwrap()).collect();
    let fields = Counting { record: record(), asked: Cell::new(0) };
    let mut scratch = Scratch::new();
    let matching = FilterSet::new(&filters).matches(&fields, &mut scratch).collect();
    (matching, fields.asked.get())
}

#[test]
fn what_several_conditions_ask_is_asked_once() {
    let (matches, asked) = matching(&[
        "proc.name = bash and fd.num > 0",
        "proc.name = bash and fd.num < 0",
        "not proc.name = bash",
        "proc.name = bash and not fd.num > 0",
    ]);
    assert_eq!((matches, asked), (vec![1, 3], 3));
}

#[test]
fn what_differs_is_asked_each_time() {
    let (matches, asked) =
        matching(&["proc.aname[1] = sshd", "proc.aname[2] = sshd", "proc.name = x", "proc.name != x"]);
    assert_eq!((matches, asked), (vec![0, 3], 4));
}

/// An event of which nothing is known.
struct Nothing;
impl Fields for Nothing {
    fn value(&self, _: FieldId, _: Option<&str>) -> Option<Value<'_>> {
        None
    }
}

#[test]
fn answers_about_one_event_are_not_given_for_the_next() {
    let filters = [compile("proc.name = bash").unwrap(), compile("proc.name = bash and fd.num < 0").unwrap()];
    let set = FilterSet::new(&filters);
    let mut scratch = Scratch::new();
    assert_eq!(set.matches(&record(), &mut scratch).count(), 2);
    assert_eq!(set.matches(&Nothing, &mut scratch).count(), 0);
    assert_eq!(set.matches(&record(), &mut scratch).collect::<Vec<_>>(), [0, 1]);
}

fn conditions() -> impl Strategy<Value = String> {
    let check = prop::sample::select(vec![
        "proc.name = bash",
        "proc.name startswith b",
        "proc.name in (bash, sh)",
        "proc.name != bash",
        "container.name = x",
        "fd.num < 0",
        "evt.type = openat",
        "proc.aname = sshd",
        "either",
    ]);
    check.prop_map(str::to_owned).prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("not ({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a}) or ({b}) or ({c})")),
        ]
    })
}

proptest! {
    #[test]
    fn together_they_match_as_each_alone(conditions in prop::collection::vec(conditions(), 1..8)) {
        let filters: Vec<Filter> = conditions.iter().map(|condition| compile(condition).unwrap()).collect();
        let mut scratch = Scratch::new();
        let alone: Vec<usize> = filters
            .iter()
            .enumerate()
            .filter_map(|(place, filter)| filter.matches(&record(), &mut scratch).then_some(place))
            .collect();
        let together: Vec<usize> = FilterSet::new(&filters).matches(&record(), &mut scratch).collect();
        prop_assert_eq!(together, alone);
    }
}

#[test]
fn the_deepest_conditions_are_put_together_in_no_time() {
    let depth = 490;
    let condition = format!("{}proc.name = bash{}", "not (proc.name = x or ".repeat(depth), ")".repeat(depth));
    let filters: Vec<Filter> = (0..20).map(|_| compile(&condition).unwrap()).collect();
    let run = move || FilterSet::new(&filters).matches(&record(), &mut Scratch::new()).count();
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(run).unwrap();
    assert_eq!(thread.join().unwrap(), 20);
}
