//! Whatever a rule matches passes: random rules, random opens.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use tercel_filter::Scratch;

use super::*;
use crate::event::{Event, Scratch as EventScratch};
use crate::testing::{Builder, state_with_cat};

const TEXTS: [&str; 22] = [
    "/etc/shadow",
    "/etc",
    "/etc/",
    "/etc/pam.d",
    "/",
    "/e",
    "etc",
    "shadow",
    "/home/u/.ssh/id_rsa",
    "/.ssh/",
    "../",
    "./",
    "//",
    "..",
    "/tmp/x.pem",
    "/tmp",
    ".pem",
    "/a/b/c",
    "/a/b",
    "b",
    "/ETC/shadow",
    "/tmp/../etc",
];

const GLOBS: [&str; 10] =
    ["/etc/*", "/etc/s?adow", "*/pam.d/*", "*../*", "/tmp/*.pem", "/[et]*", "*", "/etc/shadow", "/A/b*", "*.PEM"];

const PATHS: [&str; 8] = ["/etc", "/etc/pam.d/", "/", "/tmp/*", "/a/*/c", "/home/u*/.ssh", "etc", "/a/./b"];

const PATH_FIELDS: [&str; 9] = [
    "fd.name",
    "fd.nameraw",
    "fs.path.name",
    "fs.path.nameraw",
    "evt.arg.name",
    "evt.abspath",
    "fd.directory",
    "fd.filename",
    "fd.realpath",
];

/// Comparisons without a path. Those of the process hold or do not; `cat` runs.
const OTHERS: [&str; 39] = [
    "evt.type = open",
    "evt.type in (open, openat)",
    "evt.type = openat2",
    "evt.type = creat",
    "evt.type != openat",
    "evt.is_open_read = true",
    "evt.is_open_read = false",
    "evt.is_open_write = true",
    "evt.is_open_write != true",
    "evt.is_open_create = true",
    "evt.is_open_exec = true",
    "evt.res = SUCCESS",
    "evt.res != SUCCESS",
    "evt.res startswith E",
    "evt.res = ENOENT",
    "evt.res in (SUCCESS, EACCES)",
    "evt.failed = true",
    "evt.failed = false",
    "evt.rawres >= 0",
    "evt.rawres < 0",
    "evt.rawres != -2",
    "evt.rawres in (3, -13)",
    "evt.rawres = -2",
    "fd.num >= 0",
    "fd.num = -1",
    "fd.num < 1",
    "fd.typechar = f",
    "evt.arg.flags contains O_WRONLY",
    "evt.arg.flags contains O_RDONLY",
    "evt.arg.flags contains anyof (O_RDWR, O_CREAT)",
    "evt.arg.flags = O_RDONLY",
    "evt.arg.flags startswith O_RDWR",
    "evt.arg.flags contains O_TRUNC",
    "evt.arg.flags contains O_CREAT",
    "evt.rawarg.flags != 1",
    "fd.realpath exists",
    "proc.name = cat",
    "proc.name = dog",
    "evt.num = 0",
];

fn comparison() -> impl Strategy<Value = String> {
    let plain = (
        select(&PATH_FIELDS[..]),
        select(vec!["=", "!=", "startswith", "endswith", "contains", "icontains"]),
        select(&TEXTS[..]),
    )
        .prop_map(|(field, operator, text)| format!("{field} {operator} {text}"));
    let several = (select(&PATH_FIELDS[..]), prop::collection::vec(select(&TEXTS[..]), 1..4))
        .prop_map(|(field, texts)| format!("{field} in ({})", texts.join(", ")));
    let quantified = (
        select(&PATH_FIELDS[..]),
        select(vec!["startswith", "contains", "endswith", "="]),
        select(vec!["anyof", "oneof", "allof"]),
        prop::collection::vec(select(&TEXTS[..]), 1..4),
    )
        .prop_map(|(field, operator, quantifier, texts)| {
            format!("{field} {operator} {quantifier} ({})", texts.join(", "))
        });
    let globs = (select(&PATH_FIELDS[..]), select(vec!["glob", "iglob"]), select(&GLOBS[..]))
        .prop_map(|(field, operator, glob)| format!("{field} {operator} \"{glob}\""));
    let paths = (select(&PATH_FIELDS[..]), prop::collection::vec(select(&PATHS[..]), 1..3))
        .prop_map(|(field, paths)| format!("{field} pmatch ({})", paths.join(", ")));
    let others = select(&OTHERS[..]).prop_map(str::to_owned);
    prop_oneof![3 => plain, 1 => several, 1 => quantified, 1 => globs, 1 => paths, 4 => others]
}

