//! How a store is opened, whatever it looks like.

use std::io;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::alive::size;
use super::durable::Store;
use super::engine::{Closed, Engine, Write};
use super::error::{StoreError, io_error};
use super::pages::Pages;
use super::quarantine::hexadecimal;
use super::{Table, journal, record, salvage};

impl Store {
    /// Opens the engine. What is damaged is put aside and counted.
    pub(super) fn start(&self) -> Result<Engine, StoreError> {
        let fail = |error| io_error(&self.folder, "open the store", error);
        salvage::resume(&self.folder).map_err(fail)?;
        self.mend().map_err(fail)?;
        match salvage::make(&self.folder).and_then(|()| Engine::open(&self.folder)) {
            Ok(engine) => match self.check(&engine) {
                None => Ok(engine),
                Some(cause) => {
                    drop(engine);
                    self.start_salvaged(&cause)
                }
            },
            Err(Closed::Io(error)) => Err(fail(error)),
            Err(Closed::Damaged(cause)) => self.start_salvaged(&cause),
        }
    }

    fn start_salvaged(&self, cause: &str) -> Result<Engine, StoreError> {
        let fail = |closed| match closed {
            Closed::Io(error) => io_error(&self.folder, "salvage the store", error),
            Closed::Damaged(cause) => self.error("salvage the store", cause),
        };
        let salvaged = salvage::salvage(&self.folder).map_err(fail)?;
        self.counters.quarantines.fetch_add(1, Ordering::Relaxed);
        self.counters.corrupt.fetch_add(salvaged.gaps, Ordering::Relaxed);
        warn!(
            cause,
            quarantine = %salvaged.quarantine.display(),
            records = salvaged.records,
            gaps = salvaged.gaps,
            "the store is damaged; what reads of it is in a new one"
        );
        let engine = Engine::open(&self.folder).map_err(fail)?;
        match self.check(&engine) {
            None => Ok(engine),
            Some(cause) => Err(self.error("read the salvaged store", cause)),
        }
    }

    /// Cuts damaged stretches out of the journals. After a sync that failed the kernel shows what the disk does not have, and
    /// no later sync writes it: then all journals are written anew.
    fn mend(&self) -> io::Result<()> {
        if !self.folder.try_exists()? {
            return Ok(());
        }
        for cut in journal::mend(&self.folder, self.is_doubtful.load(Ordering::Relaxed))? {
            let counter = if cut.is_tail { &self.counters.torn_tails } else { &self.counters.corrupt };
            counter.fetch_add(1, Ordering::Relaxed);
            let place = format!("{}:{}", cut.file.display(), cut.offset);
            let problem = if cut.is_tail { "torn tail" } else { "damaged batch" };
            warn!(place, bytes = cut.bytes.len(), problem, "cut out of a journal of the store");
            self.keep("journal", &place, problem, &cut.bytes);
        }
        self.is_doubtful.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Reads everything: counts what is alive, takes damaged records out. `Some`: something does not even read.
    fn check(&self, engine: &Engine) -> Option<String> {
        for table in Table::ALL {
            let (mut records, mut bytes, mut damaged) = (0, 0, Vec::new());
            for page in Pages::new(engine.source(table)) {
                if let Some(cause) = page.gap {
                    return Some(format!("table {}: {cause}", table.name()));
                }
                for (key, stored) in page.records {
                    match record::unseal(table, &key, &stored) {
                        Ok(value) => {
                            records += 1;
                            bytes += size(&key, value.len());
                        }
                        Err(problem) => {
                            self.keep(table.name(), &hexadecimal(&key), &problem.to_string(), &stored);
                            damaged.push(Write { table, key, stored: None });
                        }
                    }
                }
            }
            self.alive[table.index()].set(records, bytes);
            self.take_out(engine, table, damaged);
        }
        info!(folder = %self.folder.display(), bytes = self.bytes(), "the store is open");
        None
    }

    /// Where there is no room even for this, they stay and are left out whenever they are read.
    fn take_out(&self, engine: &Engine, table: Table, damaged: Vec<Write>) {
        if damaged.is_empty() {
            return;
        }
        let (records, file) = (damaged.len(), self.quarantine.path());
        self.counters.corrupt.fetch_add(records as u64, Ordering::Relaxed);
        warn!(table = table.name(), records, file = %file.display(), "damaged records were taken out of the store");
        if let Err(error) = engine.write(damaged) {
            warn!(table = table.name(), %error, "cannot take damaged records out of the store");
        }
    }

    /// That it cannot be kept is no reason to stop.
    fn keep(&self, what: &str, place: &str, problem: &str, bytes: &[u8]) {
        match self.quarantine.keep(what, place, problem, bytes) {
            Ok(true) => {}
            Ok(false) => {
                warn!(file = %self.quarantine.path().display(), "the quarantine is full, damage is counted only");
            }
            Err(error) => warn!(file = %self.quarantine.path().display(), %error, "cannot keep damaged bytes"),
        }
    }
}
