//! Whether an alert came before: a sender whose answer was lost sends it again, under the same id and with the same
//! content. That is acknowledged and not delivered a second time. The same id with another content is another alert; it
//! gets an id of its own.
//!
//! A plain state machine: it neither waits nor reads a clock. For each alert that brought an id it is asked
//! [`Seen::check`]; then [`Seen::record`] fills the commit. After a commit that failed it is loaded again.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::record::{self, Before, Record, Records};

/// How long an id is remembered: a sender that has not tried again by then has given up, or will make a duplicate.
const REMEMBERED: Duration = Duration::from_mins(15);

/// Alerts that are remembered at once, some 16 MiB: 220 a second for all of the time. Beyond it the oldest are forgotten.
const ENTRIES_MAX: usize = 200_000;

/// Alerts of one record.
const BLOCK_MAX: usize = 1_024;

/// Bytes of an id, and of a content's hash.
const HALF: usize = 16;

/// Id and content's hash.
type Key = [u8; 2 * HALF];

/// An id that a sender gave, and what the alert said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    key: Key,
}

/// What an alert with an id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    /// Acknowledged before: it is not to be delivered again.
    Repeat,
    /// New, and another alert came under its id: it needs one of its own.
    Reused,
}

/// The alerts of the last quarter of an hour that brought an id.
pub(crate) struct Seen {
    entries_max: usize,
    keys: BTreeSet<Key>,
    /// The same by age, the oldest first.
    ages: VecDeque<Key>,
    /// How they lie in the store, the oldest first; those at the end may not be there yet.
    blocks: VecDeque<Block>,
    /// Of the next block.
    next_number: u64,
    /// Keys of records to be removed.
    removed: Vec<(Vec<u8>, Before)>,
    /// The last `now`.
    latest: Timestamp,
    tally: Tally,
}

/// Alerts that came at the same time: one record, since they are forgotten together.
struct Block {
    number: u64,
    time: Timestamp,
    /// Alerts that its record holds.
    recorded: usize,
    /// Alerts of it that are not forgotten.
    left: usize,
    /// Without a record yet.
    new: Vec<Key>,
}

/// What happened since the last look, for the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) repeats: u64,
    pub(crate) reused: u64,
    /// Forgotten early, because there were too many.
    pub(crate) evicted: u64,
    /// Records that made no sense at the start.
    pub(crate) senseless: u64,
}

impl Sent {
    /// `text`: the alert as it was sent. A sender that tries again sends the same.
    pub(crate) fn new(id: Uuid, text: &str) -> Self {
        let mut key = [0; 2 * HALF];
        key[..HALF].copy_from_slice(id.as_bytes());
        key[HALF..].copy_from_slice(&Sha256::digest(text)[..HALF]);
        Self { key }
    }

