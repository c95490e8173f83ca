//! What every `[destination.NAME]` may say about how it is delivered to.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::settings::CommonSettings;
use crate::duration;

/// How long a delivery is tried where the destination does not say.
const MAX_AGE_DEFAULT: Duration = Duration::from_hours(24);

/// Bounds on `max_age`: time for one attempt and a retry, and for nobody to be interested any more.
const MAX_AGE_LEAST: Duration = Duration::from_secs(1);
const MAX_AGE_MOST: Duration = Duration::from_hours(30 * 24);

/// The most deliveries that `pace` counts in a time, so that the time between two is not rounded away.
const PACE_MAX: u32 = 1_000;

/// Bounds on `resolve_after`.
const QUIET_LEAST: Duration = Duration::from_secs(1);
const QUIET_MOST: Duration = Duration::from_hours(30 * 24);

/// The most deliveries that one destination may have on their way at once.
const CONCURRENCY_MAX: usize = 64;

/// Bounds on `batch`. The least bytes hold an alert of ordinary size; the most are what two requests at once may cost in memory.
const BATCH_COUNT_MAX: usize = 10_000;
const BATCH_BYTES_LEAST: u64 = 64 * 1024;
const BATCH_BYTES_MOST: u64 = 32 * 1024 * 1024;
const BATCH_WAIT_MAX: Duration = Duration::from_mins(1);

/// `max_age`: how long a delivery is tried, from the acceptance of its alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub(super) struct MaxAge(Duration);

/// `concurrency`: how many deliveries are on their way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "i64")]
pub(super) struct Concurrency(usize);

/// `resolve_after`: how long an incident must be quiet before it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub(super) struct Quiet(pub(super) Duration);

/// `pace`: the most deliveries within a time, evenly spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub(super) struct Pace(Duration);

/// What a destination's settings say about delivery, with the defaults of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverySettings {
    /// Deliveries on their way at once; at least one.
    pub concurrency: usize,
    /// Since acceptance.
    pub max_age: Duration,
    /// Name of the destination that takes over what this one does not take.
    pub fallback: Option<String>,
    /// Whether a request, or a write, carries many alerts, in no order.
    pub is_bulk: bool,
    /// How many of them; one where it does not.
    pub batch: Batch,
    /// From the start of one attempt to that of the next; `None`: as fast as they come.
    pub interval: Option<Duration>,
}

/// `batch`: what goes into one request. It goes out when it is full, or when its first alert has waited long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "BatchTable")]
pub struct Batch {
    /// Alerts; at least one.
    pub count: usize,
    /// Of all alerts together, before compression; one that is larger goes alone.
    pub bytes: u64,
    /// How long the first alert waits for others.
    pub wait: Duration,
}

/// As it is written; what is left out is as in [`Batch::BULK`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BatchTable {
    count: Option<i64>,
    bytes: Option<i64>,
    wait: Option<String>,
}

/// The `concurrency` that a type has where nothing is said, and whether it is a bulk one.
#[derive(Clone, Copy)]
pub(super) enum Habit {
    /// People read it: in order, one after the other.
    OneByOne,
    /// Programs read it: one alert a request, several requests at once.
    Several,
    /// As many at once as there are, one write after the other.
    File,
    /// Programs read it, and each alert has an id of its own: many a request.
    Bulk(Option<Batch>),
}

impl Batch {
    /// For who takes one alert a request.
    pub(crate) const ONE: Self = Self { count: 1, bytes: u64::MAX, wait: Duration::ZERO };

    /// What one write of a file takes: no more than the smallest file before it rotates.
    const OF_FILE: Self = Self { count: 1_000, bytes: 1024 * 1024, wait: Duration::ZERO };

    /// What was configured, else the usual.
    pub(super) fn of_bulk(configured: Option<Self>) -> Self {
        configured.unwrap_or(Self::BULK)
    }

    /// For who takes many, unless told otherwise.
    const BULK: Self = Self { count: 1_000, bytes: 4 * 1024 * 1024, wait: Duration::from_secs(1) };
}

impl DeliverySettings {
    /// `pace`: what the type keeps to where nothing is said.
    pub(super) fn new(habit: Habit, pace: Option<Pace>, common: &CommonSettings) -> Self {
        let (usual, batch) = match habit {
            Habit::OneByOne => (1, Batch::ONE),
            Habit::Several => (8, Batch::ONE),
            Habit::File => (1, Batch::OF_FILE),
            Habit::Bulk(batch) => (2, Batch::of_bulk(batch)),
        };
        Self {
            concurrency: common.concurrency.map_or(usual, |Concurrency(count)| count),
            max_age: common.max_age.map_or(MAX_AGE_DEFAULT, |MaxAge(age)| age),
            fallback: common.fallback.clone(),
            is_bulk: matches!(habit, Habit::File | Habit::Bulk(_)),
            batch,
            interval: common.pace.or(pace).map(|Pace(interval)| interval),
        }
    }
}

impl TryFrom<String> for MaxAge {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match duration::parse(&text) {
            Some(age) if (MAX_AGE_LEAST..=MAX_AGE_MOST).contains(&age) => Ok(Self(age)),
            Some(_) => Err(format!("max_age = \"{text}\" is out of bounds: 1s at least, 30 days at most")),
            None => Err(format!("max_age = \"{text}\" is no duration; write 30m, 24h or 7d")),
        }
    }
}

impl Pace {
    pub(super) const ONE_A_SECOND: Self = Self(Duration::from_secs(1));
    pub(super) const EVERY_TWO_SECONDS: Self = Self(Duration::from_secs(2));
    pub(super) const EVERY_THREE_SECONDS: Self = Self(Duration::from_secs(3));
}

