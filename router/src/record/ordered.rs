//! Records of one stage that have a time each: the first of them by that time is the one that falls due, or makes room.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Owner, Record, Records, from_json, to_json};

/// What a record says, and when it falls due.
pub(crate) trait Dated: Serialize + DeserializeOwned {
    fn time(&self) -> Timestamp;
}

/// What follows the owner in a record's key.
pub(crate) trait Key: Clone + Ord + Hash {
    fn bytes(&self) -> &[u8];
    /// `None`: it makes no sense.
    fn parse(bytes: &[u8]) -> Option<Self>;
}

/// All of one owner, and which of them changed since the last commit.
pub(crate) struct Ordered<K, V> {
    owner: Owner,
    values: HashMap<K, V>,
    times: BTreeSet<(Timestamp, K)>,
    changed: HashSet<K>,
    /// Keys of records that made no sense.
    senseless: Vec<Vec<u8>>,
}

impl Key for Arc<str> {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(Self::from)
    }
}

impl Key for [u8; 32] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }
}

impl<K: Key, V: Dated> Ordered<K, V> {
    pub(crate) fn new(owner: Owner) -> Self {
        Self { owner, values: HashMap::new(), times: BTreeSet::new(), changed: HashSet::new(), senseless: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.values.get(key)
    }

    /// The one with the earliest time.
    pub(crate) fn first(&self) -> Option<&(Timestamp, K)> {
        self.times.first()
    }

    /// In the order of their times.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.times.iter().filter_map(|(_, key)| self.values.get_key_value(key))
    }

    /// In the place of the one with this key.
    pub(crate) fn put(&mut self, key: K, value: V) {
        if let Some(old) = self.values.get(&key) {
            self.times.remove(&(old.time(), key.clone()));
        }
        self.times.insert((value.time(), key.clone()));
        self.changed.insert(key.clone());
        self.values.insert(key, value);
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let (key, value) = self.values.remove_entry(key)?;
        self.times.remove(&(value.time(), key.clone()));
        self.changed.insert(key.clone());
        Some((key, value))
    }

    pub(crate) fn pop_first(&mut self) -> Option<(K, V)> {
        let (_, key) = self.times.first().cloned()?;
        self.remove(&key)
    }

    /// As the records say, at the start and after a commit that failed; others' are passed over. Gives how many made no sense:
    /// they are removed with the next commit.
    pub(crate) fn load(&mut self, records: impl Iterator<Item = Record>) -> u64 {
        *self = Self::new(self.owner.clone());
        for (record_key, value) in records {
            let Some(rest) = self.owner.rest(&record_key) else { continue };
            match K::parse(rest).zip(from_json(&value)) {
                Some((key, value)) => self.put(key, value),
                None => self.senseless.push(record_key),
            }
        }
        self.changed.clear();
        self.senseless.len() as u64
    }

    /// Puts all that changed since the last call.
    pub(crate) fn record(&mut self, records: &mut dyn Records) {
        self.senseless.drain(..).for_each(|key| records.remove(&key));
        for key in self.changed.drain() {
            let record_key = self.owner.key(&[key.bytes()]);
            match self.values.get(&key) {
                Some(value) => records.put(&record_key, to_json(value)),
                None => records.remove(&record_key),
            }
        }
    }
}
