//! Dead letters that are sent again, or taken away.

use std::sync::Arc;

use jiff::Timestamp;
use tercel_alert::Priority;

use super::decider::Decider;
use super::group::{Count, Group};
use super::outgoing::{Part, store_alert};
use super::stages::share;
use crate::audit::Event;
use crate::dead_letter::{DeadLetter, Kept, Replayed, record_key};
use crate::destination::NotificationKind;
use crate::store::Table;

impl Decider {
    /// A new delivery for each, in place of the letter; `to`: to another destination than its own. Its age counts anew.
    pub(super) fn replay(&mut self, group: &mut Group, numbers: &[u64], to: Option<&str>, now: Timestamp) -> Replayed {
        let mut replayed = Replayed::default();
        for number in numbers {
            let Some(letter) = self.take_letter(group, *number) else {
                replayed.gone += 1;
                continue;
            };
            let Some(station) = self.plan.find(&self.stations, to.unwrap_or(&letter.destination)) else {
                replayed.no_destination += 1;
                continue;
            };
            if !self.has_room(group, station, letter.alert.priority) {
                replayed.no_room += 1;
                continue;
            }
            group.letters.insert(*number);
            group.batch.remove(Table::Dead, &record_key(*number));
            self.send_again(group, station, letter, now);
            replayed.sent += 1;
        }
        replayed
    }

    /// How many there were.
    pub(super) fn purge(&self, group: &mut Group, numbers: &[u64]) -> u64 {
        let mut purged = 0;
        for number in numbers {
            if self.take_letter(group, *number).is_some() {
                group.letters.insert(*number);
                group.batch.remove(Table::Dead, &record_key(*number));
                purged += 1;
            }
        }
        purged
    }

    /// `None`: it is not there, or gone with this group.
    fn take_letter(&self, group: &Group, number: u64) -> Option<DeadLetter> {
        if group.letters.contains(&number) {
            return None;
        }
        let key = record_key(number);
        let stored = self.store.get(Table::Dead, &key).ok()??;
        Kept::parse(&key, &stored).map(|kept| kept.letter)
    }

    /// As for new alerts, but for the store as a whole: there the letter makes room for its delivery.
    fn has_room(&self, group: &Group, station: usize, priority: Priority) -> bool {
        let ahead = group.waiting.get(&station).map_or(0, Vec::len);
        self.alive.bytes() <= self.bytes_max / 100 * u64::from(share(priority))
            && self.stations[station].outbox.has_room_for(ahead + 1, priority)
    }

    fn send_again(&mut self, group: &mut Group, station: usize, letter: DeadLetter, now: Timestamp) {
        let DeadLetter { route, id, key, kind, alert, .. } = letter;
        let destination = &self.stations[station].name;
        self.note(group, id, now, || Event::Replayed { destination: Arc::clone(destination) });
        if matches!(kind, NotificationKind::Alert) {
            group.counts.push(Count::Replayed(station));
        }
        let (number, delivery) = (self.number(), self.number());
        let bytes = store_alert(group, number, &alert);
        let part = Part { station, alert: &alert, number, bytes, key, id, kind };
        self.deliver(group, part, &route, delivery, None, now);
        group.is_promised = true;
    }
}
