//! Looks after the kernel side while the sensor runs: brings its numbers into the metrics, changes the entry point when
//! the one in use skips calls, and has the process muted that takes the alerts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tercel_sensor_abi::Control;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::emit::Peer;
use crate::kernel::{self, Entry, EntryPoint, Kernel, Status};
use crate::metrics::Metrics;
use crate::mute::{Muting, Process};

/// In [`Control::muted`], behind the sensor's own two processes.
const OUTPUT_PLACE: usize = 2;

/// The kernel side, for whoever asks: the clock once a second, and each scrape of the metrics.
pub struct Supervisor {
    watched: Mutex<Watched>,
    metrics: Arc<Metrics>,
    entry: Entry,
    muting: Mutex<Muting>,
}

struct Watched {
    /// `None` once it is detached.
    kernel: Option<Kernel>,
    /// Recursion misses of the BTF entry point when it was last looked at.
    misses: u64,
    /// The kernel refused the other entry point: it would again.
    refused: bool,
    /// What the kernel side was told.
    control: Control,
    /// Who takes the alerts and is muted.
    output: Option<Process>,
}

impl Supervisor {
    /// `control`: what the kernel side was told.
    pub fn new(kernel: Kernel, control: Control, entry: Entry, muting: Muting, metrics: Arc<Metrics>) -> Self {
        metrics.set_entry(kernel.entry());
        metrics.muted.set(muted_count(&control));
        let watched = Watched { kernel: Some(kernel), misses: 0, refused: false, control, output: None };
        Self { watched: Mutex::new(watched), metrics, entry, muting: Mutex::new(muting) }
    }

    /// One look.
    ///
    /// # Errors
    ///
    /// The process that holds the programs is gone, or cannot be talked to any more.
    pub fn look(&self) -> Result<(), kernel::Error> {
        let Watched { kernel: Some(kernel), misses, refused, .. } = &mut *lock(&self.watched) else { return Ok(()) };
        self.metrics.set_kernel(&kernel.counters());
        let status = kernel.status()?;
        self.metrics.set_status(&status);
        let (before, now) = (*misses, status.misses_of(EntryPoint::TpBtf.program()));
        *misses = now;
        if self.entry.switches(status.entry, before, now) && !*refused {
            *refused = !self.switch(kernel, &status)?;
        }
        Ok(())
    }

    /// Changes when somebody else may take the alerts: then [`Self::mute`] need not wait for the clock.
    pub fn peers(&self) -> watch::Receiver<Option<Peer>> {
        lock(&self.muting).peers()
    }

    /// Looks who takes the alerts, and has him muted. May search through all processes.
    pub fn mute(&self) {
        let output = lock(&self.muting).look();
        let Watched { kernel: Some(kernel), control, output: before, .. } = &mut *lock(&self.watched) else { return };
        if *before == output {
            return;
        }
        let mut changed = *control;
        changed.muted[OUTPUT_PLACE] = output.as_ref().map_or(0, |process| process.pid);
        if let Err(error) = kernel.set_control(&changed) {
            warn!(%error, "cannot tell the kernel side which process takes the alerts");
            return;
        }
        self.metrics.muted.set(muted_count(&changed));
        if let Some(Process { pid, .. }) = before {
            info!(pid, "the process that took the alerts is no longer muted");
        }
        if let Some(Process { pid, .. }) = &output {
            info!(pid, "the process that takes the alerts is muted");
        }
        (*control, *before) = (changed, output);
    }

    /// No record is written after this.
    pub fn detach(&self) {
        let kernel = lock(&self.watched).kernel.take();
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
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn muted_count(control: &Control) -> i64 {
    control.muted.iter().map(|pid| i64::from(*pid != 0)).sum()
}
