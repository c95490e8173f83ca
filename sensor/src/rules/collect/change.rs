//! How an item changes an earlier one: `append: true`, or `override` with a word for each key.

use crate::rules::keys::{Keys, Reported, shape};
use crate::rules::problem::{Code, Problems, quoted};
use crate::rules::text::Scalar;
use crate::rules::yaml::Node;

/// Which keys of an item can be changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    appendable: &'static [&'static str],
    replaceable: &'static [&'static str],
    /// Whether every changeable key must stand under `override` once one does.
    all_listed: bool,
}

impl Target {
    pub(super) const LIST: Self = Self { appendable: &["items"], replaceable: &["items"], all_listed: false };
    pub(super) const MACRO: Self = Self { appendable: &["condition"], replaceable: &["condition"], all_listed: false };
    pub(super) const RULE: Self = Self {
        appendable: &["condition", "output", "desc", "tags", "exceptions"],
        replaceable: &[
            "condition",
            "output",
            "desc",
            "tags",
            "exceptions",
            "priority",
            "capture",
            "capture_duration",
            "enabled",
            "warn_evttypes",
            "skip-if-unknown-filter",
        ],
        all_listed: true,
    };
}

/// What an item asks to be done to an earlier one of its name.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Nothing: it is a definition of its own.
    None,
    /// `append: true`.
    AppendAll,
    /// Key by key.
    Override { append: Vec<String>, replace: Vec<String> },
}

impl Change {
    pub(super) fn read(keys: &Keys, target: Target, problems: &mut Problems) -> Result<Self, Reported> {
        let append = keys.flag("append", problems);
        let written = written(keys, target, problems);
        let (append, (append_keys, replace_keys)) = (append?.unwrap_or(false), written?);
        let overrides = !append_keys.is_empty() || !replace_keys.is_empty();
        if append {
            let message = "`append: true` is deprecated; write `override:` with an `append` for each key";
            problems.report(Code::DeprecatedItem, &keys.context, message);
        }
        match (append, overrides) {
            (false, false) => Ok(Self::None),
            (true, false) => Ok(Self::AppendAll),
            (false, true) => Ok(Self::Override { append: append_keys, replace: replace_keys }),
            (true, true) => {
                let message = "`override` and `append: true` exclude each other; write `override` alone";
                problems.report(Code::YamlValidate, &keys.context, message);
                Err(Reported)
            }
        }
    }

    /// Whether the value of this key is to be added to what is there.
    pub(super) fn appends(&self, key: &str) -> bool {
        match self {
            Self::None => false,
            Self::AppendAll => true,
            Self::Override { append, .. } => append.iter().any(|name| name == key),
        }
    }
}

/// The keys to append and those to replace, each checked.
fn written(keys: &Keys, target: Target, problems: &mut Problems) -> Result<(Vec<String>, Vec<String>), Reported> {
    let pairs = match keys.get("override") {
        Some(Node::Mapping(pairs, _)) if !pairs.is_empty() => pairs,
        Some(Node::Mapping(..)) | None => return Ok((Vec::new(), Vec::new())),
        Some(other) => {
            let message = format!("expected keys with `append` or `replace` after `override`, found {}", shape(other));
            return Err(keys.invalid_value("override", other, message, problems));
        }
    };
    let (mut append, mut replace) = (Vec::new(), Vec::new());
    let mut result = Ok(());
    for (key, operation) in pairs {
        match checked(keys, key, operation, target) {
            Ok(Operation::Append) => append.push(key.to_string()),
            Ok(Operation::Replace) => replace.push(key.to_string()),
            Err(message) => {
                let context = keys.context.within("overrides", key, key.mark());
                problems.report(Code::YamlValidate, &context, message);
                result = Err(Reported);
            }
        }
    }
    let listed = |key: &str| pairs.iter().any(|(name, _)| **name == *key);
    let unlisted = target.replaceable.iter().filter(|key| target.all_listed && !listed(key));
    for (key, node) in unlisted.filter_map(|key| Some((key, keys.get(key)?))) {
        let message = format!("the key `{key}` has no entry under `override`; write `{key}: replace` there");
        result = Err(keys.invalid_value(key, node, message, problems));
    }
    result.map(|()| (append, replace))
}

enum Operation {
    Append,
    Replace,
}

fn checked(keys: &Keys, key: &Scalar, operation: &Node, target: Target) -> Result<Operation, String> {
    let (can_append, can_replace) = (target.appendable.contains(&&**key), target.replaceable.contains(&&**key));
    let operation = match operation.scalar().map(|text| &**text) {
        Some("append") if can_append => Operation::Append,
        Some("append") if can_replace => {
            return Err(format!("the key {} cannot be appended to; write `replace`", quoted(key)));
        }
        Some("replace") if can_replace => Operation::Replace,
        Some("append" | "replace") => {
            let known = target.replaceable.join(", ");
            return Err(format!("the key {} cannot be overridden, those that can are {known}", quoted(key)));
        }
        other => {
            let known = if can_append { "append or replace" } else { "replace" };
            return Err(format!("expected {known} for {}, found {}", quoted(key), quoted(other.unwrap_or_default())));
        }
    };
    if keys.has(key) {
        return Ok(operation);
    }
    Err(format!("`override` names {}, but the item has no such key", quoted(key)))
}
