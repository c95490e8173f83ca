//! Lengths of time as people write them: `500ms`, `5m`, `1h30m`, `7d`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A day is 24 hours, whatever clocks do. `None`: it is no length of time, or less than nothing.
pub fn parse(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(length).ok()
}

/// For a field that may be absent.
pub(crate) fn deserialize_optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let wrong = || D::Error::custom(format!("`{text}` is no duration; write 90m, 2h or 3d"));
    parse(&text).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_24_hours_and_what_is_no_length_is_nothing() {
        let hours = |text: &str| parse(text).map(|length| length.as_secs() / 3_600);
        assert_eq!([hours("2h"), hours("7d"), hours("1w"), hours("P1D")], [Some(2), Some(168), Some(168), Some(24)]);
        assert_eq!(parse("1h30m"), Some(Duration::from_mins(90)));
        assert_eq!([parse("soon"), parse("-5m"), parse("1mo"), parse("")], [None; 4]);
    }
}
