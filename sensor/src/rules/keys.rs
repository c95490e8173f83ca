//! The keys of a mapping, read with their types; what is missing or malformed is reported.

use super::problem::{Code, Context, Problems, quoted};
use super::text::Scalar;
use super::yaml::Node;

/// A key's value was not what it must be, and that was reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported;

/// A mapping and the way to it.
#[derive(Debug)]
pub(super) struct Keys {
    pairs: Vec<(Scalar, Node)>,
    pub(super) context: Context,
}

impl Keys {
    pub(super) fn new(pairs: Vec<(Scalar, Node)>, context: Context) -> Self {
        Self { pairs, context }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.pairs.iter().find(|(name, _)| &**name == key).map(|(_, node)| node)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Warns of keys that mean nothing, and of those given twice.
    pub(super) fn check(&self, known: &[&str], problems: &mut Problems) {
        let mut seen = Vec::with_capacity(known.len());
        for (key, _) in &self.pairs {
            let message = if !known.contains(&&**key) {
                format!("unknown key {}, known keys: {}; ignored", quoted(key), known.join(", "))
            } else if seen.contains(&&**key) {
                format!("the key {} stands here a second time; ignored", quoted(key))
            } else {
                seen.push(&**key);
                continue;
            };
            problems.report(Code::UnknownKey, &self.context.within("value for", key, key.mark()), message);
        }
    }

    /// A text that must be there.
    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Result<&Scalar, Reported> {
        match self.get(key) {
            Some(node) => self.as_text(key, node, problems),
            None => Err(invalid(&self.context, format!("the key `{key}` is missing"), problems)),
        }
    }

    /// A text that may be absent.
    pub(super) fn optional_text(&self, key: &str, problems: &mut Problems) -> Result<Option<&Scalar>, Reported> {
        self.get(key).map(|node| self.as_text(key, node, problems)).transpose()
    }

    fn as_text<'a>(&self, key: &str, node: &'a Node, problems: &mut Problems) -> Result<&'a Scalar, Reported> {
        match node {
            Node::Scalar(scalar) if !scalar.is_empty() && !scalar.is_null() => Ok(scalar),
            other => {
                let found = shape(other);
                Err(self.invalid_value(key, other, format!("expected text after `{key}`, found {found}"), problems))
            }
        }
    }

    /// True or false, as YAML 1.1 writes them, since Falco's reader takes those.
    pub(super) fn flag(&self, key: &str, problems: &mut Problems) -> Result<Option<bool>, Reported> {
        let Some(text) = self.optional_text(key, problems)? else {
            return Ok(None);
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" => Ok(Some(true)),
            "false" | "no" | "n" | "off" => Ok(Some(false)),
            _ => {
                let message = format!("expected true or false after `{key}`, found {}", quoted(text));
                Err(invalid(&self.context.within("value for", key, text.mark()), message, problems))
            }
        }
    }

    /// A sequence of texts. Each that is none is reported.
    pub(super) fn texts(&self, key: &str, problems: &mut Problems) -> Result<Vec<&Scalar>, Reported> {
        let elements = match self.get(key) {
            Some(Node::Sequence(elements, _)) => elements,
            Some(other) => {
                let message = format!("expected a sequence after `{key}`, found {}", shape(other));
                return Err(self.invalid_value(key, other, message, problems));
            }
            None => return Err(invalid(&self.context, format!("the key `{key}` is missing"), problems)),
        };
        let texts: Vec<_> = elements.iter().filter_map(Node::scalar).collect();
        if texts.len() == elements.len() {
            return Ok(texts);
        }
        for other in elements.iter().filter(|element| element.scalar().is_none()) {
            let context =
                self.context.within("value for", key, elements[0].mark()).within("list item", "", other.mark());
            let message = format!("expected a text in `{key}`, found {}; quote it to mean the word", shape(other));
            problems.report(Code::YamlValidate, &context, message);
        }
        Err(Reported)
    }

    /// Reports that the value of a key has the wrong shape.
    pub(super) fn invalid_value(&self, key: &str, node: &Node, message: String, problems: &mut Problems) -> Reported {
        invalid(&self.context.within("value for", key, node.mark()), message, problems)
    }
}

fn invalid(context: &Context, message: String, problems: &mut Problems) -> Reported {
    problems.report(Code::YamlValidate, context, message);
    Reported
}

/// What a node is, for errors.
pub(super) fn shape(node: &Node) -> &'static str {
    match node {
        Node::Scalar(scalar) if scalar.is_null() => "null",
        Node::Scalar(scalar) if scalar.is_empty() => "an empty text",
        Node::Scalar(_) => "a text",
        Node::Sequence(..) => "a sequence",
        Node::Mapping(..) => "a mapping",
    }
}
