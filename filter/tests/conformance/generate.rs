//! Conditions made up at random: some valid, some nearly, some not at all.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Text made of what the language is made of, so that much of it gets far.
pub(crate) fn fragments(at_most: usize) -> impl Strategy<Value = String> {
    let piece = select(vec![
        "(",
        ")",
        "[",
        "]",
        ",",
        "\"",
        "'",
        "\\",
        " ",
        "\n",
        "\u{8}",
        "\0",
        "é",
        "=",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "^",
        "*",
        "{",
        "}",
        "?",
        "+",
        "-",
        ".",
        "/",
        "<NA>",
        " and ",
        " or ",
        "not ",
        "not(",
        " in ",
        " in (",
        " intersects ",
        " pmatch (",
        " exists",
        " contains ",
        " icontains ",
        " bcontains ",
        " startswith ",
        " bstartswith ",
        " endswith ",
        " glob ",
        " iglob ",
        " regex ",
        " oneof (",
        " anyof (",
        " allof (",
        "tolower(",
        "toupper(",
        "b64(",
        "basename(",
        "len(",
        "join(",
        "concat(",
        "getopt(",
        "val(",
        "proc.name",
        "proc.aname",
        "proc.aname[1]",
        "fd.num",
        "fd.name",
        "fd.types",
        "fd.ip",
        "fd.snet",
        "fd.sport",
        "evt.type",
        "evt.arg.flags",
        "evt.buffer",
        "evt.is_open_read",
        "evt.rawarg.res",
        "proc.fdusage",
        "pets",
        "opens",
        "is_cat",
        "cat",
        "openat",
        "3",
        "0x1f",
        "-1",
        "1.5e+3",
        "10.0.0.0/8",
        "::1",
        "4854",
        "true",
        "\"a b\"",
        "'\\x41'",
        "[a-z]",
        "(a|b)*",
        "\\d",
        "(?i)",
        "\\\\",
    ]);
    prop::collection::vec(piece, 0..at_most).prop_map(|pieces| pieces.concat())
}

/// Comparisons that compile, over fields that are there, missing, or of several values.
fn comparison() -> impl Strategy<Value = String> {
    let text_field = select(vec![
        "proc.name",
        "proc.pname",
        "container.name",
        "fd.name",
        "proc.aname",
        "proc.aname[2]",
        "evt.arg.flags",
        "proc.env[HOME]",
        "tolower(proc.name)",
        "basename(fd.name)",
        "concat(proc.name, \"x\")",
        "join(\"-\", (proc.name, 'y'))",
    ]);
    let text_operator = select(vec![
        "=",
        "==",
        "!=",
        "contains",
        "icontains",
        "startswith",
        "endswith",
        "glob",
        "iglob",
        "= anyof",
        "!= allof",
        "startswith oneof",
        "in",
        "intersects",
        "pmatch",
    ]);
    let text =
        (text_field, text_operator, prop::collection::vec(value(), 1..4)).prop_map(|(field, operator, values)| {
            let takes_list = operator.contains("of") || matches!(operator, "in" | "intersects" | "pmatch");
            let right = if takes_list { format!("({})", values.join(", ")) } else { values[0].clone() };
            format!("{field} {operator} {right}")
        });
    let number = (
        select(vec![
            "fd.num",
            "proc.pid",
            "evt.num",
            "user.loginuid",
            "proc.apid",
            "fd.sport",
            "fd.port",
            "len(proc.name)",
        ]),
        select(vec!["=", "!=", "<", "<=", ">", ">="]),
        0..500_u16,
    )
        .prop_map(|(field, operator, number)| format!("{field} {operator} {number}"));
    let fixed = select(vec![
        "proc.name exists",
        "container.name exists",
        "fd.ip = 192.168.1.5",
        "fd.ip != 10.0.0.1",
        "fd.net in (10.0.0.0/8, 93.0.0.0/8)",
        "fd.cip != val(fd.sip)",
        "fd.types intersects (file)",
        "fd.types in (file)",
        "evt.is_open_read = true",
        "container.privileged != true",
        "proc.name regex c.*",
        "evt.buffer bcontains 4854",
        "proc.name = val(proc.exe)",
        "evt.num = 0",
        "evt.rawarg.res < 0",
        "proc.fdusage > 1.5",
        "opens",
        "is_cat",
        "proc.name in (pets, dog)",
        "getopt((proc.args[0]), \"n\")[n] exists",
        "b64(proc.args) exists",
    ])
    .prop_map(str::to_owned);
    prop_oneof![4 => text, 2 => number, 3 => fixed, 2 => event_type()]
}

