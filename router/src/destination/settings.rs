//! What `[destination.NAME]` says: what every type has in common, and what each type must say of itself.

use std::borrow::Cow;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::service::Service;
use super::terms::{Concurrency, Habit, MaxAge, Pace};
use super::{DestinationConfig, Problem, TypeConfig};
use crate::incident::IncidentTerms;

/// In the place of a key or password.
pub(super) const WITHHELD_KEY: &str = "[withheld]";

/// In the place of an address.
pub(super) const WITHHELD_URL: &str = "http://withheld.invalid/";

/// What every type of destination may say. The keys are listed in [`COMMON_KEYS`].
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CommonSettings {
    pub(super) receive: Option<Receive>,
    /// The destination that takes over what this one does not take.
    pub(super) fallback: Option<String>,
    /// How long a delivery is tried.
    pub(super) max_age: Option<MaxAge>,
    /// Deliveries on their way at once.
    pub(super) concurrency: Option<Concurrency>,
    /// The most that it is sent.
    pub(super) pace: Option<Pace>,
}

const COMMON_KEYS: [&str; 5] = ["receive", "fallback", "max_age", "concurrency", "pace"];

/// What a destination is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Receive {
    /// Every alert of its routes, also what others suppress: history stays whole.
    All,
    /// What is left after silences, deduplication and limits, with summaries and digests.
    Notifications,
}

/// Where relative paths start.
#[derive(Clone, Copy)]
pub(super) struct Folders<'a> {
    /// That of routing.toml: templates, secrets, certificates.
    pub(super) base: &'a Path,
    /// The router's own: the archive.
    pub(super) state: &'a Path,
}

/// What is particular to one type of destination.
pub(super) trait Settings {
    fn build(&self, folders: Folders<'_>) -> Result<Box<dyn Service>, Problem>;

    fn habit(&self) -> Habit;

    /// What the service takes, where the configuration says nothing.
    fn pace(&self) -> Option<Pace> {
        None
    }

    fn receive(&self) -> Receive {
        Receive::Notifications
    }

    /// How it tells incidents apart, where it keeps any.
    fn incidents(&self) -> Option<IncidentTerms> {
        None
    }

    /// Puts something else in the place of whatever is a secret, or leads to one.
    fn withhold_secrets(&mut self);
}

/// Makes `TypeConfig` of the list of all types: the name in routing.toml, the variant and its settings.
macro_rules! destination_types {
    ($($name:literal => $variant:ident($settings:ty),)*) => {
        /// What a destination says beside `CommonSettings`.
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(tag = "type")]
        enum TypeConfig {
            $(#[serde(rename = $name)] $variant($settings),)*
        }

        impl TypeConfig {
            #[cfg(test)]
            const NAMES: &[&str] = &[$($name),*];

            fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            fn settings(&self) -> &dyn Settings {
                match self { $(Self::$variant(settings) => settings,)* }
            }

            fn settings_mut(&mut self) -> &mut dyn Settings {
                match self { $(Self::$variant(settings) => settings,)* }
            }
        }
    };
}

pub(super) use destination_types;

impl<'de> Deserialize<'de> for DestinationConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        let common: toml::Table = COMMON_KEYS.iter().filter_map(|key| table.remove_entry(*key)).collect();
        let common = common.try_into().map_err(|error: toml::de::Error| D::Error::custom(error.message()))?;
        let particular =
            TypeConfig::deserialize(table).map_err(|error| D::Error::custom(with_common_keys(error.message())))?;
        Ok(Self { common, particular })
    }
}

/// What is said about a key that a type does not have, with those that every type has.
fn with_common_keys(message: &str) -> String {
    if !message.starts_with("unknown field") {
        return message.to_owned();
    }
    let keys = COMMON_KEYS.map(|key| format!("`{key}`")).join(", ");
    match message.strip_suffix(", there are no fields") {
        Some(start) => format!("{start}, expected of every type: {keys}"),
        None => format!("{message}, or of every type: {keys}"),
    }
}

/// That of each type, with what all have in common.
impl JsonSchema for DestinationConfig {
    fn schema_name() -> Cow<'static, str> {
        "Destination".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let common = CommonSettings::json_schema(generator);
        let mut schema = TypeConfig::json_schema(generator);
        schema.insert("description".to_owned(), "`[destination.NAME]` in routing.toml.".into());
        let types = schema.get_mut("oneOf").and_then(Value::as_array_mut);
        for of_type in types.into_iter().flatten().filter_map(|of_type| of_type["properties"].as_object_mut()) {
            of_type.extend(common.get("properties").and_then(Value::as_object).cloned().unwrap_or_default());
        }
        schema
    }
}
