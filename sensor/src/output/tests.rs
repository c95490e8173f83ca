use super::*;
use crate::event::Scratch;
use crate::testing::{Builder, state_with_cat};

#[track_caller]
fn render(text: &str, record: &Builder) -> Rendered {
    let (bytes, state, scratch) = (record.bytes(), state_with_cat(), Scratch::default());
    let event = Event::new(7, 1_795_451_920_618_643_973, Builder::parse(&bytes), &state, &scratch).unwrap();
    Template::compile(text).unwrap().render(&event, Priority::Warning, &TimeZone::UTC)
}

#[test]
fn an_alert_reads_as_falco_writes_it() {
    let text = "Sensitive file read | file=%fd.name type=%evt.type user=%user.name uid=%user.uid process=%proc.name \
                gparent=%proc.aname[2] ns=%k8s.ns.name fd=%fd.num.";
    let rendered = render(text, &Builder::open("/etc/shadow", 3));
    assert_eq!(
        rendered.output,
        "16:38:40.618643973: Warning Sensitive file read | file=/etc/shadow type=openat user=root uid=0 process=cat \
         gparent=init ns=<NA> fd=3."
    );
    insta::assert_json_snapshot!(rendered.fields);
}

#[test]
fn what_an_attacker_writes_stays_on_one_line_and_in_one_colour() {
    let rendered = render("f=%fd.name", &Builder::open("/tmp/a\nb\x1b[31m\u{202e}\u{9b}\"q", -2));
    assert!(rendered.output.ends_with(r#"f=/tmp/a\nb\u001b[31m\u202e\u009b"q"#), "{}", rendered.output);
    assert_eq!(rendered.fields["fd.name"], "/tmp/a\nb\x1b[31m\u{202e}\u{9b}\"q");
}

#[test]
fn bytes_that_are_no_text_become_replacement_characters() {
    let record = Builder::new(tercel_sensor_abi::RecordKind::Open).string(b"/tmp/\xff\xc3").string(b"");
    assert_eq!(render("%fd.name", &record.syscall(EventType::OPENAT)).fields["fd.name"], "/tmp/\u{fffd}\u{fffd}");
}

#[test]
fn long_values_are_cut_at_a_character_and_marked() {
    let long = format!("/{}", "ä".repeat(2_000) + &"b".repeat(100));
    let rendered = render(&"%fd.name ".repeat(5), &Builder::open(&long, 3));
    let field = rendered.fields["fd.name"].as_str().unwrap();
    assert!(field.len() <= FIELD_BYTES_MAX && field.ends_with("b…"), "{}", field.len());
    assert!(rendered.output.len() <= OUTPUT_BYTES_MAX && rendered.output.ends_with('…'));
}

#[test]
fn mistakes_are_told_with_their_place() {
    let check = |text: &str, offset: usize, part: &str| {
        let error = Template::compile(text).unwrap_err();
        assert!(error.offset == offset && error.message.contains(part), "{text}: {error:?}");
    };
    check("100 %", 4, "without a field name");
    check("a %% b", 2, "without a field name");
    check("x=%nosuch.field", 2, "unknown field `nosuch.field`; `tercel-sensor fields` lists them");
    check("x=%proc.nmae", 2, "unknown field `proc.nmae`; did you mean `proc.name`?");
    check("x=%fd.ip", 2, "for conditions only");
    check("x=%evt.arg", 2, "needs an argument");
    check("x=%evt.arg.nosuch", 2, "unknown event argument `nosuch`");
    check("x=%proc.aname[x]", 2, "not a number");
    check("x=%proc.aname[2", 2, "`proc.aname[` is not closed");
    check("x=%99999fd.name", 2, "wider than 1024 characters");
    check("x=%10", 2, "without a field name");
    check("x=%nosuch(proc.name)", 2, "unknown field `nosuch`");
    check("x=%toupper(evt.num)", 2, "not supported by the transformer");
}

#[test]
fn a_field_that_there_is_not_is_told_apart_from_other_mistakes() {
    let is_unknown = |text: &str| Template::compile(text).unwrap_err().is_unknown_field;
    assert!(is_unknown("%nosuch.field") && !is_unknown("%fd.ip") && !is_unknown("%evt.arg.nosuch"));
}

#[test]
fn the_line_break_of_a_folded_scalar_is_not_part_of_the_output() {
    assert!(render("done %fd.num\n", &Builder::open("/x", 5)).output.ends_with("done 5"));
}

#[test]
fn a_field_ends_where_its_name_does() {
    let rendered = render("(%proc.pid):%fd.num,%user.uid.[x]", &Builder::open("/x", 5));
    assert!(rendered.output.ends_with("(5000003):5,0.[x]"), "{}", rendered.output);
}

#[test]
fn brackets_behind_a_field_without_argument_are_text() {
    let rendered = render("%proc.name[%proc.pid] %proc.aname[1][x] %proc.aname", &Builder::open("/x", 5));
    assert!(rendered.output.ends_with("cat[5000003] sh[x] cat"), "{}", rendered.output);
}

#[test]
fn the_longest_name_that_is_a_field_counts() {
    let rendered = render("%proc.names, %evt.arg.flags. %evt.arg[2]: %user.names", &Builder::open("/x", 5));
    assert!(rendered.output.ends_with("cats, O_RDONLY. /x: roots"), "{}", rendered.output);
    assert_eq!(rendered.fields["evt.arg.flags"], "O_RDONLY");
    assert_eq!(rendered.fields["evt.arg[2]"], "/x");
}

#[test]
fn a_transformed_value_is_in_the_text_and_no_field_of_the_alert() {
    let rendered = render("%toupper(proc.name) %basename(fd.name) %len(fd.name)", &Builder::open("/etc/x", 5));
    assert!(rendered.output.ends_with("CAT x 6"), "{}", rendered.output);
    assert!(!rendered.fields.contains_key("proc.name") && !rendered.fields.contains_key("toupper(proc.name)"));
}

#[test]
fn a_width_fills_up_or_cuts_the_text_and_not_the_field() {
    let text = "[%5proc.name|%2proc.name|%6fd.num|%3fd.name|%10k8s.ns.name]";
    let rendered = render(text, &Builder::open("/äää", 5));
    assert!(rendered.output.ends_with("[cat  |ca|5     |/ää|<NA>      ]"), "{}", rendered.output);
    assert_eq!((&rendered.fields["proc.name"], &rendered.fields["fd.num"]), (&"cat".into(), &5.into()));
}

#[test]
fn times_are_text_in_the_text_and_nanoseconds_in_the_fields() {
    let rendered = render("%evt.time.s %evt.time.iso8601 %evt.rawtime.s", &Builder::open("/x", 5));
    let expected = "16:38:40 2026-11-23T16:38:40.618643973+0000 1795451920";
    assert!(rendered.output.ends_with(expected), "{}", rendered.output);
    for field in ["evt.time", "evt.time.s", "evt.time.iso8601"] {
        assert_eq!(rendered.fields[field], 1_795_451_920_618_643_973_i64, "{field}");
    }
}

#[test]
fn what_falco_has_dropped_leaves_nothing_behind() {
    let rendered = render("a %container.info b", &Builder::open("/x", 5));
    assert!(rendered.output.ends_with("a  b"), "{}", rendered.output);
}

#[test]
fn the_fields_of_a_text_are_known_without_an_event() {
    let template = Template::compile("%proc.name %5fd.name %tolower(user.name) %proc.aname[2] %proc.name").unwrap();
    assert_eq!(template.fields().collect::<Vec<_>>(), ["proc.name", "fd.name", "proc.aname[2]"]);
}

fn appends(toml: &str) -> Vec<Append> {
    #[derive(serde::Deserialize)]
    struct Settings {
        append_output: Vec<Append>,
    }
    let source = config::File::from_str(toml, config::FileFormat::Toml);
    let settings = config::Config::builder().add_source(source).build().unwrap();
    settings.try_deserialize::<Settings>().unwrap().append_output
}

#[test]
fn additions_go_to_the_rules_that_they_are_for_in_their_order() {
    let all = appends(
        r#"
        [[append_output]]
        suggested_output = true
        [[append_output]]
        match = { rule = "Shell", tags = ["host"], source = "syscall" }
        extra_output = "cpu=%evt.cpu"
        extra_fields = ["proc.aname[1]", { who = "%user.name/%user.uid" }]
        "#,
    );
    let text = |name: &str, source: &str, tags: &[&str]| {
        Append::for_rule(&all, name, source, &tags.iter().map(|tag| (*tag).to_owned()).collect()).text()
    };
    assert_eq!(text("Shell", "syscall", &["host", "T1059"]), format!("{SUGGESTED} cpu=%evt.cpu"));
    assert_eq!(text("Shell", "syscall", &["T1059"]), SUGGESTED);
    assert_eq!(text("Other", "syscall", &["host"]), SUGGESTED);
    assert_eq!(text("Shell", "k8s_audit", &["host"]), "");
    assert_eq!(Append::for_rule(&Append::by_default(), "Other", "syscall", &BTreeSet::new()).text(), SUGGESTED);
}

#[test]
fn an_addition_is_part_of_the_text_and_of_the_fields() {
    let all = appends(
        r#"append_output = [
            { extra_output = "cpu=%evt.cpu", extra_fields = ["proc.aname[1]", { who = "%user.name/%user.uid" }] },
        ]"#,
    );
    let appendix = Append::for_rule(&all, "r", "syscall", &BTreeSet::new());
    let (record, state, scratch) = (Builder::open("/x", 5), state_with_cat(), Scratch::default());
    let bytes = record.bytes();
    let event = Event::new(7, 0, Builder::parse(&bytes), &state, &scratch).unwrap();
    let template = Template::compile_with("read by %proc.name\n", &appendix).unwrap();
    assert_eq!(template.text(&event), "read by cat cpu=0");
    let rendered = template.render(&event, Priority::Warning, &TimeZone::UTC);
    assert_eq!(rendered.fields["evt.cpu"], 0);
    assert_eq!(rendered.fields["proc.aname[1]"], "sh");
    assert_eq!(rendered.fields["who"], "root/0");
}

#[test]
fn a_mistake_in_an_addition_is_the_settings_own() {
    let check = |toml: &str, part: &str| {
        let error = appends(toml)[0].check().unwrap_err();
        assert!(error.message.starts_with("append_output: ") && error.message.contains(part), "{}", error.message);
    };
    check(r#"append_output = [{ extra_output = "%nosuch.field" }]"#, "unknown field `nosuch.field`");
    check(r#"append_output = [{ extra_fields = ["proc.name and more"] }]"#, "`proc.name and more` is not a field");
    check(r#"append_output = [{ extra_fields = ["toupper(proc.name)"] }]"#, "is not a field");
    check(r#"append_output = [{ extra_fields = [{ x = "%" }] }]"#, "without a field name");
    assert_eq!(Append::by_default()[0].check(), Ok(()));
}
