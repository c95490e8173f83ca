//! Items → rules: later definitions replace earlier ones, then lists, macros and conditions are compiled together.

use std::collections::{BTreeMap, BTreeSet};

use tercel_alert::Priority;
use tercel_filter::{Catalog, Error, Filter, Scope, parse};

use super::place::Text;
use super::read::{Item, ItemKind, Node};
use super::{Problem, RULES_MAX, Rule, Severity};

/// The only event source there is.
const SOURCE: &str = "syscall";

/// What a rule must say.
const REQUIRED_KEYS: [&str; 4] = ["condition", "output", "desc", "priority"];

/// Keys of Falco's that are read without effect, and why.
const IGNORED_KEYS: [&str; 3] = ["capture", "capture_duration", "skip-if-unknown-filter"];

fn known_keys(kind: ItemKind) -> &'static [&'static str] {
    match kind {
        ItemKind::List => &["list", "items", "append", "override"],
        ItemKind::Macro => &["macro", "condition", "append", "override"],
        ItemKind::Rule => &[
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

/// A rule as written: required keys are there, values have their types.
struct Draft {
    item: String,
    name: Text,
    description: String,
    priority: Priority,
    condition: Text,
    output: Text,
    tags: BTreeSet<String>,
    enabled: bool,
}

/// All that the files define so far.
struct Resolver<'a> {
    problems: &'a mut Vec<Problem>,
    scope: Scope,
    /// The last definition's condition, for errors inside of it.
    macros: BTreeMap<String, Text>,
    rules: Vec<Draft>,
    /// Name → position in `rules`.
    positions: BTreeMap<String, usize>,
}

/// The rules that the items define.
pub(super) fn rules(items: Vec<Item>, catalog: &dyn Catalog, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let mut resolver = Resolver {
        problems,
        scope: Scope::new(),
        macros: BTreeMap::new(),
        rules: Vec::new(),
        positions: BTreeMap::new(),
    };
    for item in items {
        resolver.define(&item);
    }
    resolver.compile(catalog)
}

impl Resolver<'_> {
    fn define(&mut self, item: &Item) {
        self.check_keys(item);
        if !self.is_supported(item) {
            return;
        }
        match item.kind {
            ItemKind::List => self.define_list(item),
            ItemKind::Macro => self.define_macro(item),
            ItemKind::Rule => self.define_rule(item),
        }
    }

    fn error(&mut self, at: &Text, item: &Item, message: impl Into<String>) {
        self.problems.push(Problem::at(Severity::Error, at, Some(item.title()), message));
    }

    fn warn(&mut self, at: &Text, item: &Item, message: impl Into<String>) {
        self.problems.push(Problem::at(Severity::Warning, at, Some(item.title()), message));
    }

    fn check_keys(&mut self, item: &Item) {
        let known = known_keys(item.kind);
        for (key, _) in &item.keys {
            if !known.contains(&&**key) {
                let message = format!("unknown key `{}`, known keys: {}", key.escape_debug(), known.join(", "));
                self.warn(key, item, message);
            } else if IGNORED_KEYS.contains(&&**key) {
                self.warn(key, item, format!("`{}` is not supported yet and has no effect", &**key));
            }
        }
    }

    /// Whether the item defines something anew, rather than changing an earlier definition.
    fn is_supported(&mut self, item: &Item) -> bool {
        let mut unsupported = |node: &Node, what: &str| {
            self.error(node.text(), item, format!("not supported yet: {what}; define the whole item anew"));
            false
        };
        match item.get("append") {
            Some(Node::Scalar(text)) if boolean(text) == Some(false) => {}
            Some(node) => return unsupported(node, "`append: true`"),
            None => {}
        }
        if let Some(node) = item.get("override") {
            return unsupported(node, "`override`");
        }
        match item.get("exceptions") {
            Some(node) if has_values(node) => unsupported(node, "`exceptions` with values"),
            _ => true,
        }
    }

    fn define_list(&mut self, item: &Item) {
        let Some(Node::Sequence(elements, _)) = item.get("items") else {
            self.error(&item.name, item, "expected `items` with a sequence of values");
            return;
        };
        let mut texts = Vec::with_capacity(elements.len());
        for element in elements {
            match element {
                Node::Scalar(text) if !text.is_null() => texts.push(text),
                other => self.error(other.text(), item, "expected a value in the list, found null or a nested one"),
            }
        }
        let items = texts.iter().map(|text| text.to_string()).collect();
        if let Err(error) = self.scope.add_list(&*item.name, items) {
            self.error(&item.name, item, error.message());
        }
    }

    fn define_macro(&mut self, item: &Item) {
        let Some(condition) = self.scalar(item, "condition") else {
            return;
        };
        if !is_identifier(&item.name) {
            let message =
                "a macro's name takes letters, digits and underscores, a letter first; conditions cannot name it";
            self.warn(&item.name, item, message);
        }
        match parse(&condition) {
            Ok(expr) => self.scope.add_macro(&*item.name, expr),
            Err(error) => self.problems.push(problem(&condition, item.title(), &error)),
        }
        self.macros.insert(item.name.to_string(), condition);
    }

    fn define_rule(&mut self, item: &Item) {
        if !REQUIRED_KEYS.iter().any(|key| item.get(key).is_some()) && item.get("enabled").is_some() {
            self.switch_rule(item);
            return;
        }
        if let Some(Node::Scalar(source)) = item.get("source")
            && &**source != SOURCE
        {
            self.warn(
                source,
                item,
                format!("unknown source `{}`, only `{SOURCE}` is known; skipped", source.escape_debug()),
            );
            return;
        }
        let Some(draft) = self.draft(item) else {
            return;
        };
        if let Some(position) = self.positions.get(&*item.name) {
            self.rules[*position] = draft;
        } else if self.rules.len() == RULES_MAX {
            self.error(&item.name, item, format!("more than {RULES_MAX} rules"));
        } else {
            self.positions.insert(item.name.to_string(), self.rules.len());
            self.rules.push(draft);
        }
    }

    /// The old form of switching an earlier rule on or off.
    fn switch_rule(&mut self, item: &Item) {
        let Some(enabled) = self.flag(item, "enabled") else {
            return;
        };
        match self.positions.get(&*item.name) {
            Some(position) => {
                self.rules[*position].enabled = enabled;
                self.warn(&item.name, item, "`enabled` on its own is deprecated: define the rule anew");
            }
            None => self.error(&item.name, item, "there is no earlier rule of this name to switch on or off"),
        }
    }

    /// All that is missing or malformed is reported, not only the first.
    fn draft(&mut self, item: &Item) -> Option<Draft> {
        let condition = self.scalar(item, "condition");
        let output = self.scalar(item, "output");
        let description = self.scalar(item, "desc");
        let priority = self.scalar(item, "priority").and_then(|text| self.priority(item, &text));
        let tags = self.tags(item);
        let enabled = if item.get("enabled").is_some() { self.flag(item, "enabled") } else { Some(true) };
        Some(Draft {
            item: item.title(),
            name: item.name.clone(),
            description: description?.trim().to_owned(),
            priority: priority?,
            condition: condition?,
            output: output?,
            tags,
            enabled: enabled?,
        })
    }

    /// A key that must be there and hold text.
    fn scalar(&mut self, item: &Item, key: &str) -> Option<Text> {
        match item.get(key) {
            Some(Node::Scalar(text)) => return Some(text.clone()),
            Some(other) => self.error(other.text(), item, format!("expected text after `{key}`")),
            None => self.error(&item.name, item, format!("the key `{key}` is missing")),
        }
        None
    }

    fn flag(&mut self, item: &Item, key: &str) -> Option<bool> {
        let text = self.scalar(item, key)?;
        let flag = boolean(&text);
        if flag.is_none() {
            self.error(&text, item, format!("expected true or false after `{key}`, found `{}`", text.escape_debug()));
        }
        flag
    }

    fn priority(&mut self, item: &Item, text: &Text) -> Option<Priority> {
        text.parse().map_err(|error: tercel_alert::ParsePriorityError| self.error(text, item, error.to_string())).ok()
    }

    fn tags(&mut self, item: &Item) -> BTreeSet<String> {
        match item.get("tags") {
            None => BTreeSet::new(),
            Some(Node::Sequence(elements, _)) if elements.iter().all(|element| matches!(element, Node::Scalar(_))) => {
                elements.iter().map(|element| element.text().to_string()).collect()
            }
            Some(other) => {
                self.error(other.text(), item, "expected a sequence of texts after `tags`");
                BTreeSet::new()
            }
        }
    }

    fn compile(self, catalog: &dyn Catalog) -> Vec<Rule> {
        let Self { problems, scope, macros, rules: drafts, .. } = self;
        let mut rules = Vec::with_capacity(drafts.len());
        for draft in drafts {
            match Filter::parse(&draft.condition, &scope, catalog) {
                Ok(filter) => rules.push(rule(draft, filter)),
                Err(error) => {
                    let inside = error.macro_name().and_then(|name| macros.get(name));
                    let problem = problem(inside.unwrap_or(&draft.condition), draft.item, &error);
                    // A broken macro is one problem, however many rules use it.
                    if inside.is_none() || !problems.iter().any(|known| known.is_same(&problem)) {
                        problems.push(problem);
                    }
                }
            }
        }
        rules
    }
}

fn rule(draft: Draft, filter: Filter) -> Rule {
    Rule {
        name: draft.name.to_string(),
        description: draft.description,
        priority: draft.priority,
        output: draft.output,
        tags: draft.tags,
        filter,
        enabled: draft.enabled,
        place: draft.name.place(),
    }
}

/// A condition's error at its place in the file.
fn problem(condition: &Text, item: String, error: &Error) -> Problem {
    let (place, snippet) = condition.locate(error.span());
    let message = match error.macro_name() {
        Some(name) => format!("in macro `{}`: {error}", name.escape_debug()),
        None => error.to_string(),
    };
    Problem { severity: Severity::Error, place, item: Some(item), message, snippet }
}

fn has_values(exceptions: &Node) -> bool {
    let Node::Sequence(elements, _) = exceptions else {
        return true;
    };
    elements.iter().any(|element| match element {
        Node::Mapping(keys, _) => keys.iter().any(|(key, _)| &**key == "values"),
        _ => true,
    })
}

/// What YAML 1.1 takes for true and false, since Falco's reader does.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" => Some(true),
        "false" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|character: char| character.is_ascii_alphabetic())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}
