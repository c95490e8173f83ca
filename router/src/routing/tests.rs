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
    assert_eq!(types, ["webhook", "null", "pagerduty", "elasticsearch", "slack", "archive"]);
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
        &["unknown field `formt`, expected `format`, or of every type: `receive`, `fallback`, `max_age`"],
    );
    check(
        "[destination.c]\ntype = \"consle\"",
        &["unknown variant `consle`, expected one of `alertmanager`, `archive`, `console`"],
    );
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
        exempt: None,
        digest_interval: Duration::from_mins(1),
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

/// Destinations with these fallbacks; the first is the one that alerts are sent to.
fn with_fallbacks(pairs: &[(&str, Option<&str>)]) -> String {
    let table = |(name, fallback): &(&str, Option<&str>)| {
        let fallback = fallback.map_or_else(String::new, |fallback| format!("fallback = \"{fallback}\"\n"));
        format!("[destination.{name}]\ntype = \"console\"\n{fallback}")
    };
    let tables: Vec<_> = pairs.iter().map(table).collect();
    format!("[[route]]\nto = [\"{}\"]\n{}", pairs[0].0, tables.concat())
}

#[test]
fn a_fallback_is_another_destination_and_counts_as_used() {
    let routing = good(&with_fallbacks(&[("a", Some("b")), ("b", Some("archive")), ("c", None)]));
    let index = |name: &str| routing.destinations.iter().position(|destination| destination.name == name);
    let fallbacks: Vec<_> = routing.destinations.iter().map(|destination| destination.fallback).collect();
    assert_eq!(fallbacks, [index("b"), index("archive"), None, None]);
    assert_eq!(routing.warnings.len(), 1, "{}", ProblemList(&routing.warnings));
    assert!(routing.warnings[0].to_string().contains("no route sends to destination `c`"));
}

#[test]
fn a_fallback_that_is_unknown_or_leads_back_is_refused() {
    check(
        &with_fallbacks(&[("a", Some("bb")), ("b", None)]),
        &["routing.toml:3:14: destination `a` falls back to `bb`; known destinations: a, b, archive"],
    );
    check(&with_fallbacks(&[("a", Some("a"))]), &["circle: `a` to `a`; one of them must have none"]);
    check(
        &with_fallbacks(&[("a", Some("b")), ("b", Some("c")), ("c", Some("b")), ("d", Some("a"))]),
        &["routing.toml:6:14: fallbacks go round in a circle: `b` to `c` to `b`"],
    );
}

#[test]
fn a_limit_spares_what_is_urgent_and_says_how_often_it_tells() {
    let limit = "{ rate = \"5/s\", exempt = \"Critical\", digest_interval = \"10m\" }";
    let routing = good(&format!("[defaults]\nlimit = {limit}\n[[route]]\nto = [\"archive\"]\n"));
    let LimitSettings { exempt, digest_interval, .. } = routing.limits[0];
    assert_eq!((exempt, digest_interval), (Some(Priority::Critical), Duration::from_mins(10)));
    check(
        "[defaults]\nlimit = { rate = \"5/s\", exempt = \"loud\", digest_interval = \"0s\" }\n[[route]]\nto = [\"archive\"]",
        &["routing.toml:2:34: exempt: unknown priority `loud`", "digest_interval = \"0s\" is out of bounds; 1s to 24h"],
    );
}

#[test]
fn what_is_added_to_alerts_is_compiled_and_its_problems_are_placed() {
    let rest = "\n[[route]]\nto = [\"archive\"]\n";
    let example = include_str!("../../../routing.toml");
    let start = example.find("# [enrich]").unwrap();
    let lines: Vec<_> = example[start..].lines().take(4).map(|line| line.trim_start_matches("# ")).collect();
    good(&format!("{}{rest}", lines.join("\n").replace("%RACK", "%PATH")));
    check(
        &format!(
            "[enrich]\ncustomfields = {{ a = \"%TERCEL_NO_SUCH\" }}\ntemplatedfields.b = \"{{{{x}}}}\"\ncustomtags = [\"\"]{rest}"
        ),
        &[
            "routing.toml:2:22: customfields: the variable `TERCEL_NO_SUCH` is not set",
            "routing.toml:3:21: templatedfields: `b` cannot be used: there is nothing called `x`",
            "routing.toml:4:15: customtags: ",
        ],
    );
    check(&format!("[enrich]\ncustomfield = {{}}{rest}"), &["unknown field `customfield`"]);
}

