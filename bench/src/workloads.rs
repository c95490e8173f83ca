//! The calls whose price is measured, and the CPU on which they are made.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// No rule is about it.
pub(crate) const FILE: &str = "/etc/hostname";

/// The most urgent of the fair scheduler's priorities.
const PRIORITY_MAX: i32 = -20;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Workload {
    OpenClose,
    GetPid,
    Exec,
    Connect,
}

impl Workload {
    pub(crate) const ALL: [Self; 4] = [Self::OpenClose, Self::GetPid, Self::Exec, Self::Connect];

    /// So many that a slice takes some 10 ms: long for the clock, short beside what else the machine does.
    const fn calls_per_slice(self) -> u32 {
        match self {
            Self::OpenClose => 5_000,
            Self::GetPid => 100_000,
            Self::Exec => 20,
            Self::Connect => 500,
        }
    }

    /// Nanoseconds for one, mean over a slice.
    pub(crate) fn measure(self, closed_port: SocketAddr) -> anyhow::Result<f64> {
        let begun = Instant::now();
        for _ in 0..self.calls_per_slice() {
            self.once(closed_port)?;
        }
        Ok(begun.elapsed().as_nanos() as f64 / f64::from(self.calls_per_slice()))
    }

    #[inline]
    fn once(self, closed_port: SocketAddr) -> anyhow::Result<()> {
        match self {
            Self::OpenClose => {
                drop(rustix::fs::openat(CWD, FILE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
            }
            Self::GetPid => {
                std::hint::black_box(rustix::process::getpid());
            }
            Self::Exec => {
                let status = Command::new("/bin/true").status()?;
                ensure!(status.success(), "/bin/true: {status}");
            }
            Self::Connect => ensure!(TcpStream::connect(closed_port).is_err(), "somebody listens on {closed_port}"),
        }
        Ok(())
    }
}

/// A loopback port on which nobody listens (any more).
pub(crate) fn closed_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The CPU of the workload, and the one of the sensor: the same where there is only one.
pub(crate) fn first_and_last_cpu() -> anyhow::Result<(usize, usize)> {
    let allowed = sched_getaffinity(None)?;
    let is_allowed = |cpu: &usize| allowed.is_set(*cpu);
    let first = (0..CpuSet::MAX_CPU).find(is_allowed).context("no CPU is allowed")?;
    Ok((first, (0..CpuSet::MAX_CPU).rev().find(is_allowed).unwrap_or(first)))
}

/// Keeps this thread, and what it starts, on one CPU until it is dropped.
pub(crate) struct Pinned {
    before: CpuSet,
    priority: i32,
}

impl Pinned {
    pub(crate) fn to(cpu: usize) -> anyhow::Result<Self> {
        let pinned = Self { before: sched_getaffinity(None)?, priority: getpriority_process(None)? };
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only)?;
        Ok(pinned)
    }

    /// Before others that want the CPU; where rights do not allow it, beside them.
    pub(crate) fn first_of_all(self) -> Self {
        setpriority_process(None, PRIORITY_MAX).ok();
        self
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        setpriority_process(None, self.priority).ok();
        sched_setaffinity(None, &self.before).ok();
    }
}
