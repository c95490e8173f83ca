//! Condition → the error and the text it points at.

use std::fmt::Write as _;

use tercel_filter::{CONDITION_BYTES_MAX, Filter, Scope, parse};

use crate::sample::{Sample, compile, scope};

#[track_caller]
fn check(table: &[(&str, &str, &str)]) {
    for (condition, place, message) in table {
        let error = compile(condition).map(|_| ()).expect_err(condition);
        assert_eq!(&condition[error.span()], *place, "{condition}: {error}");
        assert!(error.message().contains(message), "{condition}: {error}");
    }
}

#[test]
fn what_is_not_grammatical_is_pointed_at() {
    check(&[
        ("", "", "expected a field or a macro, found the end"),
        ("proc.name = bash and", "", "found the end"),
        ("proc.name = cat proc.name = ls", "proc.name", "expected `and`, `or` or `)`"),
        ("proc.name", "", "expected an operator after `proc.name`, found the end"),
        ("proc.name = ", "", "expected a value after `=`"),
        ("= cat", "=", "expected a field"),
        ("(proc.name = x", "(", "never closed"),
        ("proc.name = x)", ")", "closes nothing"),
        ("proc.name in (cat,,ls)", ",", "expected a value"),
        ("proc.name in (cat ls)", "ls", "expected `,` or `)`"),
        ("proc.name in (cat", "", "expected `,` or `)`"),
        ("proc.name startwith x", "startwith", "did you mean `startswith`?"),
        ("proc.name contains(x)", "contains", "expected a blank"),
        ("proc.name = 'open", "'open", "no end"),
        (r#"proc.name = "cat\q""#, r"\q", "unsupported escape"),
        (r#"proc.name = "a\xzz""#, r"\x", "hexadecimal"),
        ("proc.aname[ = x", " ", "expected an argument"),
        ("proc.name = bash andproc.name = x", "andproc.name", "expected `and`"),
        ("proc.name = a=b", "=", "a value with `=` in it needs quotes"),
    ]);
}

#[test]
fn unknown_names_are_pointed_at_and_the_nearest_is_suggested() {
    check(&[
        ("proc.nam = x", "proc.nam", "unknown field `proc.nam`; did you mean `proc.name`?"),
        ("evt.type != nosuch", "nosuch", "unknown event type `nosuch`"),
        ("evt.type in (open, opentat)", "opentat", "did you mean `openat`?"),
        ("priority >= crit", "crit", "did you mean `critical`?"),
        ("proc.name = x and neste", "neste", "undefined macro `neste`; did you mean `nested`?"),
        ("shells", "shells", "is a list"),
        ("priority", "priority", "expected an operator after the field"),
        ("proc.name[1] = x", "proc.name[1]", "takes no argument"),
        ("proc.env = x", "proc.env", "needs an argument"),
    ]);
}

#[test]
fn operators_and_values_must_fit_the_field() {
    check(&[
        ("proc.name > abc", "abc", "expected a number, found `abc`"),
        ("proc.name = shells", "shells", "the list `shells` has 2 items"),
        ("fd.num contains 1", "contains", "does not apply to `fd.num`, which is number"),
        ("fd.num > 4.5", "4.5", "expected a whole number, found `4.5`"),
        ("fd.num in (1, abc)", "abc", "expected a whole number"),
        ("fd.num = 99999999999999999999", "99999999999999999999", "expected a whole number"),
        ("evt.failed = yes", "yes", "expected `true` or `false`"),
        ("evt.failed > true", ">", "does not apply"),
        ("fd.sip = notanip", "notanip", "expected an IPv4 or IPv6 address"),
        ("fd.sip contains 1", "contains", "does not apply"),
        ("evt.type > open", "open", "expected a number"),
        ("count > many", "many", "expected a number"),
        ("proc.name regex '(a'", "'(a'", "`(a`: a group is not closed"),
    ]);
}

#[test]
fn an_error_in_a_macro_names_the_macro() {
    let mut scope = scope();
    let body = "proc.name = x or fd.num = abc";
    scope.add_macro("broken", parse(body).unwrap());
    scope.add_macro("outer", parse("not broken").unwrap());
    let error = Filter::parse("outer", &scope, &Sample).unwrap_err();
    assert_eq!(error.macro_name(), Some("broken"));
    assert_eq!(&body[error.span()], "abc");
}

#[test]
fn a_macro_sees_only_earlier_macros() {
    let mut scope = Scope::new();
    for (name, condition) in [("itself", "itself"), ("first", "second"), ("second", "proc.name = x")] {
        scope.add_macro(name, parse(condition).unwrap());
    }
    for condition in ["itself", "first"] {
        let error = Filter::parse(condition, &scope, &Sample).unwrap_err();
        assert!(error.message().contains("must be defined before"), "{error}");
    }
    assert!(Filter::parse("second", &scope, &Sample).is_ok());
}

#[test]
fn a_loop_made_by_a_later_definition_is_refused() {
    let mut scope = Scope::new();
    for (name, condition) in [("a", "proc.name = x"), ("b", "a"), ("a", "not b")] {
        scope.add_macro(name, parse(condition).unwrap());
    }
    let error = Filter::parse("a", &scope, &Sample).unwrap_err();
    assert!(error.message().contains("macro `a` names itself in a loop"), "{error}");
}

#[test]
fn depth_is_bounded() {
    for (open, close) in [("(", ")"), ("not ", ""), ("not (", ")"), ("proc.name = x or not (", ")")] {
        let condition = format!("{}proc.name = x{}", open.repeat(2_000), close.repeat(2_000));
        let error = parse(&condition).unwrap_err();
        assert!(error.message().contains("nested deeper than 1000"), "{error}");
    }
}

#[test]
fn depth_is_bounded_through_macros() {
    let mut scope = Scope::new();
    scope.add_macro("m0", parse("proc.name = x").unwrap());
    for number in 1..2_000 {
        scope.add_macro(format!("m{number}"), parse(&format!("not m{}", number - 1)).unwrap());
    }
    let error = Filter::parse("m1999", &scope, &Sample).unwrap_err();
    assert!(error.message().contains("nested deeper"), "{error}");
    assert!(Filter::parse("m300", &scope, &Sample).is_ok());
}

#[test]
fn a_macro_bomb_is_refused() {
    let mut scope = Scope::new();
    scope.add_macro("m0", parse("proc.name = x").unwrap());
    for number in 1..40 {
        let below = number - 1;
        scope.add_macro(format!("m{number}"), parse(&format!("m{below} or m{below}")).unwrap());
    }
    let error = Filter::parse("m39", &scope, &Sample).unwrap_err();
    assert!(error.message().contains("more than 500000 parts"), "{error}");
}

#[test]
fn what_is_repeated_is_counted_before_it_is_copied() {
    let mut scope = Scope::new();
    scope.add_list("many", (0..100_000).map(|number| number.to_string()).collect()).unwrap();
    let repeated = format!("proc.name in ({})", vec!["many"; 1_000].join(", "));
    let error = Filter::parse(&repeated, &scope, &Sample).unwrap_err();
    assert!(error.message().contains("more than 500000 parts"), "{error}");

    scope.add_macro("long", parse(&format!("proc.name = {}", "x".repeat(60_000))).unwrap());
    let repeated = vec!["long"; 5_000].join(" or ");
    let error = Filter::parse(&repeated, &scope, &Sample).unwrap_err();
    assert!(error.message().contains("more than 500000 parts"), "{error}");
}

#[test]
fn regular_expressions_have_a_bound_together() {
    let many: Vec<_> = (0..200).map(|number| format!("proc.name regex '{number}.{{900}}'")).collect();
    let error = compile(&many.join(" or ")).unwrap_err();
    assert_eq!(error.kind(), tercel_filter::ErrorKind::TooLarge, "{error}");
}

#[test]
fn a_long_condition_is_refused_unread() {
    let mut condition = String::from("proc.name in (x");
    while condition.len() <= CONDITION_BYTES_MAX {
        write!(condition, ", {}", condition.len()).unwrap();
    }
    assert!(parse(&condition).unwrap_err().message().contains("at most 65536"));
}

#[test]
fn an_error_prints_its_line_and_a_caret() {
    let condition = "proc.name = x\n  and fd.num = abc";
    let error = compile(condition).unwrap_err();
    let expected = "rule:2:16: expected a whole number, found `abc`\n    and fd.num = abc\n                 ^^^";
    assert_eq!(error.render("rule", condition), expected);
}
