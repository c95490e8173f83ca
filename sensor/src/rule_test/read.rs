//! Test files → [`Suite`].

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{NoMatch, Problem, Suite, Test};
use crate::eval::Events;
use crate::field_map::{Error, FieldMap};
use crate::rules::file;
use crate::rules::place::{Mark, Place};
use crate::rules::text::Scalar;
use crate::rules::yaml::{self, Budget, Node};

/// The folder of tests, beside the rules.
const FOLDER: &str = "tests";

/// Tests and events of one folder.
const TESTS_MAX: usize = 10_000;

/// The keys of a test, its kind first.
const KEYS: [&str; 8] = ["event", "test", "like", "record", "fields", "match", "no_match", "output"];

/// Stands for all other rules.
const OTHERS: &str = "*";

pub(super) fn suite(folder: &Path) -> Result<Suite, Vec<Problem>> {
    let folder = folder.join(FOLDER);
    let mut reader = Reader::default();
    match file::yaml_files(&folder) {
        Ok(files) => files.iter().for_each(|file| reader.read(file)),
        Err(error) => reader.problems.push(Problem::of_file(&folder, format!("cannot list the folder: {error}"))),
    }
    if reader.tests.is_empty() && reader.problems.is_empty() {
        let message = "no tests here; expected *.yaml files with items such as `- test: …`".to_owned();
        reader.problems.push(Problem::of_file(&folder, message));
    }
    if reader.problems.is_empty() { Ok(Suite { tests: reader.tests }) } else { Err(reader.problems) }
}

impl Problem {
    fn of_file(file: &Path, message: String) -> Self {
        Self { place: Place::file(file), message, snippet: String::new() }
    }

    fn at(mark: &Mark, message: impl Into<String>) -> Self {
        let (place, snippet) = mark.locate();
        Self { place, message: message.into(), snippet }
    }
}

#[derive(Default)]
struct Reader {
    budget: Budget,
    tests: Vec<Test>,
    /// Of the tests and events so far.
    events: HashMap<String, FieldMap>,
    problems: Vec<Problem>,
}

impl Reader {
    fn read(&mut self, file: &Path) {
        let source = match file::read(file, &mut self.budget) {
            Ok(source) => Arc::new(source),
            Err(message) => return self.problems.push(Problem::of_file(file, message)),
        };
        let documents = match yaml::documents(&source, &mut self.budget) {
            Ok(documents) => documents,
            Err(error) => return self.problems.push(Problem::at(&error.mark, format!("not YAML: {}", error.message))),
        };
        for document in &documents {
            match document {
                Node::Sequence(items, _) => items.iter().for_each(|item| self.item(item)),
                other if other.is_null() => {}
                other => self.problems.push(Problem::at(other.mark(), "expected a sequence of tests (`- test: …`)")),
            }
        }
    }

    fn item(&mut self, node: &Node) {
        if let Err(problem) = self.try_item(node) {
            self.problems.push(problem);
        }
    }

    fn try_item(&mut self, node: &Node) -> Result<(), Problem> {
        let item = Item::new(node)?;
        let event = self.event(&item)?;
        let (name, mark) = (item.name.to_string(), item.name.mark());
        if self.events.len() >= TESTS_MAX {
            return Err(Problem::at(mark, format!("more than {TESTS_MAX} tests and events")));
        }
        if item.is_test {
            let test = item.test(event.clone().complete())?;
            self.tests.push(test);
        }
        if self.events.insert(name, event).is_some() {
            return Err(Problem::at(mark, "there is a test or event of this name already"));
        }
        Ok(())
    }

    /// What the item starts from.
    fn base(&self, item: &Item<'_>) -> Result<FieldMap, Problem> {
        match (item.scalar("like")?, item.get("record")) {
            (Some(like), None) => self.events.get(&**like).cloned().ok_or_else(|| {
                Problem::at(
                    like.mark(),
                    format!("no event or test before this one is called `{}`", like.escape_debug()),
                )
            }),
            (None, Some(record)) => recorded(record),
            (None, None) => Ok(FieldMap::default()),
            (Some(like), Some(_)) => Err(Problem::at(like.mark(), "an event starts from `like` or `record`, not both")),
        }
    }

    fn event(&self, item: &Item<'_>) -> Result<FieldMap, Problem> {
        let mut event = self.base(item)?;
        match item.get("fields") {
            Some(Node::Mapping(fields, _)) => {
                for (name, value) in fields {
                    set(&mut event, name, value)?;
                }
            }
            Some(other) if !other.is_null() => {
                return Err(Problem::at(other.mark(), "expected fields (`fields: { evt.type: openat }`)"));
            }
            _ => {}
        }
        Ok(event)
    }
}

/// One test or event as it is written.
struct Item<'a> {
    name: &'a Scalar,
    is_test: bool,
    keys: &'a [(Scalar, Node)],
}

