//! Bad input: refused with a clear message, in bounded time and memory.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// More than anything here takes, less than what is not bounded would.
const PATIENCE: Duration = Duration::from_secs(20);

/// The file has this one error, which is found soon.
#[track_caller]
fn check_refused(text: &[u8], expected: &str) {
    let start = Instant::now();
    let problems = load_text(&[("a.yaml", text)], &TestCatalog).expect_err(expected);
    let errors: Vec<_> = problems.iter().filter(|problem| problem.severity() == Severity::Error).collect();
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
    assert!(errors.len() == 1 && errors[0].to_string().starts_with(expected), "{}\nexpected {expected}", errors[0]);
    assert!(errors[0].to_string().len() < 1_000);
}

#[test]
fn a_file_beyond_the_bound_is_refused_by_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    // Sparse: 1 GiB that no disk has to hold, and nobody reads.
    File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let start = Instant::now();
    let problems = load(std::slice::from_ref(&path), &TestCatalog).unwrap_err();
    assert!(
        problems[0].to_string().contains("LOAD_ERR_FILE_READ: the file is larger than 4194304 bytes"),
        "{}",
        problems[0]
    );
    assert!(start.elapsed() < Duration::from_secs(1));
    // A device says that it has no size.
    let problems = load(&["/dev/zero".into()], &TestCatalog).unwrap_err();
    assert!(problems[0].to_string().contains("larger than 4194304 bytes"), "{}", problems[0]);
    fs::remove_file(path).unwrap();
}

#[test]
fn all_files_together_have_a_bound() {
    let text = vec![b'#'; 4 * 1024 * 1024];
    let texts: Vec<(&str, &[u8])> = ["a", "b", "c", "d", "e"].into_iter().map(|name| (name, text.as_slice())).collect();
    let problems = load_text(&texts, &TestCatalog).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().starts_with(
        "e: error LOAD_ERR_YAML_PARSE: the files, with what their aliases repeat, have more than 16777216 bytes"
    ));
}

#[test]
fn what_is_no_text_is_refused() {
    check_refused(b"# caf\xe9", "a.yaml: error LOAD_ERR_YAML_PARSE: the file is not UTF-8 from byte 5 on");
    check_refused(
        b"- list: l\0",
        "a.yaml: error LOAD_ERR_YAML_PARSE: byte 9 of the file is NUL, which YAML does not allow",
    );
}

#[test]
fn deep_nesting_is_refused() {
    check_refused(
        "- ".repeat(10_000).as_bytes(),
        "a.yaml:1:65: error LOAD_ERR_YAML_PARSE: not YAML that can be read: nested deeper than 32 levels",
    );
    check_refused("[".repeat(100_000).as_bytes(), "a.yaml:1:");
    let parentheses = format!("{}proc.pid = 1{}", "(".repeat(10_000), ")".repeat(10_000));
    check_refused(rule(&parentheses, "").as_bytes(), "a.yaml:6:");
}

#[test]
fn aliases_cannot_explode() {
    let mut bomb = String::from("- &a0 [x]\n");
    for level in 1..30 {
        let below = level - 1;
        writeln!(bomb, "- &a{level} [*a{below}, *a{below}]").unwrap();
    }
    check_refused(bomb.as_bytes(), "a.yaml:");
    let wide = format!("- &a {}\n{}", "x".repeat(1 << 20), "- *a\n".repeat(100_000));
    check_refused(
        wide.as_bytes(),
        "a.yaml:15:3: error LOAD_ERR_YAML_PARSE: not YAML that can be read: the files, with what their aliases repeat",
    );
    let mut deep = String::from("- &a0 [x]\n");
    for level in 1..1_000 {
        writeln!(deep, "- &a{level} [*a{}]", level - 1).unwrap();
    }
    check_refused(deep.as_bytes(), "a.yaml:32:");
    check_refused(
        b"- &a [*a]\n",
        "a.yaml:1:7: error LOAD_ERR_YAML_PARSE: not YAML that can be read: this alias stands inside of what it names",
    );
}

