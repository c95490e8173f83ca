//! Time windows: when a destination, or a route, does not want to hear of alerts that can wait, and the digest of what it
//! did not hear of, which goes out when it listens again.
//!
//! A plain state machine that is told the time. What was muted is recorded.

mod window;

use std::sync::Arc;

use jiff::Timestamp;
use tercel_alert::{Alert, Priority};

use crate::held_back::{Held, HeldBack};
use crate::record::{Owner, Record, Records};

pub(crate) use window::{TimeWindow, parse_minute, parse_names};

/// What the id of a digest is derived from, beside its owner and time: no other stage's digest has the same.
const STAGE: &[u8] = b"schedule";

/// The windows that one destination or route refers to.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// Muted in each of them.
    pub(crate) mute: Vec<Arc<TimeWindow>>,
    /// Where there are any, muted outside of all of them.
    pub(crate) active: Vec<Arc<TimeWindow>>,
    /// At and above it nothing is muted.
    pub(crate) break_through: Option<Priority>,
}

/// What one schedule muted at one destination.
pub(crate) struct Muted {
    owner: Owner,
    schedule: Schedule,
    held_back: HeldBack,
    answer: Option<Answer>,
}

/// The time zone is asked once for all alerts of some hours.
struct Answer {
    from: Timestamp,
    until: Timestamp,
    window: Option<Arc<str>>,
}

impl Schedule {
    /// Whether it ever mutes anything.
    pub(crate) fn mutes(&self) -> bool {
        !self.mute.is_empty() || !self.active.is_empty()
    }

    /// The window that mutes at this time: one of `mute`, or the first of `active` where it is outside of all of them.
    pub(crate) fn muted_by(&self, now: Timestamp) -> Option<&Arc<str>> {
        if let Some(window) = self.mute.iter().find(|window| window.contains(now)) {
            return Some(&window.name);
        }
        let is_active = self.active.is_empty() || self.active.iter().any(|window| window.contains(now));
        if is_active { None } else { self.active.first().map(|window| &window.name) }
    }

    /// A moment after `now` up to which [`Schedule::muted_by`] stays the same.
    pub(crate) fn next_change(&self, now: Timestamp) -> Timestamp {
        let windows = self.mute.iter().chain(&self.active);
        windows.map(|window| window.next_change(now)).min().unwrap_or(Timestamp::MAX)
    }

    fn any_window(&self) -> Option<Arc<str>> {
        self.mute.iter().chain(&self.active).next().map(|window| Arc::clone(&window.name))
    }
}

impl Muted {
    /// `route`: where the schedule is a route's and not the destination's own. `records`: those of the table of muted
    /// alerts, in the order of their keys; others' are passed over.
    pub(crate) fn load(
        destination: &str,
        route: Option<&str>,
        schedule: &Schedule,
        records: impl Iterator<Item = Record>,
    ) -> Self {
        // No route's name is empty.
        let owner = Owner::new(&[destination, route.unwrap_or_default()]);
        let held_back = HeldBack::load(owner.clone(), records);
        Self { owner, schedule: schedule.clone(), held_back, answer: None }
    }

    /// What was muted is what the records say, after a commit that failed.
    pub(crate) fn reload(&mut self, records: impl Iterator<Item = Record>) {
        self.held_back = HeldBack::load(self.owner.clone(), records);
    }

    /// Goes on where `old`, of the same route or destination, was.
    pub(crate) fn take_over(&mut self, old: Self) {
        self.held_back = old.held_back;
    }

    /// The window that mutes this alert; it is counted.
    pub(crate) fn decide(&mut self, alert: &Arc<Alert>, now: Timestamp) -> Option<Arc<str>> {
        if self.schedule.break_through.is_some_and(|priority| alert.priority >= priority) {
            return None;
        }
        let window = Arc::clone(self.answer(now).window.as_ref()?);
        self.held_back.add(alert, now);
        Some(window)
    }

    /// The digest of what was muted, when the destination listens again.
    pub(crate) fn due(&mut self, now: Timestamp) -> Option<Held> {
        self.held_back.recorded_since()?;
        if self.answer(now).window.is_some() { None } else { self.close() }
    }

    /// The digest of what was muted so far; for a schedule that a new configuration does not have.
    pub(crate) fn close(&mut self) -> Option<Held> {
        let mut held = self.held_back.take(&[STAGE])?;
        let window = self.schedule.muted_by(held.digest.since).cloned();
        held.digest.time_window = window.or_else(|| self.schedule.any_window());
        Some(held)
    }

