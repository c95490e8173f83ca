//! What one stage holds back at one destination until a digest tells of it: how many alerts of which rule. Every count is
//! a record, so that a crash forgets none.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tercel_alert::Alert;
use uuid::Uuid;

use crate::destination::Digest;
use crate::record::{Owner, Record, Records, derived_id, from_json, to_json};

/// Rules that a digest names; the rest is summed.
const DIGEST_RULES_MAX: usize = 10;

/// Rules that are counted one by one between two digests.
const COUNTED_RULES_MAX: usize = 256;

/// What rules beyond the bounds are summed as.
const OTHER: &str = "other";

/// The first byte of a record's key after its owner, in the order in which they are loaded.
const OPENING: u8 = b'a';
const RULE: u8 = b'r';

/// Counts between two digests.
pub(crate) struct HeldBack {
    owner: Owner,
    counts: Option<Counts>,
    /// Keys of records that the next commit removes.
    stale: Vec<Vec<u8>>,
    senseless: u64,
}

struct Counts {
    since: Timestamp,
    /// Id of the first alert: what tells this digest from another of the same time, since clocks may go back.
    first: Option<Uuid>,
    alert: Arc<Alert>,
    has_new_opening: bool,
    rules: HashMap<String, Count>,
}

#[derive(Clone, Copy)]
struct Count {
    alerts: u64,
    last: Timestamp,
    is_new: bool,
}

/// A digest to be sent.
#[derive(Debug)]
pub(crate) struct Held {
    /// The same when it is made again.
    pub(crate) id: Uuid,
    /// The most urgent of what was held back, the first of those.
    pub(crate) alert: Arc<Alert>,
    pub(crate) digest: Digest,
}

#[derive(Serialize, Deserialize)]
struct OpeningRecord<A> {
    since: Timestamp,
    first: Option<Uuid>,
    alert: A,
}

#[derive(Serialize, Deserialize)]
struct RuleRecord<T> {
    rule: T,
    count: u64,
    last: Timestamp,
}

impl HeldBack {
    /// `records`: those of the stage's table, in the order of their keys; others' are passed over.
    pub(crate) fn load(owner: Owner, records: impl Iterator<Item = Record>) -> Self {
        let mut held = Self { owner, counts: None, stale: Vec::new(), senseless: 0 };
        for (key, value) in records {
            let Some(rest) = held.owner.rest(&key) else { continue };
            if read(&mut held.counts, rest, &value).is_none() {
                held.senseless += 1;
                held.stale.push(key);
            }
        }
        held
    }

    pub(crate) fn add(&mut self, alert: &Arc<Alert>, now: Timestamp) {
        let counts = self.counts.get_or_insert_with(|| Counts::new(now, alert.uuid, Arc::clone(alert), true));
        counts.observe(now);
        if alert.priority > counts.alert.priority {
            counts.alert = Arc::clone(alert);
            counts.has_new_opening = true;
        }
        counts.add(&alert.rule, now);
    }

    /// When the first of them was held back; no later than `now`, whatever the clock did in between.
    pub(crate) fn since(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.counts.as_mut().map(|counts| {
            counts.observe(now);
            counts.since
        })
    }

    /// As [`HeldBack::since`], before the clock is known.
    pub(crate) fn recorded_since(&self) -> Option<Timestamp> {
        self.counts.as_ref().map(|counts| counts.since)
    }

    /// The digest of all that was held back, and counts anew; `None`: nothing was. `parts`: what its id is derived from
    /// beside the owner and the time.
    pub(crate) fn take(&mut self, parts: &[&[u8]]) -> Option<Held> {
        let Counts { since, first, alert, rules, .. } = self.counts.take()?;
        self.stale.push(opening_key(&self.owner));
        self.stale.extend(rules.keys().map(|rule| rule_key(&self.owner, rule)));
        let first = first.unwrap_or_default();
        let key = self.owner.key(&[&since.as_nanosecond().to_be_bytes(), first.as_bytes()]);
        let id = derived_id(&[&[key.as_slice()], parts].concat());
        let count = rules.values().map(|rule| rule.alerts).sum();
        let until = rules.values().map(|rule| rule.last).max().unwrap_or(since).max(since);
        let digest = Digest { count, since, until, rules: most_frequent(&rules), time_window: None };
        Some(Held { id, alert, digest })
    }

