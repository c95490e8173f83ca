//! Definitions → [`RuleSet`]: conditions are parsed, macros and lists found, filters compiled.

mod condition;
mod macros;
mod size;

use std::collections::HashSet;

use tercel_filter::{Catalog, Expr, Scope, parse};

use super::collect::{Definitions, ListDefinition, MacroDefinition};
use super::problem::{Code, Problems};
use super::table::{Entry, Table};
use super::{List, Macro, RuleSet};
use condition::Compiler;

/// What these definitions make; each part that is wrong is left out and reported.
pub(super) fn compile(definitions: Definitions, catalog: &dyn Catalog, problems: &mut Problems) -> RuleSet {
    let Definitions { lists, macros, rules, engine, plugins, malformed } = definitions;
    let parsed = parse_macros(&macros, problems);
    let mut scope = Scope::new();
    fill(&mut scope, &lists, &macros, &parsed, problems);
    let order = macros::check(&macros, &parsed, &malformed, problems);

    let compiler = Compiler::new(&scope, catalog, &macros, &malformed, order, problems);
    let (rules, mut used) = compiler.rules(rules.into_entries());
    for (entry, expr) in macros.iter().zip(&parsed) {
        if let Some(expr) = expr {
            used.add(expr, &scope);
            condition::warn_deprecated(&entry.body.context, ("macro condition", &entry.body.condition), expr, problems);
        }
    }
    used.lists.extend(named_by_lists(&lists));
    // What a rule that is wrong would have used is not known.
    if !problems.have_errors() {
        warn_unused(&lists, &macros, &used, problems);
    }

    RuleSet {
        rules,
        macros: built_macros(macros, parsed, &used),
        lists: built_lists(lists, &used),
        required_engine_version: engine,
        required_plugin_versions: plugins,
        warnings: Vec::new(),
        scope,
    }
}

/// The names that conditions and lists name.
#[derive(Default)]
struct Used {
    macros: HashSet<String>,
    lists: HashSet<String>,
}

impl Used {
    fn add(&mut self, expr: &Expr, scope: &Scope) {
        self.macros.extend(expr.macros().into_iter().map(str::to_owned));
        self.lists.extend(scope.lists_used(expr).into_iter().map(str::to_owned));
    }
}

/// In the order of the table; `None` where the condition does not parse.
fn parse_macros(macros: &Table<MacroDefinition>, problems: &mut Problems) -> Vec<Option<Expr>> {
    let mut parse = |entry: &Entry<MacroDefinition>| match parse(&entry.body.condition) {
        Ok(expr) => Some(expr),
        Err(error) => {
            let MacroDefinition { context, condition } = &entry.body;
            let place = ("macro condition", condition, error.span());
            problems.report_within(Code::CompileCondition, context, place, error.to_string());
            None
        }
    };
    macros.iter().map(&mut parse).collect()
}

/// What the scope is told: which list or macro was defined or changed at a time.
enum Definition<'a> {
    List(&'a Entry<ListDefinition>),
    Macro(&'a str, &'a Expr),
}

/// Defines everything in the order of the files, since that decides what macros and lists see: once where the name came up
/// first, once where it was changed last.
fn fill(
    scope: &mut Scope,
    lists: &Table<ListDefinition>,
    macros: &Table<MacroDefinition>,
    parsed: &[Option<Expr>],
    problems: &mut Problems,
) {
    let mut definitions = Vec::with_capacity(lists.len() + macros.len());
    for entry in lists.iter() {
        definitions.push((entry.first, entry.last, Definition::List(entry)));
    }
    for (entry, expr) in macros.iter().zip(parsed) {
        if let Some(expr) = expr {
            definitions.push((entry.first, entry.last, Definition::Macro(&entry.name, expr)));
        }
    }
    let mut times: Vec<_> = definitions
        .iter()
        .flat_map(|(first, last, definition)| {
            let again = (first != last).then_some((*last, definition));
            std::iter::once((*first, definition)).chain(again)
        })
        .collect();
    times.sort_by_key(|(time, _)| *time);
    for (time, definition) in times {
        match definition {
            Definition::Macro(name, expr) => scope.add_macro(*name, (*expr).clone()),
            Definition::List(entry) => {
                let items = entry.body.items.iter().map(|item| item.to_string()).collect();
                let result = scope.add_list(entry.name.as_str(), items);
                if result.is_err() && time == entry.last {
                    report_broken_items(entry, problems);
                }
            }
        }
    }
}

fn report_broken_items(entry: &Entry<ListDefinition>, problems: &mut Problems) {
    for item in &entry.body.items {
        if let Err(error) = Scope::new().add_list("", vec![item.to_string()]) {
            let context = entry.body.context.within("list item", "", item.mark());
            problems.report(Code::Validate, &context, error.to_string());
        }
    }
}

/// The lists that other lists name.
fn named_by_lists(lists: &Table<ListDefinition>) -> HashSet<String> {
    let items = lists.iter().flat_map(|list| list.body.items.iter().map(move |item| (list, item)));
    let named = items.filter(|(list, item)| lists.get(item).is_some_and(|named| named.first < list.last));
    named.map(|(_, item)| item.to_string()).collect()
}

fn warn_unused(lists: &Table<ListDefinition>, macros: &Table<MacroDefinition>, used: &Used, problems: &mut Problems) {
    for entry in macros.iter().filter(|entry| !used.macros.contains(&entry.name)) {
        problems.report(Code::UnusedMacro, &entry.body.context, "no rule or macro uses this macro");
    }
    for entry in lists.iter().filter(|entry| !used.lists.contains(&entry.name)) {
        problems.report(Code::UnusedList, &entry.body.context, "no rule, macro or list uses this list");
    }
}

fn built_macros(macros: Table<MacroDefinition>, parsed: Vec<Option<Expr>>, used: &Used) -> Vec<Macro> {
    let pairs = macros.into_entries().into_iter().zip(parsed);
    let built = pairs.filter_map(|(entry, expr)| {
        let used = used.macros.contains(&entry.name);
        Some(Macro { name: entry.name, condition: entry.body.condition, expr: expr?, used })
    });
    built.collect()
}

fn built_lists(lists: Table<ListDefinition>, used: &Used) -> Vec<List> {
    let built = lists.into_entries().into_iter().map(|entry| List {
        items: entry.body.items.iter().map(|item| item.to_string()).collect(),
        used: used.lists.contains(&entry.name),
        name: entry.name,
    });
    built.collect()
}
