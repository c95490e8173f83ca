//! Rules, one after the other: condition and output are compiled, what is odd is told.

use std::collections::HashSet;
use std::ops::Range;

use tercel_filter::{
    CONDITION_BYTES_MAX, Catalog, Error, ErrorKind, Expr, Filter, Kind, NODES_MAX, Node, Operand,
    REGEX_BYTES_MAX as CONDITION_REGEX_BYTES_MAX, Scope, Warning, parse_up_to,
};

use super::Used;
use super::macros::Order;
use super::size::Sizes;
use crate::output::Template;
use crate::rules::collect::{MacroDefinition, RuleDefinition};
use crate::rules::problem::{Code, Context, Problems, quoted};
use crate::rules::table::{Entry, Table};
use crate::rules::text::Text;
use crate::rules::{Exception, PARTS_MAX, Rule, exceptions};

/// Bytes of a condition with its exceptions in their places.
const EXPANDED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of all rules' regular expressions, compiled.
const REGEX_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Event types above which a condition counts as matching too many.
const EVENT_TYPES_MAX: usize = 100;

/// Fields that Falco is about to drop, since entries of system calls are no events any more.
const DEPRECATED_FIELDS: [&str; 6] =
    ["evt.dir", "evt.latency", "evt.latency.s", "evt.latency.ns", "evt.latency.human", "evt.wait_latency"];

/// Falco's name for what the output of every rule has anyway.
const CONTAINER_INFO: &str = "%container.info";

/// A rule whose condition has been read.
struct Parsed {
    name: String,
    definition: RuleDefinition,
    /// The condition without the exceptions.
    written: Expr,
    /// The condition with the exceptions.
    expr: Expr,
    /// What `expr` was read from.
    text: Text,
    is_output_good: bool,
}

