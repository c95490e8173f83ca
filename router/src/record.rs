//! What the decisions of the router leave behind for the next start: records, a key and a JSON value each.
//!
//! A stage holds its state in memory and knows which parts of it changed. Once for every group of requests it puts those
//! parts into the group's commit ([`Records`]); nothing of what it decided holds before that commit succeeded, and after
//! one that failed the stage is loaded again. Keys begin with the names of their owner, so that one table serves all
//! destinations.

mod ordered;

use std::cell::Cell;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::fingerprint::Fingerprint;
pub(crate) use ordered::{Dated, Ordered};

/// Bytes of a name in a key, so that the store takes keys of several.
const NAME_BYTES_MAX: usize = 1_024;

/// What is kept of the buffer in which records are made.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// A key and a value, as the store gives them back.
pub(crate) type Record = (Vec<u8>, Vec<u8>);

/// What a stage knows of the record that it replaces or removes: the store, which keeps account of all bytes, looks up what
/// it is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Unknown,
    Absent,
    /// Bytes of its value.
    Bytes(usize),
}

/// The part of a commit that is one stage's: its own table, or the shared one of several of its kind. What is said last
/// about a key holds.
pub(crate) trait Records {
    /// Without a value: the record is removed, where there is one.
    fn change(&mut self, key: &[u8], before: Before, value: Option<Vec<u8>>);

    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.change(key, Before::Unknown, Some(value));
    }

    /// Nothing happens where there is no such record.
    fn remove(&mut self, key: &[u8]) {
        self.change(key, Before::Unknown, None);
    }
}

/// The names that a record's key begins with: the destination, then what the stage tells apart below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner(Vec<u8>);

impl Owner {
    /// `names`: the destination first. A name beyond [`NAME_BYTES_MAX`] is told apart by its hash.
    pub(crate) fn new(names: &[&str]) -> Self {
        let mut key = Vec::new();
        for name in names {
            let hashed = Sha256::digest(name);
            let name = if name.len() > NAME_BYTES_MAX { &hashed[..] } else { name.as_bytes() };
            key.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
            key.extend(name);
        }
        Self(key)
    }

    pub(crate) fn key(&self, rest: &[&[u8]]) -> Vec<u8> {
        let mut key = self.0.clone();
        key.extend(rest.concat());
        key
    }

    /// What follows the owner; `None`: somebody else's.
    pub(crate) fn rest<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(&self.0[..])
    }
}

/// The first `count` names of a key, to find records whose owner is gone. `None`: it has fewer.
pub(crate) fn owner_names(key: &[u8], count: usize) -> Option<Vec<&str>> {
    let mut rest = key;
    (0..count)
        .map(|_| {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (name, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            rest = after;
            std::str::from_utf8(name).ok()
        })
        .collect()
}

/// The same parts give the same id (UUID version 8, from SHA-256): what is made again after a crash is no second one.
pub(crate) fn derived_id(parts: &[&[u8]]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash_of(parts)[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// As [`derived_id`], in 64 hexadecimal digits.
pub(crate) fn derived_key(parts: &[&[u8]]) -> String {
    Fingerprint(hash_of(parts)).hex().to_string()
}

fn hash_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// An error, which no record of ours gives, is written as null and skipped at the next start.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    thread_local! {
        /// What grows is kept, so that a record is one allocation of its own size.
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut buffer = BUFFER.take();
    buffer.clear();
    let json = serde_json::to_writer(&mut buffer, value).map_or_else(|_| b"null".to_vec(), |()| buffer.clone());
    buffer.shrink_to(BUFFER_BYTES_MAX);
    BUFFER.set(buffer);
    json
}

pub(crate) fn from_json<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

/// `time` and `length` later; the end of time where that is beyond it.
pub(crate) fn after(time: Timestamp, length: Duration) -> Timestamp {
    SignedDuration::try_from(length).ok().and_then(|length| time.checked_add(length).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
impl Records for std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    fn change(&mut self, key: &[u8], before: Before, value: Option<Vec<u8>>) {
        let there = self.get(key).map_or(Before::Absent, |value| Before::Bytes(value.len()));
        assert!(before == Before::Unknown || before == there, "the stage says {before:?} of what is {there:?}");
        match value {
            Some(value) => drop(self.insert(key.to_vec(), value)),
            None => drop(std::collections::BTreeMap::remove(self, key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_knows_its_own_keys_and_no_others() {
        let (hook, hooks) = (Owner::new(&["hook"]), Owner::new(&["hooks"]));
        let key = hook.key(&[b"rest"]);
        assert_eq!((hook.rest(&key), hooks.rest(&key)), (Some(&b"rest"[..]), None));
        assert_ne!(Owner::new(&["a", "b"]), Owner::new(&["ab", ""]));
        let long = ["x", "y"].map(|last| Owner::new(&[&("n".repeat(100_000) + last)]));
        assert!(long[0] != long[1] && long[0].key(&[]).len() < NAME_BYTES_MAX);
    }

    #[test]
    fn the_names_of_a_key_are_read_back_and_a_torn_key_has_none() {
        let key = Owner::new(&["hook", "röute"]).key(&[b"\xff"]);
        assert_eq!(owner_names(&key, 1), Some(vec!["hook"]));
        assert_eq!(owner_names(&key, 2), Some(vec!["hook", "röute"]));
        assert_eq!(owner_names(&key, 3), None);
        assert_eq!(owner_names(&key[..3], 1), None);
    }

    #[test]
    fn a_derived_id_is_the_same_for_the_same_parts_only() {
        let id = derived_id(&[b"ab", b"c"]);
        assert_eq!(id, derived_id(&[b"ab", b"c"]));
        assert_ne!(id, derived_id(&[b"a", b"bc"]));
        assert_eq!(id.get_version_num(), 8);
    }
}
