//! What rule files require: a version of the engine, versions of plugins.

use std::fmt;
use std::str::FromStr;

use super::item::ItemKind;
use super::keys::{Keys, Reported, shape};
use super::problem::{Code, Context, Problems, quoted};
use super::yaml::Node;

/// The version of Falco's engine whose language this is.
pub(super) const ENGINE: Version = Version { major: 0, minor: 63, patch: 0 };

/// The plugins whose fields are built in, with the versions whose fields those are.
pub(super) const PLUGINS: [(&str, Version); 2] =
    [("container", Version { major: 0, minor: 7, patch: 1 }), ("k8smeta", Version { major: 0, minor: 4, patch: 1 })];

/// Alternatives to one plugin.
const ALTERNATIVES_MAX: usize = 100;

/// Prints as `major.minor.patch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    /// Whether what was written for version `wanted` runs on this one.
    fn satisfies(self, wanted: Self) -> bool {
        self.major == wanted.major && self >= wanted
    }
}

impl FromStr for Version {
    type Err = ();

    /// `1.2.3`, also with a suffix as in `1.2.3-rc1`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers = text.split(['-', '+']).next().unwrap_or_default();
        let parts: Vec<u32> = numbers.split('.').map(number).collect::<Option<_>>().ok_or(())?;
        match parts.as_slice() {
            [major, minor, patch] => Ok(Self { major: *major, minor: *minor, patch: *patch }),
            _ => Err(()),
        }
    }
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// One of these plugins is required; the first is the one that the file is about.
#[derive(Debug, Clone)]
pub struct PluginRequirement {
    /// Name and version, at least one.
    pub alternatives: Vec<(String, Version)>,
}

/// The engine that an item asks for.
pub(super) fn engine(keys: &Keys, problems: &mut Problems) -> Result<Version, Reported> {
    let key = ItemKind::EngineVersion.key();
    let text = keys.text(key, problems)?;
    // Before there were three numbers, there was one.
    let version = number(text).map(|minor| Version { minor, ..Version::default() }).or_else(|| text.parse().ok());
    let context = keys.context.within("value for", key, text.mark());
    let Some(version) = version else {
        let message = format!("expected a version as `0.57.0` or a number, found {}", quoted(text));
        problems.report(Code::YamlValidate, &context, message);
        return Err(Reported);
    };
    if !ENGINE.satisfies(version) {
        let message = format!("the file is written for engine version {version}, this is {ENGINE}");
        problems.report(Code::Validate, &context, message);
        return Err(Reported);
    }
    Ok(version)
}

/// The plugins that an item asks for. What they bring is built in, so each counts as there.
pub(super) fn plugins(keys: &Keys, problems: &mut Problems) -> Vec<PluginRequirement> {
    let key = ItemKind::PluginVersions.key();
    let elements = match keys.get(key) {
        Some(Node::Sequence(elements, _)) => elements,
        other => {
            let found = other.map_or("nothing", shape);
            let message = format!("expected a sequence of plugins after `{key}`, found {found}");
            problems.report(Code::YamlValidate, &keys.context, message);
            return Vec::new();
        }
    };
    let entries = elements
        .iter()
        .filter_map(|element| entry(element, &keys.context, "required plugin versions entry", problems).ok());
    entries.collect()
}

fn entry(
    node: &Node,
    parent: &Context,
    item_type: &'static str,
    problems: &mut Problems,
) -> Result<PluginRequirement, Reported> {
    let keys = plugin_keys(node, parent, item_type, &["name", "version", "alternatives"], problems)?;
    let mut alternatives = vec![plugin(&keys, problems)?];
    match keys.get("alternatives") {
        None => {}
        Some(Node::Sequence(elements, _)) if elements.len() <= ALTERNATIVES_MAX => {
            for element in elements {
                let item_type = "required plugin versions alternative";
                let keys = plugin_keys(element, &keys.context, item_type, &["name", "version"], problems)?;
                let (name, version) = plugin(&keys, problems)?;
                if alternatives.iter().any(|(other, _)| *other == name) {
                    let message = format!("the plugin {} stands twice among the alternatives", quoted(&name));
                    problems.report(Code::Validate, &keys.context, message);
                    return Err(Reported);
                }
                alternatives.push((name, version));
            }
        }
        Some(other) => {
            let message = format!(
                "expected a sequence of at most {ALTERNATIVES_MAX} after `alternatives`, found {}",
                shape(other)
            );
            return Err(keys.invalid_value("alternatives", other, message, problems));
        }
    }
    note_what_is_newer(&alternatives, &keys.context, problems);
    Ok(PluginRequirement { alternatives })
}

fn plugin_keys(
    node: &Node,
    parent: &Context,
    item_type: &'static str,
    known: &[&str],
    problems: &mut Problems,
) -> Result<Keys, Reported> {
    let unnamed = parent.within(item_type, "", node.mark());
    let Node::Mapping(pairs, mark) = node else {
        let message = format!("expected a plugin with `name` and `version`, found {}", shape(node));
        problems.report(Code::YamlValidate, &unnamed, message);
        return Err(Reported);
    };
    let mut keys = Keys::new(pairs.clone(), unnamed);
    let name = keys.text("name", problems)?.to_string();
    keys.context = parent.within(item_type, &name, mark);
    keys.check(known, problems);
    Ok(keys)
}

fn plugin(keys: &Keys, problems: &mut Problems) -> Result<(String, Version), Reported> {
    let name = keys.text("name", problems)?.to_string();
    let version = keys.text("version", problems)?;
    version.parse().map(|version| (name, version)).map_err(|()| {
        let message = format!("expected a version as `0.4.0`, found {}", quoted(version));
        problems.report(Code::Validate, &keys.context.within("value for", "version", version.mark()), message);
        Reported
    })
}

fn note_what_is_newer(alternatives: &[(String, Version)], context: &Context, problems: &mut Problems) {
    let is_built_in = |(name, wanted): &(String, Version)| {
        PLUGINS.iter().any(|(plugin, version)| plugin == name && version.satisfies(*wanted))
    };
    if alternatives.iter().any(is_built_in) {
        return;
    }
    let wanted: Vec<_> = alternatives.iter().map(|(name, version)| format!("{} {version}", quoted(name))).collect();
    let known: Vec<_> = PLUGINS.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let message = format!(
        "the file asks for plugin {}; built in are {}; taken as there, its newer fields may be unknown",
        wanted.join(" or "),
        known.join(", ")
    );
    problems.report(Code::ExtensionWarning, context, message);
}