/// Of the kind that rules mostly are: a bit or two, and paths that are all near to one another.
fn simple_condition() -> impl Strategy<Value = String> {
    let texts = || select(vec!["/a", "/a/b", "/a/b/c", "/a/bc", "/b", "/"]);
    let fields = || select(vec!["fd.name", "fd.name", "fd.nameraw", "fd.directory"]);
    let path = prop_oneof![
        (fields(), select(vec!["=", "startswith", "glob"]), texts())
            .prop_map(|(field, operator, text)| format!("{field} {operator} {text}")),
        (fields(), select(vec!["in", "pmatch", "startswith anyof"]), texts(), texts())
            .prop_map(|(field, operator, one, other)| format!("{field} {operator} ({one}, {other})")),
    ];
    let bit = select(vec!["evt.num > 0", "evt.is_open_read = true", "evt.is_open_write = true", "evt.failed = true"]);
    let join = select(vec![" and ", " and ", " or "]);
    (bit, path.clone(), join, path).prop_map(|(bit, one, join, other)| format!("{bit} and ({one}{join}{other})"))
}

fn condition() -> impl Strategy<Value = String> {
    comparison().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" or "))),
            1 => inner.prop_map(|part| format!("not ({part})")),
        ]
    })
}

/// Near to what conditions name.
fn path() -> impl Strategy<Value = String> {
    let known = select([&TEXTS[..], &PATHS[..], &GLOBS[..]].concat());
    let behind = select(vec!["", "", "", "/", "x", "/x", "/../b", "//b", ".pem", "/.", "/pam.d/su"]);
    let before = select(vec!["", "", "", "", "/a", "/x/..", "/"]);
    (before, known, behind).prop_map(|(before, known, behind)| format!("{before}{known}{behind}"))
}

#[derive(Debug, Clone)]
struct Open {
    event_type: EventType,
    path: String,
    flags: u32,
    result: i64,
}

impl Open {
    fn bit(&self) -> u8 {
        let is_creat = self.event_type == EventType::CREAT;
        open_bit(if is_creat { u32::from(WRITE_ONLY) } else { self.flags }, self.result < 0)
    }

    fn record(&self) -> Builder {
        let kernel_path = if self.result >= 0 && self.path.starts_with('/') { &*self.path } else { "" };
        Builder::opens(self.event_type, self.flags, 0o755, self.result, &self.path, kernel_path)
    }
}

fn open() -> impl Strategy<Value = Open> {
    let types = vec![EventType::OPEN, EventType::OPENAT, EventType::OPENAT2, EventType::CREAT];
    let flags =
        (0..3_u32, select(vec![0, 0o100, 0o1_101 & !3, 0o2_000_000])).prop_map(|(access, others)| access | others);
    (select(types), path(), flags, select(vec![0_i64, 3, 3, -1, -2, -13]))
        .prop_map(|(event_type, path, flags, result)| Open { event_type, path, flags, result })
}

fn simple_open() -> impl Strategy<Value = Open> {
    let paths = select(vec!["/a", "/a/b", "/a/b/c", "/a/bc", "/a/b/x", "/b", "/b/", "/", "/a/b/../c", "/a/b/"]);
    (paths, 0..3_u32, select(vec![3, -2])).prop_map(|(path, flags, result)| Open {
        event_type: EventType::OPENAT,
        path: path.to_owned(),
        flags,
        result,
    })
}

/// How many of the opens a rule matches.
fn matched(detector: &Detector, opens: &[Open]) -> Result<usize, TestCaseError> {
    let filter = OpenFilter::new(detector);
    let (state, scratch, mut filter_scratch) = (state_with_cat(), EventScratch::default(), Scratch::new());
    let mut count = 0;
    for open in opens {
        let bytes = open.record().bytes();
        let event = Event::new(1, 0, Builder::parse(&bytes), &state, &scratch).unwrap();
        if detector.matches(&event, &mut filter_scratch).next().is_some() {
            count += 1;
            let passes = filter.passes(open.bit(), open.path.as_bytes());
            prop_assert!(passes, "{:?} is matched and does not pass {:?}", open, filter);
        }
    }
    Ok(count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_a_rule_matches_passes(
        conditions in prop::collection::vec(condition(), 1..3),
        opens in prop::collection::vec(open(), 64),
    ) {
        let conditions: Vec<_> = conditions.iter().map(String::as_str).collect();
        matched(&detector(&conditions), &opens)?;
    }

    #[test]
    fn what_rules_about_neighbouring_paths_match_passes(
        conditions in prop::collection::vec(simple_condition(), 1..4),
        opens in prop::collection::vec(simple_open(), 32),
    ) {
        let conditions: Vec<_> = conditions.iter().map(String::as_str).collect();
        matched(&detector(&conditions), &opens)?;
    }
}

#[test]
fn random_rules_match_some_opens_and_hold_back_others() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let sample = (condition(), prop::collection::vec(open(), 64));
    let (mut matched_opens, mut held_back) = (0, 0);
    for _ in 0..200 {
        let (condition, opens) = sample.new_tree(&mut runner).unwrap().current();
        let detector = detector(&[&condition]);
        matched_opens += matched(&detector, &opens).unwrap();
        let filter = OpenFilter::new(&detector);
        let passes = |open: &&Open| filter.passes(open.bit(), open.path.as_bytes());
        held_back += opens.len() - opens.iter().filter(passes).count();
    }
    assert!(matched_opens > 1_000 && held_back > 1_000, "{matched_opens} matched, {held_back} held back");
}
