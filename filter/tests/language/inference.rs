//! What a compiled filter tells about itself.

use crate::sample::{EVENT_TYPES, compile, id};

#[track_caller]
fn check(condition: &str, expected: &[&str]) {
    let possible = compile(condition).unwrap().possible_enum_values(id("evt.type"));
    let names: Vec<&str> = possible.members(EVENT_TYPES.len()).map(|index| EVENT_TYPES[usize::from(index)]).collect();
    assert_eq!(names, expected, "{condition}");
}

#[test]
fn event_types_follow_set_algebra() {
    check("evt.type = open", &["open"]);
    check("evt.type != open", &["openat", "execve", "connect"]);
    check("opens and proc.name = x", &["open", "openat"]);
    check("opens or proc.name = x", EVENT_TYPES);
    check("not opens and not evt.type = execve", &["connect"]);
    check("not (opens or evt.type = execve)", &["connect"]);
    check("not (opens and proc.name = x)", EVENT_TYPES);
    check("evt.type = open and evt.type = connect", &[]);
    check("(evt.type = open and fd.num > 0) or (evt.type = connect and not fd.num > 0)", &["open", "connect"]);
    check("proc.name = x", EVENT_TYPES);
    check("evt.type in ()", &[]);
}

#[test]
fn a_filter_lists_each_field_once_with_its_argument() {
    let filter = compile("proc.name = x or proc.aname[2] = y or proc.aname = z or proc.name = a").unwrap();
    let fields: Vec<_> = filter.fields().collect();
    let aname = id("proc.aname");
    assert_eq!(fields, [(id("proc.name"), None), (aname, None), (aname, Some("2"))]);
}
