//! What a line of a table cannot hold.

use std::fmt::Write as _;

use tercel_filter::{CONDITION_BYTES_MAX, DEPTH_MAX, Error, Filter, SCRATCH_BYTES_MAX, Scope, Scratch, parse};

use crate::event::Event;
use crate::falco::Falco;

fn compile(condition: &str) -> Result<Filter, Error> {
    Filter::parse(condition, &Scope::new(), &Falco)
}

#[track_caller]
fn holds(condition: &str) -> bool {
    compile(condition)
        .unwrap_or_else(|error| panic!("{condition:?}: {error}"))
        .matches(&Event::shadow(), &mut Scratch::new())
}

#[test]
fn blanks_are_spaces_tabs_backspaces_and_line_ends() {
    for condition in [
        "\nproc.name\r\n=\tcat ",
        "\u{8}proc.name\u{8}=\u{8}cat and\u{8}fd.num\u{8}in\u{8}(\u{8}3\u{8})",
        "proc.name = cat\nand\nfd.num = 3",
        "not\nproc.name = dog",
        "not\r\n\t proc.name = dog\n",
        "proc.name\ncontains\ncat",
        "proc.name contains\tcat",
        "proc.name =\nanyof\n(\ncat\n,\ndog\n)",
        "proc.name = cat\tand\r(fd.num = 3)",
        "tolower(\nproc.name\n) =\ncat",
        "proc.name = val(\nproc.name\n)",
    ] {
        assert!(holds(condition), "{condition:?}");
    }
}

#[test]
fn other_white_space_ends_a_word_and_is_no_blank() {
    for condition in
        ["proc.name = cat\u{b}", "proc.name = cat\u{c}and fd.num = 3", "proc.name\u{a0}= cat", "proc.name =\u{b}cat"]
    {
        assert!(compile(condition).is_err(), "{condition:?}");
    }
}

#[test]
fn a_nul_byte_is_refused_wherever_it_stands() {
    for condition in [
        "proc.name = a\0b",
        "proc.name = \"a\0b\"",
        "proc.name\0 = cat",
        "\0",
        "proc.name in (a, \0)",
        "proc.env[\0] = x",
    ] {
        assert!(compile(condition).is_err(), "{condition:?}");
    }
}

#[test]
fn a_keyword_is_no_name_of_a_field() {
    for condition in
        ["not==cat", "not=cat", "not<3", "not[1]=3", "and=cat", "or>=3", "(not)", "proc.name = cat and not)"]
    {
        assert!(parse(condition).is_err(), "{condition:?}");
    }
}

#[test]
fn an_error_is_placed_in_lines_and_columns() {
    let condition = "proc.name = cat\n  and fd.num = three\n  and fd.num = 3";
    let rendered = compile(condition).unwrap_err().render("rule", condition);
    assert!(rendered.starts_with("rule:2:16: "), "{rendered}");
    assert!(rendered.contains("\n                 ^^^^^"), "{rendered}");
}

#[test]
fn nesting_has_a_bound_and_no_depth_is_too_deep_for_the_stack() {
    for (open, close) in
        [("(", ")"), ("not (", ")"), ("not(", ")"), ("proc.name = x or (", ")"), ("fd.num = 3 and not (", ")")]
    {
        let nested = |depth: usize| format!("{}proc.name = cat{}", open.repeat(depth), close.repeat(depth));
        assert!(compile(&nested(300)).is_ok(), "{open}");
        for depth in [DEPTH_MAX + 1, 2_000, 3_000] {
            let error = compile(&nested(depth)).unwrap_err();
            assert!(error.message().contains("nested"), "{error}");
        }
    }
}

#[test]
fn transformers_have_a_bound_too() {
    let nested = |depth: usize| format!("{}proc.name{} = cat", "tolower(".repeat(depth), ")".repeat(depth));
    assert!(holds(&nested(8)));
    for depth in [100, 5_000] {
        assert!(compile(&nested(depth)).is_err(), "{depth}");
    }
    let lists = format!("join(\"\", {}{}) = x", "(".repeat(5_000), ")".repeat(5_000));
    assert!(compile(&lists).is_err());
}

