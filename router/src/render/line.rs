//! Templates whose result is text, not JSON: the fields that the configuration adds to alerts.

use handlebars::{Handlebars, Template};
use serde_json::{Value, json};
use tercel_alert::Alert;

use crate::destination::NotificationKind;

use super::{Bounded, alert_value, helpers, one_line, samples, truncate, vet};

/// Characters of a result; the rest is cut, with a mark.
const RESULT_CHARS_MAX: usize = 4_096;

/// What they see.
const NAMES: [&str; 1] = ["alert"];

/// Templates by name. They see `alert`, and have the helpers of all templates; nothing is escaped.
pub(crate) struct Lines {
    templates: Handlebars<'static>,
}

/// One alert as they see it.
pub(crate) struct LineContext(Value);

impl Lines {
    pub(crate) fn new() -> Self {
        let mut templates = helpers::registry();
        templates.register_escape_fn(handlebars::no_escape);
        Self { templates }
    }

    /// # Errors
    /// It does not compile, or fails on an alert without fields.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> Result<(), String> {
        let template =
            Template::compile_with_name(text, name.to_owned()).map_err(|error| one_line(&error.to_string()))?;
        let terms = vet::Terms { names: &NAMES, helpers: &helpers::names(), allows_raw: true };
        vet::vet(&template, terms).map_err(|fault| format!("cannot be used: {}", fault.message))?;
        self.templates.register_template(name, template);
        for (what, sample) in samples().into_iter().filter(|(_, sample)| matches!(sample.kind, NotificationKind::Alert))
        {
            self.render(name, &LineContext::new(&sample.alert)).map_err(|error| {
                format!("fails for {what}: {error}; a field that may be absent is read with `field \"name\"`")
            })?;
        }
        Ok(())
    }

    /// # Errors
    /// The template fails on this alert.
    pub(crate) fn render(&self, name: &str, context: &LineContext) -> Result<String, String> {
        let mut result = Bounded(Vec::new());
        self.templates.render_to_write(name, &context.0, &mut result).map_err(|error| one_line(&error.to_string()))?;
        Ok(truncate(&String::from_utf8_lossy(&result.0), RESULT_CHARS_MAX))
    }
}

impl LineContext {
    pub(crate) fn new(alert: &Alert) -> Self {
        Self(json!({"alert": alert_value(alert)}))
    }
}
