//! A store out of what still reads of a damaged one.
//!
//! The new one is made beside the damaged one, of which nothing is changed, and takes its place when it is complete: a start
//! that is killed in between begins again.

use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fjall::{AbstractTree, AnyTree, LsmError};
use jiff::Timestamp;
use lsm_tree::{Guard, SequenceNumberCounter};
use tracing::warn;

use super::engine::{Closed, Engine, Write};
use super::pages::{Key, Pages, Record, Source};
use super::{Table, journal};
use crate::folder::{sync_below, sync_parent};

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    pub(super) records: u64,
    /// Stretches and files that do not read.
    pub(super) gaps: u64,
    /// Where the damaged store is now.
    pub(super) quarantine: PathBuf,
}

/// Puts a store with what reads of the damaged one in its place.
pub(super) fn salvage(folder: &Path) -> Result<Salvaged, Closed> {
    let fresh = beside(folder, ".salvage");
    remove_folder(&fresh).map_err(Closed::Io)?;
    let mut salvaged = Salvaged { quarantine: quarantine_path(folder), ..Salvaged::default() };
    let engine = Engine::open(&fresh)?;
    copy(folder, &engine, &mut salvaged).map_err(super::engine::closed)?;
    engine.sync().map_err(super::engine::closed)?;
    drop(engine);
    sync_below(&fresh).map_err(Closed::Io)?;
    replace(folder, &fresh, &salvaged.quarantine).map_err(Closed::Io)?;
    Ok(salvaged)
}

/// Makes an empty store where there is none: beside its place first, so that one that is there is complete.
pub(super) fn make(folder: &Path) -> Result<(), Closed> {
    if folder.try_exists().map_err(Closed::Io)? {
        return Ok(());
    }
    let fresh = beside(folder, ".new");
    remove_folder(&fresh).map_err(Closed::Io)?;
    drop(Engine::open(&fresh)?);
    sync_below(&fresh)
        .and_then(|()| std::fs::rename(&fresh, folder))
        .and_then(|()| sync_parent(folder))
        .map_err(Closed::Io)
}

/// Ends a salvage that was killed after the new store was complete.
pub(super) fn resume(folder: &Path) -> io::Result<()> {
    let fresh = beside(folder, ".salvage");
    if folder.try_exists()? || !fresh.try_exists()? {
        return Ok(());
    }
    std::fs::rename(&fresh, folder).and_then(|()| sync_parent(folder))
}

/// A path next to the folder: its name with something behind it.
pub(super) fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    folder.with_file_name(name)
}

fn replace(folder: &Path, fresh: &Path, quarantine: &Path) -> io::Result<()> {
    std::fs::rename(folder, quarantine)?;
    std::fs::rename(fresh, folder)?;
    sync_parent(folder)
}

fn quarantine_path(folder: &Path) -> PathBuf {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
    beside(folder, &format!(".quarantine-{time}"))
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Files first, then the journals over them: those reach back without a gap from the last change, so that whatever they
/// tell again ends as it was, and what did not read of a file may still be in them.
fn copy(folder: &Path, engine: &Engine, salvaged: &mut Salvaged) -> Result<(), fjall::Error> {
    for table in Table::ALL {
        let path = folder.join("keyspaces").join(keyspace_id(table).to_string());
        let opened = catch_unwind(AssertUnwindSafe(|| open_tree(&path))).unwrap_or(Err(LsmError::Unrecoverable));
        match opened {
            Ok(Some(tree)) => copy_tree(table, &tree, engine, salvaged)?,
            Ok(None) => {}
            Err(error) => {
                warn!(table = table.name(), %error, "a table of the damaged store does not open");
                salvaged.gaps += 1;
            }
        }
    }
    replay(folder, engine)
}

fn copy_tree(table: Table, tree: &AnyTree, engine: &Engine, salvaged: &mut Salvaged) -> Result<(), fjall::Error> {
    for page in Pages::new(tree_source(tree)) {
        salvaged.gaps += u64::from(page.gap.is_some());
        salvaged.records += page.records.len() as u64;
        let put = |(key, stored): Record| Write { table, key, stored: Some(stored.into()) };
        engine.write(page.records.into_iter().map(put).collect())?;
    }
    Ok(())
}

fn replay(folder: &Path, engine: &Engine) -> Result<(), fjall::Error> {
    for path in journal::files(folder)? {
        for batch in journal::batches(&path)? {
            let changes = batch.changes.into_iter().filter_map(|change| {
                let table = Table::ALL.into_iter().find(|table| keyspace_id(*table) == change.keyspace)?;
                Some(Write { table, key: change.key, stored: change.value.map(Into::into) })
            });
            engine.write(changes.collect())?;
        }
    }
    Ok(())
}

/// fjall numbers its tables from 1 in the order in which they are made.
fn keyspace_id(table: Table) -> u64 {
    table.index() as u64 + 1
}

fn open_tree(path: &Path) -> Result<Option<AnyTree>, LsmError> {
    if !path.join("current").try_exists()? {
        return Ok(None);
    }
    lsm_tree::Config::new(path, SequenceNumberCounter::default(), SequenceNumberCounter::default()).open().map(Some)
}

fn tree_source(tree: &AnyTree) -> impl Source + '_ {
    move |from: Bound<Key>| -> Box<dyn Iterator<Item = Result<Record, String>>> {
        let records = tree.range((from, Bound::Unbounded), u64::MAX, None);
        Box::new(records.map(|record| match record.into_inner() {
            Ok((key, stored)) => Ok((key.to_vec(), stored.to_vec())),
            Err(error) => Err(error.to_string()),
        }))
    }
}
