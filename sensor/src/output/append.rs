//! What the settings add to the outputs of rules: Falco's `append_output`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::token::{self, Part, Token};
use super::{Content, Error};

/// What the container plugin of Falco suggests for the output of every rule about system calls.
pub const SUGGESTED: &str = "container_id=%container.id container_name=%container.name \
                             container_image_repository=%container.image.repository \
                             container_image_tag=%container.image.tag k8s_pod_name=%k8s.pod.name \
                             k8s_ns_name=%k8s.ns.name";

/// The source of events whose rules get what is suggested.
const SYSCALL: &str = "syscall";

/// One addition, and the rules that get it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Append {
    /// Without it: every rule.
    #[serde(rename = "match")]
    pub matches: Matches,
    /// Behind the rule's own text and a blank; may name fields.
    pub extra_output: String,
    /// In the alert's fields only.
    pub extra_fields: Vec<ExtraField>,
    /// [`SUGGESTED`] behind the rule's own text.
    pub suggested_output: bool,
}

/// Which rules: those for which everything holds that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matches {
    /// The rule's source; empty is any.
    pub source: String,
    /// Tags that the rule must all have.
    pub tags: BTreeSet<String>,
    /// The rule's name; empty is any.
    pub rule: String,
}

/// A field of the alert.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ExtraField {
    /// A field of the event, under its own name and with its type.
    Field(String),
    /// A name, and a text that may name fields.
    Text(BTreeMap<String, String>),
}

/// All that is added to one rule's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appendix {
    texts: Vec<String>,
    fields: Vec<ExtraField>,
}

impl Append {
    /// What Falco appends where its settings say nothing: what is suggested.
    pub fn by_default() -> Vec<Self> {
        vec![Self { suggested_output: true, ..Self::default() }]
    }

    /// All additions to a rule, in their order.
    pub fn for_rule(appends: &[Self], name: &str, source: &str, tags: &BTreeSet<String>) -> Appendix {
        let mut appendix = Appendix::default();
        for append in appends.iter().filter(|append| append.matches.holds_for(name, source, tags)) {
            append.add_to(&mut appendix, source);
        }
        appendix
    }

    /// Compiles the addition on its own.
    ///
    /// # Errors
    ///
    /// An output or a field in it that cannot be compiled.
    pub fn check(&self) -> Result<(), Error> {
        let mut appendix = Appendix::default();
        self.add_to(&mut appendix, SYSCALL);
        appendix.parts()?;
        appendix.fields()?;
        Ok(())
    }

    fn add_to(&self, appendix: &mut Appendix, source: &str) {
        let suggested = (self.suggested_output && source == SYSCALL).then_some(SUGGESTED);
        let texts = [Some(self.extra_output.trim()), suggested].into_iter().flatten();
        appendix.texts.extend(texts.filter(|text| !text.is_empty()).map(str::to_owned));
        appendix.fields.extend_from_slice(&self.extra_fields);
    }
}

impl Matches {
    fn holds_for(&self, name: &str, source: &str, tags: &BTreeSet<String>) -> bool {
        (self.source.is_empty() || self.source == source)
            && (self.rule.is_empty() || self.rule == name)
            && self.tags.is_subset(tags)
    }
}

impl Appendix {
    /// What stands behind the rule's own text, without the blank between them.
    pub fn text(&self) -> String {
        self.texts.join(" ")
    }

    pub(super) fn parts(&self) -> Result<Vec<Part>, Error> {
        token::parse(&self.text()).map_err(in_settings)
    }

    /// The additional fields by name.
    pub(super) fn fields(&self) -> Result<Vec<(String, Content)>, Error> {
        let mut fields = Vec::new();
        for field in &self.fields {
            match field {
                ExtraField::Field(name) => {
                    let token = Token::of_field(name).map_err(in_settings)?;
                    fields.push((name.clone(), Content::Value(token)));
                }
                ExtraField::Text(texts) => {
                    for (name, text) in texts {
                        let parts = token::parse(text).map_err(in_settings)?;
                        fields.push((name.clone(), Content::Text(parts)));
                    }
                }
            }
        }
        Ok(fields)
    }
}

/// The place in the settings is not known here.
fn in_settings(mut error: Error) -> Error {
    error.offset = 0;
    error.message.insert_str(0, "append_output: ");
    error
}
