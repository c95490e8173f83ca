//! Rule files → rules and problems.

mod bounds;
mod change;
mod codes;
mod conditions;
mod describe;
mod exceptions;
mod files;
mod report;
mod select;
mod upstream;

use tercel_filter::{Argument, Catalog, Field, FieldId, Fields, Kind, Scratch, Value};

use super::*;

/// A few fields, of every type that matters here.
struct TestCatalog;

const EVENT_TYPES: Kind = Kind::Enum { what: "event type", names: crate::event::NAMES, ordered: false };

const FIELDS: [(&str, Kind, Argument); 8] = [
    ("proc.name", Kind::Text, Argument::None),
    ("proc.pname", Kind::Text, Argument::None),
    ("proc.aname", Kind::Text, Argument::Optional),
    ("proc.pid", Kind::Number, Argument::None),
    ("fd.name", Kind::Text, Argument::None),
    ("evt.type", EVENT_TYPES, Argument::None),
    ("evt.dir", Kind::Text, Argument::None),
    ("evt.latency.s", Kind::Number, Argument::None),
];

impl Catalog for TestCatalog {
    fn field(&self, name: &str) -> Option<Field> {
        let (id, (_, kind, argument)) = (0..).zip(FIELDS).find(|(_, field)| field.0 == name)?;
        Some(Field { argument, ..Field::new(FieldId(id), kind) })
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(FIELDS.into_iter().map(|(name, ..)| name))
    }
}

/// A process of this name.
struct Process(&'static str);

impl Fields for Process {
    fn value(&self, field: FieldId, _: Option<&str>) -> Option<Value<'_>> {
        (field.0 == 0).then_some(Value::Text(self.0.as_bytes()))
    }
}

fn matches(rule: &Rule, name: &'static str) -> bool {
    rule.filter.matches(&Process(name), &mut Scratch::new())
}

/// Loads files named `a.yaml`, `b.yaml`, ….
fn load_files(files: &[&str]) -> Result<RuleSet, Vec<Problem>> {
    let names: Vec<_> = ('a'..='z').map(|name| format!("{name}.yaml")).collect();
    let texts: Vec<_> = names.iter().map(String::as_str).zip(files.iter().map(|text| text.as_bytes())).collect();
    load_text(&texts, &TestCatalog)
}

#[track_caller]
fn loaded(files: &[&str]) -> RuleSet {
    load_files(files).unwrap_or_else(|problems| panic!("{}", problems[0]))
}

/// All problems of these files, as `file:line:column: severity CODE: item: message` with the snippet.
fn problems(files: &[&str]) -> Vec<String> {
    let problems = load_files(files).map_or_else(|problems| problems, |set| set.warnings);
    problems.iter().map(Problem::to_string).collect()
}

/// The problems of the files begin like this, in this order.
#[track_caller]
fn check_problems(files: &[&str], expected: &[&str]) {
    let found = problems(files);
    let fits = found.len() == expected.len() && found.iter().zip(expected).all(|(text, start)| text.starts_with(start));
    assert!(fits, "{files:#?}\nfound {found:#?}\nexpected {expected:#?}");
}

/// The compiled condition of the last rule, as Falco prints it.
#[track_caller]
fn compiled(files: &[&str]) -> String {
    let set = loaded(files);
    let rule = set.rules.last().unwrap();
    set.scope.expand(&rule.expr).unwrap().to_string()
}

/// A rule `r` with this condition and these further lines.
fn rule(condition: &str, more: &str) -> String {
    format!(
        "- rule: r\n  desc: d\n  output: o\n  priority: info\n  warn_evttypes: false\n  condition: {condition}\n{more}"
    )
}
