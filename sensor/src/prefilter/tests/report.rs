//! What the rules that there are leave to be sent.

use std::path::{Path, PathBuf};

use super::*;

const BIT_NAMES: [(u8, &str); 6] = [
    (READ, "read"),
    (WRITE, "write"),
    (BOTH, "read-write"),
    (FAILED_READ, "failed read"),
    (FAILED_WRITE, "failed write"),
    (FAILED_BOTH, "failed read-write"),
];

fn names(bits: u8) -> String {
    let names = BIT_NAMES.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| name);
    names.collect::<Vec<_>>().join(", ")
}

/// Of each rule that an open can match, what it leaves on its own.
fn by_rule(detector: &Detector) -> Vec<(String, OpenFilter)> {
    let mut by_rule: Vec<(String, Needs)> = Vec::new();
    for event_type in EventType::OPENS {
        for (rule, condition) in detector.candidates(event_type) {
            let place = by_rule.iter().position(|(name, _)| **name == *rule.name);
            let place = place.unwrap_or_else(|| {
                by_rule.push((rule.name.to_string(), Needs::default()));
                by_rule.len() - 1
            });
            by_rule[place].1.add(event_type, rule, condition);
        }
    }
    by_rule.into_iter().map(|(name, needs)| (name, needs.into_filter())).collect()
}

fn print(title: &str, filter: &OpenFilter) {
    println!("{title}");
    println!("  whatever the path: [{}]", names(filter.any_path));
    println!("  by prefix: [{}]", names(filter.by_prefix));
    println!("  kernel's path: {}", filter.needs_kernel_path);
    for (prefix, bits) in &filter.prefixes {
        println!("    {} [{}]", String::from_utf8_lossy(prefix), names(*bits));
    }
}

fn report(path: PathBuf) -> OpenFilter {
    let set = crate::rules::load(&[path], &SensorCatalog).unwrap_or_else(|problems| panic!("{}", problems[0]));
    let detector = Detector::new(set).unwrap();
    let filter = OpenFilter::new(&detector);
    print("all rules", &filter);
    for (name, filter) in by_rule(&detector) {
        print(&name, &filter);
    }
    filter
}

#[test]
fn upstream_s_stable_rules_ask_for_few_files_that_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/falco-rules/falco_rules.yaml");
    if !path.exists() {
        return println!("skipped: {} is not there", path.display());
    }
    let filter = report(path);
    assert_eq!(filter.any_path & (READ | FAILED_READ), 0);
    let read: Vec<_> = texts(&filter).into_iter().filter(|(_, bits)| bits & READ != 0).map(|(text, _)| text).collect();
    assert!(!read.is_empty() && read.len() <= 20, "{read:?}");
    assert!(read.iter().all(|prefix| prefix.starts_with("/etc/")), "{read:?}");
    for (bit, path, expected) in [
        (READ, "/etc/shadow", true),
        (READ, "/etc/pam.d/sshd", true),
        (READ, "/etc/ld.so.cache", false),
        (READ, "/usr/lib/x86_64-linux-gnu/libc.so.6", false),
        (READ, "../../etc/shadow", true),
        (FAILED_READ, "/etc/shadow", false),
    ] {
        assert_eq!(filter.passes(bit, path.as_bytes()), expected, "{bit} {path}");
    }
    assert!(!filter.needs_kernel_path);
}

#[test]
fn the_shipped_rules_need_the_kernel_s_path() {
    let filter = report(Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules"));
    assert!(filter.needs_kernel_path);
}
