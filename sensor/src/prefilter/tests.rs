mod constructs;
mod report;
mod soundness;

use super::*;
use crate::fields::SensorCatalog;

/// Successful opens, then failed ones.
const READ: u8 = open_bit(0, false);
const WRITE: u8 = open_bit(1, false);
const BOTH: u8 = open_bit(2, false);
const FAILED_READ: u8 = open_bit(0, true);
const FAILED_WRITE: u8 = open_bit(1, true);
const FAILED_BOTH: u8 = open_bit(2, true);
const SUCCEEDED: u8 = READ | WRITE | BOTH;
const FAILURES: u8 = FAILED_READ | FAILED_WRITE | FAILED_BOTH;
const ALL: u8 = SUCCEEDED | FAILURES;

/// A rule of each condition.
fn detector(conditions: &[&str]) -> Detector {
    let rule = |(index, condition): (usize, &&str)| {
        format!("- rule: r{index}\n  desc: d\n  condition: >\n    {condition}\n  output: o\n  priority: WARNING\n")
    };
    load(&conditions.iter().enumerate().map(rule).collect::<String>())
}

fn load(rules: &str) -> Detector {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    std::fs::write(&path, rules).unwrap();
    let set = crate::rules::load(&[path], &SensorCatalog).unwrap_or_else(|problems| panic!("{rules}\n{}", problems[0]));
    Detector::new(set).unwrap()
}

fn of(condition: &str) -> OpenFilter {
    OpenFilter::new(&detector(&[condition]))
}

fn texts(filter: &OpenFilter) -> Vec<(&str, u8)> {
    filter.prefixes.iter().map(|(prefix, bits)| (str::from_utf8(prefix).unwrap(), *bits)).collect()
}

#[test]
fn a_plain_path_is_the_same_after_normalisation() {
    let plain = ["/etc/shadow", "/a", "/a.b", "/.ssh", "/a/.b/c", "/x y", "/é"];
    let others = [
        "", "/", "etc", "/etc/", "//a", "/a//b", "/./a", "/a/../b", "/a..b", "/a.", "/a/.", "/..", "./a", "..", "/a./b",
    ];
    for path in plain {
        assert!(is_plain(path.as_bytes()), "{path}");
    }
    for path in others {
        assert!(!is_plain(path.as_bytes()), "{path}");
    }
    let long = format!("/{}", "a".repeat(PLAIN_PATH_BYTES_MAX - 1));
    assert!(is_plain(long.as_bytes()) && !is_plain(format!("{long}a").as_bytes()));
}

#[test]
fn the_bit_says_how_a_file_is_used_and_whether_it_was_opened() {
    let read_write = 2;
    let with_others = 0o2_000_101;
    let table = [(0, false, 1), (with_others, false, 1 << 1), (read_write, true, 1 << 6), (3, false, 1 << 3)];
    for (flags, failed, expected) in table {
        assert_eq!(open_bit(flags, failed), expected, "{flags:o} {failed}");
    }
    for (event_type, bits) in [(EventType::OPENAT, ALL), (EventType::CREAT, WRITE | FAILED_WRITE)] {
        assert_eq!(bits_of_type(event_type).fold(0, |all, bit| all | 1 << bit), bits);
    }
    for bit in bits_of_type(EventType::OPENAT) {
        assert_eq!(1 << bit, open_bit(u32::from(bit % FAILED), bit >= FAILED));
    }
}

#[test]
fn an_open_of_an_unknown_kind_always_passes() {
    let nothing = OpenFilter::default();
    for failed in [false, true] {
        assert!(nothing.passes(open_bit(3, failed), b"/a") && !nothing.passes(open_bit(2, failed), b"/a"));
    }
}

#[test]
fn only_what_a_rule_may_match_passes() {
    let rules = [
        "evt.type = openat and evt.is_open_read = true and fd.num >= 0 and fd.name startswith /etc/s",
        "evt.type = openat and evt.is_open_write = true and fd.name = /etc/shadow",
    ];
    let filter = OpenFilter::new(&detector(&rules));
    assert_eq!(texts(&filter), [("/etc/s", READ | BOTH), ("/etc/shadow", ALL & !FAILED_READ)]);
    for (bit, path, expected) in [
        (READ, "/etc/shadow", true),
        (READ, "/etc/sudoers", true),
        (READ, "/etc/passwd", false),
        (READ, "/etc", false),
        (READ, "etc", true),
        (READ, "/tmp/../etc/shadow", true),
        (WRITE, "/etc/shadow", true),
        (WRITE, "/etc/shadow-", true),
        (WRITE, "/etc/sudoers", false),
        (FAILED_READ, "/etc/shadow", false),
        (FAILED_READ, "../etc/shadow", false),
        (FAILED_WRITE, "/etc/shadow", true),
    ] {
        assert_eq!(filter.passes(bit, path.as_bytes()), expected, "{bit} {path}");
    }
}

