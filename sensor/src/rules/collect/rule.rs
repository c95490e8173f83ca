//! Rules: defined, extended, changed in part, switched on and off.

use std::collections::BTreeSet;

use tercel_alert::Priority;
use tercel_filter::Catalog;

use super::{Change, Collector, Target};
use crate::rules::SYSCALL;
use crate::rules::exceptions::{self, Exception, Mode, Written};
use crate::rules::item::ItemKind;
use crate::rules::keys::{Keys, Reported};
use crate::rules::problem::{Code, Context, Problems, quoted};
use crate::rules::text::{Scalar, Text};

/// What a rule must say.
const REQUIRED_KEYS: [&str; 4] = ["condition", "output", "desc", "priority"];

/// A rule as the files have it in the end.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "all but the last are keys of a rule, as the file has them")]
pub(crate) struct RuleDefinition {
    pub(crate) context: Context,
    pub(crate) condition: Text,
    pub(crate) output: Text,
    pub(crate) description: String,
    pub(crate) priority: Priority,
    pub(crate) source: String,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) enabled: bool,
    pub(crate) warn_evttypes: bool,
    pub(crate) skip_if_unknown_filter: bool,
    /// False: something of it was reported; condition and output are still looked at, to report what is wrong there too.
    pub(crate) is_sound: bool,
}

impl RuleDefinition {
    /// Whether its events are those that we see.
    pub(crate) fn has_known_source(&self) -> bool {
        self.source == SYSCALL
    }
}

impl Collector<'_> {
    pub(super) fn rule(&mut self, name: &str, keys: &Keys) -> Result<(), Reported> {
        match Change::read(keys, Target::RULE, self.problems)? {
            Change::None if REQUIRED_KEYS.iter().any(|key| keys.has(key)) => self.define_rule(name, keys),
            Change::None => self.switch_rule(name, keys),
            Change::AppendAll => {
                if !keys.has("condition") && !keys.has("exceptions") {
                    let message = "`append: true` needs a `condition` or `exceptions` to append".to_owned();
                    return Err(self.invalid(keys, message));
                }
                let append: Vec<_> =
                    ["condition", "exceptions"].into_iter().filter(|key| keys.has(key)).map(str::to_owned).collect();
                self.change_rule(name, keys, &append, &[])
            }
            Change::Override { append, replace } => self.change_rule(name, keys, &append, &replace),
        }
    }

    fn define_rule(&mut self, name: &str, keys: &Keys) -> Result<(), Reported> {
        let definition = self.definition(keys)?;
        let other_source = self.definitions.rules.get(name).map(|earlier| &earlier.body.source);
        if let Some(earlier) = other_source.filter(|source| **source != definition.source) {
            let message = format!("the rule is there with another source, {}", quoted(earlier));
            return Err(self.invalid(keys, message));
        }
        if !definition.has_known_source() {
            let source = quoted(&definition.source);
            let message = format!("unknown source {source}, only `{SYSCALL}` is known; the rule is skipped");
            self.problems.report(Code::UnknownSource, &keys.context, message);
        }
        self.definitions.rules.define(name, definition, self.now);
        Ok(())
    }

    /// All that is missing or malformed is reported, not only the first.
    fn definition(&mut self, keys: &Keys) -> Result<RuleDefinition, Reported> {
        let condition = text(keys, "condition", self.problems);
        let output = text(keys, "output", self.problems);
        let description = keys.text("desc", self.problems);
        let priority = priority(keys, self.problems);
        let source = keys.optional_text("source", self.problems);
        let enabled = keys.flag("enabled", self.problems);
        let warn_evttypes = keys.flag("warn_evttypes", self.problems);
        let skip_if_unknown_filter = keys.flag("skip-if-unknown-filter", self.problems);
        let tags = tags(keys, self.problems);
        let written = exceptions::read(keys, Mode::Define, self.problems);
        let capture = check_capture(keys, self.problems);
        let source = source?.map_or(SYSCALL, |source| source).to_owned();
        let catalog = (source == SYSCALL).then_some(self.catalog);
        let exceptions = written.and_then(|written| define_all(written, catalog, self.problems));
        let is_sound = [description.is_ok(), priority.is_ok(), tags.is_ok(), exceptions.is_ok(), enabled.is_ok()]
            .into_iter()
            .chain([warn_evttypes.is_ok(), skip_if_unknown_filter.is_ok(), capture.is_ok()])
            .all(|is_ok| is_ok);
        Ok(RuleDefinition {
            context: keys.context.clone(),
            condition: condition?,
            output: output?,
            description: description.map(|text| text.trim().to_owned()).unwrap_or_default(),
            priority: priority.unwrap_or(Priority::Debug),
            source,
            tags: tags.unwrap_or_default(),
            exceptions: exceptions.unwrap_or_default(),
            enabled: enabled.ok().flatten().unwrap_or(true),
            warn_evttypes: warn_evttypes.ok().flatten().unwrap_or(true),
            skip_if_unknown_filter: skip_if_unknown_filter.ok().flatten().unwrap_or(false),
            is_sound,
        })
    }

    /// The old form of switching an earlier rule on or off.
    fn switch_rule(&mut self, name: &str, keys: &Keys) -> Result<(), Reported> {
        let Some(enabled) = keys.flag("enabled", self.problems)? else {
            let missing = REQUIRED_KEYS.join("`, `");
            let message = format!("the keys `{missing}` are missing");
            self.problems.report(Code::YamlValidate, &keys.context, message);
            return Err(Reported);
        };
        let message = "`enabled` on its own is deprecated; add `override:` with `enabled: replace`";
        self.problems.report(Code::DeprecatedItem, &keys.context, message);
        match self.definitions.rules.get_mut(name) {
            Some(entry) => {
                entry.body.enabled = enabled;
                Ok(())
            }
            None => Err(self.missing(ItemKind::Rule, name, keys)),
        }
    }

    /// Appends some keys, then replaces others.
    fn change_rule(&mut self, name: &str, keys: &Keys, append: &[String], replace: &[String]) -> Result<(), Reported> {
        let Some(entry) = self.definitions.rules.get_mut(name) else {
            return Err(self.missing(ItemKind::Rule, name, keys));
        };
        entry.last = self.now;
        let rule = &mut entry.body;
        let catalog = rule.has_known_source().then_some(self.catalog);
        let mut result = Ok(());
        for key in append {
            result = append_key(rule, key, keys, catalog, self.problems).and(result);
        }
        for key in replace {
            result = replace_key(rule, key, keys, catalog, self.problems).and(result);
        }
        result
    }
}

