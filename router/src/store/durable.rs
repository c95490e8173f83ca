//! The store: the engine with a lock, checksums, accounts and a way back from every failure.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tracing::warn;

use super::alive::{Alive, Growth, size};
use super::engine::{Engine, Write};
use super::error::{StoreError, io_error};
use super::lock::Lock;
use super::pages::{Key, Pages};
use super::quarantine::{Quarantine, hexadecimal};
use super::statistics::{Counters, Statistics};

use super::{Batch, Change, Durability, Options, Table, record, salvage};
use crate::folder;
use crate::record::Before;

/// Free bytes of the file system below which no alert is taken: what becomes of those that are there needs room too.
const SPACE_RESERVE_BYTES: u64 = 32 * 1024 * 1024;
/// Below which nothing is added at all: the engine needs room to give room back.
const LAST_SPACE_BYTES: u64 = 8 * 1024 * 1024;
/// How long after a failure nothing is tried.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Bytes on the disk, beyond twice what is alive, that [`Store::tidy`] leaves as they are: one journal, mostly.
const GARBAGE_BYTES_MAX: u64 = 96 * 1024 * 1024;

/// Everything that is written down.
pub(crate) struct Store {
    pub(super) folder: PathBuf,
    options: Options,
    /// `None` after a failure, until it is opened anew.
    engine: RwLock<Option<Engine>>,
    /// One commit at a time; when the last one failed.
    failed: Mutex<Option<Instant>>,
    /// A sync failed, and what is in the journals has not been written anew since.
    pub(super) is_doubtful: AtomicBool,
    /// Bytes alive, by table.
    pub(super) alive: [Alive; Table::ALL.len()],
    pub(super) quarantine: Quarantine,
    pub(super) counters: Counters,
    _lock: Lock,
}

/// The records of a table in the order of their keys, each page as it is when it is read. Damaged records are left out
/// and counted; an error is the last item: without one, these were all.
pub(crate) struct Scan<'a> {
    store: &'a Store,
    table: Table,
    page: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    from: Option<Bound<Key>>,
}

impl Store {
    /// Opens the store in this folder, or makes one. What is damaged is put aside and counted.
    ///
    /// # Errors
    /// Another process has it, or the file system does not allow it; never because of what is in it.
    pub(crate) fn open(folder: &Path, options: Options) -> Result<Self, StoreError> {
        let folder = std::path::absolute(folder).map_err(|error| io_error(folder, "open the store", error))?;
        let parent = folder.parent().unwrap_or(&folder);
        folder::create(parent, folder::UMASK_DECIDES)
            .map_err(|error| io_error(parent, "make the folder of the store", error))?;
        let lock = Lock::take(&salvage::beside(&folder, ".lock"))?;
        let store = Self {
            options,
            engine: RwLock::new(None),
            failed: Mutex::new(None),
            is_doubtful: AtomicBool::new(false),
            alive: [const { Alive::new() }; Table::ALL.len()],
            quarantine: Quarantine::new(salvage::beside(&folder, ".quarantine.ndjson")),
            counters: Counters::default(),
            folder,
            _lock: lock,
        };
        store.with_engine(|_| Ok(()))?;
        Ok(store)
    }

