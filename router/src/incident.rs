//! Open incidents at one destination: what it was told of and has not been told the end of. Where there is a quiet period, an
//! incident ends when nothing of it came for so long; each repeat, also one that is held back, begins that time anew.
//!
//! A plain state machine that is told the time; what is known of each incident is a record.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tercel_alert::{Alert, Priority};
use uuid::Uuid;

use crate::destination::{Notification, NotificationKind, Resolve};
use crate::fingerprint::{Fingerprint, KeyField};
use crate::record::{Dated, Ordered, Owner, Record, Records, after, derived_id, derived_key};

/// Open incidents of one destination: some 4 MiB, and 256 characters for each field that is kept of them. One more, and the one is
/// forgotten of which nothing came for longest.
const INCIDENTS_MAX: usize = 10_000;

/// What a record keeps of a rule's or host's name.
const NAME_CHARS_MAX: usize = 256;

/// The name of whoever ends one by hand.
const AUTHOR_BYTES_MAX: usize = 256;

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
    terms: IncidentTerms,
    /// By when something of each of them came last.
    open: Ordered<Arc<str>, Incident>,
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

impl Dated for Incident {
    fn time(&self) -> Timestamp {
        self.last
    }
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

/// An open incident, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    pub(crate) destination: Arc<str>,
    pub(crate) dedup_key: Arc<str>,
    pub(crate) route: Arc<str>,
    /// Of its first alert, as priority and host are.
    pub(crate) rule: String,
    pub(crate) priority: Priority,
    pub(crate) hostname: String,
    pub(crate) since: Timestamp,
    pub(crate) last: Timestamp,
    /// Alerts, with those that were held back.
    pub(crate) count: u64,
}

/// What somebody wants to be ended, as the API takes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub(crate) dedup_key: String,
    /// Absent: wherever there is an incident of this key.
    pub(crate) destination: Option<String>,
    /// Who says that it is over.
    pub(crate) author: String,
}

/// Why nothing was ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("author is empty; say who ends the incident")]
    NoAuthor,
    #[error("author has {0} bytes, at most {AUTHOR_BYTES_MAX} are taken")]
    LongAuthor(usize),
    #[error("there is no destination `{0}`")]
    UnknownDestination(String),
    #[error("destination `{0}` knows no incidents; those of type pagerduty, opsgenie and alertmanager do")]
    KeepsNone(String),
    #[error("no incident with the dedup key {0:?} is open; GET /v1/incidents lists them")]
    UnknownKey(String),
}

impl Order {
    /// # Errors
    /// It does not say who gave it.
    pub(crate) fn check(&self) -> Result<(), OrderError> {
        match self.author.trim().len() {
            0 => Err(OrderError::NoAuthor),
            bytes if bytes > AUTHOR_BYTES_MAX => Err(OrderError::LongAuthor(bytes)),
            _ => Ok(()),
        }
    }
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
        self.open.put(key, incident);
        while self.open.len() > self.open_max {
            self.open.pop_first();
            self.tally.evicted += 1;
        }
    }

    /// The destination is not told of this alert: an incident that is open goes on.
    pub(crate) fn held_back(&mut self, alert: &Alert, fingerprint: Option<Fingerprint>, now: Timestamp) {
        if self.open.len() == 0 || (fingerprint.is_none() && self.terms.by.is_none()) {
            return;
        }
        let hex = fingerprint.map(|key| key.hex());
        let key: Arc<str> = alert_key(alert, hex.as_deref(), Uuid::nil(), self.terms.by.as_deref()).into();
        self.go_on(&key, now, 1);
    }

    /// Those that have been quiet for long enough.
    pub(crate) fn quiet(&mut self, now: Timestamp) -> Vec<Ended> {
        let mut ended = Vec::new();
        while let Some((_, key)) = self.open.first().cloned().filter(|(last, _)| self.is_quiet(*last, now)) {
            ended.extend(self.end(&key, None));
        }
        ended
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        Some(after(self.open.first()?.0, self.terms.quiet?))
    }

    /// Ends one; `None`: there is none of this key. `by`: whoever says so; `None`: it was quiet for long enough.
    pub(crate) fn end(&mut self, key: &str, by: Option<String>) -> Option<Ended> {
        let (_, incident) = self.open.remove(key)?;
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

    /// Those that are open, the one first that something came of last.
    pub(crate) fn list(&self, destination: &Arc<str>) -> impl Iterator<Item = Listed> {
        self.open.iter().rev().map(|(key, incident)| incident.listed(destination, key))
    }

    pub(crate) fn find(&self, destination: &Arc<str>, key: &str) -> Option<Listed> {
        self.open.get(key).map(|incident| incident.listed(destination, key))
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
        let Some((key, mut incident)) = self.open.remove(key) else { return };
        incident.last = last;
        incident.count = incident.count.saturating_add(alerts);
        self.open.put(key, incident);
    }
}

/// Records.
impl Incidents {
    /// `records`: those of the incidents' table; others' are passed over.
    pub(crate) fn load(destination: &str, terms: IncidentTerms, records: impl Iterator<Item = Record>) -> Self {
        let open = Ordered::new(Owner::new(&[destination]));
        let mut incidents = Self { terms, open, open_max: INCIDENTS_MAX, tally: Tally::default() };
        incidents.reload(records);
        incidents
    }

    /// As the records say, at the start and after a commit that failed.
    pub(crate) fn reload(&mut self, records: impl Iterator<Item = Record>) {
        self.tally.senseless += self.open.load(records);
    }

    /// Puts all that changed since the last call.
    pub(crate) fn record(&mut self, records: &mut dyn Records) {
        self.open.record(records);
    }
}

impl Incident {
    fn listed(&self, destination: &Arc<str>, key: &str) -> Listed {
        let Self { route, rule, priority, hostname, since, last, count, .. } = self.clone();
        let (destination, dedup_key) = (Arc::clone(destination), key.into());
        Listed { destination, dedup_key, route, rule, priority, hostname, since, last, count }
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
mod tests;
