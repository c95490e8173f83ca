//! Condition → whether it holds for the sample record.

use tercel_filter::{Filter, Node, Scratch, parse};

use crate::sample::{Sample, compile, holds, record, scope};

#[track_caller]
fn check(table: &[(&str, bool)]) {
    for (condition, expected) in table {
        assert_eq!(holds(condition), *expected, "{condition}");
    }
}

#[test]
fn not_binds_tighter_than_and_and_and_tighter_than_or() {
    check(&[
        ("proc.name=x and proc.name=x or proc.name=bash", true),
        ("proc.name=bash or proc.name=x and proc.name=x", true),
        ("(proc.name=bash or proc.name=x) and proc.name=x", false),
        ("not proc.name=x and proc.name=bash", true),
        ("not proc.name=bash or proc.name=bash", true),
        ("not(proc.name=bash or proc.name=x)", false),
        ("not not proc.name=bash", true),
        ("proc.name=bash and(proc.name=bash)or(proc.name=x)", true),
        ("((((proc.name = bash))))", true),
        ("\n\tproc.name\r\n=\tbash ", true),
    ]);
}

#[test]
fn text_is_compared_bytewise() {
    check(&[
        ("proc.name == bash", true),
        ("proc.name != bash", false),
        ("proc.name in (sh, bash)", true),
        ("proc.name in(sh,zsh)", false),
        ("proc.name in ()", false),
        ("proc.name intersects (bash)", true),
        ("proc.cmdline contains \"Echo\"", true),
        ("proc.cmdline contains echo", false),
        ("proc.cmdline icontains ECHO", true),
        ("proc.cmdline contains ''", true),
        ("proc.cmdline startswith 'bash -c'", true),
        ("proc.cmdline endswith hi", false),
        ("proc.name glob 'b*h'", true),
        ("proc.name glob B*", false),
        ("proc.name iglob B*", true),
        ("proc.name regex 'ba.*'", true),
        ("proc.name regex 'ba'", false),
        ("proc.env[HOME] pmatch (/root)", true),
        ("proc.env[HOME] pmatch (/ro, /etc)", false),
    ]);
}

#[test]
fn a_missing_value_makes_every_comparison_false() {
    check(&[
        ("container.name exists", false),
        ("container.name = foo", false),
        ("container.name != foo", false),
        ("container.name in (foo)", false),
        ("not container.name = foo", true),
        ("proc.name exists", true),
        ("proc.aname[3] != x", false),
    ]);
}

#[test]
fn an_ancestor_field_without_index_means_any_ancestor() {
    check(&[
        ("proc.aname = systemd", true),
        ("proc.aname in (cron, sshd)", true),
        ("proc.aname != sshd", true),
        ("proc.aname = init", false),
        ("proc.aname[1] = sshd", true),
        ("proc.aname[2] = sshd", false),
        ("proc.aname[\"2\"] = systemd", true),
    ]);
}

#[test]
fn numbers_are_signed_and_may_be_hexadecimal() {
    check(&[
        ("fd.num = -2", true),
        ("fd.num < 0", true),
        ("fd.num<=-2", true),
        ("fd.num > -2", false),
        ("fd.num >= 0x10", false),
        ("fd.num != 0xff", true),
        ("fd.num in (1, -2)", true),
    ]);
}

#[test]
fn booleans_addresses_and_enums_have_their_own_equality() {
    check(&[
        ("evt.failed = true", true),
        ("evt.failed != true", false),
        ("evt.failed in (true, false)", true),
        ("fd.sip = 169.254.169.254", true),
        ("fd.sip in (10.0.0.1, \"169.254.169.254\")", true),
        ("fd.sip != ::1", true),
        ("evt.type = openat", true),
        ("evt.type != open", true),
        ("evt.type in (open, execve)", false),
    ]);
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
fn macros_stand_for_their_whole_condition() {
    check(&[
        ("opens", true),
        ("nested", true),
        ("not either", false),
        ("either and proc.name = x", false),
        ("nested and (opens or either)", true),
    ]);
}

#[test]
fn lists_are_spliced_where_a_list_may_stand() {
    check(&[
        ("proc.name in (shells)", true),
        ("proc.name in shells", true),
        ("proc.name in (zsh, programs)", true),
        ("proc.name in (empty)", false),
        ("proc.name in (\"shells\")", false),
        ("proc.name = \"shells\"", false),
        ("proc.name in bash", true),
    ]);
    assert_eq!(scope().list("programs").unwrap(), ["cat", "two words", "sh", "bash"]);
}

#[test]
fn a_later_definition_of_a_list_reaches_the_lists_that_name_it() {
    let mut scope = scope();
    scope.add_list("shells", vec!["fish".to_owned(), "programs".to_owned()]).unwrap();
    assert_eq!(scope.list("programs").unwrap(), ["cat", "two words", "fish"]);
}

#[test]
fn bare_strings_run_to_the_next_blank_or_delimiter() {
    check(&[
        ("proc.name in (runc:[0:PARENT], /etc/*, bash)", true),
        ("proc.name = <NA>", false),
        ("proc.name != <NA>", true),
        ("proc.name!=10.0.0.0/8", true),
    ]);
}

#[test]
fn quoted_strings_take_falcos_escapes() {
    check(&[
        (r#"proc.name = "\x62ash""#, true),
        (r#"proc.cmdline contains "\"Echo""#, true),
        (r#"proc.cmdline contains '"Echo'"#, true),
        (r#"proc.name != "\t\\\/\n""#, true),
    ]);
    // A backslash before a blank is a backslash, and one before the quote keeps the string open.
    for (condition, expected) in [(r#"proc.name = "\ ""#, "\\"), (r#"proc.name = "\\" ""#, "\\\" ")] {
        let Node::Check(check) = parse(condition).unwrap().node else { panic!("{condition}") };
        assert_eq!(check.right.literals()[0].text, expected);
    }
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
