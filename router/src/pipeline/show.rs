//! What of the decider is counted and shown in the metrics.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::decider::Decider;
use super::group::Count;
use crate::inhibit::Inhibitor;
use crate::metrics::{Dropped, REMOVED};
use crate::outbox::Kind;
use crate::silence::State;
use crate::store::Table;

/// How often gauges are brought up to date that cost something.
const SHOW_PERIOD: Duration = Duration::from_secs(1);

impl Decider {
    pub(super) fn count(&self, count: &Count) {
        let metrics = |station: usize| &self.stations[station].metrics;
        match *count {
            Count::Accepted(ref alert) => self.metrics.count_received(alert),
            Count::Unrouted => self.metrics.unrouted.inc(),
            Count::Received(station) => metrics(station).received.inc(),
            Count::Replayed(station) => metrics(station).replayed.inc(),
            Count::Suppressed(station, reason) => metrics(station).count_suppressed(reason),
            Count::Dropped(station) => metrics(station).count_dropped(Dropped::Store),
            Count::NoKey(station) => metrics(station).no_key.inc(),
            Count::Stranger { ref destination, kind, is_kept } => {
                let metrics = self.metrics.destination(destination);
                match kind {
                    Kind::Alert => {
                        metrics.recovered.inc();
                        if is_kept { metrics.count_dead(REMOVED) } else { metrics.count_dropped(Dropped::Store) }
                    }
                    Kind::Summary | Kind::Digest | Kind::Resolve => metrics.count_lost(kind.name()),
                }
            }
            Count::LimitOverflow(station) => metrics(station).limit_overflow.inc(),
        }
    }

    /// Brings the gauges up to date.
    pub(super) fn show(&mut self, now: Timestamp) {
        for (station, dedup) in self.stations.iter().zip(&mut self.dedups) {
            station.metrics.windows.set(i64::try_from(dedup.len()).unwrap_or(i64::MAX));
            let tally = dedup.take_tally();
            station.metrics.evictions.inc_by(tally.evicted);
            self.metrics.records_skipped.inc_by(tally.senseless);
            self.metrics.repeats_untold.inc_by(tally.untold);
        }
        for (station, open) in self.stations.iter().zip(&mut self.incidents) {
            let Some(open) = open else { continue };
            station.metrics.incidents.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
            let tally = open.take_tally();
            station.metrics.incident_evictions.inc_by(tally.evicted);
            self.metrics.records_skipped.inc_by(tally.senseless);
        }
        for (station, posts) in self.stations.iter().zip(&mut self.posts) {
            station.metrics.posts.set(i64::try_from(posts.len()).unwrap_or(i64::MAX));
            let tally = posts.take_tally();
            station.metrics.post_evictions.inc_by(tally.evicted);
            self.metrics.records_skipped.inc_by(tally.senseless);
        }
        if self.shown.is_some_and(|shown| shown.elapsed() < SHOW_PERIOD) {
            return;
        }
        self.shown = Some(Instant::now());
        let sources: usize = self.inhibitors.iter().map(Inhibitor::len).sum();
        self.metrics.inhibit_sources.set(i64::try_from(sources).unwrap_or(i64::MAX));
        for tally in self.inhibitors.iter_mut().map(Inhibitor::take_tally) {
            self.metrics.inhibit_evictions.inc_by(tally.evicted);
            self.metrics.records_skipped.inc_by(tally.senseless);
        }
        for state in [State::Pending, State::Active] {
            self.metrics.show_silences(state.name(), self.silences.count(state, now));
        }
        self.metrics.seen_entries.set(i64::try_from(self.seen.len()).unwrap_or(i64::MAX));
        self.metrics.dead_letters.set(i64::try_from(self.store.records(Table::Dead)).unwrap_or(i64::MAX));
        self.metrics.show_store(&self.store.statistics(), self.store.disk_bytes());
        let tally = self.seen.take_tally();
        self.metrics.seen_evictions.inc_by(tally.evicted);
        self.metrics.records_skipped.inc_by(tally.senseless);
        self.metrics.seen_repeats.inc_by(tally.repeats);
        self.metrics.seen_reused.inc_by(tally.reused);
        self.metrics.stored_bytes.set(i64::try_from(self.alive.bytes()).unwrap_or(i64::MAX));
    }
}
