//! `region`: where a service keeps an account.

use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Region {
    #[default]
    Us,
    Eu,
}

impl Region {
    /// The service's address there.
    pub(super) fn address(self, us: &'static str, eu: &'static str) -> &'static str {
        match self {
            Self::Us => us,
            Self::Eu => eu,
        }
    }
}
