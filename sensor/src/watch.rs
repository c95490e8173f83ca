//! The thread that takes records from the ring and makes alerts of them.

mod hold;
mod judge;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tercel_alert::Alert;
use tracing::warn;

use crate::clock;
use crate::detect::{Detector, Rule};
use crate::emit::AlertQueue;
use crate::enrich::State;
use crate::losses::{self, LossAlarm};
use crate::metrics::Metrics;
use crate::ring::{Record, Ring};

pub use hold::Counts as HoldCounts;
pub use judge::{Judge, alert};

/// Records taken before the clock is looked at again.
const RECORDS_PER_ROUND: usize = 4_096;

/// How long an empty ring is left alone: the kernel does not wake us, which would cost the watched programs time.
const SLEEP_MIN: Duration = Duration::from_millis(1);
const SLEEP_MAX: Duration = Duration::from_millis(5);

const TICK: Duration = Duration::from_secs(1);

/// What stands in `source`, as in Falco.
const SOURCE: &str = "syscall";

/// Enriches, matches, renders.
pub struct Watcher {
    judge: Judge,
    queue: AlertQueue,
    metrics: Arc<Metrics>,
    loss_alarm: LossAlarm,
    /// Forks, execs and exits that were lost by the last second.
    lost_of_processes: u64,
}

impl Watcher {
    pub fn new(state: State, detector: Detector, queue: AlertQueue, metrics: Arc<Metrics>, hostname: &str) -> Self {
        let judge = Judge::new(state.with_hostname(hostname), detector, clock::wall_offset_ns());
        Self { judge, queue, metrics, loss_alarm: LossAlarm::default(), lost_of_processes: 0 }
    }

    /// Takes records until `stop` is set and the ring is empty.
    pub fn run(mut self, mut ring: Ring, stop: &AtomicBool) {
        let mut sleep = SLEEP_MIN;
        let mut last_tick = Instant::now();
        loop {
            // Read before the ring: what came before the stop is still taken.
            let is_last = stop.load(Ordering::Acquire);
            self.release();
            let taken = ring.drain(RECORDS_PER_ROUND, |record| self.take(record));
            if last_tick.elapsed() >= TICK || (is_last && taken == 0) {
                last_tick = Instant::now();
                self.tick(&ring);
            }
            match taken {
                0 if is_last => return self.judge_all(),
                0 => {
                    thread::sleep(sleep);
                    sleep = (sleep * 2).min(SLEEP_MAX);
                }
                _ => sleep = SLEEP_MIN,
            }
        }
    }

    /// One record, all the way.
    fn take(&mut self, record: Record<'_>) {
        let Self { judge, queue, metrics, .. } = self;
        metrics.count_event(record.kind);
        judge.take(record, |rule, alert| raise(queue, metrics, rule, &alert));
    }

    /// Judges what waited for a container's runtime, and need not any longer.
    fn release(&mut self) {
        let Self { judge, queue, metrics, .. } = self;
        judge.state.now_ns = judge.state.now_ns.max(clock::since_boot_ns());
        judge.release(|rule, alert| raise(queue, metrics, rule, &alert));
    }

    fn judge_all(&mut self) {
        let Self { judge, queue, metrics, .. } = self;
        judge.judge_all(|rule, alert| raise(queue, metrics, rule, &alert));
    }

    fn tick(&mut self, ring: &Ring) {
        let now_ns = clock::since_boot_ns();
        let Self { judge, metrics, .. } = self;
        judge.wall_offset_ns = clock::wall_offset_ns();
        judge.state.tick(now_ns);
        metrics.set_alive(now_ns / 1_000_000_000);
        metrics.set_ring(ring.lost(), ring.malformed());
        metrics.set_filter_overflows(judge.filter_overflows());
        metrics.set_processes(judge.state.processes.len(), judge.state.processes.counts());
        metrics.set_names(&judge.state);
        metrics.set_held(judge.held());
        metrics.set_sockets(judge.state.sockets.len(), judge.state.sockets.evicted());
        self.tell_losses();
    }

    /// The kernel's numbers also tell of a loss that no later record has shown yet.
    fn tell_losses(&mut self) {
        let losses = self.metrics.losses();
        if losses.of_processes() > std::mem::replace(&mut self.lost_of_processes, losses.of_processes()) {
            self.judge.state.processes.distrust();
        }
        let Some(lost) = self.loss_alarm.check(Instant::now(), &losses) else { return };
        let alert = losses::alert(&lost, &self.judge.state.hostname);
        warn!("{}", alert.output);
        self.queue.push(&alert);
    }
}

