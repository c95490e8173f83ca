//! As fast as can be.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::json;

use crate::actor::run;

/// Threads of each kind.
const THREADS: u64 = 2;

/// The fourth access mode: neither for reading nor for writing. Nobody else uses it, and no kernel filter holds it back, so
/// that these opens can be counted to the last one on a machine where others open files as well.
const NEITHER: OFlags = OFlags::from_bits_retain(3);

/// Opens and pairs at once; prints how many were made, and how long it took.
pub(crate) fn storm(folder: &Path, opens: u64, pairs: u64) -> anyhow::Result<()> {
    let file = file(folder)?;
    let begun = Instant::now();
    thread::scope(|scope| {
        let opening = (0..THREADS).map(|number| {
            scope.spawn({
                let file = &file;
                move || open_often(file, share(opens, number))
            })
        });
        let running = (0..THREADS).map(|number| {
            scope.spawn(move || {
                (0..pairs)
                    .filter(|pair| pair % THREADS == number)
                    .try_for_each(|pair| run_pair(folder, &pair.to_string()))
            })
        });
        let threads: Vec<_> = opening.chain(running).collect();
        join(threads)
    })?;
    let made = json!({ "opens": opens, "execs": 2 * pairs, "seconds": begun.elapsed().as_secs_f64() });
    Ok(writeln!(std::io::stdout(), "{made}")?)
}

/// One of each on each CPU, so that every count of every CPU moves on.
pub(crate) fn touch(folder: &Path) -> anyhow::Result<()> {
    let (file, allowed) = (file(folder)?, sched_getaffinity(None)?);
    for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)) {
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only)?;
        open_often(&file, 1)?;
        run_pair(folder, "touch")?;
    }
    Ok(())
}

/// Waits for all, and gives the first error.
pub(crate) fn join<'scope>(
    threads: impl IntoIterator<Item = ScopedJoinHandle<'scope, anyhow::Result<()>>>,
) -> anyhow::Result<()> {
    let mut threads = threads.into_iter();
    threads.try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread broke off"))))
}

fn share(count: u64, number: u64) -> u64 {
    count / THREADS + u64::from(number < count % THREADS)
}

fn file(folder: &Path) -> anyhow::Result<PathBuf> {
    let file = folder.join("file");
    fs::write(&file, "").with_context(|| file.display().to_string())?;
    Ok(file)
}

/// By openat, each closed before the next.
fn open_often(file: &Path, count: u64) -> anyhow::Result<()> {
    for _ in 0..count {
        drop(openat(CWD, file, NEITHER | OFlags::CLOEXEC, Mode::empty())?);
    }
    Ok(())
}

fn run_pair(folder: &Path, number: &str) -> anyhow::Result<()> {
    run(&mut Command::new(folder.join(format!("parent{number}"))))
}
