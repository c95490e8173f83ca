//! What must outlive the process: acknowledged alerts, what is owed to whom, and the state of every decision.
//!
//! Records lie in named tables, keys in byte order. A [`Batch`] changes them all at once or not at all, and [`Store::commit`]
//! returns when what it wrote is as safe as [`Durability`] says. The engine is fjall (docs/adr/0004-keep-alerts-in-fjall.md); everything that is
//! particular to it stands in [`engine`] and [`journal`].

mod alive;
mod durable;
mod engine;
mod error;
mod journal;
mod lock;
mod pages;
mod quarantine;
mod record;
mod salvage;
mod start;
mod statistics;

use crate::record::Before;
pub(crate) use durable::Store;
pub use error::StoreError;
pub(crate) use statistics::Statistics;

/// A set of records of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    /// Acknowledged alerts that some destination has not got yet.
    Alerts,
    /// What is owed to a destination, by order of acceptance.
    Deliveries,
    /// Open windows of dedup.
    Windows,
    /// What limits held back since the last digest.
    Digests,
    Silences,
    /// Until when a source inhibits.
    Inhibitions,
    /// What time windows muted.
    Muted,
    /// Alerts of the last minutes by their ids.
    Seen,
    /// What is known about dead letters.
    Dead,
    /// Incidents that are open at a destination.
    Incidents,
    /// Messages that others may follow.
    Posts,
}

/// Changes that take effect together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    changes: Vec<Change>,
    bytes: usize,
}

#[derive(Debug)]
struct Change {
    table: Table,
    key: Vec<u8>,
    before: Before,
    /// `None`: removed.
    value: Option<Vec<u8>>,
}

/// What a committed batch survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Power loss: the device said that it has it.
    Synced,
    /// The end of the process: the operating system has it.
    Written,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// False: [`Durability::Synced`] is [`Durability::Written`] only, for tests and measurements.
    pub(crate) fsync: bool,
    /// What [`Store::fullness`] takes as full.
    pub(crate) bytes_max: u64,
}

/// What of the settings is not said.
pub(crate) const BYTES_MAX: u64 = 1 << 30;

impl Default for Options {
    fn default() -> Self {
        Self { fsync: true, bytes_max: BYTES_MAX }
    }
}

impl Table {
    /// All, in the order in which they are made in a new store. It is part of the format, by which a salvage knows them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Alerts,
        Self::Deliveries,
        Self::Windows,
        Self::Digests,
        Self::Silences,
        Self::Inhibitions,
        Self::Muted,
        Self::Seen,
        Self::Dead,
        Self::Incidents,
        Self::Posts,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Deliveries => "deliveries",
            Self::Windows => "windows",
            Self::Digests => "digests",
            Self::Silences => "silences",
            Self::Inhibitions => "inhibitions",
            Self::Muted => "muted",
            Self::Seen => "seen",
            Self::Dead => "dead",
            Self::Incidents => "incidents",
            Self::Posts => "posts",
        }
    }

    /// Whether each key is put once and removed once: then nobody looks up what was there before.
    const fn is_written_once(self) -> bool {
        matches!(self, Self::Alerts | Self::Deliveries)
    }

    const fn index(self) -> usize {
        self as usize
    }
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a record or replaces the one with this key. Keys have at most 64 KiB.
    pub(crate) fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>) {
        self.change(table, key, Before::Unknown, Some(value));
    }

    /// Removes a record; that there is none is fine.
    pub(crate) fn remove(&mut self, table: Table, key: &[u8]) {
        self.change(table, key, Before::Unknown, None);
    }

    /// Adds, replaces or removes a record of which the caller may know what there is now.
    pub(crate) fn change(&mut self, table: Table, key: &[u8], before: Before, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.changes.push(Change { table, key: key.to_vec(), before, value });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
