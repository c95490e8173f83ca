//! Dead letters: deliveries that failed for good, kept with the reason until somebody sends them again or purges them.
//!
//! `dead-letter list` prints them as NDJSON, one object a line, with the alert as it came. Replay makes a new delivery of
//! a letter and takes the letter away in the same commit; purge only takes it away.

use std::io::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tercel_alert::Alert;
use uuid::Uuid;

use crate::destination::{Notification, NotificationKind};
use crate::fingerprint::Fingerprint;
use crate::outbox::Attempts;

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

/// Which letters are meant; what is left out does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) destination: Option<String>,
    pub(crate) reason: Option<String>,
    /// Given up at this time or later.
    pub(crate) since: Option<Timestamp>,
    /// Given up before this time.
    pub(crate) until: Option<Timestamp>,
    /// The letter with this number.
    pub(crate) number: Option<u64>,
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
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub(crate) sent: u64,
    /// No delivery could be made of them.
    pub(crate) kept: u64,
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

    /// What a replay sends again.
    pub(crate) fn notification(&self) -> Notification {
        Notification {
            id: self.id,
            alert: Arc::clone(&self.alert),
            route: Arc::clone(&self.route),
            dedup_key: self.key.map(|key| key.hex()),
            kind: self.kind.clone(),
            repeats: 0,
        }
    }

    /// The record of the store.
    ///
    /// # Errors
    /// None that is known: a letter holds nothing that JSON cannot say.
    pub(crate) fn to_record(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

/// The key of a letter's record: in the order of the numbers.
pub(crate) fn record_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The first `count` letters that the filter wants, out of the records of the store, which come in the order of their
/// keys.
pub(crate) fn find(records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>, filter: &Filter, count: usize) -> Found {
    let mut found = Found::default();
    for (key, value) in records {
        let Some(kept) = Kept::parse(&key, &value) else {
            found.unreadable += 1;
            continue;
        };
        if !filter.wants(&kept) {
            continue;
        }
        if found.letters.len() == count {
            found.is_cut = true;
            break;
        }
        found.letters.push(kept);
    }
    found
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

/// Takes letters away; `remove` gets the keys of their records. Gives how many there were.
pub(crate) fn purge(letters: &[Kept], mut remove: impl FnMut(&[u8])) -> u64 {
    for kept in letters {
        remove(&record_key(kept.number));
    }
    letters.len() as u64
}

/// Makes new deliveries of letters and takes those away of which there is one; for one commit. `deliver` says whether it
/// made one: the destination may be gone, or have no room.
pub(crate) fn replay(
    letters: &[Kept],
    mut deliver: impl FnMut(&DeadLetter) -> bool,
    mut remove: impl FnMut(&[u8]),
) -> Replayed {
    let mut replayed = Replayed::default();
    for Kept { number, letter } in letters {
        if deliver(letter) {
            remove(&record_key(*number));
            replayed.sent += 1;
        } else {
            replayed.kept += 1;
        }
    }
    replayed
}

impl Kept {
    /// `None`: it is no letter.
    pub(crate) fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let number = u64::from_be_bytes(key.try_into().ok()?);
        Some(Self { number, letter: serde_json::from_slice(value).ok()? })
    }
}

impl Filter {
    pub(crate) fn wants(&self, kept: &Kept) -> bool {
        let Kept { number, letter } = kept;
        self.number.is_none_or(|wanted| wanted == *number)
            && self.destination.as_ref().is_none_or(|wanted| **wanted == *letter.destination)
            && self.reason.as_ref().is_none_or(|wanted| **wanted == *letter.reason)
            && self.since.is_none_or(|since| letter.died >= since)
            && self.until.is_none_or(|until| letter.died < until)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::destination::Summary;

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
            letters.iter().map(|(id, letter)| (record_key(*id).to_vec(), letter.to_record().unwrap())).collect();
        table.insert(record_key(9).to_vec(), b"{\"half".to_vec());
        table
    }

    fn numbers(filter: &Filter) -> Vec<u64> {
        find(table(), filter, 10).letters.iter().map(|kept| kept.number).collect()
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
            let kept = Kept::parse(&record_key(5), &letter.to_record().unwrap()).unwrap();
            assert_eq!((kept.number, format!("{:?}", kept.letter)), (5, format!("{letter:?}")));
        }
    }

    #[test]
    fn a_replay_sends_what_was_to_be_sent() {
        let letter = letter("slack", "max_age", "2026-01-02T00:00:00Z");
        let notification = letter.notification();
        assert_eq!((notification.id, &*notification.route), (Uuid::max(), "page"));
        assert_eq!(notification.dedup_key, Some(Fingerprint([7; 32]).hex()));
        assert!(Arc::ptr_eq(&notification.alert, &letter.alert));
    }

    #[test]
    fn letters_come_in_the_order_of_their_numbers_and_what_is_none_is_counted() {
        let found = find(table(), &Filter::default(), 10);
        assert_eq!(numbers(&Filter::default()), [1, 2, 300]);
        assert_eq!((found.unreadable, found.is_cut), (1, false));
    }

    #[test]
    fn a_filter_wants_what_all_of_its_parts_want() {
        let by = |destination: &str, reason: &str| Filter {
            destination: Some(destination.to_owned()),
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            ..Filter::default()
        };
        assert_eq!(numbers(&by("slack", "")), [1, 300]);
        assert_eq!(numbers(&by("slack", "max_age")), [300]);
        assert!(numbers(&by("mail", "")).is_empty());
        let from = |since: Option<&str>, until: Option<&str>| Filter {
            since: since.map(|time| time.parse().unwrap()),
            until: until.map(|time| time.parse().unwrap()),
            ..Filter::default()
        };
        assert_eq!(numbers(&from(Some("2026-01-03T00:00:00Z"), None)), [2, 300]);
        assert_eq!(numbers(&from(None, Some("2026-01-03T00:00:00Z"))), [1]);
        assert_eq!(numbers(&Filter { number: Some(2), ..Filter::default() }), [2]);
    }

    #[test]
    fn no_more_is_given_than_asked_for_and_it_is_said() {
        let found = find(table(), &Filter::default(), 2);
        assert_eq!((found.letters.len(), found.is_cut), (2, true));
        assert!(!find(table(), &Filter::default(), 3).is_cut);
    }

    #[test]
    fn a_purge_takes_what_was_found_and_a_replay_what_it_could_send() {
        let mut table = table();
        let found = find(table.clone(), &Filter::default(), 10);
        let mut sent = Vec::new();
        let deliver = |letter: &DeadLetter| {
            sent.push(letter.notification().id);
            &*letter.destination == "slack"
        };
        let replayed = replay(&found.letters, deliver, |key| assert!(table.remove(key).is_some()));
        assert_eq!((replayed, sent.len()), (Replayed { sent: 2, kept: 1 }, 3));
        let left = find(table.clone(), &Filter::default(), 10);
        assert_eq!(left.letters.iter().map(|kept| kept.number).collect::<Vec<_>>(), [2]);
        assert_eq!(purge(&left.letters, |key| assert!(table.remove(key).is_some())), 1);
        assert_eq!(table.len(), 1, "what is no letter stays where it is");
    }

    #[test]
    fn the_list_is_one_json_object_a_line_with_the_alert_as_it_came() {
        let mut output = Vec::new();
        print(&find(table(), &Filter::default(), 10).letters, &mut output).unwrap();
        let text = String::from_utf8(output).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((&lines[0]["number"], &lines[0]["reason"]), (&1.into(), &"client_error".into()));
        assert_eq!(lines[0]["kind"], "alert");
        let alert = serde_json::to_value(&*letter("", "", "2026-01-02T00:00:00Z").alert).unwrap();
        assert_eq!(lines[0]["alert"], alert);
    }
}