    /// Makes all changes of the batch or none. Blocks until they are as safe as asked for.
    ///
    /// # Errors
    /// Then none of it holds, or all of it if it was the device that failed: what is read from now on says which.
    pub(crate) fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_some_and(|since| since.elapsed() < RETRY_PAUSE) {
            return Err(self.error("commit", "it failed less than a second ago".to_owned()));
        }
        self.check_space(&batch)?;
        let result = self.with_engine(|engine| self.try_commit(engine, batch, durability));
        *failed = None;
        if result.is_err() {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
            *failed = Some(Instant::now());
            drop(self.engine.write().unwrap_or_else(PoisonError::into_inner).take());
        }
        result
    }

    /// Whether the file system has room for so many bytes of new alerts, and for what is decided about them.
    ///
    /// # Errors
    /// It has not, or cannot be asked.
    pub(crate) fn check_room(&self, bytes: u64) -> Result<(), StoreError> {
        self.check_free(SPACE_RESERVE_BYTES + 4 * bytes)
    }

    /// The value of a record. A damaged one is none: it is counted.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let fail = |error: fjall::Error| self.error("read", error.to_string());
        let stored = self.with_engine(|engine| engine.get(table, key).map_err(fail))?;
        Ok(stored.and_then(|stored| self.unseal(table, key, &stored)))
    }

    pub(crate) fn scan(&self, table: Table) -> Scan<'_> {
        self.scan_after(table, None)
    }

    /// The records behind this key.
    pub(crate) fn scan_after(&self, table: Table, key: Option<&[u8]>) -> Scan<'_> {
        let from = key.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec()));
        Scan { store: self, table, page: Vec::new().into_iter(), from: Some(from) }
    }

    /// How many records a table has.
    pub(crate) fn records(&self, table: Table) -> u64 {
        self.alive[table.index()].records()
    }

    /// Bytes of all records that are alive. In tables that are written once, a removed record counts as the average one.
    pub(crate) fn bytes(&self) -> u64 {
        self.alive.iter().map(Alive::bytes).sum()
    }

    /// How much of [`Options::bytes_max`] is taken: 1.0 is full; it may be more, since no commit is refused for it.
    #[allow(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    pub(crate) fn fullness(&self) -> f64 {
        self.bytes() as f64 / self.options.bytes_max.max(1) as f64
    }

    /// Bytes of the file system that the folder takes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        folder_bytes(&self.folder)
    }

    pub(crate) fn statistics(&self) -> Statistics {
        self.counters.read()
    }

    /// Gives back the space of removed records where it has become much: to be called every minute or so by a thread
    /// that may block for seconds. Commits go on meanwhile.
    ///
    /// # Errors
    /// The engine failed.
    pub(crate) fn tidy(&self) -> Result<(), StoreError> {
        let alive = |table: Table| self.alive[table.index()].bytes();
        if self.disk_bytes() <= 2 * self.bytes() + GARBAGE_BYTES_MAX {
            return Ok(());
        }
        self.with_engine(|engine| {
            let is_half_garbage = |table: &Table| engine.disk_bytes(*table) > 2 * alive(*table);
            let tables: Vec<_> = Table::ALL.into_iter().filter(is_half_garbage).collect();
            engine.compact(&tables).map_err(|error| self.error("compact", error.to_string()))
        })
    }

    fn try_commit(&self, engine: &Engine, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let fail = |error: fjall::Error| self.error("commit", error.to_string());
        let (writes, growths) = prepare(batch, engine);
        engine.write(writes).map_err(fail)?;
        self.alive.iter().zip(growths).for_each(|(alive, growth)| alive.grow(&growth));
        if durability == Durability::Synced && self.options.fsync {
            let started = Instant::now();
            engine.sync().inspect_err(|_| self.is_doubtful.store(true, Ordering::Relaxed)).map_err(fail)?;
            self.counters.synced(started.elapsed());
        }
        Ok(())
    }

    /// What only removes is always let in: it makes room.
    fn check_space(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.changes.iter().all(|change| change.value.is_none()) {
            return Ok(());
        }
        self.check_free(LAST_SPACE_BYTES + 4 * batch.bytes() as u64)
    }

    fn check_free(&self, needed: u64) -> Result<(), StoreError> {
        let file_system = rustix::fs::statvfs(&self.folder)
            .map_err(|error| io_error(&self.folder, "ask for the free space", error.into()))?;
        let available = file_system.f_bavail * file_system.f_frsize;
        if available < needed {
            self.counters.refusals.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::NoSpace { path: self.folder.clone(), available, needed });
        }
        Ok(())
    }

    /// Does something with the engine, opened anew where it has failed.
    pub(super) fn with_engine<T>(&self, deed: impl FnOnce(&Engine) -> Result<T, StoreError>) -> Result<T, StoreError> {
        loop {
            let guard = self.engine.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(engine) = &*guard {
                return deed(engine);
            }
            drop(guard);
            let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
            if engine.is_none() {
                *engine = Some(self.start()?);
            }
        }
    }

    fn unseal(&self, table: Table, key: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
        match record::unseal(table, key, stored) {
            Ok(value) => Some(value.to_vec()),
            Err(problem) => {
                self.counters.corrupt.fetch_add(1, Ordering::Relaxed);
                warn!(table = table.name(), key = hexadecimal(key), %problem, "a damaged record was left out");
                None
            }
        }
    }

    pub(super) fn error(&self, deed: &'static str, cause: String) -> StoreError {
        StoreError::Engine { path: self.folder.clone(), deed, cause }
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for (key, stored) in self.page.by_ref() {
                if let Some(value) = self.store.unseal(self.table, &key, &stored) {
                    return Some(Ok((key, value)));
                }
            }
            if let Err(error) = self.read_page()? {
                return Some(Err(error));
            }
        }
    }
}

impl Scan<'_> {
    /// `None`: there is none.
    fn read_page(&mut self) -> Option<Result<(), StoreError>> {
        let from = self.from.take()?;
        let read = self.store.with_engine(|engine| {
            let mut pages = Pages::resume(engine.source(self.table), from);
            Ok((pages.next(), pages.position()))
        });
        let (page, from) = match read {
            Ok(read) => read,
            Err(error) => return Some(Err(error)),
        };
        let page = page?;
        self.store.counters.corrupt.fetch_add(u64::from(page.gap.is_some()), Ordering::Relaxed);
        (self.page, self.from) = (page.records.into_iter(), from);
        Some(Ok(()))
    }
}

/// The batch as it is stored, and what each table gains and loses.
fn prepare(batch: Batch, engine: &Engine) -> (Vec<Write>, [Growth; Table::ALL.len()]) {
    let mut growths = [const { Growth { records: 0, bytes: 0, removed: 0 } }; Table::ALL.len()];
    let mut writes = Vec::with_capacity(batch.changes.len());
    let mut buffer = Vec::new();
    for Change { table, key, before, value } in last_changes(batch) {
        let growth = &mut growths[table.index()];
        let before = match before {
            Before::Bytes(value) => Some(value),
            Before::Unknown if !table.is_written_once() => {
                engine.size_of(table, &key).map(|stored| (stored as usize).saturating_sub(record::HEAD_BYTES))
            }
            Before::Absent | Before::Unknown => None,
        };
        if let Some(value) = before {
            growth.records -= 1;
            growth.bytes -= size(&key, value);
        }
        let stored = value.map(|value| {
            growth.records += 1;
            growth.bytes += size(&key, value.len());
            record::seal(table, &key, &value, &mut buffer);
            buffer.as_slice().into()
        });
        growth.removed += i64::from(stored.is_none() && table.is_written_once());
        writes.push(Write { table, key, stored });
    }
    (writes, growths)
}

/// The last of each key, which replaces what was there before the first.
fn last_changes(batch: Batch) -> Vec<Change> {
    let mut changes = batch.changes;
    // The sort keeps the order of equal ones.
    changes.sort_by(|a, b| (a.table.index(), &a.key).cmp(&(b.table.index(), &b.key)));
    changes.dedup_by(|later, earlier| {
        let is_same = later.table == earlier.table && later.key == earlier.key;
        if is_same {
            earlier.value = later.value.take();
        }
        is_same
    });
    changes
}

fn folder_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}
