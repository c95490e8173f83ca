//! `[time_window.NAME]`, what refers to them, and `[[inhibit]]`.

use std::collections::{BTreeMap, HashSet};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::Compiler;
use crate::condition::Condition;
use crate::destination::DestinationConfig;
use crate::fingerprint::KeyField;
use crate::inhibit::Inhibition;
use crate::routing::{
    DestinationTable, InhibitTable, Problem, RouteTable, Spanned, TimeWindowTable, TimesTable, Written,
};
use crate::schedule::{Schedule, TimeWindow, parse_minute, parse_names};

/// Time windows in one file.
const WINDOWS_MAX: usize = 100;

/// Inhibitions in one file: each is asked about each alert, at each destination.
const INHIBITIONS_MAX: usize = 100;

/// How long an inhibition lasts after its source's last occurrence, where nothing else is said, and what may be said.
const LASTS_DEFAULT: Duration = Duration::from_mins(10);
const LASTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24 * 7);

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS_OF_MONTH: RangeInclusive<i64> = 1..=31;

/// A compiled time window, and whether something refers to it.
pub(super) struct Window {
    compiled: Arc<TimeWindow>,
    span: Range<usize>,
    is_used: bool,
}

/// What a destination says about time windows. Where in its table is not known, so problems are placed at its name.
pub(super) struct ScheduleNames {
    destination: String,
    mute: Vec<Spanned<String>>,
    active: Vec<Spanned<String>>,
    break_through: Option<Spanned<String>>,
}

/// The settings of destinations, by name.
pub(super) type Configs = BTreeMap<Spanned<String>, (DestinationConfig, Written)>;

/// The settings of destinations, and their schedules.
pub(super) fn split(tables: BTreeMap<Spanned<String>, DestinationTable>) -> (Configs, Vec<ScheduleNames>) {
    let parts = tables.into_iter().map(|(name, table)| {
        let DestinationTable { config, written, mute, active, break_through } = table;
        let spanned = |text: String| Spanned::new(name.span(), text);
        let list = |names: Option<Vec<String>>| names.into_iter().flatten().map(spanned).collect();
        let schedule = ScheduleNames {
            destination: name.get_ref().clone(),
            mute: list(mute),
            active: list(active),
            break_through: break_through.map(spanned),
        };
        ((name, (config, written)), schedule)
    });
    parts.unzip()
}

/// Time windows.
impl Compiler<'_> {
    pub(super) fn windows(&mut self, tables: BTreeMap<Spanned<String>, TimeWindowTable>) {
        for (number, (name, table)) in tables.into_iter().enumerate() {
            let span = name.span();
            if number == WINDOWS_MAX {
                self.complain(&span, format!("more than {WINDOWS_MAX} time windows"));
            }
            let compiled = Arc::new(self.window_of(&name, &table));
            self.windows.insert(name.into_inner(), Window { compiled, span, is_used: false });
        }
    }

    pub(super) fn unused_windows(&self) -> Vec<Problem> {
        let unused = self.windows.iter().filter(|(_, window)| !window.is_used);
        unused
            .map(|(name, window)| {
                let message = format!("no destination and no route refers to time window `{name}`");
                self.source.problem(&window.span, message)
            })
            .collect()
    }

    fn window_of(&mut self, name: &Spanned<String>, table: &TimeWindowTable) -> TimeWindow {
        let what = format!("time window `{}`", name.get_ref());
        let TimeWindowTable { times, weekdays, days_of_month, months, time_zone } = table;
        if times.is_empty() && weekdays.is_empty() && days_of_month.is_empty() && months.is_empty() {
            let message = format!("{what} has no times, weekdays, days_of_month or months, so it would hold always");
            self.complain(&name.span(), message);
        }
        TimeWindow {
            name: name.get_ref().as_str().into(),
            times: times.iter().filter_map(|times| self.times(&what, times)).collect(),
            weekdays: self.names(&what, "weekdays", weekdays, &WEEKDAYS),
            days_of_month: days_of_month.iter().filter_map(|day| self.day_of_month(&what, day)).collect(),
            months: self.names(&what, "months", months, &MONTHS).into_iter().map(|month| month + 1).collect(),
            zone: time_zone.as_ref().map_or(TimeZone::UTC, |zone| self.zone(&what, zone)),
        }
    }

    fn times(&mut self, what: &str, times: &Spanned<TimesTable>) -> Option<(u16, u16)> {
        let TimesTable { from, to } = times.get_ref();
        let (start, end) = (self.minute(what, "from", from), self.minute(what, "to", to));
        let (start, end) = start.zip(end)?;
        if from.get_ref() == "24:00" || start == end {
            let message = format!(
                "{what}: from {} to {} is no time; leave `times` out for the whole day",
                from.get_ref(),
                to.get_ref()
            );
            self.complain(&times.span(), message);
        }
        Some((start, end))
    }

    fn minute(&mut self, what: &str, key: &str, text: &Spanned<String>) -> Option<u16> {
        let minute = parse_minute(text.get_ref());
        if minute.is_none() {
            let message = format!("{what}: {key} = \"{}\" is no time of day; write 06:30 or 22:00", text.get_ref());
            self.complain(&text.span(), message);
        }
        minute
    }

    fn names(&mut self, what: &str, key: &str, texts: &[Spanned<String>], known: &[&str]) -> Vec<i8> {
        let mut positions = Vec::new();
        for text in texts {
            if let Some(parsed) = parse_names(text.get_ref(), known) {
                positions.extend(parsed);
            } else {
                let (written, names) = (text.get_ref(), known.join(", "));
                let (first, last) = (known[0], known[known.len() - 1]);
                let message = format!("{what}: {key} has `{written}`; write {names} or a range, as {first}-{last}");
                self.complain(&text.span(), message);
            }
        }
        positions
    }

    fn day_of_month(&mut self, what: &str, day: &Spanned<i64>) -> Option<i8> {
        let value = *day.get_ref();
        if !DAYS_OF_MONTH.contains(&value) && !DAYS_OF_MONTH.contains(&value.saturating_neg()) {
            let message = format!("{what}: days_of_month has {value}; 1 to 31, or -1 for the last to -31");
            self.complain(&day.span(), message);
        }
        i8::try_from(value).ok()
    }

    fn zone(&mut self, what: &str, name: &Spanned<String>) -> TimeZone {
        TimeZone::get(name.get_ref()).unwrap_or_else(|_| {
            let message =
                format!("{what}: unknown time_zone `{}`; write an IANA name, as Europe/Berlin", name.get_ref());
            self.complain(&name.span(), message);
            TimeZone::UTC
        })
    }
}

