use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::destination::{Digest, Summary};

struct Bench {
    incidents: Incidents,
    table: BTreeMap<Vec<u8>, Vec<u8>>,
    now: Timestamp,
}

fn alert(rule: &str, host: &str) -> Alert {
    let alert = json!({ "time": "2026-01-01T00:00:00Z", "rule": rule, "priority": "error", "hostname": host });
    serde_json::from_value(alert).unwrap()
}

fn fingerprint(alert: &Alert) -> Fingerprint {
    Fingerprint::of(alert, &[KeyField::Rule, KeyField::Hostname])
}

fn terms(minutes: Option<u64>) -> IncidentTerms {
    IncidentTerms { by: None, quiet: minutes.map(Duration::from_mins), keep: Vec::new() }
}

impl Bench {
    fn new(terms: IncidentTerms) -> Self {
        let incidents = Incidents::load("oncall", terms, std::iter::empty());
        Self { incidents, table: BTreeMap::new(), now: "2026-01-01T00:00:00Z".parse().unwrap() }
    }

    fn wait(&mut self, minutes: i64) {
        self.now = self.now.checked_add(SignedDuration::from_mins(minutes)).unwrap();
    }

    fn tell(&mut self, rule: &str, host: &str, kind: NotificationKind) {
        let alert = Arc::new(alert(rule, host));
        let dedup_key = Some(fingerprint(&alert).hex());
        let told = Notification::new(Uuid::max(), alert, "page".into(), dedup_key, kind);
        self.incidents.told(&told, self.now);
    }

    fn hold(&mut self, rule: &str, host: &str) {
        let alert = alert(rule, host);
        self.incidents.held_back(&alert, Some(fingerprint(&alert)), self.now);
    }

    fn ended(&mut self) -> Vec<(String, u64)> {
        let ended = self.incidents.quiet(self.now);
        ended.into_iter().map(|ended| (ended.alert.rule.clone(), ended.resolve.count)).collect()
    }

    fn restart(&mut self) {
        self.incidents.record(&mut self.table);
        let terms = self.incidents.terms.clone();
        self.incidents = Incidents::load("oncall", terms, self.table.clone().into_iter());
    }
}

#[test]
fn an_incident_ends_when_it_was_quiet_for_long_enough_and_every_repeat_begins_that_time_anew() {
    let mut bench = Bench::new(terms(Some(30)));
    bench.tell("Shell", "a", NotificationKind::Alert);
    for _ in 0..4 {
        bench.wait(29);
        bench.hold("Shell", "a");
        bench.hold("Shell", "another incident");
        assert_eq!(bench.ended(), []);
    }
    bench.wait(29);
    assert_eq!(bench.ended(), []);
    bench.wait(1);
    assert_eq!(bench.incidents.next_due(), Some(bench.now));
    assert_eq!(bench.ended(), [("Shell".to_owned(), 5)]);
    assert_eq!((bench.incidents.len(), bench.ended()), (0, Vec::new()));
}

#[test]
fn the_timer_and_the_count_survive_a_restart() {
    let mut bench = Bench::new(terms(Some(30)));
    bench.tell("Shell", "a", NotificationKind::Alert);
    bench.wait(20);
    bench.hold("Shell", "a");
    bench.restart();
    bench.wait(29);
    assert_eq!(bench.ended(), []);
    bench.restart();
    bench.wait(1);
    assert_eq!(bench.ended(), [("Shell".to_owned(), 2)]);
    bench.restart();
    assert_eq!((bench.incidents.len(), bench.table.len()), (0, 0));
}

#[test]
fn a_summary_is_no_new_event_and_a_digest_is_an_incident_of_its_route() {
    let mut bench = Bench::new(terms(Some(30)));
    let (first, last) = (bench.now, bench.now);
    let window = Duration::from_mins(5);
    bench.tell("Shell", "a", NotificationKind::Alert);
    bench.wait(5);
    bench.tell("Shell", "a", NotificationKind::Summary(Summary { count: 9, first, last, samples: Vec::new(), window }));
    let digest = Digest { count: 7, since: first, until: last, rules: Vec::new(), time_window: None };
    bench.tell("Other", "b", NotificationKind::Digest(digest.clone()));
    bench.tell("Third", "c", NotificationKind::Digest(digest));
    bench.wait(25);
    assert_eq!(bench.ended(), [("Shell".to_owned(), 1)]);
    bench.wait(5);
    assert_eq!(bench.ended(), [("Other".to_owned(), 14)]);
}

#[test]
fn without_a_quiet_period_an_incident_ends_by_hand_and_once() {
    let mut bench = Bench::new(terms(None));
    bench.tell("Shell", "a", NotificationKind::Alert);
    bench.wait(1_000_000);
    assert_eq!((bench.ended(), bench.incidents.next_due()), (Vec::new(), None));
    let key = fingerprint(&alert("Shell", "a")).hex();
    let ended = bench.incidents.end(&key, Some("alice".to_owned())).unwrap();
    assert_eq!((ended.resolve.by.as_deref(), &*ended.route), (Some("alice"), "page"));
    assert!(bench.incidents.end(&key, None).is_none());
}

#[test]
fn one_attack_on_many_hosts_is_one_incident_where_the_host_does_not_count() {
    let by = Some(vec![KeyField::Rule]);
    let mut bench = Bench::new(IncidentTerms { by, ..terms(Some(30)) });
    bench.tell("Shell", "a", NotificationKind::Alert);
    bench.tell("Shell", "b", NotificationKind::Alert);
    bench.hold("Shell", "c");
    assert_eq!(bench.incidents.len(), 1);
    bench.wait(30);
    assert_eq!(bench.ended(), [("Shell".to_owned(), 3)]);
}

#[test]
fn beyond_the_bound_the_quietest_incident_is_forgotten_and_counted() {
    let mut bench = Bench::new(terms(Some(30)));
    bench.incidents.open_max = 2;
    for host in ["a", "b", "c"] {
        bench.tell("Shell", host, NotificationKind::Alert);
        bench.wait(1);
    }
    assert_eq!((bench.incidents.len(), bench.incidents.take_tally().evicted), (2, 1));
    bench.hold("Shell", "a");
    assert_eq!(bench.incidents.len(), 2);
}

#[test]
fn a_record_that_makes_no_sense_is_counted_and_removed() {
    let mut bench = Bench::new(terms(None));
    bench.table.insert(Owner::new(&["oncall"]).key(&[b"k"]), b"{}".to_vec());
    bench.restart();
    assert_eq!(bench.incidents.take_tally().senseless, 1);
    bench.restart();
    assert_eq!(bench.table.len(), 0);
}
