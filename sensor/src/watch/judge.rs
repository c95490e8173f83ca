//! One record, all the way: enriched, matched, rendered. The same for what the ring gives and for what was recorded.

use std::sync::Arc;

use jiff::tz::TimeZone;
use tercel_alert::Alert;
use uuid::Uuid;

use super::SOURCE;
use crate::detect::{Detector, Rule};
use crate::enrich::State;
use crate::event::{Event, Scratch};
use crate::output::timestamp;
use crate::ring::Record;

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
            records: 0,
        }
    }

    /// Takes in what a record says, and hands over the alert of each rule that matches it. `false`: it was no event.
    pub(crate) fn take(&mut self, record: Record<'_>, mut raise: impl FnMut(&Rule, Alert)) -> bool {
        self.state.apply(&record);
        self.records += 1;
        let time_ns = self.wall_offset_ns.saturating_add_unsigned(record.header.time_ns);
        let Some(event) = Event::new(self.records, time_ns, record, &self.state, &self.scratch) else { return false };
        for rule in self.detector.matches(&event, &mut self.filter_scratch) {
            raise(rule, alert(rule, &event, &self.state.hostname, &self.zone));
        }
        true
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

/// The alert of a rule that matched.
pub fn alert(rule: &Rule, event: &Event<'_>, hostname: &str, zone: &TimeZone) -> Alert {
    let rendered = rule.output.render(event, rule.priority, zone);
    Alert {
        uuid: Some(Uuid::now_v7()),
        original_uuid: None,
        time: timestamp(event.time_ns),
        rule: rule.name.to_string(),
        priority: rule.priority,
        source: SOURCE.to_owned(),
        hostname: hostname.to_owned(),
        output: rendered.output,
        output_fields: rendered.fields,
        tags: rule.tags.clone(),
    }
}
