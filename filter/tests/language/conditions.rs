//! Condition → whether it holds for the sample record.

use tercel_filter::{Filter, Scratch, parse};

use crate::sample::{Sample, compile, holds, record, scope};

#[track_caller]
fn check(table: &[(&str, bool)]) {
    for (condition, expected) in table {
        assert_eq!(holds(condition), *expected, "{condition}");
    }
}

#[test]
fn an_ordered_enum_compares_by_rank_and_ignores_case() {
    check(&[
        ("priority >= informational", true),
        ("priority >= info", true),
        ("priority > debug", true),
        ("priority < CRITICAL", true),
        ("priority = Informational", true),
        ("priority in (debug, critical)", false),
    ]);
}

#[test]
fn a_dynamic_field_is_compared_by_its_value() {
    check(&[
        ("tags = T1059", true),
        ("tags != T1059", false),
        ("tags != other", true),
        ("tags in (x, host)", true),
        ("tags startswith T10", true),
        ("count = 9007199254740993", true),
        ("count = 9007199254740992", false),
        ("count > 0.5", true),
        ("ratio <= 0.5", true),
        ("ratio < 0.25", false),
        ("flag = false", true),
        ("flag != true", true),
        ("word = 7", true),
        ("word contains 7", true),
    ]);
}

#[test]
fn a_value_of_another_type_is_false_and_counted() {
    for condition in ["count = abc", "count != abc", "count contains 9", "flag > 1", "word > 1", "tags >= 1"] {
        let record = record();
        assert!(!compile(condition).unwrap().matches(&record, &mut Scratch::new()), "{condition}");
        assert_eq!(record.mismatches.get(), 1, "{condition}");
    }
}

#[test]
fn the_items_of_a_list_stand_where_its_name_stood() {
    assert_eq!(scope().list("programs").unwrap(), ["cat", "sh", "bash", "two words"]);
}

#[test]
fn a_later_definition_of_a_list_reaches_the_lists_that_name_it() {
    let mut scope = scope();
    scope.add_list("shells", vec!["fish".to_owned(), "programs".to_owned()]).unwrap();
    assert_eq!(scope.list("programs").unwrap(), ["cat", "fish", "two words"]);
}

#[test]
fn a_later_definition_of_a_macro_is_used_everywhere() {
    let mut scope = scope();
    scope.add_macro("unused", parse("proc.name = x").unwrap());
    let condition = "either";
    assert!(Filter::parse(condition, &scope, &Sample).unwrap().matches(&record(), &mut Scratch::new()));
    scope.add_macro("either", parse("proc.name = x").unwrap());
    assert!(!Filter::parse(condition, &scope, &Sample).unwrap().matches(&record(), &mut Scratch::new()));
}

#[test]
fn the_deepest_condition_fits_a_small_stack() {
    let depth = 490;
    let condition = format!("{}proc.name = bash{}", "not (proc.name = x or ".repeat(depth), ")".repeat(depth));
    let run = move || compile(&condition).unwrap().matches(&record(), &mut Scratch::new());
    let thread = std::thread::Builder::new().stack_size(1024 * 1024).spawn(run).unwrap();
    assert!(thread.join().unwrap());
}
