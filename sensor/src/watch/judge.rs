//! One record, all the way: enriched, matched, rendered. The same for what the ring gives and for what was recorded.

use std::sync::Arc;

use jiff::tz::TimeZone;
use tercel_alert::Alert;
use tercel_filter::Fields;
use uuid::Uuid;

use super::SOURCE;
use super::hold::{Counts, Held, Holding};
use crate::detect::{Detector, Rule};
use crate::enrich::State;
use crate::enrich::container::{Container, Pending};
use crate::event::{Event, Scratch};
use crate::fields::{Place, Snapshot};
use crate::output::{Moment, timestamp};
use crate::ring::Record;

/// In the fields of an alert that was raised before the container's runtime had told what it is asked for.
const METADATA: &str = "tercel.metadata";
const LATE: &str = "late";

/// Makes alerts of records.
pub struct Judge {
    pub(crate) state: State,
    /// What is added to the times of records: it is nanoseconds since 1970 then.
    pub(crate) wall_offset_ns: i64,
    /// Of the times in texts.
    pub(crate) zone: TimeZone,
    detector: Arc<Detector>,
    scratch: Scratch,
    filter_scratch: tercel_filter::Scratch,
    holding: Holding,
    records: u64,
}

impl Judge {
    /// The state's hostname stands in the alerts.
    pub(crate) fn new(state: State, detector: impl Into<Arc<Detector>>, wall_offset_ns: i64) -> Self {
        Self {
            state,
            wall_offset_ns,
            zone: TimeZone::system(),
            detector: detector.into(),
            scratch: Scratch::default(),
            filter_scratch: tercel_filter::Scratch::new(),
            holding: Holding::default(),
            records: 0,
        }
    }

    /// Takes in what a record says, and hands over the alert of each rule that matches it. `false`: it was no event.
    pub(crate) fn take(&mut self, record: Record<'_>, mut raise: impl FnMut(&Rule, Alert)) -> bool {
        self.state.apply(&record);
        self.records += 1;
        let time_ns = self.wall_offset_ns.saturating_add_unsigned(record.header.time_ns);
        let Some(event) = Event::new(self.records, time_ns, record, &self.state, &self.scratch) else { return false };
        let mut is_late = false;
        if let Some((container, pending)) = pending(&event) {
            let Some(possible) = self.detector.possible(&event, &mut self.filter_scratch) else { return true };
            match pending {
                Pending::Until(until_ns) => {
                    let values = Snapshot::of(&event, self.detector.reads(&possible));
                    let held = Held { possible, values, container: Arc::clone(container), time_ns, until_ns };
                    if self.holding.put(held) {
                        return true;
                    }
                }
                Pending::Unanswered => self.holding.counts.unanswered += 1,
            }
            is_late = true;
        }
        for rule in self.detector.matches(&event, &mut self.filter_scratch) {
            let mut alert = alert(rule, &event, &self.state.hostname, &self.zone);
            if is_late {
                mark_late(&mut alert);
            }
            raise(rule, alert);
        }
        true
    }

    /// Takes in what runtimes told, and judges the events that waited for that, or long enough.
    pub(crate) fn release(&mut self, raise: impl FnMut(&Rule, Alert)) {
        let has_news = self.state.inventory.refresh(self.state.now_ns);
        if has_news || self.holding.is_due(self.state.now_ns) {
            self.judge_ready(raise);
        }
    }

    /// The same, after something was learnt.
    pub(crate) fn judge_ready(&mut self, mut raise: impl FnMut(&Rule, Alert)) {
        let State { inventory, now_ns, .. } = &self.state;
        let is_ready = |event: &Held| event.until_ns <= *now_ns || inventory.is_told(&event.container.full_id);
        for event in self.holding.take(is_ready) {
            self.judge_held(&event, &mut raise);
        }
    }

    /// Judges everything that is held: there is no more time.
    pub(crate) fn judge_all(&mut self, mut raise: impl FnMut(&Rule, Alert)) {
        for event in self.holding.take(|_| true) {
            self.judge_held(&event, &mut raise);
        }
    }

    fn judge_held(&mut self, event: &Held, raise: &mut impl FnMut(&Rule, Alert)) {
        let Held { possible, values, container, time_ns, .. } = event;
        let metadata = self.state.inventory.of(&container.full_id);
        let is_late = !self.state.inventory.is_told(&container.full_id);
        self.holding.counts.waited += u64::from(is_late);
        let fields = values.at(Place { container: Some(container), metadata, time_ns: *time_ns });
        for rule in self.detector.matches_among(possible, &fields, &mut self.filter_scratch) {
            let moment = Moment { time_ns: *time_ns, zone: &self.zone };
            let mut alert = alert_of(rule, &fields, moment, &self.state.hostname);
            if is_late {
                mark_late(&mut alert);
            }
            raise(rule, alert);
        }
    }

    pub(crate) fn held(&self) -> Counts {
        self.holding.counts()
    }

    /// Records that were taken.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Values that were too large for conditions to look at.
    pub(crate) fn filter_overflows(&self) -> u64 {
        self.filter_scratch.overflows()
    }
}

/// The event's container, of which not all is known; `None`: there is nothing to wait for.
fn pending<'e>(event: &'e Event<'_>) -> Option<(&'e Arc<Container>, Pending)> {
    let container = event.process.container.as_ref()?;
    let pending = event.state.inventory.pending(&container.full_id, event.state.now_ns)?;
    Some((container, pending))
}

fn mark_late(alert: &mut Alert) {
    alert.output_fields.insert(METADATA.to_owned(), LATE.into());
}

/// The alert of a rule that matched.
pub fn alert(rule: &Rule, event: &Event<'_>, hostname: &str, zone: &TimeZone) -> Alert {
    alert_of(rule, event, Moment { time_ns: event.time_ns, zone }, hostname)
}

fn alert_of(rule: &Rule, fields: &dyn Fields, moment: Moment<'_>, hostname: &str) -> Alert {
    let rendered = rule.output.render_fields(fields, rule.priority, moment);
    Alert {
        uuid: Some(Uuid::now_v7()),
        original_uuid: None,
        time: timestamp(moment.time_ns),
        rule: rule.name.to_string(),
        priority: rule.priority,
        source: SOURCE.to_owned(),
        hostname: hostname.to_owned(),
        output: rendered.output,
        output_fields: rendered.fields,
        tags: rule.tags.clone(),
    }
}
