use serde_json::json;
use tercel_filter::{Filter, Scope, Scratch};

use super::*;

fn map(fields: &Json) -> FieldMap {
    let mut map = FieldMap::default();
    for (name, value) in fields.as_object().unwrap() {
        map.set(name, value).unwrap();
    }
    map.complete()
}

/// Conditions about one event, and whether they hold.
#[track_caller]
fn check(fields: &Json, rows: &[(&str, bool)]) {
    let map = map(fields);
    for (condition, expected) in rows {
        let filter = Filter::parse(condition, &Scope::default(), &SensorCatalog)
            .unwrap_or_else(|error| panic!("{}", error.render("condition", condition)));
        assert_eq!(filter.matches(&map, &mut Scratch::new()), *expected, "{condition} with {fields}");
    }
}

#[track_caller]
fn refused(name: &str, value: &Json, message: &str) {
    let error = FieldMap::default().set(name, value).unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[test]
fn what_is_not_there_or_null_is_missing() {
    check(
        &json!({"proc.name": "cat", "user.name": null}),
        &[
            ("proc.name = cat", true),
            ("proc.name exists", true),
            ("user.name exists", false),
            ("user.name != root", false),
            ("not user.name = root", true),
            ("fd.name != /etc", false),
            ("proc.pid > 0", false),
        ],
    );
}

#[test]
fn values_have_the_type_of_their_field() {
    check(
        &json!({
            "evt.type": "openat", "evt.is_open_read": true, "proc.pid": 42, "fd.num": -1, "fd.name": "/etc/shadow",
            "fd.sip": "10.1.2.3", "fd.cip": "::1", "fd.sport": 443, "proc.duration": 1e9,
        }),
        &[
            ("evt.type = openat", true),
            ("evt.type in (open, openat)", true),
            ("evt.type != openat", false),
            ("evt.is_open_read = true", true),
            ("proc.pid = 42 and fd.num < 0", true),
            ("fd.name startswith /etc", true),
            ("fd.sip = 10.1.2.3 and fd.cip = ::1", true),
            ("fd.sport = 443", true),
            ("proc.duration = 1000000000", true),
        ],
    );
}

#[test]
fn a_text_is_read_as_what_its_field_is() {
    check(
        &json!({"proc.pid": "42", "evt.is_open_read": "true", "fd.num": "-1", "proc.name": 7, "proc.args": true}),
        &[
            ("proc.pid = 42 and fd.num = -1 and evt.is_open_read = true", true),
            ("proc.name = 7 and proc.args = true", true),
        ],
    );
}

#[test]
fn ancestors_start_at_the_parent_and_the_process_itself_is_number_0() {
    check(
        &json!({"proc.name": "cat", "proc.aname": ["bash", null, "sshd"], "proc.apid": [2, 1], "proc.pid": 3}),
        &[
            ("proc.aname[0] = cat", true),
            ("proc.aname[1] = bash", true),
            ("proc.aname[2] exists", false),
            ("proc.aname[3] = sshd", true),
            ("proc.aname[4] != x", false),
            ("proc.aname = sshd", true),
            ("proc.aname = cat", false),
            ("proc.aname != bash", true),
            ("proc.aname in (init, bash)", true),
            ("proc.apid[0] = 3 and proc.apid[2] = 1", true),
            ("proc.apid = 2", true),
        ],
    );
}

#[test]
fn where_one_value_is_asked_for_an_ancestor_field_is_the_process_s_own() {
    let map = map(&json!({"proc.name": "cat", "proc.aname": ["bash"]}));
    assert_eq!(map.value(id("proc.aname").unwrap(), None), Some(Value::Text(b"cat")));
}

#[test]
fn a_key_with_an_argument_is_that_and_nothing_else() {
    check(
        &json!({"proc.aname": ["bash", "sshd"], "proc.aname[2]": "tmux", "proc.aname[0]": "dash", "proc.name": "cat"}),
        &[
            ("proc.aname[2] = tmux", true),
            ("proc.aname[1] = bash", true),
            ("proc.aname[0] = dash", true),
            ("proc.aname = tmux", false),
            ("proc.aname = sshd", true),
        ],
    );
    check(&json!({"proc.aname[2]": "tmux"}), &[("proc.aname[2] = tmux", true), ("proc.aname exists", false)]);
}

#[test]
fn the_ends_of_a_connection_follow_from_client_and_server() {
    check(
        &json!({"fd.cip": "10.0.0.1", "fd.sip": "192.0.2.9", "fd.cport": 40_000, "fd.sport": 22, "fd.lip": "10.0.0.1"}),
        &[
            ("fd.ip = 10.0.0.1", true),
            ("fd.ip = 192.0.2.9", true),
            ("fd.ip != 192.0.2.9", false),
            ("fd.ip != 192.0.2.8", true),
            ("fd.ip in (192.0.2.8, 10.0.0.1)", true),
            ("fd.port = ssh", true),
            ("fd.port = 40000", true),
            ("fd.port in (1, 2)", false),
            ("fd.port != 22", false),
            ("fd.net = 192.0.2.0/24", true),
            ("fd.net in (172.16.0.0/12, 10.0.0.0/8)", true),
            ("fd.net != 10.0.0.0/8", false),
            ("fd.cnet = 10.0.0.0/8 and fd.snet = 192.0.2.0/24 and fd.lnet = 10.0.0.0/8", true),
            ("fd.snet = 10.0.0.0/8", false),
            ("fd.rnet exists", false),
        ],
    );
}

#[test]
fn ends_that_are_given_are_not_derived() {
    check(
        &json!({"fd.cip": "10.0.0.1", "fd.sip": "192.0.2.9", "fd.ip": ["1.1.1.1", "2.2.2.2"], "fd.port": 80, "fd.sport": 22}),
        &[
            ("fd.ip = 10.0.0.1", false),
            ("fd.ip = 1.1.1.1 and fd.ip = 2.2.2.2", true),
            ("fd.port = 80", true),
            ("fd.port = 22", false),
        ],
    );
    check(
        &json!({"proc.name": "cat"}),
        &[("fd.ip exists", false), ("fd.ip != 1.1.1.1", false), ("fd.net exists", false)],
    );
}

#[test]
fn arguments_of_events_and_of_programs_are_literal() {
    check(
        &json!({
            "evt.arg.flags": "O_RDONLY|O_CLOEXEC", "evt.arg[1]": "/etc/shadow", "evt.rawarg.res": -2, "evt.rawarg.name": "x",
            "proc.env[HOME]": "/root", "proc.args": "-a -b", "proc.args[1]": "-b", "container.label[\"a b\"]": "c",
        }),
        &[
            ("evt.arg.flags contains O_CLOEXEC", true),
            ("evt.arg[1] = /etc/shadow", true),
            ("evt.arg[0] exists", false),
            ("evt.rawarg.res = -2 and evt.rawarg.res < 0", true),
            ("evt.rawarg.name = x", true),
            ("proc.env[HOME] = /root", true),
            ("proc.env[PATH] exists", false),
            ("proc.env exists", false),
            ("proc.args = \"-a -b\" and proc.args[1] = -b", true),
            ("proc.args[0] exists", false),
            ("container.label[\"a b\"] = c", true),
        ],
    );
}

#[test]
fn lists_are_compared_as_lists_and_can_be_measured() {
    check(
        &json!({"fd.types": ["file", "ipv4"]}),
        &[
            ("fd.types in (file, ipv4, pipe)", true),
            ("fd.types in (file)", false),
            ("fd.types intersects (ipv4, ipv6)", true),
            ("len(fd.types) = 2", true),
        ],
    );
    check(&json!({"fd.types": "file"}), &[("fd.types in (file)", true)]);
}

#[test]
fn an_ipv4_address_in_an_ipv6_one_is_an_ipv4_address() {
    check(&json!({"fd.sip": "::ffff:192.0.2.9"}), &[("fd.sip = 192.0.2.9", true)]);
}

#[test]
fn an_event_of_a_type_without_a_name_is_none_of_those_with_one() {
    let mut map = map(&json!({"proc.name": "x"}));
    map.set_foreign_type().unwrap();
    for (condition, expected) in [("evt.type = openat", false), ("evt.type != openat", true), ("evt.type exists", true)]
    {
        let filter = Filter::parse(condition, &Scope::default(), &SensorCatalog).unwrap();
        assert_eq!(filter.matches(&map, &mut Scratch::new()), expected, "{condition}");
    }
}

#[test]
fn a_field_that_is_set_again_is_replaced_and_null_takes_it_away() {
    let mut map = map(&json!({"proc.name": "cat", "proc.aname[2]": "sshd"}));
    for (name, value) in [("proc.name", json!("ls")), ("proc.aname[2]", json!(null))] {
        map.set(name, &value).unwrap();
    }
    assert_eq!(map.value(id("proc.name").unwrap(), None), Some(Value::Text(b"ls")));
    assert_eq!(map.value(id("proc.aname").unwrap(), Some("2")), None);
}

#[test]
fn what_does_not_fit_is_told_with_what_would() {
    refused("proc.nam", &json!("x"), "unknown field `proc.nam`; `tercel-sensor fields` lists them");
    refused("proc.name[1]", &json!("x"), "field `proc.name[1]`: it takes no argument");
    refused("proc.pid", &json!("x"), "field `proc.pid`: expected a whole number, found \"x\"");
    refused("proc.pid", &json!(1.5), "field `proc.pid`: expected a whole number, found 1.5");
    refused("proc.name", &json!({}), "field `proc.name`: expected a text, found a map");
    refused("proc.name", &json!(["a"]), "field `proc.name`: expected one value, found a list");
    refused("proc.aname[1]", &json!(["a"]), "field `proc.aname[1]`: expected one value, found a list");
    refused("evt.is_open_read", &json!("yes"), "field `evt.is_open_read`: expected true or false, found \"yes\"");
    refused("fd.sip", &json!("10.0.0.0/8"), "field `fd.sip`: expected an IP address, found \"10.0.0.0/8\"");
    refused("evt.type", &json!("opn"), "field `evt.type`: no event has the type `opn`");
    refused("evt.type", &json!(3), "field `evt.type`: expected the name of an event type, found 3");
}

#[test]
fn fields_and_elements_are_bounded() {
    let many = Json::from(vec!["x"; ELEMENTS_MAX + 1]);
    assert!(FieldMap::default().set("proc.aname", &many).unwrap_err().to_string().contains("at most 1,000 elements"));
    let mut map = FieldMap::default();
    let result = (0..=FIELDS_MAX).try_for_each(|n| map.set(&format!("proc.aname[{n}]"), &json!("x")));
    assert_eq!(result, Err(Error::TooManyFields));
}

#[test]
fn numbers_beyond_63_bits_become_the_greatest() {
    check(&json!({"proc.pid": u64::MAX}), &[("proc.pid > 9000000000000000000", true)]);
}
