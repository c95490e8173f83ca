//! Null: takes every notification and keeps none, to try routes and to measure the router without a service behind it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{MaxAge, Receive};

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NullConfig {
    pub receive: Option<Receive>,
    /// The destination that takes over what was too old to be sent here.
    pub fallback: Option<String>,
    /// How long a delivery is tried.
    pub max_age: Option<MaxAge>,
}
