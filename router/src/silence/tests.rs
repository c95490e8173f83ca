use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::json;

use super::*;

struct Bench {
    silences: Silences,
    table: BTreeMap<Vec<u8>, Vec<u8>>,
    now: Timestamp,
    ids: u128,
}

fn mismatches() -> IntCounter {
    IntCounter::new("m", "m").unwrap()
}

fn alert(rule: &str) -> Alert {
    let value = json!({"time": "2026-01-01T00:00:00Z", "rule": rule, "priority": "error",
                       "output_fields": {"k8s.ns.name": "dev"}});
    serde_json::from_value(value).unwrap()
}

impl Bench {
    fn new() -> Self {
        let silences = Silences::load(std::iter::empty(), mismatches());
        Self { silences, table: BTreeMap::new(), now: "2026-01-01T00:00:00Z".parse().unwrap(), ids: 0 }
    }

    fn restart(&mut self) {
        self.silences.record(&mut self.table);
        self.silences = Silences::load(self.table.clone().into_iter(), mismatches());
    }

    fn advance(&mut self, hours: i64) {
        self.now += SignedDuration::from_hours(hours);
    }

    /// From now on, for so many hours.
    fn wish(&self, matcher: &str, hours: i64) -> NewSilence {
        NewSilence {
            matcher: matcher.to_owned(),
            starts_at: None,
            ends_at: Some(self.now + SignedDuration::from_hours(hours)),
            duration: None,
            author: "ada".to_owned(),
            reason: "drill".to_owned(),
            destinations: Vec::new(),
        }
    }

    fn try_add(&mut self, new: NewSilence) -> Result<Listed, SilenceError> {
        self.ids += 1;
        self.silences.add(Uuid::from_u128(self.ids), new, self.now, |name| name == "pager" || name == "hook")
    }

    fn add(&mut self, matcher: &str, hours: i64) -> Uuid {
        self.try_add(self.wish(matcher, hours)).unwrap().silence.id
    }

    fn decide(&mut self, rule: &str) -> Option<Uuid> {
        self.silences.decide(&alert(rule), "pager", self.now)
    }

    #[track_caller]
    fn refused(&mut self, change: impl FnOnce(&mut NewSilence), expected: &str) {
        let mut new = self.wish("rule = a", 1);
        change(&mut new);
        let message = self.try_add(new).unwrap_err().to_string();
        assert!(message.contains(expected), "`{expected}` is not in `{message}`");
    }
}

#[test]
fn a_silence_holds_back_what_it_matches_from_its_start_to_its_end() {
    let mut bench = Bench::new();
    let mut wish = bench.wish("rule = a and k8s.ns.name in (dev, staging)", 3);
    wish.starts_at = Some(bench.now + SignedDuration::from_hours(1));
    let id = bench.try_add(wish).unwrap().silence.id;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(bench.decide("a") == Some(id));
        assert_eq!(bench.decide("b"), None);
        bench.advance(1);
    }
    assert_eq!(seen, [false, true, true, false]);
}

#[test]
fn a_silence_for_some_destinations_leaves_the_others_alone() {
    let mut bench = Bench::new();
    let wish = NewSilence { destinations: vec!["hook".to_owned()], ..bench.wish("rule = a", 1) };
    bench.try_add(wish).unwrap();
    assert_eq!(bench.decide("a"), None);
    assert!(bench.silences.decide(&alert("a"), "hook", bench.now).is_some());
}

#[test]
fn a_duration_counts_from_the_start_that_was_asked_for() {
    let mut bench = Bench::new();
    let wish = json!({"matcher": "rule = a", "starts_at": "2026-01-01T05:00:00Z", "duration": "1h 30m",
                      "author": "ada", "reason": "drill"});
    let silence = bench.try_add(serde_json::from_value(wish).unwrap()).unwrap().silence;
    assert_eq!(silence.ends_at, "2026-01-01T06:30:00Z".parse().unwrap());
    let wish = json!({"matcher": "rule = a", "starts_at": "2025-12-31T23:00:00Z", "duration": "2h", "author": "ada",
                      "reason": "drill"});
    let silence = bench.try_add(serde_json::from_value(wish).unwrap()).unwrap().silence;
    assert_eq!((silence.starts_at, silence.ends_at), (bench.now, "2026-01-01T01:00:00Z".parse().unwrap()));
}

#[test]
fn silences_and_their_hits_survive_a_restart() {
    let mut bench = Bench::new();
    let (first, second) = (bench.add("rule = a", 1), bench.add("rule startswith a", 2));
    for _ in 0..3 {
        bench.restart();
        assert_eq!(bench.decide("a"), Some(first), "the oldest counts");
    }
    bench.decide("ab");
    bench.restart();
    let hits: Vec<_> = bench.silences.list(None, bench.now).iter().map(|one| (one.silence.id, one.hits)).collect();
    assert_eq!(hits, [(first, 3), (second, 1)]);
}

#[test]
fn expiring_ends_a_silence_now_and_only_once() {
    let mut bench = Bench::new();
    let id = bench.add("rule = a", 10);
    bench.advance(1);
    assert_eq!(bench.silences.expire(id, bench.now).unwrap().state, State::Expired);
    bench.restart();
    assert_eq!(bench.decide("a"), None);
    let again = bench.silences.expire(id, bench.now).unwrap_err();
    assert_eq!(again.to_string(), format!("silence {id} is over since 2026-01-01T01:00:00Z"));
    assert!(matches!(bench.silences.expire(Uuid::nil(), bench.now), Err(SilenceError::UnknownId(_))));
}

