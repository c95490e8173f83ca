//! Rules "PTRACE attached to process" and "PTRACE anti-debug attempt": a process takes hold of another, its own child; a
//! process asks to be traced so that nobody else can.
//! Near misses: each is the other's, and a request that takes hold of nothing.

use std::process::Stdio;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};

use crate::container::Layout;
use crate::stage::Stage;
use crate::technique::Technique;

const ATTACHED: &str = "PTRACE attached to process";
const ANTI_DEBUG: &str = "PTRACE anti-debug attempt";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("ptrace-attach", ATTACHED, |stage| with_child(stage, attach)),
    Technique::fires("ptrace-seize", ATTACHED, |stage| {
        with_child(stage, |pid| Ok(ptrace::seize(pid, ptrace::Options::empty())?))
    })
    .within(Layout::PodCgroupfs),
    Technique::near_miss("ptrace-traceme-is-no-attach", ATTACHED, |_| Ok(ptrace::traceme()?)),
    Technique::near_miss("ptrace-continue", ATTACHED, |stage| with_child(stage, go_on)),
    Technique::fires("ptrace-traceme", ANTI_DEBUG, |_| Ok(ptrace::traceme()?)),
    Technique::near_miss("ptrace-attach-is-no-traceme", ANTI_DEBUG, |stage| with_child(stage, attach)),
];

/// Does something to a child that waits.
fn with_child(stage: &Stage, trace: fn(Pid) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if stage.step() == "wait" {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        return Ok(());
    }
    let mut child = stage.partner("traced", "wait")?.stdin(Stdio::piped()).spawn()?;
    let done = trace(Pid::from_raw(child.id().try_into()?));
    drop(child.stdin.take());
    child.wait()?;
    done
}

fn attach(pid: Pid) -> anyhow::Result<()> {
    ptrace::attach(pid)?;
    waitpid(rustix::process::Pid::from_raw(pid.as_raw()), WaitOptions::UNTRACED)?;
    ptrace::detach(pid, None)?;
    // What stopped it may have been the end of its exec: then it is about to stop once more.
    Ok(kill_process(rustix::process::Pid::from_raw(pid.as_raw()).context("a child")?, Signal::CONT)?)
}

/// It is not traced: the kernel refuses.
fn go_on(pid: Pid) -> anyhow::Result<()> {
    let error = ptrace::cont(pid, None).err();
    anyhow::ensure!(error == Some(Errno::ESRCH), "a child that is not traced goes on: {error:?}");
    Ok(())
}