    /// Of all contents under the id, the first and the last that there can be.
    fn range(&self) -> std::ops::RangeInclusive<Key> {
        let (mut first, mut last) = (self.key, self.key);
        first[HALF..].fill(0);
        last[HALF..].fill(u8::MAX);
        first..=last
    }
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            entries_max: ENTRIES_MAX,
            keys: BTreeSet::new(),
            ages: VecDeque::new(),
            blocks: VecDeque::new(),
            next_number: 0,
            removed: Vec::new(),
            latest: Timestamp::MIN,
            tally: Tally::default(),
        }
    }

    /// From the records of a former time. What makes no sense is counted, and removed with the next commit.
    pub(crate) fn load(records: impl IntoIterator<Item = Record>) -> Self {
        let mut seen = Self::new();
        let mut blocks = Vec::new();
        for (key, value) in records {
            if let Some(block) = Block::parse(&key, &value) {
                blocks.push(block);
                continue;
            }
            seen.tally.senseless += 1;
            seen.removed.push((key, Before::Bytes(value.len())));
        }
        blocks.sort_by_key(|(block, _)| (block.time, block.number));
        seen.latest = blocks.last().map_or(Timestamp::MIN, |(block, _)| block.time);
        seen.next_number = blocks.iter().map(|(block, _)| block.number + 1).max().unwrap_or_default();
        // From the newest on: what came again after it was forgotten is as old as its last time.
        for (mut block, keys) in blocks.into_iter().rev() {
            for key in keys.into_iter().rev() {
                if seen.keys.insert(key) {
                    seen.ages.push_front(key);
                    block.left += 1;
                }
            }
            if block.left > 0 {
                seen.blocks.push_front(block);
            } else {
                seen.remove(&block);
            }
        }
        seen.make_room();
        seen
    }

    /// Remembers the alert, unless it is a repeat: that one keeps the time of its first.
    pub(crate) fn check(&mut self, sent: &Sent, now: Timestamp) -> Verdict {
        self.expire(now);
        if self.keys.contains(&sent.key) {
            self.tally.repeats += 1;
            return Verdict::Repeat;
        }
        let is_reused = self.keys.range(sent.range()).next().is_some();
        self.tally.reused += u64::from(is_reused);
        self.keys.insert(sent.key);
        self.ages.push_back(sent.key);
        self.append(sent.key, now);
        self.make_room();
        if is_reused { Verdict::Reused } else { Verdict::New }
    }

    /// Forgets what is old enough.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        if now < self.latest {
            // The clock was set back: nothing may stay longer than it would have from now on.
            self.blocks.iter_mut().for_each(|block| block.time = now.min(block.time));
        }
        self.latest = now;
        while self.due().is_some_and(|due| due <= now) {
            self.forget_oldest();
        }
    }

    /// When [`Seen::expire`] has something to do; `None`: nothing is remembered.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.blocks.front().map(|oldest| record::after(oldest.time, REMEMBERED))
    }

    /// Puts into the commit what has changed since the last one.
    pub(crate) fn record(&mut self, records: &mut impl Records) {
        for (key, before) in self.removed.drain(..) {
            records.change(&key, before, None);
        }
        for block in self.blocks.iter_mut().rev().take_while(|block| !block.new.is_empty()) {
            records.change(&block.key(), Before::Absent, Some(block.value()));
            block.recorded = std::mem::take(&mut block.new).len();
        }
    }

    /// Alerts that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn append(&mut self, key: Key, now: Timestamp) {
        let fits = |block: &&mut Block| block.time == now && (1..BLOCK_MAX).contains(&block.new.len());
        if let Some(block) = self.blocks.back_mut().filter(fits) {
            block.left += 1;
            block.new.push(key);
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.blocks.push_back(Block { number, time: now, recorded: 0, left: 1, new: vec![key] });
    }

    fn make_room(&mut self) {
        while self.keys.len() > self.entries_max {
            self.forget_oldest();
            self.tally.evicted += 1;
        }
    }

    fn forget_oldest(&mut self) {
        let Some((key, block)) = self.ages.pop_front().zip(self.blocks.front_mut()) else { return };
        self.keys.remove(&key);
        block.left -= 1;
        if block.left == 0
            && let Some(block) = self.blocks.pop_front()
        {
            self.remove(&block);
        }
    }

    fn remove(&mut self, block: &Block) {
        if block.recorded > 0 {
            self.removed.push((block.key().to_vec(), Before::Bytes(bytes(block.recorded))));
        }
    }
}

/// The record: the number, and the time with the alerts.
impl Block {
    fn key(&self) -> [u8; 8] {
        self.number.to_be_bytes()
    }

    fn value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(bytes(self.new.len()));
        value.extend(self.time.as_microsecond().to_be_bytes());
        self.new.iter().for_each(|key| value.extend(key));
        value
    }

    /// Nothing of it is remembered yet.
    fn parse(key: &[u8], value: &[u8]) -> Option<(Self, Vec<Key>)> {
        let number = u64::from_be_bytes(key.try_into().ok()?);
        let (time, keys) = value.split_first_chunk::<8>()?;
        let time = Timestamp::from_microsecond(i64::from_be_bytes(*time)).ok()?;
        let (keys, rest) = keys.as_chunks();
        let block = Self { number, time, recorded: keys.len(), left: 0, new: Vec::new() };
        (rest.is_empty() && number < u64::MAX).then(|| (block, keys.to_vec()))
    }
}

