//! Silences: what somebody does not want to hear of for a while, who that is and why.
//!
//! A plain state machine that is told the time. Every silence is a record, its hits another one.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use tercel_alert::Alert;
use uuid::Uuid;

use crate::condition::Condition;
use crate::duration;
use crate::record::{Record, Records, after, from_json, to_json};

/// Silences that are pending or active.
const SILENCES_MAX: usize = 1_000;

/// The longest silence: what should be silent for longer is a matter of the routing file.
const LENGTH_MAX: Duration = Duration::from_hours(90 * 24);

/// How far ahead one may start.
const AHEAD_MAX: Duration = Duration::from_hours(90 * 24);

/// How long one that is over is still listed; fewer of them where the place is needed.
const EXPIRED_KEPT: Duration = Duration::from_hours(5 * 24);

/// Bytes of each text, and the number of destinations of one silence.
const MATCHER_BYTES_MAX: usize = 4_096;
const AUTHOR_BYTES_MAX: usize = 256;
const REASON_BYTES_MAX: usize = 1_024;
const DESTINATIONS_MAX: usize = 100;

/// The last byte of a record's key, after the id.
const DEFINITION: u8 = b'a';
const HITS: u8 = b'b';

/// All silences, the oldest first.
pub(crate) struct Silences {
    entries: Vec<Entry>,
    mismatches: IntCounter,
    /// Keys of records that the next commit removes.
    stale: Vec<Vec<u8>>,
    senseless: u64,
}

struct Entry {
    silence: Silence,
    /// `None`: written by a version that understood more; matches nothing.
    condition: Option<Condition>,
    hits: u64,
    is_new: bool,
    has_new_hits: bool,
}

/// What somebody asks for, as the API takes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSilence {
    /// A condition in the language of the rules.
    pub(crate) matcher: String,
    /// Absent or past: now.
    pub(crate) starts_at: Option<Timestamp>,
    /// This or `duration` is needed.
    pub(crate) ends_at: Option<Timestamp>,
    /// From the start on.
    #[serde(default, deserialize_with = "duration::deserialize_optional")]
    pub(crate) duration: Option<Duration>,
    pub(crate) author: String,
    pub(crate) reason: String,
    /// Empty: all of them.
    #[serde(default)]
    pub(crate) destinations: Vec<String>,
}

/// A silence, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silence {
    pub(crate) id: Uuid,
    pub(crate) matcher: String,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) author: String,
    pub(crate) reason: String,
    pub(crate) created_at: Timestamp,
    pub(crate) destinations: Vec<String>,
}

/// A silence, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    #[serde(flatten)]
    pub(crate) silence: Silence,
    pub(crate) state: State,
    /// Alerts × destinations that it held back.
    pub(crate) hits: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Pending,
    Active,
    Expired,
}

impl State {
    /// As the metric's label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
        }
    }
}

/// What is wrong with what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SilenceError {
    #[error("{0} is empty; a silence says what it is about, who asks for it and why")]
    Empty(&'static str),
    #[error("{what} has {bytes} bytes, at most {most} are taken")]
    TooLong { what: &'static str, bytes: usize, most: usize },
    #[error("{0}")]
    Matcher(String),
    #[error("a silence ends: give either ends_at or duration")]
    Endless,
    #[error("ends_at = {ends_at} is not after {what} = {start}")]
    Backwards { ends_at: Timestamp, what: &'static str, start: Timestamp },
    #[error(
        "ends_at = {ends_at} is more than 90 days after starts_at = {starts_at}; what should be silent for longer belongs in a route"
    )]
    TooLongTime { starts_at: Timestamp, ends_at: Timestamp },
    #[error("starts_at = {0} is more than 90 days ahead")]
    TooFarAhead(Timestamp),
    #[error("{0} destinations, at most {DESTINATIONS_MAX} are taken; none means all")]
    TooManyDestinations(usize),
    #[error("there is no destination `{0}`")]
    UnknownDestination(String),
    #[error("{SILENCES_MAX} silences are pending or active, which is all that are kept; expire one first")]
    Full,
    #[error("no silence has the id {0}")]
    UnknownId(Uuid),
    #[error("silence {id} is over since {ends_at}")]
    AlreadyOver { id: Uuid, ends_at: Timestamp },
}

/// Deciding.
impl Silences {
    /// The oldest silence that holds this alert back from this destination; it counts a hit.
    pub(crate) fn decide(&mut self, alert: &Alert, destination: &str, now: Timestamp) -> Option<Uuid> {
        let mismatches = &self.mismatches;
        let entry = self.entries.iter_mut().find(|entry| entry.matches(alert, destination, now, mismatches))?;
        entry.hits += 1;
        entry.has_new_hits = true;
        Some(entry.silence.id)
    }
}