pub(super) struct Compiler<'a> {
    scope: &'a Scope,
    catalog: &'a dyn Catalog,
    macros: &'a Table<MacroDefinition>,
    malformed: &'a HashSet<(&'static str, String)>,
    broken: HashSet<String>,
    sizes: Sizes<'a>,
    regex_bytes: usize,
    used: Used,
    /// Problems within macros: each is told once, however many rules use the macro.
    told: HashSet<(Code, String, Range<usize>, String)>,
    problems: &'a mut Problems,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        scope: &'a Scope,
        catalog: &'a dyn Catalog,
        macros: &'a Table<MacroDefinition>,
        malformed: &'a HashSet<(&'static str, String)>,
        order: Order,
        problems: &'a mut Problems,
    ) -> Self {
        let entries: Vec<_> = macros.iter().collect();
        let sound = order.sound.iter().filter_map(|index| {
            let name = entries[*index].name.as_str();
            Some((name, scope.macro_expr(name)?))
        });
        let sizes = Sizes::new(scope, sound);
        let (used, told) = (Used::default(), HashSet::new());
        Self { scope, catalog, macros, malformed, broken: order.broken, sizes, regex_bytes: 0, used, told, problems }
    }

    /// The rules that are neither wrong nor skipped, and what they name.
    pub(super) fn rules(mut self, definitions: Vec<Entry<RuleDefinition>>) -> (Vec<Rule>, Used) {
        let known = definitions.into_iter().filter(|entry| entry.body.has_known_source());
        let parsed: Vec<_> = known.filter_map(|entry| self.parsed(entry)).collect();
        let mut rules = Vec::with_capacity(parsed.len());
        let parsed: Vec<_> = parsed.into_iter().filter_map(|rule| self.within_bound(rule)).collect();
        if self.are_within_bounds(&parsed) {
            for rule in parsed {
                rules.extend(self.rule(rule));
                if self.regex_bytes > REGEX_BYTES_MAX {
                    break;
                }
            }
        }
        (rules, self.used)
    }

    fn parsed(&mut self, Entry { name, body: definition, .. }: Entry<RuleDefinition>) -> Option<Parsed> {
        let is_output_good = self.check_output(&definition);
        let written = self.parse(&definition, &definition.condition, CONDITION_BYTES_MAX)?;
        let text = exceptions::expand(&definition.condition, &definition.exceptions, self.problems).ok()?;
        let expr = if *text == *definition.condition {
            written.clone()
        } else {
            self.parse(&definition, &text, EXPANDED_BYTES_MAX)?
        };
        self.used.add(&expr, self.scope);
        Some(Parsed { name, definition, written, expr, text, is_output_good })
    }

    /// The rule, where it alone is not too much.
    fn within_bound(&mut self, rule: Parsed) -> Option<Parsed> {
        if self.sizes.of(&rule.expr) <= NODES_MAX {
            return Some(rule);
        }
        let message = format!("with its macros and lists the condition has more than {NODES_MAX} parts");
        self.problems.report(Code::CompileCondition, &rule.definition.context, message);
        None
    }

    /// Looked at before any condition is compiled, so that too much takes no time.
    fn are_within_bounds(&mut self, rules: &[Parsed]) -> bool {
        let mut parts = 0_usize;
        for rule in rules {
            parts = parts.saturating_add(self.sizes.of(&rule.expr));
            if parts > PARTS_MAX {
                let message = format!(
                    "up to here the conditions, with macros and lists in their places, have more than {PARTS_MAX} parts"
                );
                self.problems.report(Code::Validate, &rule.definition.context, message);
                return false;
            }
        }
        true
    }

    fn rule(&mut self, Parsed { name, definition, written, expr, text, is_output_good }: Parsed) -> Option<Rule> {
        let compiled = Filter::compile(&expr, self.scope, self.catalog);
        self.regex_bytes = self.regex_bytes.saturating_add(match &compiled {
            Ok(filter) => filter.regex_bytes(),
            // It took the time that the largest condition takes.
            Err(error) if error.kind() == ErrorKind::TooLarge => CONDITION_REGEX_BYTES_MAX,
            Err(_) => 0,
        });
        let filter = compiled.map_err(|error| self.error(&definition, &text, &error)).ok();
        if self.regex_bytes > REGEX_BYTES_MAX {
            let message = format!("up to here the rules' regular expressions take more than {REGEX_BYTES_MAX} bytes");
            self.problems.report(Code::Validate, &definition.context, message);
            return None;
        }
        let filter = filter?;
        self.warn(&definition, &expr, &text, &filter);
        let exceptions = definition.exceptions.iter().map(|exception| Exception {
            name: exception.name.clone(),
            fields: exception.fields().map(str::to_owned).collect(),
            operators: exception.operators().map(str::to_owned).collect(),
            has_values: exception.has_values(),
        });
        (is_output_good && definition.is_sound).then(|| Rule {
            name,
            exceptions: exceptions.collect(),
            place: definition.context.place(),
            description: definition.description,
            priority: definition.priority,
            condition: definition.condition,
            written,
            expr,
            output: definition.output,
            source: definition.source,
            tags: definition.tags,
            filter,
            enabled: definition.enabled,
            context: definition.context,
        })
    }

    fn check_output(&mut self, rule: &RuleDefinition) -> bool {
        if rule.output.contains(CONTAINER_INFO) {
            let message =
                format!("`{CONTAINER_INFO}` stands for nothing: every output has the container's fields anyway");
            self.problems.report(Code::DeprecatedItem, &rule.context, message);
        }
        for (field, span) in deprecated_in_output(&rule.output) {
            report_deprecated(field, &rule.context, ("rule output", &rule.output, span), self.problems);
        }
        let Err(error) = Template::compile(&rule.output) else {
            return true;
        };
        let is_skipped = error.is_unknown_field && rule.skip_if_unknown_filter;
        let code = if is_skipped { Code::UnknownFilter } else { Code::CompileOutput };
        let place = ("rule output", &rule.output, error.offset..error.offset + 1);
        self.problems.report_within(code, &rule.context, place, error.message);
        false
    }

    fn parse(&mut self, rule: &RuleDefinition, text: &Text, bytes_max: usize) -> Option<Expr> {
        parse_up_to(text, bytes_max).map_err(|error| self.error(rule, text, &error)).ok()
    }

    fn error(&mut self, rule: &RuleDefinition, text: &Text, error: &Error) {
        if self.is_consequence(text, error) {
            return;
        }
        let code = match error.kind() {
            ErrorKind::UnknownField | ErrorKind::UnknownName if rule.skip_if_unknown_filter => Code::UnknownFilter,
            ErrorKind::UnknownMacro => Code::Validate,
            _ => Code::CompileCondition,
        };
        self.report(code, &rule.context, text, error.macro_name(), error.span(), error.message());
    }

    /// Whether the error only says that a macro is missing or broken that was reported itself.
    fn is_consequence(&self, text: &Text, error: &Error) -> bool {
        let name = text.get(error.span()).unwrap_or_default();
        error.macro_name().is_some_and(|name| self.broken.contains(name))
            || error.kind() == ErrorKind::UnknownMacro
                && (self.broken.contains(name) || self.malformed.contains(&("macro", name.to_owned())))
    }

    fn warn(&mut self, rule: &RuleDefinition, expr: &Expr, text: &Text, filter: &Filter) {
        for Warning { message, span, macro_name, .. } in filter.warnings() {
            let macro_name = macro_name.as_deref();
            self.report(Code::ConditionWarning, &rule.context, text, macro_name, span.clone(), message);
        }
        warn_deprecated(&rule.context, ("rule condition", text), expr, self.problems);
        if rule.warn_evttypes {
            self.warn_of_event_types(rule, filter);
        }
    }

    fn warn_of_event_types(&mut self, rule: &RuleDefinition, filter: &Filter) {
        let Some(field) = self.catalog.field("evt.type") else {
            return;
        };
        let Kind::Enum { names, .. } = field.kind else {
            return;
        };
        let possible = filter.possible_enum_values(field.id).members(names.len()).count();
        let message = match possible {
            0 => "the rule can match no event type".to_owned(),
            _ if possible > EVENT_TYPES_MAX => {
                format!("the rule can match {possible} event types, which costs time on each; compare `evt.type`")
            }
            _ => return,
        };
        self.problems.report(Code::NoEventType, &rule.context, message);
    }

    /// A problem within the rule's condition, or within a macro that it uses.
    fn report(
        &mut self,
        code: Code,
        context: &Context,
        text: &Text,
        macro_name: Option<&str>,
        span: Range<usize>,
        message: &str,
    ) {
        let Some(entry) = macro_name.and_then(|name| self.macros.get(name)) else {
            self.problems.report_within(code, context, ("rule condition", text, span), message);
            return;
        };
        if self.told.insert((code, entry.name.clone(), span.clone(), message.to_owned())) {
            let MacroDefinition { context, condition } = &entry.body;
            self.problems.report_within(code, context, ("macro condition", condition, span), message);
        }
    }
}