/// Of a record's value.
const fn bytes(alerts: usize) -> usize {
    size_of::<i64>() + alerts * size_of::<Key>()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn sent(id: u128, text: &str) -> Sent {
        Sent::new(Uuid::from_u128(id), text)
    }

    #[test]
    fn what_is_sent_again_is_a_repeat_for_a_quarter_of_an_hour_from_its_first() {
        let mut seen = Seen::new();
        assert_eq!(seen.check(&sent(1, "a"), at(0)), Verdict::New);
        assert_eq!(seen.check(&sent(1, "a"), at(600)), Verdict::Repeat);
        assert_eq!(seen.check(&sent(1, "a"), at(899)), Verdict::Repeat);
        assert_eq!(seen.due(), Some(at(900)));
        assert_eq!(seen.check(&sent(1, "a"), at(900)), Verdict::New);
        assert_eq!(seen.take_tally(), Tally { repeats: 2, ..Tally::default() });
    }

    #[test]
    fn another_content_under_the_same_id_is_another_alert_and_itself_repeatable() {
        let mut seen = Seen::new();
        assert_eq!(seen.check(&sent(7, "a"), at(0)), Verdict::New);
        assert_eq!(seen.check(&sent(7, "b"), at(1)), Verdict::Reused);
        assert_eq!(seen.check(&sent(7, "b"), at(2)), Verdict::Repeat);
        assert_eq!(seen.check(&sent(7, "a"), at(3)), Verdict::Repeat);
        assert_eq!(seen.check(&sent(6, "a"), at(3)), Verdict::New);
        assert_eq!(seen.check(&sent(8, "b"), at(3)), Verdict::New);
        assert_eq!(seen.take_tally(), Tally { repeats: 2, reused: 1, ..Tally::default() });
    }

    #[test]
    fn what_was_recorded_is_known_after_a_restart() {
        let mut store = BTreeMap::new();
        let mut seen = Seen::new();
        seen.check(&sent(1, "a"), at(0));
        seen.check(&sent(2, "b"), at(100));
        seen.record(&mut store);
        store.insert(b"torn".to_vec(), Vec::new());

        let mut seen = Seen::load(store.clone());
        assert_eq!(seen.check(&sent(1, "a"), at(200)), Verdict::Repeat);
        assert_eq!(seen.check(&sent(2, "c"), at(200)), Verdict::Reused);
        assert_eq!(seen.check(&sent(1, "a"), at(950)), Verdict::New);
        assert_eq!(seen.check(&sent(2, "b"), at(950)), Verdict::Repeat);
        assert_eq!(seen.take_tally().senseless, 1);
        seen.record(&mut store);
        seen.expire(at(3_000));
        seen.record(&mut store);
        assert_eq!((seen.len(), store.len(), seen.due()), (0, 0, None));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nothing_for_longer() {
        let mut seen = Seen::new();
        seen.check(&sent(1, "a"), at(10_000));
        assert_eq!(seen.check(&sent(1, "a"), at(0)), Verdict::Repeat);
        assert_eq!(seen.due(), Some(at(900)));
        let mut store = BTreeMap::new();
        seen.record(&mut store);
        let mut seen = Seen::load(store);
        seen.expire(at(-50_000));
        assert_eq!(seen.due(), Some(at(-50_000 + 900)));
    }

    #[test]
    fn too_many_are_forgotten_from_the_oldest_on_and_counted() {
        let mut seen = Seen { entries_max: 2, ..Seen::new() };
        let mut store = BTreeMap::new();
        for id in 0..3 {
            seen.check(&sent(id, "a"), at(0));
            seen.record(&mut store);
        }
        assert_eq!((seen.len(), store.len(), seen.take_tally().evicted), (2, 2, 1));
        assert_eq!(seen.check(&sent(2, "a"), at(1)), Verdict::Repeat);
        assert_eq!(seen.check(&sent(0, "a"), at(1)), Verdict::New);
    }

    #[test]
    fn what_came_together_is_one_record_until_the_last_of_it_is_forgotten() {
        let mut seen = Seen { entries_max: 2 * BLOCK_MAX, ..Seen::new() };
        let mut store = BTreeMap::new();
        let (more, all) = (BLOCK_MAX as u128 + 1, 2 * BLOCK_MAX as u128);
        (0..more).for_each(|id| assert_eq!(seen.check(&sent(id, "a"), at(0)), Verdict::New));
        seen.record(&mut store);
        assert_eq!(store.len(), 2, "more than one record may hold");
        (more..all).for_each(|id| assert_eq!(seen.check(&sent(id, "a"), at(1)), Verdict::New));
        seen.check(&sent(all, "a"), at(1));
        seen.record(&mut store);
        assert_eq!(seen.check(&sent(0, "a"), at(2)), Verdict::New, "it was forgotten: there are too many");
        seen.record(&mut store);
        assert_eq!((seen.len(), store.len()), (2 * BLOCK_MAX, 4));

        let mut seen = Seen { entries_max: 2 * BLOCK_MAX, ..Seen::load(store.clone()) };
        assert_eq!(seen.check(&sent(0, "a"), at(901)), Verdict::Repeat, "as old as its last time");
        seen.record(&mut store);
        assert_eq!((seen.len(), store.len()), (1, 1));
        seen.expire(at(902));
        seen.record(&mut store);
        assert!(seen.len() == 0 && store.is_empty());
    }

    #[test]
    fn the_largest_table_stays_within_its_memory() {
        let memory = size_of::<Key>() * 4 / 3 + size_of::<Key>();
        assert!(ENTRIES_MAX * memory <= 20 * 1024 * 1024, "{memory}");
    }

    proptest! {
        #[test]
        fn it_says_what_a_list_of_all_would_say(
            steps in prop::collection::vec((0..4_u128, 0..3_u8, 0..500_i64), 1..60),
        ) {
            let (mut seen, mut store) = (Seen::new(), BTreeMap::new());
            let mut known: HashMap<(u128, u8), i64> = HashMap::new();
            let mut now = 0;
            for (id, text, passed) in steps {
                now += passed;
                known.retain(|_, time| now - *time < 900);
                let expected = if known.contains_key(&(id, text)) {
                    Verdict::Repeat
                } else if known.keys().any(|(other, _)| *other == id) {
                    Verdict::Reused
                } else {
                    Verdict::New
                };
                if expected != Verdict::Repeat {
                    known.insert((id, text), now);
                }
                prop_assert_eq!(seen.check(&sent(id, &text.to_string()), at(now)), expected);
                seen.record(&mut store);
                prop_assert_eq!(store.len(), known.len());
                // Every other step is a restart.
                if now % 2 == 0 {
                    seen = Seen::load(store.clone());
                }
            }
        }
    }
}