#[test]
fn the_longest_condition_compiles_and_a_longer_one_is_refused() {
    let mut condition = String::from("proc.name in (cat");
    while condition.len() + 10 < CONDITION_BYTES_MAX {
        write!(condition, ",i{}", condition.len()).unwrap();
    }
    condition.push(')');
    assert!(holds(&condition));
    let longer = format!("{condition}{}", " ".repeat(CONDITION_BYTES_MAX + 1 - condition.len()));
    assert!(compile(&longer).is_err());
}

#[test]
fn many_values_and_many_alternatives_are_found_each() {
    let names: Vec<String> = (0..2_000).map(|number| format!("/dir{number}/x")).collect();
    let by_list = compile(&format!("fd.name in ({})", names.join(", "))).unwrap();
    let paths = compile(&format!("fd.name pmatch ({})", names.join(", "))).unwrap();
    let prefixes: Vec<String> = names.iter().map(|name| format!("fd.name startswith {name}")).collect();
    let by_prefix = compile(&prefixes.join(" or ")).unwrap();
    let mut scratch = Scratch::new();
    for (name, known, below) in [
        ("/dir0/x", true, true),
        ("/dir1999/x", true, true),
        ("/dir1999/x/y", false, true),
        ("/dir2000/x", false, false),
        ("/dir/x", false, false),
    ] {
        let mut event = Event::empty();
        event.set_text("fd.name", name.into());
        assert_eq!(by_list.matches(&event, &mut scratch), known, "{name}");
        assert_eq!(by_prefix.matches(&event, &mut scratch), below, "{name}");
        assert_eq!(paths.matches(&event, &mut scratch), below, "{name}");
    }
}

#[test]
fn a_value_too_large_for_the_scratch_buffer_is_missing_and_counted() {
    let filter = compile("tolower(proc.name) exists").unwrap();
    let mut scratch = Scratch::new();
    for (bytes, exists) in
        [(0, true), (1_000, true), (SCRATCH_BYTES_MAX, true), (SCRATCH_BYTES_MAX + 1, false), (1 << 20, false)]
    {
        let mut event = Event::empty();
        event.set_text("proc.name", vec![b'A'; bytes]);
        let before = scratch.overflows();
        assert_eq!(filter.matches(&event, &mut scratch), exists, "{bytes}");
        assert_eq!(scratch.overflows() - before, u64::from(!exists), "{bytes}");
    }
}

#[test]
fn long_values_are_compared_whole() {
    let mut event = Event::empty();
    let mut text = vec![b'a'; 1 << 20];
    text.push(b'z');
    event.set_text("proc.name", text);
    let long = "a".repeat(10_000);
    for (condition, expected) in [
        (format!("proc.name startswith {long}"), true),
        (format!("proc.name startswith {long}b"), false),
        (format!("proc.name endswith {long}z"), true),
        (format!("proc.name contains {long}z"), true),
        ("proc.name glob *aaaaaaaaz".to_owned(), true),
        ("proc.name regex a+z".to_owned(), true),
        ("proc.name glob *a*a*a*a*a*a*a*a*a*a*b".to_owned(), false),
        (format!("proc.name = {long}z"), false),
    ] {
        assert_eq!(
            compile(&condition).unwrap().matches(&event, &mut Scratch::new()),
            expected,
            "{}",
            &condition[..40.min(condition.len())]
        );
    }
}

#[test]
fn an_expression_that_would_be_huge_is_refused() {
    for expression in ["(((a{100}){100}){100}){100}", "a{1000000}", "[[:alpha:]]{900}{900}"] {
        assert!(compile(&format!("proc.name regex \"{expression}\"")).is_err(), "{expression}");
    }
}
