//! Dead letters: deliveries that failed for good, kept with the reason until somebody sends them again or purges them.
//!
//! They are listed as NDJSON, one object a line, with the alert as it came. Replay makes a new delivery of a letter and
//! takes the letter away in the same commit; purge only takes it away.

use std::io::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;
use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use tercel_alert::Alert;
use uuid::Uuid;

use crate::condition::Condition;
use crate::destination::NotificationKind;
use crate::fingerprint::Fingerprint;
use crate::outbox::Attempts;

/// Bytes of records after which no further letter is looked for: an alert may have a megabyte.
const FOUND_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One dead letter, as the store keeps it and as the list prints it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeadLetter {
    /// Names of the configuration of its time; the one of today may know them no more.
    pub(crate) destination: Arc<str>,
    pub(crate) route: Arc<str>,
    /// Why: a word that the metrics know too.
    pub(crate) reason: Arc<str>,
    /// Why, in the words of the last attempt.
    pub(crate) detail: String,
    /// How often it was tried since the last start of the router.
    #[serde(default)]
    pub(crate) attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_attempt: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_attempt: Option<Timestamp>,
    /// When the alert was accepted.
    pub(crate) accepted: Timestamp,
    /// When it was given up.
    pub(crate) died: Timestamp,
    /// The notification's id, which a replay keeps: a destination may have got it after all.
    pub(crate) id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Fingerprint>,
    #[serde(flatten)]
    pub(crate) kind: NotificationKind,
    /// For a summary its first alert, for a digest its last one.
    pub(crate) alert: Arc<Alert>,
}

/// Which letters are meant, as the API takes it: those that all of these parts want.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Selection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destination: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Given up at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    /// Given up before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    /// The letter with this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<u64>,
    /// A condition over its alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) when: Option<String>,
    /// Those behind the letter with this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<u64>,
    /// Nothing else is said on purpose.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) all: bool,
}

/// A [`Selection`] that can be asked.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    selection: Selection,
    when: Option<Condition>,
}

/// A letter as it lies in the store, with its number there.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) number: u64,
    pub(crate) letter: DeadLetter,
}

/// What was found in the store.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Oldest first.
    pub(crate) letters: Vec<Kept>,
    /// There are more than were asked for.
    pub(crate) is_cut: bool,
    /// Records that are no letters, and so are neither listed nor touched.
    pub(crate) unreadable: u64,
}

/// What became of letters that were to be sent again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Replayed {
    #[serde(rename = "replayed")]
    pub(crate) sent: u64,
    /// They stay: the configuration has no destination of this name.
    pub(crate) no_destination: u64,
    /// They stay: too much waits already.
    pub(crate) no_room: u64,
    /// Somebody else was faster.
    pub(crate) gone: u64,
}

/// As the list prints a letter.
#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    #[serde(flatten)]
    letter: &'a DeadLetter,
}

impl DeadLetter {
    /// `attempts`: as the delivery's end told them.
    pub(crate) fn with_attempts(self, attempts: Option<Attempts>) -> Self {
        let Some(Attempts { count, first, last }) = attempts else { return self };
        Self { attempts: count, first_attempt: Some(first), last_attempt: Some(last), ..self }
    }
}

/// The key of a letter's record: in the order of the numbers.
pub(crate) fn record_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The first letters that the filter wants, `count` of them and about [`FOUND_BYTES_MAX`] at most, out of the records of
/// the store, which come in the order of their keys. `mismatches`: counts comparisons of values with something of another
/// type.
///
/// # Errors
/// That of the records.
pub(crate) fn find<E>(
    records: impl IntoIterator<Item = Result<(Vec<u8>, Vec<u8>), E>>,
    filter: &Filter,
    mismatches: &IntCounter,
    count: usize,
) -> Result<Found, E> {
    let (mut found, mut bytes) = (Found::default(), 0);
    for record in records {
        let (key, value) = record?;
        let Some(kept) = Kept::parse(&key, &value) else {
            found.unreadable += 1;
            continue;
        };
        if !filter.wants(&kept, mismatches) {
            continue;
        }
        if found.letters.len() == count || bytes > FOUND_BYTES_MAX {
            found.is_cut = true;
            break;
        }
        bytes += value.len();
        found.letters.push(kept);
    }
    Ok(found)
}