/// The API.
impl Silences {
    /// As [`Silences::decide`], without a hit.
    pub(crate) fn silenced_by(&self, alert: &Alert, destination: &str, now: Timestamp) -> Option<Uuid> {
        let matches = |entry: &&Entry| entry.matches(alert, destination, now, &self.mismatches);
        self.entries.iter().find(matches).map(|entry| entry.silence.id)
    }

    /// `id`: a new one. `is_known`: whether there is a destination of this name.
    ///
    /// # Errors
    /// The silence makes no sense, or there are too many.
    pub(crate) fn add(
        &mut self,
        id: Uuid,
        new: NewSilence,
        now: Timestamp,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Listed, SilenceError> {
        let (silence, condition) = check(id, new, now, is_known)?;
        self.make_room(now)?;
        let entry = Entry { silence, condition: Some(condition), hits: 0, is_new: true, has_new_hits: false };
        let listed = entry.listed(now);
        self.entries.push(entry);
        Ok(listed)
    }

    /// Ends it now, also before it began.
    ///
    /// # Errors
    /// There is none, or it is over already.
    pub(crate) fn expire(&mut self, id: Uuid, now: Timestamp) -> Result<Listed, SilenceError> {
        let entry = self.entries.iter_mut().find(|entry| entry.silence.id == id).ok_or(SilenceError::UnknownId(id))?;
        if entry.state(now) == State::Expired {
            return Err(SilenceError::AlreadyOver { id, ends_at: entry.silence.ends_at });
        }
        entry.silence.ends_at = now;
        entry.silence.starts_at = entry.silence.starts_at.min(now);
        entry.is_new = true;
        Ok(entry.listed(now))
    }

    /// The oldest first; `state`: only these.
    pub(crate) fn list(&mut self, state: Option<State>, now: Timestamp) -> Vec<Listed> {
        self.prune(now);
        let wanted = self.entries.iter().filter(|entry| state.is_none_or(|state| entry.state(now) == state));
        wanted.map(|entry| entry.listed(now)).collect()
    }

    /// Number of those in this state, for the metrics.
    pub(crate) fn count(&self, state: State, now: Timestamp) -> usize {
        self.entries.iter().filter(|entry| entry.state(now) == state).count()
    }

    /// Forgets what has been over for long.
    fn prune(&mut self, now: Timestamp) {
        self.remove_where(|entry| after(entry.silence.ends_at, EXPIRED_KEPT) <= now);
    }

    fn make_room(&mut self, now: Timestamp) -> Result<(), SilenceError> {
        self.prune(now);
        if self.entries.len() < SILENCES_MAX {
            return Ok(());
        }
        let over = self.entries.iter().filter(|entry| entry.state(now) == State::Expired);
        let first_over = over.min_by_key(|entry| entry.silence.ends_at).ok_or(SilenceError::Full)?.silence.id;
        self.remove_where(|entry| entry.silence.id == first_over);
        Ok(())
    }

    fn remove_where(&mut self, is_stale: impl Fn(&Entry) -> bool) {
        let stale = &mut self.stale;
        self.entries.retain(|entry| {
            let is_stale = is_stale(entry);
            if is_stale {
                stale.extend([DEFINITION, HITS].map(|part| key(entry.silence.id, part)));
            }
            !is_stale
        });
    }
}

/// Records.
impl Silences {
    /// `records`: those of the silences' table, in the order of their keys. `mismatches`: counts comparisons of values with
    /// something of another type.
    pub(crate) fn load(records: impl Iterator<Item = Record>, mismatches: IntCounter) -> Self {
        let mut silences = Self { entries: Vec::new(), mismatches, stale: Vec::new(), senseless: 0 };
        for (key, value) in records {
            if silences.read(&key, &value).is_none() {
                silences.senseless += 1;
                silences.stale.push(key);
            }
        }
        silences.senseless += silences.entries.iter().filter(|entry| entry.condition.is_none()).count() as u64;
        silences.entries.sort_by_key(|entry| (entry.silence.created_at, entry.silence.id));
        silences
    }

    /// As the records say, after a commit that failed.
    pub(crate) fn reload(&mut self, records: impl Iterator<Item = Record>) {
        *self = Self::load(records, self.mismatches.clone());
    }

