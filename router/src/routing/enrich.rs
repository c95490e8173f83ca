//! `[enrich]` → [`Enrich`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Problem, Source, Spanned};
use crate::normalise::Enrich;

/// What is added to every alert, under Falcosidekick's names.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrichTable {
    #[serde(default)]
    customfields: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    templatedfields: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    customtags: Vec<Spanned<String>>,
}

impl EnrichTable {
    pub(super) fn compile(&self, source: Source<'_>, problems: &mut Vec<Problem>) -> Enrich {
        let mut enrich = Enrich::new();
        for (name, value) in &self.customfields {
            if let Err(message) = enrich.add_field(name.get_ref(), value.get_ref()) {
                problems.push(source.problem(&value.span(), format!("customfields: {message}")));
            }
        }
        for (name, text) in &self.templatedfields {
            if let Err(message) = enrich.add_template(name.get_ref(), text.get_ref()) {
                problems.push(source.problem(&text.span(), format!("templatedfields: `{}` {message}", name.get_ref())));
            }
        }
        for tag in &self.customtags {
            if let Err(message) = enrich.add_tag(tag.get_ref()) {
                problems.push(source.problem(&tag.span(), format!("customtags: {message}")));
            }
        }
        enrich
    }
}
