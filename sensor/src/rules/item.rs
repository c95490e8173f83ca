//! Nodes → items: what a rule file says, before any of it is given a meaning.

use std::sync::Arc;

use super::keys::{Keys, shape};
use super::place::Source;
use super::problem::{Code, Context, Problems};
use super::text::Scalar;
use super::yaml::{self, Budget, Node};

/// One item of a rule file: its kind and name, and every key with its value.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: ItemKind,
    /// The value of the key that says the kind; of requirements, which have none, absent.
    pub(super) name: Option<Scalar>,
    pub(super) keys: Keys,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    EngineVersion,
    PluginVersions,
    List,
    Macro,
    Rule,
}

impl ItemKind {
    /// In the order in which Falco looks for them.
    const ALL: [Self; 5] = [Self::EngineVersion, Self::PluginVersions, Self::List, Self::Macro, Self::Rule];

    /// The key that says that an item is one of these.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::EngineVersion => "required_engine_version",
            Self::PluginVersions => "required_plugin_versions",
            Self::List => "list",
            Self::Macro => "macro",
            Self::Rule => "rule",
        }
    }

    /// What Falco's JSON calls it.
    fn item_type(self) -> &'static str {
        match self {
            Self::PluginVersions => "required plugin versions",
            other => other.key(),
        }
    }

    fn is_named(self) -> bool {
        matches!(self, Self::List | Self::Macro | Self::Rule)
    }

    fn known_keys(self) -> &'static [&'static str] {
        match self {
            Self::EngineVersion => &["required_engine_version"],
            Self::PluginVersions => &["required_plugin_versions"],
            Self::List => &["list", "items", "append", "override"],
            Self::Macro => &["macro", "condition", "append", "override"],
            Self::Rule => &[
                "rule",
                "condition",
                "output",
                "desc",
                "priority",
                "source",
                "enabled",
                "capture",
                "capture_duration",
                "warn_evttypes",
                "skip-if-unknown-filter",
                "tags",
                "exceptions",
                "append",
                "override",
            ],
        }
    }
}

/// The items of a file, in order.
pub(super) fn items(source: &Arc<Source>, budget: &mut Budget, problems: &mut Problems) -> Vec<Item> {
    let root = Context::new(source);
    let documents = match yaml::documents(source, budget) {
        Ok(documents) => documents,
        Err(error) => {
            let context = root.within("value for", "", &error.mark);
            problems.report(Code::YamlParse, &context, format!("not YAML that can be read: {}", error.message));
            return Vec::new();
        }
    };
    let mut items = Vec::new();
    for document in documents {
        match document {
            Node::Sequence(elements, _) => {
                items.extend(elements.into_iter().filter_map(|element| item(element, &root, problems)));
            }
            other if other.is_null() => {}
            other => {
                let message = format!("expected a sequence of items (`- rule: …`), found {}", shape(&other));
                problems.report(Code::YamlValidate, &root.within("rules content item", "", other.mark()), message);
            }
        }
    }
    items
}

/// `None`: nothing to load, with or without a problem.
fn item(node: Node, root: &Context, problems: &mut Problems) -> Option<Item> {
    if node.is_null() {
        return None;
    }
    let unknown = root.within("rules content item", "", node.mark());
    let Node::Mapping(pairs, mark) = node else {
        let message = format!("expected an item with keys (`- rule: …`), found {}", shape(&node));
        problems.report(Code::YamlValidate, &unknown, message);
        return None;
    };
    let mut keys = Keys::new(pairs, unknown);
    let Some(kind) = ItemKind::ALL.into_iter().find(|kind| keys.has(kind.key())) else {
        let known: Vec<_> = ItemKind::ALL.iter().map(|kind| kind.key()).collect();
        let message = format!("unknown item: none of its keys is one of {}; ignored", known.join(", "));
        problems.report(Code::UnknownItem, &keys.context, message);
        return None;
    };
    let mut name = None;
    if kind.is_named() {
        keys.context = root.within(kind.item_type(), "", &mark);
        name = Some(keys.text(kind.key(), problems).ok()?.clone());
    }
    keys.context = root.within(kind.item_type(), name.as_deref().unwrap_or_default(), &mark);
    keys.check(kind.known_keys(), problems);
    Some(Item { kind, name, keys })
}