    /// Puts all that changed since the last call.
    pub(crate) fn record(&mut self, records: &mut dyn Records) {
        for key in self.stale.drain(..) {
            records.remove(&key);
        }
        if let Some(counts) = &mut self.counts {
            counts.record(&self.owner, records);
        }
    }

    /// Records that made no sense at the start.
    pub(crate) fn senseless(&self) -> u64 {
        self.senseless
    }
}

impl Counts {
    fn new(since: Timestamp, first: Option<Uuid>, alert: Arc<Alert>, has_new_opening: bool) -> Self {
        Self { since, first, alert, has_new_opening, rules: HashMap::new() }
    }

    /// The clock may have gone back.
    fn observe(&mut self, now: Timestamp) {
        if now < self.since {
            self.since = now;
            self.has_new_opening = true;
        }
    }

    fn add(&mut self, rule: &str, now: Timestamp) {
        if let Some(known) = self.rules.get_mut(rule) {
            return *known = Count { alerts: known.alerts + 1, last: now, is_new: true };
        }
        let rule = if self.rules.len() < COUNTED_RULES_MAX { rule } else { OTHER };
        let alerts = self.rules.get(rule).map_or(0, |known| known.alerts) + 1;
        self.rules.insert(rule.to_owned(), Count { alerts, last: now, is_new: true });
    }

    fn record(&mut self, owner: &Owner, records: &mut dyn Records) {
        if std::mem::take(&mut self.has_new_opening) {
            records.put(
                &opening_key(owner),
                to_json(&OpeningRecord { since: self.since, first: self.first, alert: &self.alert }),
            );
        }
        for (rule, count) in self.rules.iter_mut().filter(|(_, count)| count.is_new) {
            count.is_new = false;
            records.put(&rule_key(owner, rule), to_json(&RuleRecord { rule, count: count.alerts, last: count.last }));
        }
    }
}

fn opening_key(owner: &Owner) -> Vec<u8> {
    owner.key(&[&[OPENING]])
}

/// By the hash: a rule's name may be longer than the store takes as a key.
fn rule_key(owner: &Owner, rule: &str) -> Vec<u8> {
    owner.key(&[&[RULE], &Sha256::digest(rule)[..16]])
}

/// `None`: the record makes no sense.
fn read(counts: &mut Option<Counts>, rest: &[u8], value: &[u8]) -> Option<()> {
    if rest == [OPENING] {
        let OpeningRecord { since, first, alert } = from_json(value)?;
        *counts = Some(Counts::new(since, first, alert, false));
        return Some(());
    }
    let counts = counts.as_mut().filter(|_| rest.first() == Some(&RULE))?;
    let RuleRecord { rule, count, last } = from_json(value)?;
    counts.rules.insert(rule, Count { alerts: count, last, is_new: false });
    Some(())
}

