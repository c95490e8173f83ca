//! Items → definitions: later ones replace, extend or switch earlier ones. Nothing is parsed as a condition yet, since
//! what is appended may complete what is there.

mod change;
mod rule;

use std::collections::HashSet;

use tercel_filter::Catalog;

use super::item::{Item, ItemKind};
use super::keys::{Keys, Reported};
use super::problem::{Code, Context, Problems, quoted};
use super::table::Table;
use super::text::{Scalar, Text};
use super::version::{self, PluginRequirement, Version};
use super::{ITEMS_MAX, LIST_ITEMS_MAX};
use change::{Change, Target};
pub(super) use rule::RuleDefinition;

/// What the files say, with the last word on every name.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    pub(super) lists: Table<ListDefinition>,
    pub(super) macros: Table<MacroDefinition>,
    pub(super) rules: Table<RuleDefinition>,
    /// The highest that was asked for.
    pub(super) engine: Version,
    pub(super) plugins: Vec<PluginRequirement>,
    /// Names whose definition is malformed: what misses them is no mistake of its own.
    pub(super) malformed: HashSet<(&'static str, String)>,
}

#[derive(Debug)]
pub(super) struct ListDefinition {
    pub(super) context: Context,
    pub(super) items: Vec<Scalar>,
}

#[derive(Debug)]
pub(super) struct MacroDefinition {
    pub(super) context: Context,
    pub(super) condition: Text,
}

/// The definitions that these items make, in their order.
pub(super) fn collect(items: Vec<Item>, catalog: &dyn Catalog, problems: &mut Problems) -> Definitions {
    let mut collector = Collector { definitions: Definitions::default(), now: 0, list_items: 0, catalog, problems };
    for item in items {
        if collector.now == ITEMS_MAX {
            let message = format!("more than {ITEMS_MAX} items; this and what follows is not read");
            collector.problems.report(Code::Validate, &item.keys.context, message);
            break;
        }
        collector.item(&item);
        collector.now += 1;
    }
    collector.definitions
}

struct Collector<'a> {
    definitions: Definitions,
    /// How many items there were.
    now: usize,
    /// Of all lists, counted against [`LIST_ITEMS_MAX`].
    list_items: usize,
    catalog: &'a dyn Catalog,
    problems: &'a mut Problems,
}

impl Collector<'_> {
    fn item(&mut self, item: &Item) {
        let (kind, keys) = (item.kind, &item.keys);
        let name = item.name.as_deref().unwrap_or_default();
        let result = match kind {
            ItemKind::EngineVersion => self.engine(keys),
            ItemKind::PluginVersions => {
                self.definitions.plugins.extend(version::plugins(keys, self.problems));
                Ok(())
            }
            ItemKind::List => self.list(name, keys),
            ItemKind::Macro => self.macro_(name, keys),
            ItemKind::Rule => self.rule(name, keys),
        };
        if let Err(Reported) = result {
            self.definitions.malformed.insert((kind.key(), name.to_owned()));
        }
    }

    fn engine(&mut self, keys: &Keys) -> Result<(), Reported> {
        let version = version::engine(keys, self.problems)?;
        self.definitions.engine = self.definitions.engine.max(version);
        Ok(())
    }

    fn list(&mut self, name: &str, keys: &Keys) -> Result<(), Reported> {
        if !is_bare(name) {
            let message = "conditions cannot name the list: its name has a blank, a quote, a parenthesis, `=` or `,`";
            self.problems.report(Code::InvalidListName, &keys.context, message);
        }
        let change = Change::read(keys, Target::LIST, self.problems);
        let items = keys.texts("items", self.problems);
        let (change, items) = (change?, items?.into_iter().cloned());
        self.list_items += items.len();
        if self.list_items > LIST_ITEMS_MAX {
            return Err(self.invalid(keys, format!("the lists have more than {LIST_ITEMS_MAX} items together")));
        }
        if change.appends("items") {
            return match self.definitions.lists.get_mut(name) {
                Some(entry) => {
                    entry.body.items.extend(items);
                    entry.last = self.now;
                    Ok(())
                }
                None => Err(self.missing(ItemKind::List, name, keys)),
            };
        }
        let list = ListDefinition { context: keys.context.clone(), items: items.collect() };
        self.definitions.lists.define(name, list, self.now);
        Ok(())
    }

    fn macro_(&mut self, name: &str, keys: &Keys) -> Result<(), Reported> {
        if !is_identifier(name) {
            let message = "conditions cannot name the macro: its name takes letters, digits and `_`, a letter first";
            self.problems.report(Code::InvalidMacroName, &keys.context, message);
        }
        let change = Change::read(keys, Target::MACRO, self.problems);
        let condition = keys.text("condition", self.problems).map(|text| Text::from(text.clone()));
        let (change, condition) = (change?, condition?);
        if change.appends("condition") {
            return match self.definitions.macros.get_mut(name) {
                Some(entry) => {
                    entry.body.condition.push_words(" ");
                    entry.body.condition.append(&condition);
                    entry.last = self.now;
                    Ok(())
                }
                None => Err(self.missing(ItemKind::Macro, name, keys)),
            };
        }
        let body = MacroDefinition { context: keys.context.clone(), condition };
        self.definitions.macros.define(name, body, self.now);
        Ok(())
    }

    /// Reports that what an item changes is not there; in silence where it is, but malformed.
    fn missing(&mut self, kind: ItemKind, name: &str, keys: &Keys) -> Reported {
        let kind = kind.key();
        if self.definitions.malformed.contains(&(kind, name.to_owned())) {
            return Reported;
        }
        self.invalid(keys, format!("there is no earlier {kind} {} to change", quoted(name)))
    }

    fn invalid(&mut self, keys: &Keys, message: String) -> Reported {
        self.problems.report(Code::Validate, &keys.context, message);
        Reported
    }
}

/// Whether a condition can have it as a value without quotes.
fn is_bare(name: &str) -> bool {
    !name.contains(|c: char| matches!(c, '(' | ')' | '"' | '\'' | '=' | ',') || c.is_ascii_whitespace() || c == '\u{b}')
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|character: char| character.is_ascii_alphabetic())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}
