//! What a compiled filter tells about itself.

use tercel_filter::Scratch;

use crate::sample::{EVENT_TYPES, compile, id, record};

#[test]
fn a_filter_lists_each_field_once_with_its_argument() {
    let filter = compile("proc.name = x or proc.aname[2] = y or proc.aname = z or proc.name = a").unwrap();
    let fields: Vec<_> = filter.fields().collect();
    let aname = id("proc.aname");
    assert_eq!(fields, [(id("proc.name"), None), (aname, None), (aname, Some("2"))]);
}

#[test]
fn a_condition_with_unknown_values_holds_wherever_it_may_hold_once_they_are_known() {
    let name = id("proc.name");
    let relaxed = |condition: &str| compile(condition).unwrap().relaxed(&|field| field == name);
    let holds =
        |condition: &str| relaxed(condition).is_some_and(|filter| filter.matches(&record(), &mut Scratch::new()));
    // The sample record is an openat, not an execve.
    for condition in [
        "proc.name = x",
        "not proc.name = x",
        "evt.type = openat and proc.name in (x, y)",
        "evt.type = openat and not proc.name in (x, y)",
        "evt.type = execve or not (proc.name = x and evt.type = openat)",
        "not (proc.name = x or evt.type = execve)",
        "toupper(proc.name) = X",
        "evt.type = openat",
    ] {
        assert!(holds(condition), "{condition}");
    }
    for condition in [
        "evt.type = execve and proc.name = x",
        "not (evt.type = openat or proc.name = x)",
        "evt.type = execve and not proc.name = x",
        "evt.type = execve",
    ] {
        assert!(!holds(condition), "{condition}");
    }
}

#[test]
fn a_condition_for_one_event_type_is_the_same_without_the_type() {
    let given = |condition: &str, event_type: &str| {
        let value = EVENT_TYPES.iter().position(|name| *name == event_type).unwrap();
        compile(condition).unwrap().given(id("evt.type"), u16::try_from(value).unwrap())
    };
    for condition in [
        "evt.type = openat and proc.name = bash",
        "opens and proc.name = x",
        "not opens or proc.name = bash",
        "not (evt.type = openat and proc.name = x)",
        "evt.type in (open, openat)",
        "evt.type != openat or (opens and not proc.name = x)",
        "proc.name = bash",
    ] {
        // The sample record is an openat.
        let whole = compile(condition).unwrap().matches(&record(), &mut Scratch::new());
        let given = given(condition, "openat").is_some_and(|filter| filter.matches(&record(), &mut Scratch::new()));
        assert_eq!(given, whole, "{condition}");
    }
    assert!(given("opens and proc.name = bash", "execve").is_none());
    assert!(given("not opens", "openat").is_none());
}
