//! What a rule set is made of: the content of Falco's `-L`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tercel_filter::{EnumSet, Expr, Filter};

use super::version::PLUGINS;
use super::{List, Macro, Rule, RuleSet};
use crate::event::{self, EventType};
use crate::fields::{SensorCatalog, event_type_field};
use crate::output::{Append, Appendix, Template, push_escaped};

/// The fields that Falco has by its plugin `container`; those of pods come with their containers.
const CONTAINER_FIELDS: [&str; 3] = ["container.", "k8s.ns.", "k8s.pod."];

/// Every rule, macro and list in Falco's shape, outputs with what is appended to them. What Falco lists in any order is
/// sorted.
pub fn describe(set: &RuleSet, appends: &[Append]) -> Value {
    let plugins = set.required_plugin_versions.iter().map(|requirement| {
        let plugin =
            |(name, version): &(String, super::Version)| json!({ "name": name, "version": version.to_string() });
        let mut plugins = requirement.alternatives.iter().map(plugin);
        let mut first = plugins.next().unwrap_or_default();
        first["alternatives"] = plugins.collect();
        first
    });
    json!({
        "required_engine_version": set.required_engine_version.to_string(),
        "required_plugin_versions": plugins.collect::<Vec<_>>(),
        "rules": set.rules.iter().map(|rule| rule_json(rule, set, appends)).collect::<Vec<_>>(),
        "macros": set.macros.iter().map(|found| macro_json(found, set)).collect::<Vec<_>>(),
        "lists": set.lists.iter().map(|list| list_json(list, set)).collect::<Vec<_>>(),
    })
}

fn rule_json(rule: &Rule, set: &RuleSet, appends: &[Append]) -> Value {
    let compiled = Compiled::new(&rule.expr, set);
    let appendix = Append::for_rule(appends, &rule.name, &rule.source, &rule.tags);
    let output_fields = output_fields(rule, &appendix);
    json!({
        "info": {
            "name": rule.name,
            "condition": rule.condition.to_string(),
            "output": rule.output.to_string(),
            "description": rule.description,
            "priority": rule.priority.name(),
            "source": rule.source,
            "enabled": rule.enabled,
            "tags": rule.tags,
        },
        "details": {
            "condition_compiled": compiled.condition,
            "output_compiled": compiled_output(rule, &appendix),
            "macros": rule.written.macros(),
            "lists": set.scope.lists_used(&rule.written),
            "condition_operators": compiled.operators,
            "condition_fields": compiled.fields,
            "plugins": plugins(compiled.fields.iter().chain(&output_fields)),
            "output_fields": output_fields,
            "exception_names": sorted(rule.exceptions.iter().map(|exception| &exception.name)),
            "exception_operators": sorted(rule.exceptions.iter().flat_map(|exception| &exception.operators)),
            "exception_fields": exception_fields(rule),
            "events": event_names(&rule.filter.possible_enum_values(event_type_field())),
        },
    })
}

fn macro_json(found: &Macro, set: &RuleSet) -> Value {
    let compiled = Compiled::new(&found.expr, set);
    // A macro of fields that are not known stands alone as long as no rule uses it.
    let events = Filter::compile(&found.expr, &set.scope, &SensorCatalog)
        .map_or_else(|_| EnumSet::all(), |filter| filter.possible_enum_values(event_type_field()));
    json!({
        "info": { "name": found.name, "condition": found.condition.to_string() },
        "details": {
            "used": found.used,
            "condition_compiled": compiled.condition,
            "macros": found.expr.macros(),
            "lists": set.scope.lists_used(&found.expr),
            "condition_operators": compiled.operators,
            "condition_fields": compiled.fields,
            "events": event_names(&events),
            "plugins": [],
        },
    })
}

fn list_json(list: &List, set: &RuleSet) -> Value {
    let compiled = set.scope.list(&list.name).unwrap_or_default();
    // A name of a list that is defined later is a value as any other.
    let is_list = |item: &&String| set.scope.list(item).is_some() && !compiled.contains(&item.as_str());
    let (lists, items): (Vec<_>, Vec<_>) = list.items.iter().partition(is_list);
    json!({
        "info": { "name": list.name, "items": items },
        "details": { "used": list.used, "lists": sorted(lists.into_iter()), "items_compiled": compiled, "plugins": [] },
    })
}

