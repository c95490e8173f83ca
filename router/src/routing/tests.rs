use super::*;

/// Parses `text` as routing.toml and gives what is wrong with it, printed.
fn problems(text: &str) -> Vec<String> {
    match Routing::parse(Path::new("routing.toml"), text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn good(text: &str) -> Routing {
    Routing::parse(Path::new("routing.toml"), text).unwrap_or_else(|problems| panic!("{}", ProblemList(&problems)))
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let problems = problems(text);
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "`{expected}` is not in\n{problem}");
    }
}

#[test]
fn the_shipped_file_is_good_without_a_warning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../routing.toml");
    let routing = Routing::read(&path).unwrap();
    assert!(routing.warnings.is_empty(), "{}", ProblemList(&routing.warnings));
    assert!(routing.build_destinations(Path::new("state")).is_ok());
}

/// Each commented section of the shipped file, without its marks, is accepted as it stands.
#[test]
fn the_commented_destinations_of_the_shipped_file_are_good() {
    let shipped = include_str!("../../../routing.toml");
    let start = shipped.find("# [destination.hook]").unwrap();
    let uncommented: Vec<_> = shipped[start..]
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.starts_with('[') || line.contains(" = "))
        .collect();
    let text = format!("[[route]]\nto = [\"hook\", \"team\", \"oncall\", \"search\"]\n{}", uncommented.join("\n"));
    let types: Vec<_> = good(&text).destinations.iter().map(|destination| destination.config.type_name()).collect();
    assert_eq!(types, ["webhook", "pagerduty", "elasticsearch", "slack", "archive"]);
}

#[test]
fn an_unknown_destination_is_told_with_the_known_ones() {
    let text = "[[route]]\nname = \"soc\"\nto = [\"archive\", \"slak\"]\n[destination.slack]\ntype = \"console\"\n";
    check(text, &["routing.toml:3:18: route `soc` sends to `slak`; known destinations: slack, archive"]);
}

#[test]
fn a_misspelt_key_is_told_with_the_accepted_ones() {
    check("[[route]]\nnme = \"a\"\n", &["routing.toml:2:1: unknown field `nme`, expected one of `name`, `when`, `to`"]);
    check(
        "[defaults]\ndedup = { windw = \"5m\" }",
        &["routing.toml:2:11: unknown field `windw`, expected `window` or `by`"],
    );
    check(
        "[destination.c]\ntype = \"console\"\nformt = \"json\"",
        &["unknown field `formt`, expected `receive` or `format`"],
    );
    check("[destination.c]\ntype = \"consle\"", &["unknown variant `consle`, expected one of `archive`, `console`"]);
}

#[test]
fn a_bad_condition_is_shown_with_a_caret_under_the_place() {
    let text = "[[route]]\nname = \"page\"\nwhen = \"priority >= critcal\"\nto = [\"archive\"]\n";
    let shown = problems(text).remove(0);
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("routing.toml:3:21: route `page`: ") && lines[0].contains("critcal"), "{shown}");
    assert_eq!(lines[1].find("critcal"), lines[2].find('^'), "{shown}");
}

#[test]
fn a_condition_over_several_lines_is_placed_in_its_own() {
    let text = "[[route]]\nwhen = '''\npriority >= error\nand prority = debug'''\nto = [\"archive\"]\n";
    check(text, &["routing.toml:4:5: "]);
}

#[test]
fn all_problems_are_told_at_once() {
    let text = r#"
        [defaults]
        dedup = { window = "soon", by = ["proc.pid"] }
        limit = { rate = "many" }
        [[route]]
        name = "a"
        to = []
        [[route]]
        name = "a"
        when = "nonsense"
        limit = { rate = "1/min", burst = 0 }
    "#;
    check(
        text,
        &[
            "window = \"soon\" is no duration; write 30s, 5m or 1h30m",
            "by: `proc.pid` differs in every event",
            "rate = \"many\" is no rate; write 30/min",
            "route `a` has an empty `to`",
            "a second route is called `a`",
            "route `a`: ",
            "burst = 0 would let nothing through",
            "route `a` does not say where to",
        ],
    );
}

#[test]
fn the_archive_is_there_without_being_asked_for_and_of_its_own_type() {
    let routing = good("[[route]]\nto = [\"archive\"]\n");
    assert_eq!((routing.archive, routing.destinations[0].receive), (0, Receive::All));
    check("[destination.archive]\ntype = \"console\"", &["must be of type archive, not console"]);
}

#[test]
fn children_inherit_and_may_say_otherwise() {
    let routing = good(
        r#"
        [defaults]
        dedup = { window = "2s" }
        limit = { rate = "5/s" }
        [[route]]
        to = ["archive"]
        dedup = { by = ["rule"] }
        [[route.route]]
        when = "priority = debug"
        dedup = { window = "1h30m" }
        limit = { rate = "none" }
        "#,
    );
    let routes: Vec<_> = routing.routes.iter().flat_map(Route::with_children).collect();
    let windows: Vec<_> = routes.iter().map(|route| route.window.as_secs()).collect();
    assert_eq!(windows, [2, 5_400]);
    assert!(routes.iter().all(|route| route.by == [KeyField::Rule] && route.targets.len() == 1));
    assert_eq!(routes.iter().map(|route| &*route.name).collect::<Vec<_>>(), ["route-1", "route-1.1"]);
    let limits: Vec<_> = routes.iter().map(|route| route.targets[0].limit).collect();
    assert_eq!((limits, routing.limits.len()), (vec![Some(0), None], 1));
    let five_a_second = NonZeroU32::new(5).unwrap();
    let expected = LimitSettings {
        rate: five_a_second,
        per: Duration::from_secs(1),
        burst: five_a_second,
        by: vec![KeyField::Rule],
        over: Over::Digest,
    };
    assert_eq!(routing.limits[0], expected);
}

#[test]
fn what_is_probably_not_meant_is_warned_about() {
    let routing =
        good("[[route]]\nwhen = \"priority = debug\"\nto = [\"archive\"]\n[destination.c]\ntype = \"console\"\n");
    let warnings: Vec<_> = routing.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings[0].contains("every route has a condition"), "{warnings:?}");
    assert!(warnings[1].contains("4:14: no route sends to destination `c`"), "{warnings:?}");
}

#[test]
fn a_missing_secret_is_placed_at_its_destination() {
    let text =
        "[[route]]\nto = [\"s\"]\n[destination.s]\ntype = \"slack\"\nwebhook_url = { env = \"TERCEL_NO_SUCH\" }\n";
    let error = good(text).build_destinations(Path::new("state")).unwrap_err().to_string();
    assert!(error.starts_with("routing.toml:3:14: destination `s`: "), "{error}");
}
