//! What the configuration adds to every alert, under Falcosidekick's names: custom fields, custom tags, and templated
//! fields, which see the former. An added field takes the place of one that the sender gave.

use std::collections::BTreeSet;

use tercel_alert::Alert;
use tracing::debug;

use super::{TAG_BYTES_MAX, TAGS_MAX};
use crate::render::{LineContext, Lines};

/// Fields of one kind.
const FIELDS_MAX: usize = 64;

/// Bytes of a field's name.
const NAME_BYTES_MAX: usize = 256;

/// Bytes of a custom field's value, and of a template's text.
const VALUE_BYTES_MAX: usize = 4_096;

/// A value that begins with it names an environment variable; twice, it stands for itself.
const ENVIRONMENT_MARK: char = '%';

/// Ready to be applied.
pub(crate) struct Enrich {
    fields: Vec<(String, String)>,
    tags: BTreeSet<String>,
    /// Names in `lines`.
    templated: Vec<String>,
    lines: Lines,
}

impl Enrich {
    /// Adds nothing.
    pub(crate) fn new() -> Self {
        Self { fields: Vec::new(), tags: BTreeSet::new(), templated: Vec::new(), lines: Lines::new() }
    }

    /// `value`: as it is written, `%NAME` for an environment variable.
    ///
    /// # Errors
    /// A bound is exceeded, or there is no such variable.
    pub(crate) fn add_field(&mut self, name: &str, value: &str) -> Result<(), String> {
        check(name, value, self.fields.len())?;
        self.fields.push((name.to_owned(), expand(value)?));
        Ok(())
    }

    /// # Errors
    /// A bound is exceeded, or the template cannot be used.
    pub(crate) fn add_template(&mut self, name: &str, text: &str) -> Result<(), String> {
        check(name, text, self.templated.len())?;
        self.lines.add(name, text)?;
        self.templated.push(name.to_owned());
        Ok(())
    }

    /// # Errors
    /// A bound is exceeded.
    pub(crate) fn add_tag(&mut self, tag: &str) -> Result<(), String> {
        if tag.is_empty() || tag.len() > TAG_BYTES_MAX {
            return Err(format!("a tag has 1 to {TAG_BYTES_MAX} bytes, this one {}", tag.len()));
        }
        if self.tags.len() == TAGS_MAX {
            return Err(format!("more than {TAGS_MAX} tags"));
        }
        self.tags.insert(tag.to_owned());
        Ok(())
    }

    /// Whether alerts get a field of this name.
    pub(crate) fn adds(&self, name: &str) -> bool {
        self.fields.iter().any(|(own, _)| own == name) || self.templated.iter().any(|own| own == name)
    }

    /// How many templates failed: their fields are left out, as are those whose result is empty.
    pub(super) fn apply(&self, alert: &mut Alert) -> usize {
        for (name, value) in &self.fields {
            alert.output_fields.insert(name.clone(), value.as_str().into());
        }
        alert.tags.extend(self.tags.iter().cloned());
        if self.templated.is_empty() {
            return 0;
        }
        let context = LineContext::new(alert);
        let mut failed = 0;
        for name in &self.templated {
            match self.lines.render(name, &context) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => drop(alert.output_fields.insert(name.clone(), text.into())),
                Err(error) => {
                    failed += 1;
                    debug!(field = name, error, "a templated field could not be made");
                }
            }
        }
        failed
    }
}

fn check(name: &str, value: &str, count: usize) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!("a field's name is on one line and has 1 to {NAME_BYTES_MAX} bytes"));
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("field `{name}` has {} bytes, {VALUE_BYTES_MAX} at most", value.len()));
    }
    if count == FIELDS_MAX { Err(format!("more than {FIELDS_MAX} fields")) } else { Ok(()) }
}

fn expand(value: &str) -> Result<String, String> {
    let Some(name) = value.strip_prefix(ENVIRONMENT_MARK) else { return Ok(value.to_owned()) };
    if name.starts_with(ENVIRONMENT_MARK) {
        return Ok(name.to_owned());
    }
    match std::env::var(name) {
        Ok(text) if text.len() <= VALUE_BYTES_MAX => Ok(text),
        Ok(text) => Err(format!("the variable `{name}` has {} bytes, {VALUE_BYTES_MAX} at most", text.len())),
        Err(_) => Err(format!("the variable `{name}` is not set, or no UTF-8; write %% for a percent sign")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn alert(fields: &Value) -> Alert {
        let alert = json!({"time": "2026-01-01T00:00:00Z", "rule": "a", "priority": "error", "hostname": "node-1",
                           "tags": ["own"], "output_fields": fields});
        serde_json::from_value(alert).unwrap()
    }

    #[test]
    fn fields_and_tags_are_added_and_templates_see_them() {
        let mut enrich = Enrich::new();
        enrich.add_field("cluster", "prod").unwrap();
        enrich.add_field("percent", "%%5").unwrap();
        enrich.add_field("path", "%PATH").unwrap();
        enrich
            .add_template("who", "{{default (field \"user.name\") \"?\"}}@{{alert.hostname}} ({{field \"cluster\"}})")
            .unwrap();
        enrich.add_template("nothing", "{{field \"no.such\"}}").unwrap();
        for tag in ["site", "own"] {
            enrich.add_tag(tag).unwrap();
        }
        let mut rich = alert(&json!({"user.name": "<r\"oot>", "cluster": "theirs"}));
        assert_eq!(enrich.apply(&mut rich), 0);
        assert_eq!(rich.output_fields["cluster"], "prod");
        assert_eq!(rich.output_fields["percent"], "%5");
        assert_eq!(rich.output_fields["path"], std::env::var("PATH").unwrap());
        assert_eq!(rich.output_fields["who"], "<r\"oot>@node-1 (prod)");
        assert!(!rich.output_fields.contains_key("nothing"));
        assert_eq!(Vec::from_iter(&rich.tags), ["own", "site"]);
    }

    #[test]
    fn a_template_that_fails_costs_its_field_alone_and_a_long_result_is_cut() {
        let mut enrich = Enrich::new();
        enrich
            .add_template("fails", "{{#if (field \"proc.cmdline2\")}}{{severity alert.output_fields}}{{/if}}")
            .unwrap();
        enrich.add_template("long", "{{field \"proc.cmdline\"}}").unwrap();
        let mut rich = alert(&json!({"proc.cmdline": "é".repeat(10_000), "proc.cmdline2": "x"}));
        assert_eq!(enrich.apply(&mut rich), 1);
        assert!(!rich.output_fields.contains_key("fails"));
        let long = rich.output_fields["long"].as_str().unwrap();
        assert!(long.chars().count() == 4_096 && long.ends_with('…'));
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let mut enrich = Enrich::new();
        for (told, expected) in [
            (enrich.add_field("", "x"), "1 to 256 bytes"),
            (enrich.add_field("a\nb", "x"), "on one line"),
            (enrich.add_field("a", &"x".repeat(VALUE_BYTES_MAX + 1)), "4097 bytes, 4096 at most"),
            (enrich.add_field("a", "%TERCEL_NO_SUCH"), "`TERCEL_NO_SUCH` is not set"),
            (enrich.add_template("a", "{{#if}"), "{{#if}"),
            (enrich.add_template("a", "{{alert.nothing}}"), "fails for an alert without fields"),
            (enrich.add_tag(""), "1 to 256 bytes"),
        ] {
            let message = told.unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        for number in 0..FIELDS_MAX {
            enrich.add_field(&number.to_string(), "x").unwrap();
        }
        assert!(enrich.add_field("more", "x").unwrap_err().contains("more than 64"));
    }
}
