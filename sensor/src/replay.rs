//! `tercel-sensor replay`: records of a recording instead of the ring's, and the recording's answers instead of /proc's.
//!
//! Everything else is what watches: the same state, rules and outputs. Nothing of this machine goes in but the time zone
//! of times in texts, so that two replays say the same.

use std::io::Read;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tercel_alert::Alert;
use uuid::Uuid;

use crate::detect::Detector;
use crate::enrich::State;
use crate::enrich::container::Metadata;
use crate::recording::{End, Error, Item, Machine, Problem, Reader};
use crate::ring::Record;
use crate::watch::Judge;

/// As often as a running sensor forgets what is over.
const TICK_NS: u64 = 1_000_000_000;

const NANOSECONDS_PER_MILLISECOND: i64 = 1_000_000;

/// What was in a recording, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub machine: Machine,
    pub records: u64,
    /// Records that rules could be asked about.
    pub events: u64,
    pub alerts: u64,
    /// Processes that were known by what their own records say, and by nothing else.
    pub unknown_processes: u64,
    /// What the recorder told at its end.
    pub end: End,
}

/// Evaluates a recording. `file` names the input in errors; `zone`: of the times in texts. Alerts before an error were
/// handed over.
pub fn replay(
    input: impl Read,
    file: &str,
    detector: impl Into<Arc<Detector>>,
    zone: TimeZone,
    raise: impl FnMut(Alert),
) -> Result<Summary, Error> {
    let mut reader = Reader::open(input, file)?;
    let mut judge = Judge::new(State::recorded(), detector, 0);
    judge.zone = zone;
    let mut replay = Replay { judge, raise, last_tick_ns: 0, summary: Summary::default() };
    while let Some(item) = reader.read()? {
        if let Err(problem) = replay.take(item) {
            return Err(reader.problem(problem));
        }
    }
    Ok(replay.into_summary())
}

struct Replay<F> {
    judge: Judge,
    raise: F,
    /// By the times of records.
    last_tick_ns: u64,
    summary: Summary,
}

impl<F: FnMut(Alert)> Replay<F> {
    fn take(&mut self, item: Item<'_>) -> Result<(), Problem> {
        let state = &mut self.judge.state;
        let mut has_room = true;
        match item {
            Item::Machine(machine) => {
                state.hostname.clone_from(&machine.hostname);
                self.summary.machine = machine;
            }
            Item::Clock(offset_ns) => self.judge.wall_offset_ns = offset_ns,
            Item::User(line) => has_room = state.users.learn_user(line),
            Item::Group(line) => has_room = state.users.learn_group(line),
            Item::Process(process) => state.processes.learn(*process),
            Item::Container { cgroup_id, container } => state.learn_container(cgroup_id, container),
            Item::Environment { tgid, start_ns, variables } => {
                state.processes.learn_environment(tgid, start_ns, variables);
            }
            Item::Metadata { full_id, metadata } => self.learn_metadata(full_id, metadata),
            Item::Record(record) => self.judge(record),
            Item::End(end) => self.summary.end = end,
        }
        if has_room { Ok(()) } else { Err(Problem::TooMany("users and groups, or a line of them without a number")) }
    }

    fn judge(&mut self, record: Record<'_>) {
        let time_ns = record.header.time_ns;
        if time_ns.saturating_sub(self.last_tick_ns) >= TICK_NS {
            self.last_tick_ns = time_ns;
            self.judge.state.tick(time_ns);
        }
        let Self { judge, raise, summary, .. } = self;
        judge.state.now_ns = judge.state.now_ns.max(time_ns);
        judge.release(|_, alert| numbered(alert, summary, raise));
        let is_event = judge.take(record, |_, alert| numbered(alert, summary, raise));
        summary.events += u64::from(is_event);
    }

    /// As when it was recorded: what waited for it is judged now.
    fn learn_metadata(&mut self, full_id: &str, metadata: Option<Box<Metadata>>) {
        let Self { judge, raise, summary, .. } = self;
        let now_ns = judge.state.now_ns;
        judge.state.inventory.learn(full_id, metadata, now_ns);
        judge.judge_ready(|_, alert| numbered(alert, summary, raise));
    }

    fn into_summary(mut self) -> Summary {
        let Self { judge, raise, summary, .. } = &mut self;
        judge.judge_all(|_, alert| numbered(alert, summary, raise));
        let unknown_processes = self.judge.state.processes.counts().unknown;
        Summary { records: self.judge.records(), unknown_processes, ..self.summary }
    }
}

fn numbered(mut alert: Alert, summary: &mut Summary, raise: &mut impl FnMut(Alert)) {
    summary.alerts += 1;
    alert.uuid = Some(uuid(&alert, summary.alerts));
    raise(alert);
}

/// Version 7, of the event's time and the alert's number instead of the present time and chance: another replay of the
/// recording gives the same.
fn uuid(alert: &Alert, number: u64) -> Uuid {
    let nanoseconds = alert.time.as_nanosecond();
    let milliseconds = u64::try_from(nanoseconds / i128::from(NANOSECONDS_PER_MILLISECOND)).unwrap_or(0);
    let mut rest = [0; 10];
    rest[2..].copy_from_slice(&number.to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &rest).into_uuid()
}

#[cfg(test)]
mod tests;