impl<'a> Item<'a> {
    fn new(node: &'a Node) -> Result<Self, Problem> {
        let Node::Mapping(keys, mark) = node else {
            return Err(Problem::at(node.mark(), "expected a test (`- test: …`) or an event (`- event: …`)"));
        };
        let mut seen = Vec::new();
        for (key, _) in keys {
            if !KEYS.contains(&&**key) {
                let message = format!("unknown key `{}`, expected one of {}", key.escape_debug(), KEYS.join(", "));
                return Err(Problem::at(key.mark(), message));
            }
            if seen.contains(&&**key) {
                return Err(Problem::at(key.mark(), "this key stands here twice"));
            }
            seen.push(&**key);
        }
        let of_kind = |kind: &str| keys.iter().find(|(key, _)| &**key == kind).map(|(_, value)| value);
        let (value, is_test) = match (of_kind("test"), of_kind("event")) {
            (Some(value), None) => (value, true),
            (None, Some(value)) => (value, false),
            _ => return Err(Problem::at(mark, "expected either `test: …` or `event: …`")),
        };
        let name = value.scalar().ok_or_else(|| Problem::at(value.mark(), "expected a name"))?;
        let item = Self { name, is_test, keys };
        let of_tests = ["match", "no_match", "output"].into_iter().find(|key| item.get(key).is_some());
        match of_tests {
            Some(key) if !is_test => Err(Problem::at(mark, format!("`{key}` is for tests; this is an event"))),
            _ => Ok(item),
        }
    }

    fn test(&self, event: FieldMap) -> Result<Test, Problem> {
        let mark = self.name.mark();
        let matches = self.get("match").map(names).transpose()?.unwrap_or_default();
        let no_match = match self.get("no_match") {
            Some(Node::Scalar(text)) if &**text == OTHERS => NoMatch::Others,
            node => NoMatch::Rules(node.map(names).transpose()?.unwrap_or_default()),
        };
        if matches.is_empty() && no_match == NoMatch::Rules(Vec::new()) {
            return Err(Problem::at(mark, "a test needs `match` or `no_match`, or it expects nothing"));
        }
        let output = self.scalar("output")?;
        if let (Some(output), true) = (output, matches.is_empty()) {
            return Err(Problem::at(output.mark(), "`output` is that of the first rule under `match`, which is empty"));
        }
        Ok(Test {
            name: self.name.to_string(),
            place: mark.place(),
            like: self.scalar("like")?.map(|like| like.to_string()),
            matches,
            no_match,
            output: output.map(|text| text.trim_end().to_owned()),
            event,
        })
    }

    fn get(&self, wanted: &str) -> Option<&'a Node> {
        self.keys.iter().find(|(key, _)| &**key == wanted).map(|(_, value)| value)
    }

    fn scalar(&self, key: &str) -> Result<Option<&'a Scalar>, Problem> {
        let Some(node) = self.get(key).filter(|node| !node.is_null()) else { return Ok(None) };
        node.scalar().map(Some).ok_or_else(|| Problem::at(node.mark(), format!("expected a text after `{key}`")))
    }
}

/// The event that `record: { file: events.ndjson, num: 3 }` names. The file lies beside the tests.
fn recorded(node: &Node) -> Result<FieldMap, Problem> {
    let refused = |message: String| Problem::at(node.mark(), message);
    let expected = || refused("expected `{ file: events.ndjson, num: 3 }`".to_owned());
    let Node::Mapping(keys, mark) = node else { return Err(expected()) };
    let scalar = |wanted: &str| keys.iter().find(|(key, _)| &**key == wanted).and_then(|(_, value)| value.scalar());
    let num = scalar("num").and_then(|num| num.parse::<i64>().ok());
    let (Some(name), Some(num), 2) = (scalar("file"), num, keys.len()) else { return Err(expected()) };
    let file = mark.source().file().with_file_name(&**name);
    let input = File::open(&file).map_err(|error| refused(format!("cannot read {}: {error}", file.display())))?;
    let shown = file.display().to_string();
    let mut events = Events::new(BufReader::new(input), &shown).strict();
    while let Some((found, event)) = events.next().map_err(|error| refused(format!("{error:#}")))? {
        if found == num {
            return Ok(event);
        }
    }
    Err(refused(format!("{shown} holds no event with the num {num}")))
}

/// Names of rules: a sequence, or one alone.
fn names(node: &Node) -> Result<Vec<String>, Problem> {
    let elements = match node {
        Node::Sequence(elements, _) => elements.as_slice(),
        other if other.is_null() => &[],
        other => std::slice::from_ref(other),
    };
    let name = |element: &Node| {
        let scalar = element.scalar().ok_or_else(|| Problem::at(element.mark(), "expected the name of a rule"))?;
        Ok(scalar.to_string())
    };
    elements.iter().map(name).collect()
}

fn set(event: &mut FieldMap, name: &Scalar, value: &Node) -> Result<(), Problem> {
    event.set(name, &json(value)?).map_err(|error| {
        let is_about_value = matches!(error, Error::Value { .. } | Error::UnknownEventType { .. });
        Problem::at(if is_about_value { value.mark() } else { name.mark() }, error.to_string())
    })
}

/// A field's value. Scalars are texts; what they mean depends on the field.
fn json(node: &Node) -> Result<Json, Problem> {
    match node {
        Node::Scalar(_) if node.is_null() => Ok(Json::Null),
        Node::Scalar(text) => Ok(Json::String(text.to_string())),
        Node::Sequence(elements, _) => elements.iter().map(json).collect::<Result<_, _>>().map(Json::Array),
        Node::Mapping(_, mark) => Err(Problem::at(mark, "expected a value or a list of values, found a map")),
    }
}