/// A condition with its macros and lists in their places.
struct Compiled {
    condition: String,
    operators: BTreeSet<String>,
    fields: BTreeSet<String>,
}

impl Compiled {
    fn new(expr: &Expr, set: &RuleSet) -> Self {
        // Too large to expand: the condition with its names then.
        let expanded = set.scope.expand(expr).unwrap_or_else(|_| expr.clone());
        Self { condition: expanded.to_string(), operators: expanded.operators(), fields: expanded.fields() }
    }
}

fn compiled_output(rule: &Rule, appendix: &Appendix) -> String {
    let own = rule.output.trim().replace("%container.info", "");
    let texts = [own, appendix.text()];
    let texts: Vec<_> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    texts.join(" ")
}

/// The fields that the output names, in its order.
fn output_fields(rule: &Rule, appendix: &Appendix) -> Vec<String> {
    let template = Template::compile_with(&rule.output, appendix);
    template.map(|template| template.fields().map(str::to_owned).collect()).unwrap_or_default()
}

fn exception_fields(rule: &Rule) -> BTreeSet<&String> {
    let effective = rule.exceptions.iter().filter(|exception| exception.has_values);
    effective.flat_map(|exception| &exception.fields).collect()
}

/// The plugins of which Falco would take these fields.
fn plugins<'a>(mut fields: impl Iterator<Item = &'a String>) -> Vec<&'static str> {
    let [(container, _), _] = PLUGINS;
    let used = fields.any(|field| CONTAINER_FIELDS.iter().any(|prefix| field.starts_with(prefix)));
    if used { vec![container] } else { Vec::new() }
}

fn event_names(events: &EnumSet) -> Vec<&'static str> {
    let mut names: Vec<_> = events.members(event::NAMES.len()).map(|index| EventType(index).name()).collect();
    names.sort_unstable();
    names
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> BTreeSet<&'a String> {
    names.collect()
}

/// The rules for people, in the order in which they are tried, outputs with what is appended to them.
pub fn describe_text(set: &RuleSet, appends: &[Append]) -> String {
    set.rules.iter().map(|rule| rule_text(rule, set, appends)).collect()
}

fn rule_text(rule: &Rule, set: &RuleSet, appends: &[Append]) -> String {
    let compiled = Compiled::new(&rule.expr, set);
    let appendix = Append::for_rule(appends, &rule.name, &rule.source, &rule.tags);
    let off = if rule.enabled { "" } else { " (disabled)" };
    let events = rule.filter.possible_enum_values(event_type_field());
    let events = if events.is_all() { "all".to_owned() } else { event_names(&events).join(" ") };
    let rows = [
        ("at", rule.place.to_string()),
        ("tags", join(&rule.tags)),
        ("condition", compiled.condition),
        ("output", compiled_output(rule, &appendix)),
        ("macros", join(rule.written.macros())),
        ("lists", join(set.scope.lists_used(&rule.written))),
        ("operators", join(&compiled.operators)),
        ("fields", join(&compiled.fields)),
        ("exceptions", join(rule.exceptions.iter().map(|exception| &exception.name))),
        ("events", events),
    ];
    let rows = rows.iter().filter(|(_, value)| !value.is_empty());
    let rows: Vec<_> = rows.map(|(name, value)| format!("    {name}: {}\n", one_line(value))).collect();
    let (name, description) = (one_line(&rule.name), one_line(&rule.description));
    let head = format!("{}: {name}{off}\n  {description}\n", rule.priority);
    head + &rows.concat() + "\n"
}

/// Without line breaks, and without what a terminal would obey.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    push_escaped(&mut line, &join(text.split_whitespace()));
    line
}

fn join<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| name.as_ref().to_owned()).collect::<Vec<_>>().join(" ")
}