/// Prints letters as NDJSON.
///
/// # Errors
/// The output cannot be written.
pub(crate) fn print(letters: &[Kept], output: &mut impl Write) -> io::Result<()> {
    for Kept { number, letter } in letters {
        serde_json::to_writer(&mut *output, &Line { number: *number, letter })?;
        output.write_all(b"\n")?;
    }
    Ok(())
}

impl Kept {
    /// `None`: it is no letter.
    pub(crate) fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let number = u64::from_be_bytes(key.try_into().ok()?);
        Some(Self { number, letter: serde_json::from_slice(value).ok()? })
    }
}

impl Selection {
    /// It says which letters, so that nobody moves all of them by mistake.
    pub(crate) fn is_meant(&self) -> bool {
        let Self { destination, reason, since, until, number, when, after: _, all } = self;
        let has_time = since.is_some() || until.is_some();
        *all || destination.is_some() || reason.is_some() || has_time || number.is_some() || when.is_some()
    }
}

impl Filter {
    /// # Errors
    /// The condition makes no sense; the message shows where.
    pub(crate) fn new(selection: &Selection) -> Result<Self, String> {
        let parse = |when: &String| Condition::parse(when).map_err(|error| error.render("when", when));
        let when = selection.when.as_ref().map(parse).transpose()?;
        Ok(Self { selection: selection.clone(), when })
    }

    fn wants(&self, kept: &Kept, mismatches: &IntCounter) -> bool {
        let Kept { number, letter } = kept;
        let Selection { destination, reason, since, until, number: wanted, .. } = &self.selection;
        wanted.is_none_or(|wanted| wanted == *number)
            && destination.as_ref().is_none_or(|wanted| **wanted == *letter.destination)
            && reason.as_ref().is_none_or(|wanted| **wanted == *letter.reason)
            && since.is_none_or(|since| letter.died >= since)
            && until.is_none_or(|until| letter.died < until)
            && self.when.as_ref().is_none_or(|when| when.matches(&letter.alert, mismatches))
    }
}

