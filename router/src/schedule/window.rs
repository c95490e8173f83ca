//! A part of the week, month or year in some place's local time.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Minutes of a day: `24:00` is the end of it.
pub(crate) const DAY_MINUTES: u16 = 24 * 60;

/// How far [`TimeWindow::next_change`] looks; then it asks to be asked again.
const LOOK_AHEAD_DAYS: usize = 8;

/// When somebody does, or does not, want to hear of alerts. What is empty restricts nothing.
#[derive(Debug)]
pub(crate) struct TimeWindow {
    pub(crate) name: Arc<str>,
    /// From and to, in minutes of the day, differing; where `to` is not after `from` it is the next day's, and the day that
    /// counts is the one it begins on.
    pub(crate) times: Vec<(u16, u16)>,
    /// 0 is Monday.
    pub(crate) weekdays: Vec<i8>,
    /// 1 is the first, -1 the last.
    pub(crate) days_of_month: Vec<i8>,
    /// 1 is January.
    pub(crate) months: Vec<i8>,
    pub(crate) zone: TimeZone,
}

impl TimeWindow {
    pub(crate) fn contains(&self, now: Timestamp) -> bool {
        let today = self.zone.to_datetime(now).date();
        [today.yesterday().ok(), Some(today)]
            .into_iter()
            .flatten()
            .flat_map(|date| self.spans(date))
            .any(|(start, end)| start <= now && now < end)
    }

    /// A moment after `now` up to which the answer of [`TimeWindow::contains`] stays the same; not always the last one.
    pub(crate) fn next_change(&self, now: Timestamp) -> Timestamp {
        let today = self.zone.to_datetime(now).date();
        let first = today.yesterday().unwrap_or(today);
        let days: Vec<_> =
            std::iter::successors(Some(first), |date| date.tomorrow().ok()).take(LOOK_AHEAD_DAYS).collect();
        let changes = days.iter().flat_map(|&date| self.spans(date)).flat_map(|(start, end)| [start, end]);
        // The last day looked at is a place to look on from, whether something changes there or not.
        let horizon = days.last().map_or(Timestamp::MAX, |&date| self.at(date, 0));
        changes.chain([horizon]).filter(|&change| change > now).min().unwrap_or(Timestamp::MAX)
    }

    /// From when to when it lasts that begins on this day.
    fn spans(&self, date: Date) -> Vec<(Timestamp, Timestamp)> {
        if !self.has_day(date) {
            return Vec::new();
        }
        let whole_day = [(0, DAY_MINUTES)];
        let times = if self.times.is_empty() { &whole_day } else { &self.times[..] };
        times
            .iter()
            .map(|&(from, to)| {
                let last = if to <= from { date.tomorrow().unwrap_or(date) } else { date };
                (self.at(date, from), self.at(last, to))
            })
            .collect()
    }

    fn has_day(&self, date: Date) -> bool {
        let (day, from_the_end) = (date.day(), date.day() - date.days_in_month() - 1);
        let is_in = |list: &[i8], value: i8| list.is_empty() || list.contains(&value);
        is_in(&self.weekdays, date.weekday().to_monday_zero_offset())
            && is_in(&self.months, date.month())
            && (is_in(&self.days_of_month, day) || self.days_of_month.contains(&from_the_end))
    }

    /// The first moment at which the clocks there show this time or a later one: of two times that show the same the first,
    /// and the jump itself where clocks jump over it. So every window begins and ends once.
    fn at(&self, date: Date, minute: u16) -> Timestamp {
        let date = if minute == DAY_MINUTES { date.tomorrow().unwrap_or(date) } else { date };
        let minute = i8::try_from(minute / 60 % 24).ok().zip(i8::try_from(minute % 60).ok());
        let time = minute.and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok()).unwrap_or(Time::MIN);
        let local = self.zone.to_ambiguous_timestamp(date.to_datetime(time));
        let is_gap = matches!(local.offset(), AmbiguousOffset::Gap { .. });
        let earlier = local.earlier().unwrap_or(Timestamp::MAX);
        let jump = is_gap.then(|| self.zone.following(earlier).next()).flatten();
        jump.map_or(earlier, |jump| jump.timestamp())
    }
}

/// Minutes since midnight of `06:30`; `24:00` is the end of the day.
pub(crate) fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let is_two_digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_two_digits(hour) || !is_two_digits(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= DAY_MINUTES).then_some(total)
}

