//! The fields that tell an event's time as text.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use crate::event::Text;

pub(crate) const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;

/// A way to write a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeForm {
    /// `16:38:40.618643973`, local.
    Time,
    /// `16:38:40`, local.
    TimeSeconds,
    /// `2026-11-23T16:38:40.618643973+0000`, always UTC.
    Iso8601,
    /// `2026-11-23 16:38:40.618643973`, local.
    DateTime,
    /// `2026-11-23 16:38:40`, local.
    DateTimeSeconds,
}

impl TimeForm {
    /// The form of the field of this name.
    pub(crate) fn of_field(name: &str) -> Option<Self> {
        Some(match name {
            "evt.time" | "evt.outputtime" => Self::Time,
            "evt.time.s" => Self::TimeSeconds,
            "evt.time.iso8601" => Self::Iso8601,
            "evt.datetime" => Self::DateTime,
            "evt.datetime.s" => Self::DateTimeSeconds,
            _ => return None,
        })
    }

    pub(super) fn text(self) -> Text {
        match self {
            Self::Time => Text::Time,
            Self::TimeSeconds => Text::TimeSeconds,
            Self::Iso8601 => Text::TimeIso8601,
            Self::DateTime => Text::DateTime,
            Self::DateTimeSeconds => Text::DateTimeSeconds,
        }
    }

    /// `time_ns`: since 1970.
    pub(crate) fn write(self, time_ns: i64, zone: &TimeZone) -> String {
        match self {
            Self::Time => format!("{}.{:09}", clock(&local(time_ns, zone)), nanosecond(time_ns)),
            Self::TimeSeconds => clock(&local(time_ns, zone)),
            Self::Iso8601 => {
                let time = local(time_ns, &TimeZone::UTC);
                format!("{}T{}.{:09}+0000", time.date(), clock(&time), nanosecond(time_ns))
            }
            Self::DateTime => {
                let time = local(time_ns, zone);
                format!("{} {}.{:09}", time.date(), clock(&time), nanosecond(time_ns))
            }
            Self::DateTimeSeconds => {
                let time = local(time_ns, zone);
                format!("{} {}", time.date(), clock(&time))
            }
        }
    }
}

/// Nanoseconds since 1970 as a point in time.
pub(crate) fn timestamp(time_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(time_ns.into()).unwrap_or(Timestamp::MAX)
}

fn local(time_ns: i64, zone: &TimeZone) -> ZonedDateTime {
    timestamp(time_ns).to_zoned_datetime(zone.clone())
}

fn clock(time: &ZonedDateTime) -> String {
    format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

fn nanosecond(time_ns: i64) -> i64 {
    time_ns.rem_euclid(NANOSECONDS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_in_falco() {
        let table = [
            ("evt.time", "18:38:40.018643973"),
            ("evt.outputtime", "18:38:40.018643973"),
            ("evt.time.s", "18:38:40"),
            ("evt.time.iso8601", "2026-11-23T16:38:40.018643973+0000"),
            ("evt.datetime", "2026-11-23 18:38:40.018643973"),
            ("evt.datetime.s", "2026-11-23 18:38:40"),
        ];
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (name, expected) in table {
            let form = TimeForm::of_field(name).unwrap();
            assert_eq!(form.write(1_795_451_920_018_643_973, &zone), expected, "{name}");
        }
        assert_eq!(TimeForm::of_field("evt.rawtime"), None);
    }
}