impl Found {
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.letters.iter().map(|kept| kept.number).collect()
    }

    /// What is left of this selection; `None`: nothing.
    pub(crate) fn next(&self, selection: &Selection) -> Option<Selection> {
        let last = self.letters.last().filter(|_| self.is_cut)?;
        Some(Selection { after: Some(last.number), ..selection.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::destination::Summary;
    use crate::record::to_json;

    fn letter(destination: &str, reason: &str, died: &str) -> DeadLetter {
        let value = serde_json::json!({
            "time": "2026-01-01T00:00:00.123456789Z", "rule": "R", "priority": "error",
            "output_fields": { "proc.cmdline": "a\nb", "n": 7, "none": null },
        });
        DeadLetter {
            destination: destination.into(),
            route: "page".into(),
            reason: reason.into(),
            detail: "answered 400: invalid_blocks".to_owned(),
            attempts: 0,
            first_attempt: None,
            last_attempt: None,
            accepted: "2026-01-01T00:00:01Z".parse().unwrap(),
            died: died.parse().unwrap(),
            id: Uuid::max(),
            key: Some(Fingerprint([7; 32])),
            kind: NotificationKind::Alert,
            alert: serde_json::from_value(value).unwrap(),
        }
    }

    /// A store's table with three letters and a record that is none.
    fn table() -> BTreeMap<Vec<u8>, Vec<u8>> {
        let letters = [
            (1, letter("slack", "client_error", "2026-01-02T00:00:00Z")),
            (300, letter("slack", "max_age", "2026-01-03T00:00:00Z")),
            (2, letter("hook", "max_age", "2026-01-04T00:00:00Z")),
        ];
        let mut table: BTreeMap<_, _> =
            letters.iter().map(|(id, letter)| (record_key(*id).to_vec(), to_json(letter))).collect();
        table.insert(record_key(9).to_vec(), b"{\"half".to_vec());
        table
    }

    fn found(selection: &Selection, count: usize) -> Found {
        let (filter, mismatches) = (Filter::new(selection).unwrap(), IntCounter::new("m", "m").unwrap());
        find(table().into_iter().map(Ok::<_, ()>), &filter, &mismatches, count).unwrap()
    }

    fn numbers(selection: &Selection) -> Vec<u64> {
        found(selection, 10).numbers()
    }

    #[test]
    fn a_letter_comes_back_from_its_record_as_it_was() {
        let attempt = "2026-01-01T10:00:00Z".parse().unwrap();
        let attempts = Attempts { count: 7, first: attempt, last: attempt };
        let letter = letter("slack", "max_age", "2026-01-02T00:00:00Z").with_attempts(Some(attempts));
        assert_eq!((letter.attempts, letter.first_attempt), (7, Some(attempt)));
        let summary = Summary {
            count: 3,
            first: attempt,
            last: attempt,
            samples: vec!["a".to_owned()],
            window: std::time::Duration::from_millis(1_500),
        };
        for kind in [NotificationKind::Alert, NotificationKind::Summary(summary)] {
            let letter = DeadLetter { kind, ..letter.clone() };
            let kept = Kept::parse(&record_key(5), &to_json(&letter)).unwrap();
            assert_eq!((kept.number, format!("{:?}", kept.letter)), (5, format!("{letter:?}")));
        }
    }

    #[test]
    fn letters_come_in_the_order_of_their_numbers_and_what_is_none_is_counted() {
        let found = found(&Selection::default(), 10);
        assert_eq!(found.numbers(), [1, 2, 300]);
        assert_eq!((found.unreadable, found.is_cut), (1, false));
    }

    #[test]
    fn a_filter_wants_what_all_of_its_parts_want() {
        let by = |destination: &str, reason: &str| Selection {
            destination: Some(destination.to_owned()),
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            ..Selection::default()
        };
        assert_eq!(numbers(&by("slack", "")), [1, 300]);
        assert_eq!(numbers(&by("slack", "max_age")), [300]);
        assert!(numbers(&by("mail", "")).is_empty());
        let from = |since: Option<&str>, until: Option<&str>| Selection {
            since: since.map(|time| time.parse().unwrap()),
            until: until.map(|time| time.parse().unwrap()),
            ..Selection::default()
        };
        assert_eq!(numbers(&from(Some("2026-01-03T00:00:00Z"), None)), [2, 300]);
        assert_eq!(numbers(&from(None, Some("2026-01-03T00:00:00Z"))), [1]);
        assert_eq!(numbers(&Selection { number: Some(2), ..Selection::default() }), [2]);
        let when = |when: &str| Selection { when: Some(when.to_owned()), ..by("slack", "") };
        assert!(numbers(&when("rule = other")).is_empty());
        assert_eq!(numbers(&when("priority >= error")), [1, 300]);
        let error = Filter::new(&when("priority >= loud")).unwrap_err();
        assert!(error.starts_with("when:1:13: "), "{error}");
    }

    #[test]
    fn no_more_is_given_than_asked_for_and_it_is_said() {
        let all = Selection::default();
        let first = found(&all, 2);
        assert_eq!((first.numbers(), first.is_cut), (vec![1, 2], true));
        assert_eq!(first.next(&all), Some(Selection { after: Some(2), ..Selection::default() }));
        let whole = found(&all, 3);
        assert_eq!((whole.is_cut, whole.next(&all)), (false, None));
    }

    #[test]
    fn who_says_nothing_does_not_mean_all() {
        assert!(!Selection { after: Some(7), ..Selection::default() }.is_meant());
        assert!(Selection { all: true, ..Selection::default() }.is_meant());
        assert!(Selection { number: Some(7), ..Selection::default() }.is_meant());
    }

    #[test]
    fn the_list_is_one_json_object_a_line_with_the_alert_as_it_came() {
        let mut output = Vec::new();
        print(&found(&Selection::default(), 10).letters, &mut output).unwrap();
        let text = String::from_utf8(output).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((&lines[0]["number"], &lines[0]["reason"]), (&1.into(), &"client_error".into()));
        assert_eq!(lines[0]["kind"], "alert");
        let alert = serde_json::to_value(&*letter("", "", "2026-01-02T00:00:00Z").alert).unwrap();
        assert_eq!(lines[0]["alert"], alert);
    }
}
