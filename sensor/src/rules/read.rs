//! YAML → items: what a rule file says, before any of it is given a meaning.
//!
//! Scalars stay the text they were written as: `yes`, `0x1f` and `1.50` in a list are strings in Falco's language.

use std::sync::Arc;

use saphyr::{MarkedYaml, Marker, YamlData, YamlLoader};
use saphyr_parser::{Event, Parser, SpannedEventReceiver as _};

use super::place::{Source, Text};
use super::{Problem, Severity};

/// Levels of nesting in a rule file. Falco's items have four.
const NESTING_MAX: usize = 32;

/// One item of a rule file: its kind and name, and every key with its value.
pub(super) struct Item {
    pub(super) kind: ItemKind,
    pub(super) name: Text,
    pub(super) keys: Vec<(Text, Node)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    List,
    Macro,
    Rule,
}

/// A value: the shapes that rule files use.
pub(super) enum Node {
    Scalar(Text),
    /// Its elements, and where it begins.
    Sequence(Vec<Node>, Text),
    /// What else there is, and where it begins.
    Mapping(Vec<(Text, Node)>, Text),
}

impl ItemKind {
    /// In the order in which Falco looks for them.
    const ALL: [Self; 3] = [Self::List, Self::Macro, Self::Rule];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Macro => "macro",
            Self::Rule => "rule",
        }
    }
}

impl Node {
    /// Empty text at the place where the value begins, or the scalar itself.
    pub(super) fn text(&self) -> &Text {
        match self {
            Self::Scalar(text) | Self::Sequence(_, text) | Self::Mapping(_, text) => text,
        }
    }
}

impl Item {
    /// The value of a key. An absent key and a null are the same.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let (_, node) = self.keys.iter().find(|(name, _)| &**name == key)?;
        (!matches!(node, Node::Scalar(text) if text.is_null())).then_some(node)
    }

    /// ``rule `name` ``, for problems.
    pub(super) fn title(&self) -> String {
        format!("{} `{}`", self.kind.name(), self.name.escape_debug())
    }
}

impl Problem {
    /// About a place in the file.
    pub(super) fn at(severity: Severity, text: &Text, item: Option<String>, message: impl Into<String>) -> Self {
        let place = text.place();
        let snippet = text.source().snippet(&place, 1);
        Self { severity, place, item, message: message.into(), snippet }
    }
}

/// The items of a file, in order.
pub(super) fn items(source: &Arc<Source>, problems: &mut Vec<Problem>) -> Vec<Item> {
    let documents = match documents(source.text()) {
        Ok(documents) => documents,
        Err((marker, message)) => {
            let place = source.marked(marker);
            let snippet = source.snippet(&place, 1);
            let message = format!("not YAML: {message}");
            problems.push(Problem { severity: Severity::Error, place, item: None, message, snippet });
            return Vec::new();
        }
    };
    let mut items = Vec::new();
    for document in &documents {
        match node(document, source) {
            Node::Sequence(elements, _) => {
                items.extend(elements.into_iter().filter_map(|element| item(element, problems)));
            }
            Node::Scalar(text) if text.is_null() => {}
            other => problems.push(Problem::at(
                Severity::Error,
                other.text(),
                None,
                "expected a sequence of items (`- rule: …`)",
            )),
        }
    }
    items
}

/// The documents of a YAML stream, all scalars as text.
fn documents(text: &str) -> Result<Vec<MarkedYaml<'_>>, (Marker, String)> {
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    loader.early_parse(false);
    let mut depth = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| (*error.marker(), error.info().to_owned()))?;
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return Err((span.start, format!("nested deeper than {NESTING_MAX} levels")));
        }
        loader.on_event(event, span);
        if let Some(error) = loader.error() {
            return Err((*error.marker(), error.info().to_owned()));
        }
    }
    Ok(loader.into_documents())
}

fn node(yaml: &MarkedYaml<'_>, source: &Arc<Source>) -> Node {
    let start = yaml.span.start;
    let here = || Text::new(String::new(), saphyr::ScalarStyle::Plain, start, source);
    match &yaml.data {
        YamlData::Representation(value, style, _) => {
            Node::Scalar(Text::new(value.clone().into_owned(), *style, start, source))
        }
        YamlData::Sequence(elements) => {
            Node::Sequence(elements.iter().map(|element| node(element, source)).collect(), here())
        }
        YamlData::Mapping(pairs) => {
            let pair = |(key, value): (&MarkedYaml<'_>, &MarkedYaml<'_>)| {
                (node(key, source).text().clone(), node(value, source))
            };
            Node::Mapping(pairs.iter().map(pair).collect(), here())
        }
        YamlData::Tagged(_, inner) => node(inner, source),
        _ => Node::Scalar(here()),
    }
}

/// `None`: nothing to load, with or without a problem.
fn item(node: Node, problems: &mut Vec<Problem>) -> Option<Item> {
    let keys = match node {
        Node::Scalar(text) if text.is_null() => return None,
        Node::Mapping(keys, _) => keys,
        other => {
            let message = "expected an item with keys (`- rule: …`)";
            problems.push(Problem::at(Severity::Error, other.text(), None, message));
            return None;
        }
    };
    let has = |wanted: &str| keys.iter().any(|(key, _)| &**key == wanted);
    // Which engine the file was written for: the language is the same, so there is nothing to compare it with.
    if has("required_engine_version") || has("required_plugin_versions") {
        return None;
    }
    let Some(kind) = ItemKind::ALL.into_iter().find(|kind| has(kind.name())) else {
        let known = "list, macro, rule, required_engine_version, required_plugin_versions";
        if let Some((key, _)) = keys.first() {
            let message = format!("unknown item `{}`, expected one of {known}; skipped", key.escape_debug());
            problems.push(Problem::at(Severity::Warning, key, None, message));
        }
        return None;
    };
    let name = keys.iter().find(|(key, _)| &**key == kind.name()).map(|(_, value)| value)?;
    match name {
        Node::Scalar(name) if !name.trim().is_empty() && !name.is_null() => {
            Some(Item { kind, name: name.clone(), keys })
        }
        other => {
            let message = format!("expected a name after `{}`", kind.name());
            problems.push(Problem::at(Severity::Error, other.text(), None, message));
            None
        }
    }
}