/// The most frequent first; what is beyond the bound is summed in one more.
fn most_frequent(rules: &HashMap<String, Count>) -> Vec<(String, u64)> {
    let mut named: Vec<_> = rules.iter().map(|(rule, count)| (rule.clone(), count.alerts)).collect();
    named.sort_by(|(a, a_count), (b, b_count)| (a == OTHER, b_count, a).cmp(&(b == OTHER, a_count, b)));
    let is_summed = |(number, (rule, _)): &(usize, &(String, u64))| *number >= DIGEST_RULES_MAX || rule == OTHER;
    let rest: u64 = named.iter().enumerate().filter(is_summed).map(|(_, (_, count))| count).sum();
    named.truncate(DIGEST_RULES_MAX);
    named.retain(|(rule, _)| rule != OTHER);
    if rest > 0 {
        named.push((OTHER.to_owned(), rest));
    }
    named
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;

    use super::*;

    type Table = BTreeMap<Vec<u8>, Vec<u8>>;

    fn alert(rule: &str, priority: &str) -> Arc<Alert> {
        let value = serde_json::json!({"time": "2026-01-01T00:00:00Z", "rule": rule, "priority": priority});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn load(table: &Table) -> HeldBack {
        HeldBack::load(Owner::new(&["hook", "route"]), table.clone().into_iter())
    }

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_digest_names_the_ten_most_frequent_rules_and_sums_the_rest() {
        let mut held = load(&Table::new());
        for rule in 0..12 {
            for _ in 0..=(usize::from(rule == 7) * 5) {
                held.add(&alert(&format!("r{rule:02}"), "error"), now());
            }
        }
        let digest = held.take(&[]).unwrap().digest;
        assert_eq!((digest.count, digest.rules.len()), (17, 11));
        assert_eq!((&digest.rules[0], &digest.rules[10]), (&("r07".to_owned(), 6), &("other".to_owned(), 2)));
        assert!(held.take(&[]).is_none());
    }

    #[test]
    fn rules_are_bounded_and_those_beyond_are_counted_as_other() {
        let (mut held, mut table) = (load(&Table::new()), Table::new());
        for rule in 0..2 * COUNTED_RULES_MAX {
            held.add(&alert(&rule.to_string(), "error"), now());
        }
        held.record(&mut table);
        assert_eq!(table.len(), 1 + COUNTED_RULES_MAX + 1);
        let digest = load(&table).take(&[]).unwrap().digest;
        assert_eq!((digest.count, digest.rules.len(), &digest.rules[10]), (512, 11, &("other".to_owned(), 512 - 10)));
    }

    #[test]
    fn the_digest_bears_the_most_urgent_alert() {
        let mut held = load(&Table::new());
        for (rule, priority) in [("a", "notice"), ("b", "error"), ("c", "error"), ("d", "debug")] {
            held.add(&alert(rule, priority), now());
        }
        assert_eq!(held.take(&[]).unwrap().alert.rule, "b");
    }

    #[test]
    fn counts_survive_a_restart_and_the_digest_is_the_same() {
        let (mut held, mut table) = (load(&Table::new()), Table::new());
        for rule in ["a", "b", "a"] {
            held.add(&alert(rule, "error"), now());
            held.record(&mut table);
            held = load(&table);
        }
        let (one, other) = (held.take(&[b"x"]).unwrap(), load(&table).take(&[b"x"]).unwrap());
        assert_eq!((one.id, &one.digest.rules), (other.id, &other.digest.rules));
        assert_eq!(one.digest.rules, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        held.record(&mut table);
        assert!(table.is_empty(), "what was told leaves no record");
    }

    #[test]
    fn a_group_writes_only_the_rules_that_it_counted() {
        let (mut held, mut table) = (load(&Table::new()), Table::new());
        for rule in 0..100 {
            held.add(&alert(&rule.to_string(), "error"), now());
        }
        held.record(&mut table);
        held.add(&alert("7", "error"), now());
        let mut changed = Table::new();
        held.record(&mut changed);
        assert_eq!((table.len(), changed.len()), (101, 1));
    }

    #[test]
    fn a_clock_that_jumps_back_moves_the_start() {
        let mut held = load(&Table::new());
        held.add(&alert("a", "error"), now());
        let earlier = now() - SignedDuration::from_hours(24);
        assert_eq!(held.since(earlier), Some(earlier));
        let digest = held.take(&[]).unwrap().digest;
        assert!(digest.since <= digest.until);
    }

    #[test]
    fn records_that_make_no_sense_are_counted_and_removed() {
        let (mut held, mut table) = (load(&Table::new()), Table::new());
        held.add(&alert("a", "error"), now());
        held.record(&mut table);
        table.insert(Owner::new(&["hook", "route"]).key(&[b"r"]), b"{".to_vec());
        table.insert(Owner::new(&["hook", "route"]).key(&[b"?"]), b"{}".to_vec());
        let mut held = load(&table);
        assert_eq!(held.senseless(), 2);
        held.record(&mut table);
        assert_eq!((table.len(), held.take(&[]).unwrap().digest.count), (2, 1));
    }
}
