//! Open incidents at one destination: what it was told of and has not been told the end of. Where there is a quiet period, an
//! incident ends when nothing of it came for so long; each repeat, also one that is held back, begins that time anew.
//!
//! A plain state machine that is told the time; what is known of each incident is a record.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tercel_alert::{Alert, Priority};
use uuid::Uuid;

use crate::destination::{Notification, NotificationKind, Resolve};
use crate::fingerprint::{Fingerprint, KeyField};
use crate::record::{Owner, Record, Records, after, derived_id, derived_key, from_json, to_json};

/// Open incidents of one destination: some 4 MiB. One more, and the one is forgotten of which nothing came for longest.
const INCIDENTS_MAX: usize = 10_000;

/// What a record keeps of a rule's or host's name.
const NAME_CHARS_MAX: usize = 256;

/// How a destination tells incidents apart, and when they end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IncidentTerms {
    /// What makes alerts one incident; `None`: what the route says.
    pub(crate) by: Option<Vec<KeyField>>,
    /// `None`: they end by hand only.
    pub(crate) quiet: Option<Duration>,
    /// Output fields of the first alert that the destination wants to be told again at the end.
    pub(crate) keep: Vec<Box<str>>,
}

/// Those of one destination.
pub(crate) struct Incidents {
    owner: Owner,
    terms: IncidentTerms,
    open: HashMap<Arc<str>, Incident>,
    /// When something of each of them came last.
    last: BTreeSet<(Timestamp, Arc<str>)>,
    changed: HashSet<Arc<str>>,
    /// Keys of records that made no sense.
    stale: Vec<Vec<u8>>,
    open_max: usize,
    tally: Tally,
}

/// What happened since the last look, for the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Incidents that had to make room: nobody will be told of their end.
    pub(crate) evicted: u64,
    /// Records that made no sense at the start.
    pub(crate) senseless: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Incident {
    route: Arc<str>,
    rule: String,
    priority: Priority,
    hostname: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    source: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
    since: Timestamp,
    last: Timestamp,
    count: u64,
}

/// An incident that is over, as a notification tells of it.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The same when it is made again.
    pub(crate) id: Uuid,
    pub(crate) route: Arc<str>,
    /// What its first notification was about, with those of its fields that the destination wants.
    pub(crate) alert: Arc<Alert>,
    pub(crate) resolve: Resolve,
}

/// The key by which a destination finds the incident again: 64 hexadecimal digits over the fields that make alerts one
/// incident, over the route for a digest, which is about many alerts. What is never equal to another is an incident of its
/// own, under its id.
pub(crate) fn key(notification: &Notification, by: Option<&[KeyField]>) -> String {
    match &notification.kind {
        NotificationKind::Resolve(resolve) => resolve.dedup_key.clone(),
        NotificationKind::Digest(digest) => {
            let window = digest.time_window.as_deref().unwrap_or_default();
            derived_key(&[b"digest", notification.route.as_bytes(), window.as_bytes()])
        }
        NotificationKind::Alert | NotificationKind::Summary(_) => {
            alert_key(&notification.alert, notification.dedup_key.as_deref(), notification.id, by)
        }
    }
}

fn alert_key(alert: &Alert, dedup_key: Option<&str>, id: Uuid, by: Option<&[KeyField]>) -> String {
    match (by, dedup_key) {
        (Some(by), _) => Fingerprint::of(alert, by).hex().to_string(),
        (None, Some(key)) => key.to_owned(),
        (None, None) => id.to_string(),
    }
}

impl Incidents {
    /// From now on these; what is open stays so.
    pub(crate) fn replace(&mut self, terms: IncidentTerms) {
        self.terms = terms;
    }

    /// The destination is told of something: an incident opens, or goes on.
    pub(crate) fn told(&mut self, notification: &Notification, now: Timestamp) {
        let alerts = match &notification.kind {
            NotificationKind::Resolve(_) => return,
            NotificationKind::Alert => 1,
            // Its repeats were counted one by one.
            NotificationKind::Summary(_) => 0,
            NotificationKind::Digest(digest) => digest.count,
        };
        let key: Arc<str> = key(notification, self.terms.by.as_deref()).into();
        if let Some(incident) = self.open.get(&key) {
            let last = if alerts > 0 { now } else { incident.last };
            return self.go_on(&key, last, alerts);
        }
        let Alert { rule, priority, hostname, source, output_fields, .. } = &*notification.alert;
        let field = |name: &str| Some((name.to_owned(), kept(output_fields.get(name)?)));
        let incident = Incident {
            route: Arc::clone(&notification.route),
            rule: cut(rule),
            priority: *priority,
            hostname: cut(hostname),
            source: cut(source),
            fields: self.terms.keep.iter().filter_map(|name| field(name)).collect(),
            since: now,
            last: now,
            count: alerts.max(1),
        };
        self.put(key, incident);
        while self.open.len() > self.open_max {
            let Some((_, first)) = self.last.first().cloned() else { break };
            self.remove(&first);
            self.tally.evicted += 1;
        }
    }