    /// When to ask [`Muted::due`] again; `None`: nothing is muted.
    pub(crate) fn next_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.held_back.recorded_since()?;
        let answer = self.answer(now);
        Some(if answer.window.is_some() { answer.until } else { now })
    }

    /// Puts all that changed since the last call.
    pub(crate) fn record(&mut self, records: &mut dyn Records) {
        self.held_back.record(records);
    }

    /// Records that made no sense at the start.
    pub(crate) fn senseless(&self) -> u64 {
        self.held_back.senseless()
    }

    fn answer(&mut self, now: Timestamp) -> &Answer {
        let schedule = &self.schedule;
        let known = self.answer.take().filter(|answer| answer.from <= now && now < answer.until);
        self.answer.insert(known.unwrap_or_else(|| Answer {
            from: now,
            until: schedule.next_change(now),
            window: schedule.muted_by(now).cloned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;

    use super::window::tests::berlin;
    use super::*;

    struct Bench {
        muted: Muted,
        table: BTreeMap<Vec<u8>, Vec<u8>>,
        now: Timestamp,
    }

    /// Nine to five.
    fn office() -> TimeWindow {
        TimeWindow { name: "office".into(), ..berlin(&[("09:00", "17:00")]) }
    }

    fn schedule(mute: Vec<TimeWindow>, active: Vec<TimeWindow>) -> Schedule {
        let shared = |windows: Vec<TimeWindow>| windows.into_iter().map(Arc::new).collect();
        Schedule { mute: shared(mute), active: shared(active), break_through: Some(Priority::Critical) }
    }

    fn alert(priority: Priority) -> Arc<Alert> {
        let value = serde_json::json!({"time": "2026-01-01T00:00:00Z", "rule": "R", "priority": priority.name()});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    impl Bench {
        /// Noon in Berlin.
        fn new(schedule: &Schedule) -> Self {
            let muted = Muted::load("pager", None, schedule, std::iter::empty());
            Self { muted, table: BTreeMap::new(), now: "2026-01-01T11:00:00Z".parse().unwrap() }
        }

        fn advance(&mut self, hours: i64) {
            self.now += SignedDuration::from_hours(hours);
        }

        fn decide(&mut self) -> Option<Arc<str>> {
            self.muted.decide(&alert(Priority::Error), self.now)
        }

        fn restart(&mut self) {
            self.muted.record(&mut self.table);
            let schedule = self.muted.schedule.clone();
            self.muted = Muted::load("pager", None, &schedule, self.table.clone().into_iter());
        }
    }

    #[test]
    fn a_muted_night_ends_with_one_digest() {
        let mut bench = Bench::new(&schedule(vec![berlin(&[("22:00", "06:00")])], vec![]));
        assert_eq!((bench.decide(), bench.muted.next_due(bench.now)), (None, None));
        bench.advance(11);
        for _ in 0..3 {
            assert_eq!(bench.decide().as_deref(), Some("night"));
            assert!(bench.muted.due(bench.now).is_none());
            bench.restart();
            bench.advance(2);
        }
        assert_eq!(bench.muted.next_due(bench.now), Some("2026-01-02T05:00:00Z".parse().unwrap()));
        bench.advance(1);
        let digest = bench.muted.due(bench.now).unwrap().digest;
        assert_eq!((digest.time_window.as_deref(), digest.count, &digest.rules[0].0[..]), (Some("night"), 3, "R"));
        bench.restart();
        assert!(bench.muted.due(bench.now).is_none() && bench.table.is_empty());
    }

    #[test]
    fn the_digest_has_the_same_id_when_its_commit_failed() {
        let mut bench = Bench::new(&schedule(vec![], vec![office()]));
        bench.advance(8);
        bench.decide();
        bench.restart();
        bench.advance(14);
        let first = bench.muted.due(bench.now).unwrap().id;
        bench.muted.reload(bench.table.clone().into_iter());
        assert_eq!(bench.muted.due(bench.now).unwrap().id, first);
    }

    #[test]
    fn outside_of_the_active_windows_all_is_muted_but_what_breaks_through() {
        let mut bench = Bench::new(&schedule(vec![], vec![office()]));
        assert_eq!(bench.decide(), None);
        bench.advance(8);
        assert_eq!(bench.decide().as_deref(), Some("office"));
        assert_eq!(bench.muted.decide(&alert(Priority::Critical), bench.now), None);
        assert_eq!(bench.muted.close().unwrap().digest.count, 1);
    }

    #[test]
    fn the_digest_waits_until_no_window_mutes() {
        let evening = TimeWindow { name: "evening".into(), ..berlin(&[("18:00", "23:00")]) };
        let mut bench = Bench::new(&schedule(vec![evening, berlin(&[("22:00", "06:00")])], vec![]));
        bench.advance(7);
        assert_eq!(bench.decide().as_deref(), Some("evening"));
        bench.advance(5);
        assert!(bench.muted.due(bench.now).is_none());
        assert_eq!(bench.decide().as_deref(), Some("night"));
        bench.advance(6);
        assert_eq!(bench.muted.due(bench.now).unwrap().digest.count, 2);
    }

    #[test]
    fn a_clock_that_jumps_back_is_asked_anew() {
        let mut bench = Bench::new(&schedule(vec![berlin(&[("22:00", "06:00")])], vec![]));
        bench.advance(12);
        assert!(bench.decide().is_some());
        bench.advance(-3);
        assert_eq!(bench.decide(), None);
        let digest = bench.muted.due(bench.now).unwrap().digest;
        assert_eq!(digest.count, 1);
        assert!(digest.since <= digest.until);
    }

    #[test]
    fn a_destination_and_its_routes_count_for_themselves() {
        let schedule = schedule(vec![berlin(&[])], vec![]);
        let mut bench = Bench::new(&schedule);
        bench.decide();
        bench.restart();
        let of_route = Muted::load("pager", Some("r"), &schedule, bench.table.clone().into_iter());
        assert_eq!((of_route.senseless(), of_route.held_back.recorded_since()), (0, None));
        assert_eq!(bench.muted.senseless(), 0);
    }
}