/// Warns of every deprecated field in a condition.
pub(super) fn warn_deprecated(
    context: &Context,
    (item_type, text): (&'static str, &Text),
    expr: &Expr,
    problems: &mut Problems,
) {
    expr.visit(&mut |part| {
        let Node::Check(check) = &part.node else {
            return;
        };
        for field in check.operands().flat_map(Operand::fields) {
            if let Some(name) = DEPRECATED_FIELDS.iter().find(|name| **name == field.name) {
                report_deprecated(name, context, (item_type, text, field.span.clone()), problems);
            }
        }
    });
}

fn report_deprecated(
    field: &'static str,
    context: &Context,
    place: (&'static str, &Text, Range<usize>),
    problems: &mut Problems,
) {
    let message = format!("the field {} is deprecated: only the ends of system calls are events", quoted(field));
    problems.report_deprecated(field, context, place, message);
}

/// The deprecated fields in an output, with their bytes.
fn deprecated_in_output(output: &str) -> Vec<(&'static str, Range<usize>)> {
    let percents = output.match_indices('%').map(|(index, _)| index + 1);
    let named = percents.filter_map(|start| {
        // The longest of those that it could be.
        let names = DEPRECATED_FIELDS.iter().filter(|name| output[start..].starts_with(**name));
        names.max_by_key(|name| name.len()).map(|name| (*name, start..start + name.len()))
    });
    named.collect()
}