    /// The destination is not told of this alert: an incident that is open goes on.
    pub(crate) fn held_back(&mut self, alert: &Alert, fingerprint: Option<Fingerprint>, now: Timestamp) {
        if self.open.is_empty() || (fingerprint.is_none() && self.terms.by.is_none()) {
            return;
        }
        let hex = fingerprint.map(|key| key.hex());
        let key: Arc<str> = alert_key(alert, hex.as_deref(), Uuid::nil(), self.terms.by.as_deref()).into();
        self.go_on(&key, now, 1);
    }

    /// Those that have been quiet for long enough.
    pub(crate) fn quiet(&mut self, now: Timestamp) -> Vec<Ended> {
        let mut ended = Vec::new();
        while let Some((_, key)) = self.last.first().cloned().filter(|(last, _)| self.is_quiet(*last, now)) {
            ended.extend(self.end(&key, None));
        }
        ended
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        Some(after(self.last.first()?.0, self.terms.quiet?))
    }

    /// Ends one; `None`: there is none of this key. `by`: whoever says so; `None`: it was quiet for long enough.
    pub(crate) fn end(&mut self, key: &str, by: Option<String>) -> Option<Ended> {
        let incident = self.remove(key)?;
        let Incident { route, rule, priority, hostname, source, fields, since, last, count } = incident;
        let id = derived_id(&[b"resolve", key.as_bytes(), since.to_string().as_bytes()]);
        let alert = Alert {
            uuid: None,
            original_uuid: None,
            time: last,
            rule,
            priority,
            source,
            hostname,
            output: String::new(),
            output_fields: fields,
            tags: std::collections::BTreeSet::new(),
        };
        let resolve = Resolve { dedup_key: key.to_owned(), count, since, last, by };
        Some(Ended { id, route, alert: Arc::new(alert), resolve })
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// What happened since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Also where the clock went back: nothing of it came later than now.
    fn is_quiet(&self, last: Timestamp, now: Timestamp) -> bool {
        self.terms.quiet.is_some_and(|quiet| after(last, quiet) <= now)
    }

    fn go_on(&mut self, key: &Arc<str>, last: Timestamp, alerts: u64) {
        let Some(mut incident) = self.remove(key) else { return };
        incident.last = last;
        incident.count = incident.count.saturating_add(alerts);
        self.put(Arc::clone(key), incident);
    }

    fn put(&mut self, key: Arc<str>, incident: Incident) {
        self.last.insert((incident.last, Arc::clone(&key)));
        self.changed.insert(Arc::clone(&key));
        self.open.insert(key, incident);
    }

    fn remove(&mut self, key: &str) -> Option<Incident> {
        let (key, incident) = self.open.remove_entry(key)?;
        self.last.remove(&(incident.last, Arc::clone(&key)));
        self.changed.insert(key);
        Some(incident)
    }
}

/// Records.
impl Incidents {
    /// `records`: those of the incidents' table; others' are passed over.
    pub(crate) fn load(destination: &str, terms: IncidentTerms, records: impl Iterator<Item = Record>) -> Self {
        let mut incidents = Self {
            owner: Owner::new(&[destination]),
            terms,
            open: HashMap::new(),
            last: BTreeSet::new(),
            changed: HashSet::new(),
            stale: Vec::new(),
            open_max: INCIDENTS_MAX,
            tally: Tally::default(),
        };
        incidents.reload(records);
        incidents
    }

    /// As the records say, at the start and after a commit that failed.
    pub(crate) fn reload(&mut self, records: impl Iterator<Item = Record>) {
        self.open.clear();
        self.last.clear();
        self.stale.clear();
        for (record_key, value) in records {
            let Some(rest) = self.owner.rest(&record_key) else { continue };
            if let Some((key, incident)) = std::str::from_utf8(rest).ok().zip(from_json::<Incident>(&value)) {
                self.put(key.into(), incident);
            } else {
                self.tally.senseless += 1;
                self.stale.push(record_key);
            }
        }
        self.changed.clear();
    }

    /// Puts all that changed since the last call.
    pub(crate) fn record(&mut self, records: &mut dyn Records) {
        for key in self.stale.drain(..) {
            records.remove(&key);
        }
        for key in self.changed.drain() {
            let record_key = self.owner.key(&[key.as_bytes()]);
            match self.open.get(&key) {
                Some(incident) => records.put(&record_key, to_json(incident)),
                None => records.remove(&record_key),
            }
        }
    }
}

/// A text cut as names are, or a value that needs no cut.
fn kept(value: &Value) -> Value {
    match value {
        Value::String(text) => cut(text).into(),
        Value::Array(_) | Value::Object(_) => cut(&value.to_string()).into(),
        plain => plain.clone(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
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
            let told = Notification { id: Uuid::max(), alert, route: "page".into(), dedup_key, kind, repeats: 0 };
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
        bench.tell(
            "Shell",
            "a",
            NotificationKind::Summary(Summary { count: 9, first, last, samples: Vec::new(), window }),
        );
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
}