/// What refers to time windows.
impl Compiler<'_> {
    /// One for every destination, in their order.
    pub(super) fn destination_schedules(&mut self, all: &[ScheduleNames]) -> Vec<Option<Schedule>> {
        let names: Vec<_> = self.destinations.iter().map(|destination| destination.name.clone()).collect();
        let of = |name: &String| all.iter().find(|schedule| schedule.destination == *name);
        names.iter().map(|name| of(name).and_then(|schedule| self.destination_schedule(schedule))).collect()
    }

    /// What the route leaves out is its parent's.
    pub(super) fn route_schedule(&mut self, route: &str, table: &RouteTable, parent: &Schedule) -> Schedule {
        let what = format!("route `{route}`");
        let RouteTable { mute, active, break_through, .. } = table;
        Schedule {
            mute: mute.as_ref().map_or_else(|| parent.mute.clone(), |names| self.references(&what, "mute", names)),
            active: active
                .as_ref()
                .map_or_else(|| parent.active.clone(), |names| self.references(&what, "active", names)),
            break_through: break_through
                .as_ref()
                .map_or(parent.break_through, |priority| self.priority("break_through", priority)),
        }
    }

    fn destination_schedule(&mut self, names: &ScheduleNames) -> Option<Schedule> {
        let what = format!("destination `{}`", names.destination);
        let break_through = names.break_through.as_ref();
        let schedule = Schedule {
            mute: self.references(&what, "mute", &names.mute),
            active: self.references(&what, "active", &names.active),
            break_through: break_through.and_then(|priority| self.priority("break_through", priority)),
        };
        schedule.mutes().then_some(schedule)
    }

    fn references(&mut self, what: &str, key: &str, names: &[Spanned<String>]) -> Vec<Arc<TimeWindow>> {
        let mut windows = Vec::new();
        for name in names {
            if let Some(known) = self.windows.get_mut(name.get_ref()) {
                known.is_used = true;
                windows.push(Arc::clone(&known.compiled));
            } else {
                let known: Vec<_> = self.windows.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none" } else { &known.join(", ") };
                let message = format!("{what}: {key} names `{}`; known time windows: {known}", name.get_ref());
                self.complain(&name.span(), message);
            }
        }
        windows
    }
}

/// Inhibitions.
impl Compiler<'_> {
    pub(super) fn inhibitions(&mut self, tables: Vec<Spanned<InhibitTable>>) -> Arc<[Inhibition]> {
        if let Some(table) = tables.get(INHIBITIONS_MAX) {
            self.complain(&table.span(), format!("more than {INHIBITIONS_MAX} inhibitions"));
        }
        let (mut inhibitions, mut names) = (Vec::new(), HashSet::new());
        for table in tables {
            let table = table.into_inner();
            let name = table.name.get_ref();
            if name.is_empty() || name.chars().any(char::is_control) {
                self.complain(&table.name.span(), "an inhibition's name is a word or a few on one line".to_owned());
            }
            if !names.insert(name.clone()) {
                let message = format!("a second inhibition is called `{name}`; give each its own name");
                self.complain(&table.name.span(), message);
            }
            inhibitions.extend(self.inhibition(&table));
        }
        inhibitions.into()
    }

    fn inhibition(&mut self, table: &InhibitTable) -> Option<Inhibition> {
        let name = table.name.get_ref().as_str();
        let source = self.own_condition(&format!("source of inhibition `{name}`"), &table.source);
        let target = self.own_condition(&format!("target of inhibition `{name}`"), &table.target);
        let equal = self.keys_of("equal", &table.equal, KeyField::parse_shared);
        let lasts = table.lasts.as_ref().map_or(LASTS_DEFAULT, |lasts| self.duration("for", lasts, LASTS));
        Some(Inhibition { name: name.into(), source: source?, target: target?, equal, lasts })
    }

    fn own_condition(&mut self, what: &str, text: &Spanned<String>) -> Option<Condition> {
        Condition::parse(text.get_ref()).map_err(|error| self.bad_condition(what, text, &error)).ok()
    }

    fn complain(&mut self, span: &Range<usize>, message: String) {
        self.problems.push(self.source.problem(span, message));
    }
}
