//! What was lost on the way from the kernel, told as an alert: silence must not look like peace.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tercel_alert::{Alert, OutputFields, Priority};
use uuid::Uuid;

/// Name of the alert, and what stands in its `source`.
pub const RULE: &str = "Tercel internal: events lost";
const SOURCE: &str = "internal";

/// Between two of these alerts, as Falco does by default; what is lost meanwhile is in the next one.
const INTERVAL: Duration = Duration::from_secs(30);

/// Numbers that only rise, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// `KIND.REASON` → events that the kernel side could not report.
    pub dropped: BTreeMap<String, u64>,
    /// Gaps in the sequence numbers: the same events seen from this side, or records that vanished.
    pub gaps: u64,
    /// Program → times that the kernel skipped it, an upper bound of the events lost by it.
    pub recursion_misses: BTreeMap<String, u64>,
}

impl Losses {
    /// What was added to `before`; what did not rise is left out.
    fn since(&self, before: &Self) -> Self {
        Self {
            dropped: risen(&self.dropped, &before.dropped),
            gaps: self.gaps.saturating_sub(before.gaps),
            recursion_misses: risen(&self.recursion_misses, &before.recursion_misses),
        }
    }

    fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.gaps == 0 && self.recursion_misses.is_empty()
    }

    fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Those that make what is known of processes doubtful: forks, execs and exits.
    pub fn of_processes(&self) -> u64 {
        let is_of_processes = |name: &str| ["exec.", "fork.", "exit."].iter().any(|kind| name.starts_with(kind));
        let dropped = self.dropped.iter().filter(|(name, _)| is_of_processes(name));
        let missed = self.recursion_misses.iter().filter(|(name, _)| name.starts_with("process_"));
        dropped.chain(missed).map(|(_, count)| count).sum()
    }

    fn misses_total(&self) -> u64 {
        self.recursion_misses.values().sum()
    }

    /// In words: `dropped=7 (open.ring_full=7) gaps=7 recursion_misses=0`.
    fn output(&self) -> String {
        format!(
            "Events were lost, alerts about them are missing | dropped={}{} gaps={} recursion_misses={}{}",
            self.dropped_total(),
            in_brackets(&self.dropped),
            self.gaps,
            self.misses_total(),
            in_brackets(&self.recursion_misses)
        )
    }

    fn fields(&self) -> OutputFields {
        let dropped = self.dropped.iter().map(|(name, count)| (format!("lost.dropped.{name}"), json!(count)));
        let misses =
            self.recursion_misses.iter().map(|(name, count)| (format!("lost.recursion_misses.{name}"), json!(count)));
        let totals: [(String, Value); 3] = [
            ("lost.dropped".to_owned(), json!(self.dropped_total())),
            ("lost.gaps".to_owned(), json!(self.gaps)),
            ("lost.recursion_misses".to_owned(), json!(self.misses_total())),
        ];
        totals.into_iter().chain(dropped).chain(misses).collect()
    }
}

fn risen(now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let added = now.iter().map(|(name, count)| (name.clone(), count - before.get(name).unwrap_or(&0).min(count)));
    added.filter(|(_, count)| *count > 0).collect()
}

fn in_brackets(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
    format!(" ({})", counts.join(" "))
}

/// Says when it is time for an alert, and about what.
#[derive(Debug, Default)]
pub struct LossAlarm {
    told: Losses,
    last: Option<Instant>,
}

impl LossAlarm {
    /// What was lost since the last alert, if that is more than nothing and long enough ago.
    pub fn check(&mut self, now: Instant, losses: &Losses) -> Option<Losses> {
        let risen = losses.since(&self.told);
        let is_due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= INTERVAL);
        if risen.is_empty() || !is_due {
            return None;
        }
        (self.told, self.last) = (losses.clone(), Some(now));
        Some(risen)
    }
}

/// The alert about them.
pub fn alert(lost: &Losses, hostname: &str) -> Alert {
    Alert {
        uuid: Some(Uuid::now_v7()),
        original_uuid: None,
        time: Timestamp::now(),
        rule: RULE.to_owned(),
        priority: Priority::Warning,
        source: SOURCE.to_owned(),
        hostname: hostname.to_owned(),
        output: lost.output(),
        output_fields: lost.fields(),
        tags: ["internal".to_owned()].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(dropped: u64, gaps: u64, misses: u64) -> Losses {
        Losses {
            dropped: [("exec.too_long".to_owned(), 0), ("open.ring_full".to_owned(), dropped)].into(),
            gaps,
            recursion_misses: [("sys_exit".to_owned(), misses)].into(),
        }
    }

    #[test]
    fn nothing_lost_is_nothing_told() {
        let mut alarm = LossAlarm::default();
        assert_eq!(alarm.check(Instant::now(), &losses(0, 0, 0)), None);
    }

    #[test]
    fn each_kind_of_loss_alone_raises_the_alarm() {
        for lost in [losses(1, 0, 0), losses(0, 1, 0), losses(0, 0, 1)] {
            assert!(LossAlarm::default().check(Instant::now(), &lost).is_some(), "{lost:?}");
        }
    }

    #[test]
    fn what_is_lost_within_thirty_seconds_is_in_the_next_alert_and_told_once() {
        let (mut alarm, start) = (LossAlarm::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(alarm.check(start, &losses(5, 5, 0)).unwrap().dropped["open.ring_full"], 5);
        assert_eq!(alarm.check(after(1), &losses(7, 5, 0)), None);
        assert_eq!(alarm.check(after(29), &losses(9, 5, 2)), None);
        let next = alarm.check(after(30), &losses(9, 5, 2)).unwrap();
        assert_eq!((next.dropped["open.ring_full"], next.gaps, next.recursion_misses["sys_exit"]), (4, 0, 2));
        assert_eq!(alarm.check(after(90), &losses(9, 5, 2)), None);
    }

    #[test]
    fn lost_forks_execs_and_exits_are_told_from_lost_calls() {
        let mut lost = losses(7, 9, 3);
        assert_eq!(lost.of_processes(), 0);
        lost.dropped.extend([("fork.ring_full".to_owned(), 2), ("exec_failed.ring_full".to_owned(), 50)]);
        lost.recursion_misses.insert("process_exit".to_owned(), 1);
        assert_eq!(lost.of_processes(), 3);
    }

    #[test]
    fn the_alert_names_the_numbers_by_kind() {
        let lost = losses(7, 8, 3).since(&losses(0, 0, 1));
        let alert = alert(&lost, "node-1");
        assert_eq!((alert.rule.as_str(), alert.source.as_str(), alert.priority), (RULE, "internal", Priority::Warning));
        assert_eq!(
            alert.output,
            "Events were lost, alerts about them are missing | dropped=7 (open.ring_full=7) gaps=8 \
             recursion_misses=2 (sys_exit=2)"
        );
        let fields = json!({
            "lost.dropped": 7, "lost.gaps": 8, "lost.recursion_misses": 2,
            "lost.dropped.open.ring_full": 7, "lost.recursion_misses.sys_exit": 2,
        });
        assert_eq!(Value::Object(alert.output_fields), fields);
    }
}
