//! Looks after the kernel side while the sensor runs: brings its numbers into the metrics, and changes the entry point when
//! the one in use skips calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

use crate::kernel::{self, Entry, EntryPoint, Kernel, Status};
use crate::metrics::Metrics;

/// The kernel side, for whoever asks: the clock once a second, and each scrape of the metrics.
pub struct Supervisor {
    watched: Mutex<Watched>,
    metrics: Arc<Metrics>,
    entry: Entry,
}

struct Watched {
    /// `None` once it is detached.
    kernel: Option<Kernel>,
    /// Recursion misses of the BTF entry point when it was last looked at.
    misses: u64,
    /// The kernel refused the other entry point: it would again.
    refused: bool,
}

impl Supervisor {
    pub fn new(kernel: Kernel, entry: Entry, metrics: Arc<Metrics>) -> Self {
        metrics.set_entry(kernel.entry());
        let watched = Watched { kernel: Some(kernel), misses: 0, refused: false };
        Self { watched: Mutex::new(watched), metrics, entry }
    }

    /// One look.
    ///
    /// # Errors
    ///
    /// The process that holds the programs is gone, or cannot be talked to any more.
    pub fn look(&self) -> Result<(), kernel::Error> {
        let Watched { kernel: Some(kernel), misses, refused } = &mut *self.lock() else { return Ok(()) };
        match kernel.counters() {
            Ok(counters) => self.metrics.set_kernel(&counters),
            Err(error) => warn!(%error, "cannot read the kernel side's counters"),
        }
        let status = kernel.status()?;
        self.metrics.set_status(&status);
        let (before, now) = (*misses, status.misses_of(EntryPoint::TpBtf.program()));
        *misses = now;
        if self.entry.switches(status.entry, before, now) && !*refused {
            *refused = !self.switch(kernel, &status)?;
        }
        Ok(())
    }

    /// No record is written after this.
    pub fn detach(&self) {
        let kernel = self.lock().kernel.take();
        if let Some(Err(error)) = kernel.map(Kernel::detach) {
            warn!(%error, "the kernel programs were not detached in good order");
        }
    }

    /// `false`: the kernel refuses the other entry point.
    fn switch(&self, kernel: &mut Kernel, status: &Status) -> Result<bool, kernel::Error> {
        let skipped = status.misses_of(EntryPoint::TpBtf.program());
        match kernel.switch(EntryPoint::Classic) {
            Ok(switch) => {
                self.metrics.entry_switches.inc();
                self.metrics.set_entry(switch.to);
                warn!(
                    skipped,
                    from = %status.entry,
                    to = %switch.to,
                    overlap_us = switch.overlap_us,
                    "the kernel skipped calls, the entry point is switched; events of the overlap may be reported twice"
                );
                info!("hooks {}", kernel.hooks().join(" "));
                Ok(true)
            }
            Err(error @ (kernel::Error::Switch { .. } | kernel::Error::Load { .. } | kernel::Error::Attach { .. })) => {
                warn!(skipped, %error, "the kernel skips calls, and the entry point that would not cannot be used");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