/// Positions in `names` of `mon`, or of all from `fri` to `mon` for `fri-mon`.
pub(crate) fn parse_names(text: &str, names: &[&str]) -> Option<Vec<i8>> {
    let position = |name: &str| names.iter().position(|known| known.eq_ignore_ascii_case(name.trim()));
    let (first, last) = match text.split_once('-') {
        None => (position(text)?, position(text)?),
        Some((first, last)) => (position(first)?, position(last)?),
    };
    let count = (last + names.len() - first) % names.len() + 1;
    (0..count).map(|step| i8::try_from((first + step) % names.len()).ok()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    pub(crate) fn berlin(times: &[(&str, &str)]) -> TimeWindow {
        TimeWindow {
            name: "night".into(),
            times: times.iter().map(|(from, to)| (parse_minute(from).unwrap(), parse_minute(to).unwrap())).collect(),
            weekdays: Vec::new(),
            days_of_month: Vec::new(),
            months: Vec::new(),
            zone: TimeZone::get("Europe/Berlin").unwrap(),
        }
    }

    /// Every change that is announced between the two, with the answer from there on.
    fn changes(window: &TimeWindow, from: &str, to: &str) -> Vec<String> {
        let (mut now, to): (Timestamp, Timestamp) = (from.parse().unwrap(), to.parse().unwrap());
        let mut answer = window.contains(now);
        let mut seen = vec![format!("{now} {answer}")];
        while now < to {
            let next = window.next_change(now);
            assert!(next > now);
            while now < next && now < to {
                assert_eq!(window.contains(now), answer, "{now}: nobody announced it");
                now += jiff::SignedDuration::from_mins(15);
            }
            now = next;
            if now <= to && window.contains(now) != answer {
                answer = !answer;
                seen.push(format!("{now} {answer}"));
            }
        }
        seen
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let mut window = berlin(&[("22:00", "06:00")]);
        window.weekdays = parse_names("fri", &WEEKDAYS).unwrap();
        // 2026-01-02 is a Friday.
        assert_eq!(
            changes(&window, "2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z"),
            ["2026-01-01T00:00:00Z false", "2026-01-02T21:00:00Z true", "2026-01-03T05:00:00Z false"]
        );
    }

    #[test]
    fn a_window_lasts_an_hour_less_over_the_gap_and_an_hour_more_over_the_fold() {
        let window = berlin(&[("22:00", "06:00")]);
        assert_eq!(
            changes(&window, "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"),
            ["2026-03-28T12:00:00Z false", "2026-03-28T21:00:00Z true", "2026-03-29T04:00:00Z false"]
        );
        assert_eq!(
            changes(&window, "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"),
            ["2026-10-24T12:00:00Z false", "2026-10-24T20:00:00Z true", "2026-10-25T05:00:00Z false"]
        );
    }

    #[test]
    fn what_begins_or_ends_within_the_gap_does_so_at_the_jump() {
        let jump = "2026-03-29T01:00:00Z";
        assert_eq!(
            changes(&berlin(&[("02:30", "03:30")]), "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z"),
            ["2026-03-29T00:00:00Z false".to_owned(), format!("{jump} true"), "2026-03-29T01:30:00Z false".to_owned()]
        );
        assert_eq!(
            changes(&berlin(&[("01:30", "02:30")]), "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z"),
            ["2026-03-29T00:00:00Z false".to_owned(), "2026-03-29T00:30:00Z true".to_owned(), format!("{jump} false")]
        );
        assert_eq!(changes(&berlin(&[("02:10", "02:50")]), "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z").len(), 1);
    }

    #[test]
    fn what_begins_or_ends_within_the_fold_does_so_once_at_its_first_time() {
        assert_eq!(
            changes(&berlin(&[("02:30", "06:00")]), "2026-10-24T22:00:00Z", "2026-10-25T12:00:00Z"),
            ["2026-10-24T22:00:00Z false", "2026-10-25T00:30:00Z true", "2026-10-25T05:00:00Z false"]
        );
        assert_eq!(
            changes(&berlin(&[("01:00", "02:30")]), "2026-10-24T22:00:00Z", "2026-10-25T12:00:00Z"),
            ["2026-10-24T22:00:00Z false", "2026-10-24T23:00:00Z true", "2026-10-25T00:30:00Z false"]
        );
    }

    #[test]
    fn days_of_the_month_are_counted_from_both_ends_and_months_restrict_them() {
        let mut window = berlin(&[]);
        (window.days_of_month, window.months) = (vec![1, -1], vec![2]);
        assert_eq!(
            changes(&window, "2026-01-15T00:00:00Z", "2026-12-31T00:00:00Z"),
            [
                "2026-01-15T00:00:00Z false",
                "2026-01-31T23:00:00Z true",
                "2026-02-01T23:00:00Z false",
                "2026-02-27T23:00:00Z true",
                "2026-02-28T23:00:00Z false"
            ]
        );
    }

    #[test]
    fn a_day_may_have_several_times_and_end_at_midnight() {
        let window = berlin(&[("00:00", "06:00"), ("22:00", "24:00")]);
        assert_eq!(
            changes(&window, "2026-01-01T12:00:00Z", "2026-01-02T12:00:00Z"),
            ["2026-01-01T12:00:00Z false", "2026-01-01T21:00:00Z true", "2026-01-02T05:00:00Z false"]
        );
    }

    #[test]
    fn times_and_names_are_read_or_refused() {
        assert_eq!(["00:00", "06:30", "24:00"].map(parse_minute), [Some(0), Some(390), Some(1_440)]);
        assert_eq!(["24:01", "6:30", "06:60", "0630", "-1:00", "+1:00", "aa:bb", "06:3"].map(parse_minute), [None; 8]);
        assert_eq!(parse_names("Sat - mon", &WEEKDAYS), Some(vec![5, 6, 0]));
        assert_eq!(parse_names("wed", &WEEKDAYS), Some(vec![2]));
        assert_eq!([parse_names("noday", &WEEKDAYS), parse_names("mon-", &WEEKDAYS)], [None, None]);
    }
}
