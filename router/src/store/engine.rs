//! fjall, and what is particular to it.

use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use fjall::compaction::Leveled;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Slice};

use super::Table;
use super::pages::{Key, Record, Source};

/// Memory for blocks that were read.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// Memory of one table's newest records, before they get a file of their own.
const MEMTABLE_BYTES: u64 = 4 * 1024 * 1024;
/// Files of records are about this long: the unit in which space is given back.
const FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Journals beyond this make even quiet tables write down what keeps the oldest journal. The least that fjall takes.
const JOURNALS_BYTES: u64 = 64 * 1024 * 1024;
/// One thread writes tables out of memory and compacts: of two, one spins while the other compacts. Commits wait for it
/// where it lags, see [`WAITING_MAX`].
const WORKERS: usize = 1;
/// Open files.
const FILES_MAX: usize = 64;
/// Tables in memory that wait to be written, of one table, beyond which commits wait too. fjall itself would wait for
/// ever at four, if the disk were full.
const WAITING_MAX: usize = 1;
/// Unsorted files of one table beyond which commits wait for compaction: fjall itself slows down at so many, and waits for
/// ever at thirty.
const RUNS_MAX: usize = 19;
/// How long anybody waits for them.
const WAITING_TIME_MAX: Duration = Duration::from_secs(30);

pub(super) struct Engine {
    database: Database,
    tables: Vec<Keyspace>,
    /// Holds nothing; see [`Engine::compact`].
    upkeep: Keyspace,
}

/// Why it does not open.
#[derive(Debug)]
pub(super) enum Closed {
    /// Something is wrong with the machine: another try may do.
    Io(io::Error),
    /// Something is wrong with the files.
    Damaged(String),
}

/// What one change does to one table.
pub(super) struct Write {
    pub(super) table: Table,
    pub(super) key: Key,
    /// As stored; `None`: removed.
    pub(super) stored: Option<Slice>,
}

impl Engine {
    pub(super) fn open(folder: &Path) -> Result<Self, Closed> {
        // Damaged files have made it panic where it expects what it wrote.
        catch_unwind(AssertUnwindSafe(|| Self::try_open(folder)))
            .unwrap_or_else(|_| Err(Closed::Damaged("the engine panicked".to_owned())))
    }

    fn try_open(folder: &Path) -> Result<Self, Closed> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_cached_files(Some(FILES_MAX))
            .max_journaling_size(JOURNALS_BYTES)
            .worker_threads(WORKERS)
            .open()
            .map_err(closed)?;
        let open = |name: &str| database.keyspace(name, keyspace_options).map_err(closed);
        let tables = Table::ALL.iter().map(|table| open(table.name())).collect::<Result<_, _>>()?;
        let upkeep = open("upkeep")?;
        Ok(Self { database, tables, upkeep })
    }

    /// All or nothing, and in the operating system's hands when it returns.
    pub(super) fn write(&self, changes: Vec<Write>) -> Result<(), fjall::Error> {
        self.wait_for_room()?;
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        for Write { table, key, stored } in changes {
            match stored {
                Some(stored) => batch.insert(self.table(table), key, stored),
                None => batch.remove(self.table(table), key),
            }
        }
        batch.commit()
    }

    /// Returns when the device has all that was written.
    pub(super) fn sync(&self) -> Result<(), fjall::Error> {
        self.database.persist(PersistMode::SyncData)
    }

    /// The stored value. A block that does not read for the filter may still read for a range.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, fjall::Error> {
        let table = self.table(table);
        let found = match table.get(key) {
            Ok(found) => found,
            Err(error) => match table.range(key..=key).next() {
                Some(record) => Some(record.into_inner()?.1),
                None => return Err(error),
            },
        };
        Ok(found.map(|stored| stored.to_vec()))
    }

    /// Bytes of the stored value.
    pub(super) fn size_of(&self, table: Table, key: &[u8]) -> Option<u32> {
        self.table(table).size_of(key).ok().flatten()
    }

    pub(super) fn source(&self, table: Table) -> impl Source + '_ {
        let table = self.table(table);
        move |from: Bound<Key>| -> Box<dyn Iterator<Item = Result<Record, String>>> {
            let records = table.range((from, Bound::Unbounded));
            Box::new(records.map(|record| match record.into_inner() {
                Ok((key, stored)) => Ok((key.to_vec(), stored.to_vec())),
                Err(error) => Err(error.to_string()),
            }))
        }
    }

    /// Writes all tables out of memory, those of the list anew without what was removed, and lets go of the files and
    /// journals that nothing needs any more.
    pub(super) fn compact(&self, tables: &[Table]) -> Result<(), fjall::Error> {
        for table in &self.tables {
            table.rotate_memtable()?;
        }
        self.wait_until(|| self.tables.iter().all(|table| table.sealed_memtable_count() == 0))?;
        for table in tables {
            self.table(*table).major_compact()?;
        }
        // fjall looks for old files and journals when a table goes out of memory.
        self.upkeep.insert("tidied", [])?;
        self.upkeep.rotate_memtable()?;
        self.wait_until(|| self.upkeep.sealed_memtable_count() == 0)
    }

    /// Bytes of a table's files.
    pub(super) fn disk_bytes(&self, table: Table) -> u64 {
        self.table(table).disk_space()
    }

    fn table(&self, table: Table) -> &Keyspace {
        &self.tables[table.index()]
    }

    /// Memory is bounded by waiting here.
    fn wait_for_room(&self) -> Result<(), fjall::Error> {
        let has_room =
            |table: &Keyspace| table.sealed_memtable_count() <= WAITING_MAX && table.tree.l0_run_count() <= RUNS_MAX;
        self.wait_until(|| self.tables.iter().all(has_room))
    }

    /// Waits for the threads that write tables out of memory, for a bounded time.
    fn wait_until(&self, is_done: impl Fn() -> bool) -> Result<(), fjall::Error> {
        let started = Instant::now();
        while !is_done() {
            // Says when they have given up.
            self.database.persist(PersistMode::Buffer)?;
            if started.elapsed() > WAITING_TIME_MAX {
                return Err(fjall::Error::Io(io::ErrorKind::TimedOut.into()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn keyspace_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .compaction_strategy(std::sync::Arc::new(Leveled::default().with_table_target_size(FILE_BYTES)))
}

pub(super) fn closed(error: fjall::Error) -> Closed {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error))
            if super::error::is_environment(&error) =>
        {
            Closed::Io(error)
        }
        fjall::Error::Locked => Closed::Io(io::ErrorKind::ResourceBusy.into()),
        error => Closed::Damaged(error.to_string()),
    }
}