#[test]
fn a_prefix_has_the_bits_of_every_shorter_one() {
    let rules = [
        "evt.type = open and evt.is_open_read = true and fd.name startswith /a",
        "evt.type = open and evt.failed = true and fd.name startswith /a/b",
        "evt.type = open and evt.is_open_write = true and fd.name startswith /a/b/c",
    ];
    let filter = OpenFilter::new(&detector(&rules));
    let read = READ | BOTH | FAILED_READ | FAILED_BOTH;
    assert_eq!(texts(&filter), [("/a", read), ("/a/b", read | FAILED_WRITE), ("/a/b/c", ALL)]);
}

#[test]
fn long_prefixes_are_cut() {
    let long = format!("/{}", "a".repeat(200));
    let filter = of(&format!("evt.type = open and fd.name = {long}"));
    assert_eq!(texts(&filter), [(&long[..PREFIX_BYTES_MAX], ALL)]);
    assert!(filter.passes(READ, long.as_bytes()) && !filter.passes(READ, &long.as_bytes()[..PREFIX_BYTES_MAX - 1]));
}

#[test]
fn too_many_prefixes_leave_the_bits_that_have_most_of_them_without_any() {
    let names = |count: usize| (0..count).map(|number| format!("/n/{number}x")).collect::<Vec<_>>().join(",");
    let condition = |count: usize| {
        format!("evt.type = open and fd.num >= 0 and evt.is_open_write = true and fd.name in ({})", names(count))
    };
    let reads = "evt.type = open and evt.is_open_read = true and evt.is_open_write = false and fd.name = /etc/shadow";
    let filter = |count: usize| OpenFilter::new(&detector(&[&condition(count), reads]));
    let most = filter(PREFIXES_MAX - 1);
    assert_eq!((most.any_path, most.prefixes.len(), most.refused), (0, PREFIXES_MAX, 0));
    let over = filter(PREFIXES_MAX);
    assert_eq!((over.any_path, over.by_prefix), (WRITE | BOTH, READ | FAILED_READ));
    assert_eq!((texts(&over), over.refused), (vec![("/etc/shadow", READ | FAILED_READ)], PREFIXES_MAX));
}

#[test]
fn the_kernel_s_path_is_asked_for_by_conditions_and_outputs_of_opens_alone() {
    let needs = |condition: &str, output: &str| {
        let rule = format!("- rule: r\n  desc: d\n  condition: {condition}\n  output: {output}\n  priority: ERROR\n");
        OpenFilter::new(&load(&rule)).needs_kernel_path
    };
    assert!(!needs("evt.type = open and fd.name = /a", "\"%fd.name\""));
    assert!(needs("evt.type = open and fd.name = /a", "\"%fd.realpath\""));
    assert!(needs("evt.type = open and fd.name = /a", "\"%toupper(fd.realpath)\""));
    assert!(needs("evt.type = open and fd.realpath = /a", "o"));
    assert!(needs("evt.type = open and toupper(fd.realpath) = /A", "o"));
    assert!(needs("evt.type = open and fd.name = val(fd.realpath)", "o"));
    assert!(!needs("evt.type = execve", "\"%fd.realpath\""));
    assert!(!needs("evt.type = open and evt.failed = true and fd.realpath = /a", "o"));
}

#[test]
fn rules_about_other_events_leave_nothing_to_be_sent() {
    assert_eq!(of("evt.type = execve and proc.name = sh"), OpenFilter::default());
    assert_eq!(of("evt.type = open and evt.num = 0"), OpenFilter::default());
}

#[test]
fn a_rule_about_every_event_leaves_everything() {
    assert_eq!(of("proc.name = sh").any_path, ALL);
}

#[test]
fn creat_writes_and_an_open_by_handle_has_no_path() {
    let creat = of("evt.type = creat and fd.name = /etc/shadow");
    assert_eq!((creat.by_prefix, texts(&creat)), (WRITE | FAILED_WRITE, vec![("/etc/shadow", WRITE | FAILED_WRITE)]));
    let handle = of("evt.type = open_by_handle_at and fd.name = /etc/shadow");
    assert_eq!((handle.any_path, handle.by_prefix, texts(&handle)), (0, ALL, vec![]));
    let writing =
        of("evt.type in (creat, open_by_handle_at) and evt.is_open_write = true and evt.is_open_read != true");
    assert_eq!((writing.any_path, writing.by_prefix), (WRITE | FAILED_WRITE, BOTH | FAILED_BOTH));
}
