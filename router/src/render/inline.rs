//! A setting that may hold a template: a part of an address, a header's value. It sees what bodies see.

use handlebars::{Handlebars, Template};

use super::{Bounded, context, helpers, one_line, samples, vet};
use crate::destination::{Notification, Problem};

/// The only template.
const NAME: &str = "setting";

/// What a notification looks like to them. Made once for all that one request needs.
pub(crate) struct InlineContext(serde_json::Value);

pub(crate) struct Inline {
    templates: Handlebars<'static>,
}

impl InlineContext {
    pub(crate) fn new(notification: &Notification) -> Self {
        Self(context(notification))
    }
}

impl Inline {
    /// Whether a setting's text is a template.
    pub(crate) fn is_template(text: &str) -> bool {
        text.contains("{{")
    }

    /// `escape` is applied to every value.
    ///
    /// # Errors
    /// It does not compile, names what does not exist, or fails on a sample.
    pub(crate) fn compile(setting: &str, text: &str, escape: fn(&str) -> String) -> Result<Self, Problem> {
        let mut templates = helpers::registry();
        templates.register_escape_fn(escape);
        let problem = |message: String| Problem::new(format!("`{setting}`: {message}"));
        let template = Template::compile_with_name(text, NAME.to_owned())
            .map_err(|error| problem(one_line(&error.reason().to_string())))?;
        let terms = vet::Terms { names: &vet::NAMES, helpers: &helpers::names(), allows_raw: false };
        vet::vet(&template, terms).map_err(|fault| problem(fault.message))?;
        templates.register_template(NAME, template);
        let inline = Self { templates };
        for (what, sample) in samples() {
            inline
                .render(&InlineContext::new(&sample))
                .map_err(|error| problem(format!("the template fails for {what}: {error}")))?;
        }
        Ok(inline)
    }

    /// # Errors
    /// It fails on this notification.
    pub(crate) fn render(&self, context: &InlineContext) -> Result<String, String> {
        let mut result = Bounded(Vec::new());
        self.templates
            .render_to_write(NAME, &context.0, &mut result)
            .map_err(|error| one_line(&error.reason().to_string()))?;
        Ok(String::from_utf8_lossy(&result.0).into_owned())
    }
}