fn append_key(
    rule: &mut RuleDefinition,
    key: &str,
    keys: &Keys,
    catalog: Option<&dyn Catalog>,
    problems: &mut Problems,
) -> Result<(), Reported> {
    match key {
        "condition" => join(&mut rule.condition, &text(keys, key, problems)?),
        "output" => join(&mut rule.output, &text(keys, key, problems)?),
        "desc" => {
            rule.description.push(' ');
            rule.description.push_str(keys.text(key, problems)?.trim());
        }
        "tags" => rule.tags.extend(tags(keys, problems)?),
        _ => {
            for written in exceptions::read(keys, Mode::Append, problems)? {
                written.append_to(&mut rule.exceptions, catalog, problems)?;
            }
        }
    }
    Ok(())
}

fn replace_key(
    rule: &mut RuleDefinition,
    key: &str,
    keys: &Keys,
    catalog: Option<&dyn Catalog>,
    problems: &mut Problems,
) -> Result<(), Reported> {
    match key {
        "condition" => rule.condition = text(keys, key, problems)?,
        "output" => rule.output = text(keys, key, problems)?,
        "desc" => keys.text(key, problems)?.trim().clone_into(&mut rule.description),
        "tags" => rule.tags = tags(keys, problems)?,
        "priority" => rule.priority = priority(keys, problems)?,
        "enabled" => rule.enabled = keys.flag(key, problems)?.unwrap_or(rule.enabled),
        "warn_evttypes" => rule.warn_evttypes = keys.flag(key, problems)?.unwrap_or(rule.warn_evttypes),
        "skip-if-unknown-filter" => {
            rule.skip_if_unknown_filter = keys.flag(key, problems)?.unwrap_or(rule.skip_if_unknown_filter);
        }
        "exceptions" => {
            rule.exceptions = define_all(exceptions::read(keys, Mode::Define, problems)?, catalog, problems)?;
        }
        _ => check_capture(keys, problems)?,
    }
    Ok(())
}

fn define_all(
    written: Vec<Written>,
    catalog: Option<&dyn Catalog>,
    problems: &mut Problems,
) -> Result<Vec<Exception>, Reported> {
    // One after the other, so that each says what is wrong with it.
    let defined: Vec<_> = written.into_iter().map(|exception| exception.define(catalog, problems)).collect();
    defined.into_iter().collect()
}

fn text(keys: &Keys, key: &str, problems: &mut Problems) -> Result<Text, Reported> {
    keys.text(key, problems).map(|scalar| Text::from(scalar.clone()))
}

fn join(text: &mut Text, appended: &Text) {
    text.push_words(" ");
    text.append(appended);
}

fn priority(keys: &Keys, problems: &mut Problems) -> Result<Priority, Reported> {
    let text = keys.text("priority", problems)?;
    text.parse().map_err(|error: tercel_alert::ParsePriorityError| {
        let context = keys.context.within("rule priority", "", text.mark());
        problems.report(Code::YamlValidate, &context, error.to_string());
        Reported
    })
}

fn tags(keys: &Keys, problems: &mut Problems) -> Result<BTreeSet<String>, Reported> {
    if !keys.has("tags") {
        return Ok(BTreeSet::new());
    }
    Ok(keys.texts("tags", problems)?.into_iter().map(|tag| tag.to_string()).collect())
}

/// Captures are read and not made: the keys must only be what they should.
fn check_capture(keys: &Keys, problems: &mut Problems) -> Result<(), Reported> {
    keys.flag("capture", problems)?;
    let Some(duration) = keys.optional_text("capture_duration", problems)? else {
        return Ok(());
    };
    if duration.parse::<u32>().is_ok() {
        return Ok(());
    }
    let message = format!("expected milliseconds after `capture_duration`, found {}", quoted(duration));
    problems.report(Code::YamlValidate, &capture_context(keys, duration), message);
    Err(Reported)
}

fn capture_context(keys: &Keys, duration: &Scalar) -> Context {
    keys.context.within("value for", "capture_duration", duration.mark())
}