fn raise(queue: &mut AlertQueue, metrics: &Metrics, rule: &Rule, alert: &Alert) {
    metrics.count_match(&rule.name);
    queue.push(alert);
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::emit::Bound;
    use crate::fields::SensorCatalog;
    use crate::testing::{Builder, state_with_cat};

    const RULES: &str = r"
- rule: Shadow read
  desc: d
  condition: evt.type in (open, openat, openat2) and evt.is_open_read = true and fd.realpath = /etc/shadow
  output: Shadow read | file=%fd.name process=%proc.name parent=%proc.pname command=%proc.cmdline
  priority: WARNING
  tags: [T1003, host, credentials]
";

    fn watch(records: &[Builder]) -> Vec<Alert> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.yaml");
        std::fs::write(&path, RULES).unwrap();
        let detector = Detector::new(crate::rules::load(&[path], &SensorCatalog).unwrap()).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let (queue, mut alerts) = crate::emit::queue(Bound::default(), &metrics);
        let mut watcher = Watcher::new(state_with_cat(), detector, queue, metrics, "node-1");
        (watcher.judge.wall_offset_ns, watcher.judge.zone) = (1_795_451_920_000_000_000, TimeZone::UTC);
        for record in records {
            watcher.take(Builder::parse(&record.bytes()));
        }
        std::iter::from_fn(|| alerts.try_next()).map(|line| serde_json::from_slice(&line).unwrap()).collect()
    }

    #[test]
    fn a_matching_record_becomes_one_alert() {
        let mut alerts = watch(&[
            Builder::open("/etc/passwd", 3),
            Builder::open("/etc/shadow", 3),
            Builder::open("/etc/shadow", -13),
        ]);
        assert_eq!(alerts.len(), 1);
        assert_eq!(alerts[0].uuid.take().unwrap().get_version_num(), 7);
        insta::assert_json_snapshot!(alerts[0]);
    }

    /// Alerts of opens of a secret, a second of running time apart, each under another idea of what time of day it is.
    fn judged(wall_offsets_ns: &[i64]) -> Vec<Alert> {
        const SECOND_NS: u64 = 1_000_000_000;
        let rule = "- rule: r\n  desc: d\n  condition: evt.type = openat\n  priority: NOTICE\n  output: \
                    '%evt.num %evt.time %evt.datetime %evt.rawtime %evt.reltime %evt.deltatime %proc.duration %proc.pname'\n";
        let set = crate::rules::load_text(&[("rules.yaml", rule.as_bytes())], &SensorCatalog).unwrap();
        let mut judge = Judge::new(state_with_cat(), Detector::new(set).unwrap(), 0);
        let mut alerts = Vec::new();
        for (second, wall_offset_ns) in (1..).zip(wall_offsets_ns) {
            (judge.wall_offset_ns, judge.zone) = (*wall_offset_ns, TimeZone::UTC);
            judge.state.tick(second * SECOND_NS);
            let open = Builder::open("/etc/shadow", 3).at(second * SECOND_NS).bytes();
            judge.take(Builder::parse(&open), |_, alert| alerts.push(alert));
        }
        alerts
    }

    #[test]
    fn a_clock_that_is_set_back_changes_the_times_of_alerts_and_neither_order_nor_durations() {
        const HOUR_NS: i64 = 3_600_000_000_000;
        const NOON_NS: i64 = 1_795_435_200_000_000_000;
        let alerts = judged(&[NOON_NS, NOON_NS - HOUR_NS, NOON_NS - 2 * HOUR_NS, NOON_NS]);
        let times: Vec<_> = alerts.iter().map(|alert| alert.time.to_string()).collect();
        let expected = ["12:00:01", "11:00:02", "10:00:03", "12:00:04"];
        assert_eq!(times, expected.map(|time| format!("2026-11-23T{time}Z")));
        let numbers =
            |field: &str| alerts.iter().map(|alert| alert.output_fields[field].as_i64().unwrap()).collect::<Vec<_>>();
        assert_eq!(numbers("evt.num"), [1, 2, 3, 4]);
        let seconds = |field| numbers(field).windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
        for field in ["evt.reltime", "proc.duration"] {
            assert_eq!(seconds(field), [1_000_000_000; 3], "{field}");
        }
        assert!(
            alerts.iter().all(|alert| alert.output_fields["proc.pname"] == "sh"),
            "parents are found by the running time"
        );
    }

    #[test]
    fn a_clock_that_says_nonsense_costs_no_alert() {
        let nonsense = [0, i64::MIN, i64::MAX, -1, -4_000_000_000];
        assert_eq!(judged(&nonsense).len(), nonsense.len());
    }

    #[test]
    fn a_link_to_the_file_does_not_help() {
        let link = Builder::opens(crate::event::EventType::OPENAT, 0, 0, 3, "/tmp/innocent", "/etc/shadow");
        assert_eq!(watch(&[link])[0].field("fd.name").unwrap(), "/tmp/innocent");
    }
}
