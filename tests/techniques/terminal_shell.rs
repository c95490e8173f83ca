//! Rule "Terminal shell in container": the runtime puts a shell with a terminal into a container.
//! Near misses: without a terminal; by a program of the container; on the host.

use std::os::fd::OwnedFd;

use anyhow::Context as _;
use rustix::fs::{Mode, OFlags};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::container::Layout;
use crate::stage::Stage;
use crate::technique::Technique;

const RULE: &str = "Terminal shell in container";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("terminal-in-container", RULE, shell_on_terminal)
        .by("runc", &["exec"])
        .within(Layout::PodCgroupfs),
    Technique::fires("terminal-in-podman", RULE, shell_on_terminal).by("conmon", &[]).within(Layout::Podman),
    Technique::near_miss("shell-without-terminal", RULE, |stage| {
        setsid()?;
        stage.start("sh", &[])
    })
    .by("runc", &["exec"])
    .within(Layout::PodCgroupfs),
    Technique::near_miss("terminal-from-within", RULE, shell_on_terminal).by("tmux", &[]).within(Layout::PodCgroupfs),
    Technique::near_miss("terminal-on-host", RULE, shell_on_terminal).by("systemd", &[]),
];

fn shell_on_terminal(stage: &Stage) -> anyhow::Result<()> {
    // Its end would hang up on this process: it comes with that process's own.
    std::mem::forget(take_terminal()?);
    stage.start("sh", &["-l"])
}

/// A new session with a terminal of its own: both of its ends.
fn take_terminal() -> anyhow::Result<[OwnedFd; 2]> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).context("a terminal")?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    setsid()?;
    ioctl_tiocsctty(&slave)?;
    Ok([master, slave])
}
