//! What every `[destination.NAME]` may say about how it is delivered to.

use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

/// How long a delivery is tried where the destination does not say.
const MAX_AGE_DEFAULT: Duration = Duration::from_hours(24);

/// Bounds on `max_age`: time for one attempt and a retry, and for nobody to be interested any more.
const MAX_AGE_LEAST: Duration = Duration::from_secs(1);
const MAX_AGE_MOST: Duration = Duration::from_hours(30 * 24);

/// The most deliveries that one destination may have on their way at once.
const CONCURRENCY_MAX: usize = 64;

/// `max_age`: how long a delivery is tried, from the acceptance of its alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct MaxAge(Duration);

/// `concurrency`: how many deliveries are on their way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "i64")]
pub struct Concurrency(usize);

/// What a destination's settings say about delivery, with the defaults of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverySettings {
    /// Deliveries on their way at once; at least one.
    pub concurrency: usize,
    /// Since acceptance.
    pub max_age: Duration,
    /// Name of the destination that takes over what this one does not take.
    pub fallback: Option<String>,
    /// Whether a request carries many alerts, in no order.
    pub is_bulk: bool,
}

/// The `concurrency` that a type has where nothing is said, and whether it is a bulk one.
#[derive(Clone, Copy)]
pub(super) enum Habit {
    /// People read it: in order, one after the other.
    OneByOne,
    /// Programs read it: one alert a request, several requests at once.
    Several,
    /// Programs read it, and each alert has an id of its own.
    Bulk,
}

impl DeliverySettings {
    pub(super) fn new(
        habit: Habit,
        concurrency: Option<Concurrency>,
        max_age: Option<MaxAge>,
        fallback: Option<&String>,
    ) -> Self {
        let usual = match habit {
            Habit::OneByOne => 1,
            Habit::Several | Habit::Bulk => 8,
        };
        Self {
            concurrency: concurrency.map_or(usual, |Concurrency(count)| count),
            max_age: max_age.map_or(MAX_AGE_DEFAULT, |MaxAge(age)| age),
            fallback: fallback.cloned(),
            is_bulk: matches!(habit, Habit::Bulk),
        }
    }
}

impl TryFrom<String> for MaxAge {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<SignedDuration>().map(Duration::try_from) {
            Ok(Ok(age)) if (MAX_AGE_LEAST..=MAX_AGE_MOST).contains(&age) => Ok(Self(age)),
            Ok(Ok(_)) => Err(format!("max_age = \"{text}\" is out of bounds: 1s at least, 30 days at most")),
            _ => Err(format!("max_age = \"{text}\" is no duration; write 30m, 24h or 168h")),
        }
    }
}

impl TryFrom<i64> for Concurrency {
    type Error = String;

    fn try_from(count: i64) -> Result<Self, String> {
        match usize::try_from(count) {
            Ok(count @ 1..=CONCURRENCY_MAX) => Ok(Self(count)),
            _ => Err(format!("concurrency = {count} is out of bounds: 1 at least, {CONCURRENCY_MAX} at most")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::destination::DestinationConfig;

    use super::*;

    fn settings(text: &str) -> Result<DeliverySettings, String> {
        let config = toml::from_str::<DestinationConfig>(text).map_err(|error| error.message().to_owned())?;
        Ok(config.delivery())
    }

    const HOOK: &str = "type = \"webhook\"\nurl = \"http://h/\"\n";

    #[test]
    fn a_type_has_its_habits_where_nothing_is_said() {
        let day = MAX_AGE_DEFAULT;
        let expected = |concurrency| DeliverySettings { concurrency, max_age: day, fallback: None, is_bulk: false };
        assert_eq!(settings("type = \"archive\""), Ok(expected(1)));
        assert_eq!(settings("type = \"console\""), Ok(expected(1)));
        assert_eq!(settings("type = \"slack\"\nwebhook_url = { env = \"A\" }"), Ok(expected(1)));
        assert_eq!(settings("type = \"pagerduty\"\nrouting_key = { env = \"A\" }"), Ok(expected(1)));
        assert_eq!(settings(HOOK), Ok(expected(8)));
        assert!(settings("type = \"elasticsearch\"\nurl = \"http://h/\"").unwrap().is_bulk);
    }

    #[test]
    fn a_destination_may_say_it_otherwise() {
        let said = settings(&format!("{HOOK}concurrency = 2\nmax_age = \"90m\"\nfallback = \"mail\"")).unwrap();
        let expected = DeliverySettings {
            concurrency: 2,
            max_age: Duration::from_mins(90),
            fallback: Some("mail".to_owned()),
            is_bulk: false,
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_with_the_bounds() {
        for (text, cause) in [
            ("concurrency = 0", "1 at least, 64 at most"),
            ("concurrency = 65", "64 at most"),
            ("max_age = \"0s\"", "1s at least"),
            ("max_age = \"721h\"", "30 days at most"),
            ("max_age = \"soon\"", "write 30m"),
        ] {
            let message = settings(&format!("{HOOK}{text}")).unwrap_err();
            assert!(message.contains(cause), "{text}: {message}");
        }
    }
}