/// A text, quoted in one of the ways in which it may stand.
fn value() -> impl Strategy<Value = String> {
    let bare =
        select(vec!["cat", "bash", "/etc", "/etc/shadow", "*", "<NA>", "a[b", "c?t", "10.0.0.0/8", "<", "\\", "é"]);
    prop_oneof![
        3 => bare.prop_map(str::to_owned),
        1 => bare_text().prop_map(|text| format!("'{text}'")),
        1 => bare_text().prop_map(|text| format!("\"{text}\"")),
        1 => select(vec!["\"two words\"", "'it\"s'", "\"\\\"\"", "\"\\t\\\\\\n\"", "\"\\x41\\xff\"", "''", "\"a=b,c(d)\"", "\"\\ \""]).prop_map(str::to_owned),
    ]
}

fn bare_text() -> impl Strategy<Value = String> {
    "[a-z /=,()*?]{0,6}"
}

fn event_type() -> impl Strategy<Value = String> {
    let name = || select(vec!["open", "openat", "execve", "connect", "write"]);
    prop_oneof![
        (select(vec!["=", "!="]), name()).prop_map(|(operator, name)| format!("evt.type {operator} {name}")),
        prop::collection::vec(name(), 0..4).prop_map(|names| format!("evt.type in ({})", names.join(", "))),
        name().prop_map(|name| format!("evt.type startswith {name}")),
        (select(vec!["anyof", "oneof", "allof"]), name(), name())
            .prop_map(|(modifier, a, b)| format!("evt.type = {modifier} ({a}, {b})")),
        (select(vec!["anyof", "oneof", "allof"]), name(), name())
            .prop_map(|(modifier, a, b)| format!("evt.type != {modifier} ({a}, {b})")),
        Just("evt.type exists".to_owned()),
    ]
}

/// Comparisons of the event's type, and others, in connectives.
pub(crate) fn conditions() -> impl Strategy<Value = String> {
    connected(comparison().boxed())
}

/// Conditions with many comparisons of the event's type.
pub(crate) fn conditions_of_types() -> impl Strategy<Value = String> {
    connected(prop_oneof![3 => event_type(), 1 => comparison()].boxed())
}

fn connected(leaf: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("not {a}")),
            inner.clone().prop_map(|a| format!("not({a})")),
            inner.clone().prop_map(|a| format!("({a})")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| parts.join(" and ")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| parts.join(" or ")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) and ({b})")),
        ]
    })
}

/// Valid conditions after a few characters were taken out, put in, or repeated.
pub(crate) fn mutated() -> impl Strategy<Value = String> {
    let mutation =
        (any::<Index>(), 0..5_u8, any::<char>(), select("()[]\"'\\,=<>! \0anoi.1".chars().collect::<Vec<_>>()));
    (conditions(), prop::collection::vec(mutation, 1..4)).prop_map(|(condition, mutations)| {
        let mut characters: Vec<char> = condition.chars().collect();
        for (place, kind, any, sign) in mutations {
            let place = place.index(characters.len() + 1);
            match kind {
                0 if place < characters.len() => drop(characters.remove(place)),
                1 => characters.insert(place, any),
                2 if place < characters.len() => characters[place] = sign,
                3 => characters.truncate(place),
                _ => characters.insert(place, sign),
            }
        }
        characters.into_iter().collect()
    })
}

/// Text of up to 64 KiB and a little more: one piece again and again, between two others.
pub(crate) fn large() -> impl Strategy<Value = String> {
    (fragments(6), fragments(4), fragments(6), 1..20_000_usize).prop_map(|(before, piece, after, times)| {
        let times = times.min(66_000 / piece.len().max(1));
        format!("{before}{}{after}", piece.repeat(times))
    })
}