/// The commented examples between the two headings, without their marks.
fn commented(from: &str, to: &str) -> String {
    let shipped = include_str!("../../../routing.toml");
    let start = shipped.find(from).unwrap();
    let end = start + shipped[start..].find(to).unwrap();
    let lines = shipped[start..end].lines().filter_map(|line| line.strip_prefix("# "));
    lines.filter(|line| line.starts_with('[') || line.contains(" = ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_commented_time_windows_and_inhibition_of_the_shipped_file_are_good() {
    let examples = commented("# [time_window.night]", "# ── Destinations");
    let text = format!("[[route]]\nto = [\"archive\"]\nmute = [\"night\"]\nactive = [\"office\"]\n{examples}");
    let routing = good(&text);
    assert!(routing.warnings.is_empty(), "{}", ProblemList(&routing.warnings));
    let Schedule { mute, active, .. } = &routing.schedules[0];
    let (night, office) = (&mute[0], &active[0]);
    assert_eq!(
        (&*night.name, &night.times[..], night.zone.iana_name()),
        ("night", &[(1_320, 360)][..], Some("Europe/Berlin"))
    );
    assert_eq!((office.times.len(), &office.weekdays[..], office.months.len()), (2, &[0, 1, 2, 3, 4][..], 10));
    let inhibition = &routing.inhibitions[0];
    assert_eq!((&*inhibition.name, inhibition.equal.len(), inhibition.lasts), ("escape", 2, Duration::from_mins(10)));
}

#[test]
fn routes_inherit_their_schedule_and_destinations_have_their_own() {
    let routing = good(
        r#"
        [[route]]
        to = ["pager"]
        mute = ["night"]
        break_through = "critical"
        [[route.route]]
        when = "priority = debug"
        [[route.route]]
        when = "priority = error"
        mute = []
        [destination.pager]
        type = "console"
        format = "json"
        active = ["office"]
        break_through = "alert"
        [time_window.night]
        times = [{ from = "22:00", to = "06:00" }]
        [time_window.office]
        weekdays = ["mon-fri"]
        "#,
    );
    let routes: Vec<_> = routing.routes.iter().flat_map(Route::with_children).collect();
    let schedules: Vec<_> = routes.iter().map(|route| route.targets[0].schedule.is_some()).collect();
    assert_eq!((schedules, routing.schedules.len()), (vec![true, true, false], 2));
    assert!(routing.schedules.iter().all(|schedule| schedule.break_through == Some(Priority::Critical)));
    let [Some(pager), None] = &routing.destination_schedules[..] else { panic!("the archive has none") };
    assert_eq!((&*pager.active[0].name, pager.break_through), ("office", Some(Priority::Alert)));
}

#[test]
fn what_is_wrong_with_time_windows_is_told_with_what_would_do() {
    check(
        r#"
[[route]]
name = "r"
to = ["archive", "c"]
mute = ["nite"]
break_through = "loud"
[destination.c]
type = "console"
active = ["office", "day"]
[time_window.always]
[time_window.office]
times = [{ from = "25:00", to = "8:30" }, { from = "07:00", to = "07:00" }]
weekdays = ["mon-fr"]
days_of_month = [0, -31]
months = ["june"]
time_zone = "Europe/Berlim"
"#,
        &[
            "routing.toml:10:14: time window `always` has no times, weekdays, days_of_month or months, so it would hold always",
            "routing.toml:12:19: time window `office`: from = \"25:00\" is no time of day; write 06:30 or 22:00",
            "to = \"8:30\" is no time of day",
            "from 07:00 to 07:00 is no time; leave `times` out for the whole day",
            "weekdays has `mon-fr`; write mon, tue, wed, thu, fri, sat, sun or a range, as mon-sun",
            "routing.toml:14:18: time window `office`: days_of_month has 0; 1 to 31, or -1 for the last to -31",
            "months has `june`; write jan, feb",
            "unknown time_zone `Europe/Berlim`; write an IANA name, as Europe/Berlin",
            "routing.toml:7:14: destination `c`: active names `day`; known time windows: always, office",
            "routing.toml:5:9: route `r`: mute names `nite`; known time windows: always, office",
            "break_through: unknown priority `loud`",
        ],
    );
    check(
        "[time_window.x]\nweekday = [\"mon\"]",
        &["routing.toml:2:1: unknown field `weekday`, expected one of `times`, `weekdays`"],
    );
}

#[test]
fn what_is_wrong_with_an_inhibition_is_told_with_its_place() {
    let good = "[[route]]\nto = [\"archive\"]\n";
    check(
        &format!(
            "{good}{}",
            r#"[[inhibit]]
name = "a"
source = "priority >= critcal"
target = "rul = x"
equal = ["proc.pid", "time"]
for = "0s"
[[inhibit]]
name = "a"
source = "rule = x"
target = "rule = y"
"#
        ),
        &[
            "routing.toml:5:23: source of inhibition `a`: ",
            "routing.toml:6:11: target of inhibition `a`: ",
            "equal: `time` differs in every alert",
            "for = \"0s\" is out of bounds; 1s to 168h",
            "routing.toml:10:8: a second inhibition is called `a`",
        ],
    );
    check(
        "[[inhibit]]\nname = \"a\"\nsource = \"rule = x\"\ntarget = \"rule = y\"\nequals = []",
        &["routing.toml:5:1: unknown field `equals`, expected one of `name`, `source`, `target`, `equal`, `for`"],
    );
}

#[test]
fn a_time_window_that_nothing_refers_to_is_warned_about() {
    let routing = good("[[route]]\nto = [\"archive\"]\n[time_window.night]\nweekdays = [\"sat\"]\n");
    let warnings: Vec<_> = routing.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["routing.toml:3:14: no destination and no route refers to time window `night`"]);
}