impl TryFrom<String> for Pace {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(count, unit)| {
            let unit = match unit.trim() {
                "s" => Duration::from_secs(1),
                "min" => Duration::from_mins(1),
                "hour" => Duration::from_hours(1),
                _ => return None,
            };
            Some((count.trim().parse::<u32>().ok()?, unit))
        });
        match parsed {
            Some((count @ 1..=PACE_MAX, unit)) => Ok(Self(unit / count)),
            Some(_) => Err(format!("pace = \"{text}\" is out of bounds: 1 at least, {PACE_MAX} at most")),
            None => Err(format!("pace = \"{text}\" is no pace; write 1/s, 30/min or 100/hour")),
        }
    }
}

impl TryFrom<String> for Quiet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match duration::parse(&text) {
            Some(quiet) if (QUIET_LEAST..=QUIET_MOST).contains(&quiet) => Ok(Self(quiet)),
            Some(_) => Err(format!("resolve_after = \"{text}\" is out of bounds: 1s at least, 30 days at most")),
            None => Err(format!("resolve_after = \"{text}\" is no duration; write 30m or 2h")),
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

impl TryFrom<BatchTable> for Batch {
    type Error = String;

    fn try_from(BatchTable { count, bytes, wait }: BatchTable) -> Result<Self, String> {
        let usual = Self::BULK;
        let count = count.map_or(Ok(usual.count), |count| {
            usize::try_from(count)
                .ok()
                .filter(|count| (1..=BATCH_COUNT_MAX).contains(count))
                .ok_or_else(|| format!("batch.count = {count} is out of bounds: 1 at least, {BATCH_COUNT_MAX} at most"))
        })?;
        let bytes = bytes.map_or(Ok(usual.bytes), |bytes| {
            let bounds = BATCH_BYTES_LEAST..=BATCH_BYTES_MOST;
            u64::try_from(bytes).ok().filter(|bytes| bounds.contains(bytes)).ok_or_else(|| {
                format!(
                    "batch.bytes = {bytes} is out of bounds: {BATCH_BYTES_LEAST} at least, {BATCH_BYTES_MOST} at most"
                )
            })
        })?;
        let wait = wait.map_or(Ok(usual.wait), |wait| match duration::parse(&wait) {
            Some(time) if time <= BATCH_WAIT_MAX => Ok(time),
            _ => Err(format!("batch.wait = \"{wait}\" is no duration of 60 s at most; write 0s, 500ms or 5s")),
        })?;
        Ok(Self { count, bytes, wait })
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

    const BULK: &str = "type = \"elasticsearch\"\nurl = \"http://h/\"";
    const HOOK: &str = "type = \"webhook\"\nurl = \"http://h/\"\n";

    #[test]
    fn a_type_has_its_habits_where_nothing_is_said() {
        let day = MAX_AGE_DEFAULT;
        let expected = |concurrency| DeliverySettings {
            concurrency,
            max_age: day,
            fallback: None,
            is_bulk: false,
            batch: Batch::ONE,
            interval: None,
        };
        let file = DeliverySettings { is_bulk: true, batch: Batch::OF_FILE, ..expected(1) };
        assert_eq!(settings("type = \"archive\""), Ok(file));
        assert_eq!(settings("type = \"console\""), Ok(expected(1)));
        let slack = DeliverySettings { interval: Some(Duration::from_secs(1)), ..expected(1) };
        assert_eq!(settings("type = \"slack\"\nwebhook_url = { env = \"A\" }"), Ok(slack));
        assert_eq!(settings("type = \"pagerduty\"\nrouting_key = { env = \"A\" }"), Ok(expected(1)));
        assert_eq!(settings(HOOK), Ok(expected(8)));
        let bulk = settings(BULK).unwrap();
        assert_eq!((bulk.is_bulk, bulk.concurrency, bulk.batch), (true, 2, Batch::BULK));
    }

    #[test]
    fn a_destination_may_say_it_otherwise() {
        let said =
            settings(&format!("{HOOK}concurrency = 2\nmax_age = \"90m\"\nfallback = \"mail\"\npace = \"30/min\""))
                .unwrap();
        let expected = DeliverySettings {
            concurrency: 2,
            max_age: Duration::from_mins(90),
            fallback: Some("mail".to_owned()),
            is_bulk: false,
            batch: Batch::ONE,
            interval: Some(Duration::from_secs(2)),
        };
        assert_eq!(said, expected);
        let said = settings(&format!("{BULK}\nbatch = {{ count = 50, wait = \"0s\" }}")).unwrap();
        assert_eq!(said.batch, Batch { count: 50, wait: Duration::ZERO, ..Batch::BULK });
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_with_the_bounds() {
        for (text, cause) in [
            ("concurrency = 0", "1 at least, 64 at most"),
            ("concurrency = 65", "64 at most"),
            ("max_age = \"0s\"", "1s at least"),
            ("max_age = \"721h\"", "30 days at most"),
            ("max_age = \"soon\"", "write 30m"),
            ("pace = \"0/s\"", "1 at least"),
            ("pace = \"1001/s\"", "1000 at most"),
            ("pace = \"2/day\"", "write 1/s"),
        ] {
            let message = settings(&format!("{HOOK}{text}")).unwrap_err();
            assert!(message.contains(cause), "{text}: {message}");
        }
        for (text, cause) in [
            ("count = 0", "1 at least, 10000 at most"),
            ("bytes = 1000", "65536 at least"),
            ("wait = \"2m\"", "60 s at most"),
            ("size = 1", "expected one of `count`, `bytes`, `wait`"),
        ] {
            let message = settings(&format!("{BULK}\nbatch = {{ {text} }}")).unwrap_err();
            assert!(message.contains(cause), "{text}: {message}");
        }
    }
}