    /// Puts all that changed since the last call.
    pub(crate) fn record(&mut self, records: &mut dyn Records) {
        for key in self.stale.drain(..) {
            records.remove(&key);
        }
        for entry in &mut self.entries {
            if std::mem::take(&mut entry.is_new) {
                records.put(&key(entry.silence.id, DEFINITION), to_json(&entry.silence));
            }
            if std::mem::take(&mut entry.has_new_hits) {
                records.put(&key(entry.silence.id, HITS), to_json(&entry.hits));
            }
        }
    }

    /// Records that made no sense at the start, also conditions that this version does not understand.
    pub(crate) fn senseless(&self) -> u64 {
        self.senseless
    }

    fn read(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, part) = key.split_first_chunk::<16>()?;
        let id = Uuid::from_bytes(*id);
        match part {
            [DEFINITION] => {
                let silence = from_json::<Silence>(value).filter(|silence| silence.id == id)?;
                let condition = Condition::parse(&silence.matcher).ok();
                self.entries.push(Entry { silence, condition, hits: 0, is_new: false, has_new_hits: false });
            }
            [HITS] => self.entries.last_mut().filter(|entry| entry.silence.id == id)?.hits = from_json(value)?,
            _ => return None,
        }
        Some(())
    }
}

impl Entry {
    fn matches(&self, alert: &Alert, destination: &str, now: Timestamp, mismatches: &IntCounter) -> bool {
        let Silence { destinations, .. } = &self.silence;
        self.state(now) == State::Active
            && (destinations.is_empty() || destinations.iter().any(|name| name == destination))
            && self.condition.as_ref().is_some_and(|condition| condition.matches(alert, mismatches))
    }

    fn state(&self, now: Timestamp) -> State {
        match &self.silence {
            Silence { ends_at, .. } if *ends_at <= now => State::Expired,
            Silence { starts_at, .. } if *starts_at > now => State::Pending,
            Silence { .. } => State::Active,
        }
    }

    fn listed(&self, now: Timestamp) -> Listed {
        Listed { silence: self.silence.clone(), state: self.state(now), hits: self.hits }
    }
}

fn check(
    id: Uuid,
    new: NewSilence,
    now: Timestamp,
    is_known: impl Fn(&str) -> bool,
) -> Result<(Silence, Condition), SilenceError> {
    let NewSilence { matcher, starts_at, ends_at, duration, author, reason, destinations } = new;
    text("matcher", &matcher, MATCHER_BYTES_MAX)?;
    text("author", &author, AUTHOR_BYTES_MAX)?;
    text("reason", &reason, REASON_BYTES_MAX)?;
    let said = starts_at.unwrap_or(now);
    let ends_at = match (ends_at, duration) {
        (Some(ends_at), None) => ends_at,
        (None, Some(duration)) => after(said, duration),
        (None, None) | (Some(_), Some(_)) => return Err(SilenceError::Endless),
    };
    let starts_at = said.max(now);
    check_times(starts_at, ends_at, now)?;
    if destinations.len() > DESTINATIONS_MAX {
        return Err(SilenceError::TooManyDestinations(destinations.len()));
    }
    if let Some(unknown) = destinations.iter().find(|name| !is_known(name)) {
        return Err(SilenceError::UnknownDestination(unknown.chars().take(AUTHOR_BYTES_MAX).collect()));
    }
    let condition =
        Condition::parse(&matcher).map_err(|error| SilenceError::Matcher(error.render("matcher", &matcher)))?;
    Ok((Silence { id, matcher, starts_at, ends_at, author, reason, created_at: now, destinations }, condition))
}

fn text(what: &'static str, text: &str, most: usize) -> Result<(), SilenceError> {
    match text.len() {
        _ if text.trim().is_empty() => Err(SilenceError::Empty(what)),
        bytes if bytes > most => Err(SilenceError::TooLong { what, bytes, most }),
        _ => Ok(()),
    }
}

/// `start`: not before now.
fn check_times(start: Timestamp, ends_at: Timestamp, now: Timestamp) -> Result<(), SilenceError> {
    if ends_at <= start {
        let what = if start == now { "now" } else { "starts_at" };
        return Err(SilenceError::Backwards { ends_at, what, start });
    }
    if ends_at > after(start, LENGTH_MAX) {
        return Err(SilenceError::TooLongTime { starts_at: start, ends_at });
    }
    if start > after(now, AHEAD_MAX) {
        return Err(SilenceError::TooFarAhead(start));
    }
    Ok(())
}

fn key(id: Uuid, part: u8) -> Vec<u8> {
    [id.as_bytes().as_slice(), &[part]].concat()
}

#[cfg(test)]
mod tests;