#[test]
fn a_pending_silence_that_is_expired_never_starts() {
    let mut bench = Bench::new();
    let wish = NewSilence { starts_at: Some(bench.now + SignedDuration::from_hours(5)), ..bench.wish("rule = a", 9) };
    let id = bench.try_add(wish).unwrap().silence.id;
    assert_eq!(bench.silences.count(State::Pending, bench.now), 1);
    bench.silences.expire(id, bench.now).unwrap();
    bench.advance(6);
    assert_eq!(bench.decide("a"), None);
}

#[test]
fn what_is_over_is_listed_for_five_days() {
    let mut bench = Bench::new();
    bench.add("rule = a", 1);
    bench.advance(1 + 5 * 24 - 1);
    assert_eq!(bench.silences.list(Some(State::Expired), bench.now).len(), 1);
    assert!(bench.silences.list(Some(State::Active), bench.now).is_empty());
    bench.restart();
    bench.advance(1);
    assert!(bench.silences.list(None, bench.now).is_empty());
    bench.restart();
    assert!(bench.table.is_empty());
}

#[test]
fn their_number_is_bounded_and_those_that_are_over_make_room() {
    let mut bench = Bench::new();
    let first = bench.add("rule = a", 1);
    for _ in 1..SILENCES_MAX {
        bench.add("rule = a", 2);
    }
    let wish = bench.wish("rule = a", 1);
    assert_eq!(bench.try_add(wish), Err(SilenceError::Full));
    bench.advance(1);
    bench.add("rule = a", 1);
    assert_eq!(bench.silences.entries.len(), SILENCES_MAX);
    assert!(bench.silences.entries.iter().all(|entry| entry.silence.id != first));
}

#[test]
fn a_wish_that_makes_no_sense_is_refused_with_what_would_do() {
    let mut bench = Bench::new();
    let (now, hour) = (bench.now, SignedDuration::from_hours(1));
    bench.refused(|new| new.author = " ".to_owned(), "author is empty");
    bench.refused(|new| new.reason.clear(), "reason is empty");
    bench.refused(|new| new.reason = "x".repeat(1_025), "reason has 1025 bytes, at most 1024");
    bench.refused(|new| new.matcher = "rule = a or\n  prioriti = error".to_owned(), "matcher:2:3: ");
    bench.refused(|new| new.ends_at = Some(now - hour), "ends_at = 2025-12-31T23:00:00Z is not after now = 2026-01-01");
    bench.refused(|new| new.starts_at = Some(now + hour), "is not after starts_at = 2026-01-01T01:00:00Z");
    bench.refused(|new| new.ends_at = Some(now + hour * 24 * 91), "more than 90 days after starts_at");
    bench.refused(
        |new| (new.starts_at, new.ends_at) = (Some(now + hour * 24 * 91), Some(now + hour * 24 * 92)),
        "more than 90 days ahead",
    );
    bench.refused(|new| new.ends_at = None, "either ends_at or duration");
    bench.refused(|new| new.duration = Some(Duration::from_secs(1)), "either ends_at or duration");
    bench.refused(|new| new.destinations = vec!["slak".to_owned()], "there is no destination `slak`");
    assert!(bench.silences.list(None, now).is_empty());
}

#[test]
fn the_json_of_a_silence_is_what_the_api_promises() {
    let mut bench = Bench::new();
    let wish =
        json!({"matcher": "rule = a", "ends_at": "2026-01-01T02:00:00+01:00", "author": "ada", "reason": "drill"});
    let listed = bench.try_add(serde_json::from_value(wish).unwrap()).unwrap();
    let expected = json!({
        "id": "00000000-0000-0000-0000-000000000001", "matcher": "rule = a", "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": "2026-01-01T01:00:00Z", "author": "ada", "reason": "drill", "created_at": "2026-01-01T00:00:00Z",
        "destinations": [], "state": "active", "hits": 0
    });
    assert_eq!(serde_json::to_value(listed).unwrap(), expected);
    let missing = serde_json::from_value::<NewSilence>(json!({"matcher": "rule = a"})).unwrap_err().to_string();
    assert!(missing.contains("missing field `author`"), "{missing}");
}

#[test]
fn records_that_make_no_sense_are_counted_and_a_condition_of_another_version_matches_nothing() {
    let mut bench = Bench::new();
    let id = bench.add("rule = a", 1);
    bench.silences.record(&mut bench.table);
    let definition = String::from_utf8(bench.table[&key(id, DEFINITION)].clone()).unwrap();
    let other = Uuid::from_u128(9);
    let of_another_version = definition.replace("rule = a", "ruel = a").replace(&id.to_string(), &other.to_string());
    bench.table.insert(key(other, DEFINITION), of_another_version.into_bytes());
    bench.table.insert(b"torn".to_vec(), b"{".to_vec());
    bench.silences = Silences::load(bench.table.clone().into_iter(), mismatches());
    assert_eq!(bench.silences.senseless(), 2);
    assert_eq!((bench.decide("a"), bench.silences.list(None, bench.now).len()), (Some(id), 2));
    bench.restart();
    assert!(!bench.table.contains_key(&b"torn"[..]));
}