#[test]
fn many_items_are_refused() {
    check_refused(
        "- list: l\n  items: []\n".repeat(30_000).as_bytes(),
        "a.yaml:40001:3: error LOAD_ERR_VALIDATE: list `l`: more than 20000 items; this and what follows is not read",
    );
    check_refused(
        format!("- list: l\n  items: [{}]\n", "a,".repeat(300_000)).as_bytes(),
        "a.yaml:1:3: error LOAD_ERR_VALIDATE: list `l`: the lists have more than 200000 items together",
    );
    check_refused(
        "- a\n".repeat(1_000_000).as_bytes(),
        "a.yaml:500000:3: error LOAD_ERR_YAML_PARSE: not YAML that can be read: the files have more than 500000 values together",
    );
}

#[test]
fn many_problems_are_counted() {
    let problems = problems(&[&"- x: y\n".repeat(10_000)]);
    assert_eq!(problems.len(), 201);
    assert_eq!(problems[200], "a.yaml: warning LOAD_UNKNOWN_ITEM: 9800 more warnings in this file are not shown");
    // One line, so that every place has to be looked for in all of it.
    let start = Instant::now();
    let problems =
        load_files(&[&format!("[{}]", "{x: y},".repeat(100_000))]).map_or_else(|problems| problems, |set| set.warnings);
    assert!(problems.len() == 201 && start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn a_long_condition_and_a_long_regular_expression_are_refused() {
    let regex = rule(&format!("proc.name regex '{}'", "a".repeat(1 << 20)), "");
    check_refused(
        regex.as_bytes(),
        "a.yaml:6:14: error LOAD_ERR_COMPILE_CONDITION: rule `r`: the condition has 1048594 bytes",
    );
    let counted = rule("proc.name regex '((a{1000}){1000}){1000}'", "");
    check_refused(counted.as_bytes(), "a.yaml:6:30: error LOAD_ERR_COMPILE_CONDITION: rule `r`: ");
}

#[test]
fn macros_cannot_explode() {
    let mut file = String::from("- macro: m0\n  condition: proc.pid = 1\n");
    for level in 1..64 {
        writeln!(file, "- macro: m{level}\n  condition: m{0} or m{0}", level - 1).unwrap();
    }
    check_refused((file.clone() + &rule("m63", "")).as_bytes(), "a.yaml:");
    // Each rule is within its bound, all together are not.
    for number in 0..1_000 {
        file += &rule("m14", "").replace("rule: r", &format!("rule: r{number}"));
    }
    let start = Instant::now();
    let problems = load_files(&[&file]).unwrap_err();
    let errors: Vec<_> = problems.iter().filter(|problem| problem.severity() == Severity::Error).collect();
    assert!(errors.len() == 1 && errors[0].message.ends_with("have more than 2000000 parts"), "{}", errors[0]);
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
}

#[test]
fn a_long_cycle_of_macros_is_refused() {
    const MACROS: usize = 5_000;
    let mut file: String =
        (0..MACROS).fold(String::new(), |file, name| file + &format!("- macro: m{name}\n  condition: proc.pid = 1\n"));
    for name in 0..MACROS {
        writeln!(file, "- macro: m{name}\n  condition: m{}", (name + 1) % MACROS).unwrap();
    }
    check_refused(
        (file + &rule("m0", "")).as_bytes(),
        "a.yaml:10002:14: error LOAD_ERR_VALIDATE: macro `m0`: macro `m0` names itself in a loop: `m0` → `m1` →",
    );
}

#[test]
fn exceptions_and_alternatives_are_bounded() {
    let exceptions = "  - {name: e, fields: proc.name, values: [x]}\n".repeat(1_001);
    check_refused(
        rule("proc.pid = 1", &format!("  exceptions:\n{exceptions}")).as_bytes(),
        "a.yaml:1:3: error LOAD_ERR_VALIDATE: rule `r`: 1001 exceptions, at most 1000 are read",
    );
    let append = |name: usize| {
        format!(
            "- rule: r\n  exceptions: [{{name: e{name}, fields: proc.name, values: [x]}}]\n  override: {{exceptions: append}}\n"
        )
    };
    check_refused(
        (rule("proc.pid = 1", "") + &(0..1_001).map(append).collect::<String>()).as_bytes(),
        "a.yaml:3008:16: error LOAD_ERR_VALIDATE: rule `r`: the rule has as many exceptions as are read",
    );
    let alternatives = "{name: x, version: 1.0.0},".repeat(101);
    check_refused(
        format!("- required_plugin_versions: [{{name: y, version: 1.0.0, alternatives: [{alternatives}]}}]\n")
            .as_bytes(),
        "a.yaml:1:70: error LOAD_ERR_YAML_VALIDATE: expected a sequence of at most 100 after `alternatives`",
    );
}

/// Words that rule files are made of.
const WORDS: [&str; 46] = [
    "- rule: ",
    "- macro: ",
    "- list: ",
    "r",
    "m",
    "\n  condition: ",
    "\n  items: ",
    "\n  desc: d",
    "\n  output: ",
    "\n  priority: info",
    "\n  append: true",
    "\n  override:",
    "\n    condition: append",
    "\n  exceptions:",
    "\n  - name: e",
    "\n    fields: ",
    "\n    comps: ",
    "\n    values: ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "proc.name",
    " = ",
    " in (",
    ")",
    "m and not ",
    "%proc.name",
    "'",
    "\"",
    "\n",
    "- ",
    ": ",
    "&a ",
    "*a",
    "|",
    ">-",
    "~",
    "é",
    "\\",
    "#",
    "---",
    "\r",
    "\n  enabled: false",
    "\n  tags: ",
];

/// Whole items, which define, extend and break one another.
const ITEMS: [&str; 16] = [
    "- rule: r\n  desc: d\n  output: o %proc.name\n  priority: info\n  condition: m and proc.name in (l)\n",
    "- rule: r\n  desc: d\n  output: o\n  priority: info\n  condition: >\n    evt.type = open\n    and not m\n  exceptions:\n  - {name: e, fields: [proc.name, fd.name], comps: [=, in], values: [[a, [b, c d]], ['\"x\"', l]]}\n",
    "- rule: r\n  condition: and n\n  override: {condition: append}\n",
    "- rule: r\n  condition: or (proc.pid = 1\n  append: true\n",
    "- rule: r\n  condition: and proc.pid = 2)\n  output: \"%evt.type\\t%\"\n  override: {condition: append, output: replace}\n",
    "- rule: r\n  exceptions: [{name: e, values: [[a, b], c]}, {name: f, fields: proc.name, values: [a b, l]}]\n  override: {exceptions: append}\n",
    "- rule: r\n  enabled: false\n",
    "- macro: m\n  condition: n or proc.name = é\n",
    "- macro: n\n  condition: m\n",
    "- macro: n\n  condition: (proc.aname[2] startswith anyof (l))\n",
    "- macro: m\n  condition: and\n  override: {condition: append}\n",
    "- list: l\n  items: [k, a, 'b c', '\"d e\"']\n",
    "- list: k\n  items: &a [l]\n",
    "- list: l\n  items: *a\n  override: {items: append}\n",
    "---\n- required_engine_version: 0.57.0\n",
    "- required_plugin_versions: [{name: container, version: 0.4.0}]\n",
];

/// Bytes that have something of rule files.
fn rule_file() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => prop::sample::select(ITEMS.to_vec()).prop_map(|item| item.as_bytes().to_vec()),
        1 => prop::sample::select(WORDS.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    // Few of the broken parts, so that most files get past the parser.
    let items = prop::collection::vec(prop::sample::select(ITEMS.to_vec()), 0..12);
    prop_oneof![
        items.prop_map(|items| items.concat().into_bytes()),
        prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat()),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(one in rule_file(), two in rule_file()) {
        let texts: [(&str, &[u8]); 2] = [("a.yaml", &one), ("b.yaml", &two)];
        match load_text(&texts, &TestCatalog) {
            Ok(set) => { super::super::describe(&set, &[]); }
            Err(problems) => problems.iter().for_each(|problem| { let _text = problem.to_string(); }),
        }
    }
}
