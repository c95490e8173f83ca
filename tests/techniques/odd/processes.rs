//! Rules about processes that are not what they were: renamed, become a program in a second thread, started by vfork,
//! started in vain, at the end of a long chain.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

use anyhow::Context as _;
use rustix::thread::set_name;

use crate::stage::{Said, Stage};
use crate::technique::Technique;

const RENAMED: &str = "Process that renamed itself";
const BY_THREAD: &str = "Program that a second thread became";
const BY_VFORK: &str = "Program started by vfork";
const IN_VAIN: &str = "Program that could not be started";
const CHAIN: &str = "Last of a long chain of processes";

/// Generations between the eldest and the youngest.
const CHAIN_PROCESSES: usize = 30;

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("renamed-itself", RENAMED, |stage| {
        set_name(c"renamed-itself")?;
        open(stage, "by-another-name")
    })
    .by("true-name", &[]),
    Technique::near_miss("not-renamed", RENAMED, |stage| open(stage, "by-another-name")).by("true-name", &[]),
    // By its main thread while another bears the name.
    Technique::near_miss("other-thread-renamed", RENAMED, |stage| {
        thread::spawn(|| set_name(c"renamed-itself")).join().ok().context("the thread")??;
        open(stage, "by-another-name")
    })
    .by("true-name", &[]),
    Technique::fires("second-thread-becomes-program", BY_THREAD, |stage| match stage.step() {
        "" => {
            let mut program = stage.partner("by-thread", "after")?;
            let error = thread::spawn(move || program.exec()).join();
            Err(error.ok().context("the thread")?.into())
        }
        _ => open(stage, "after-exec"),
    }),
    // What the standard library starts a child with: clone with CLONE_VFORK and CLONE_VM.
    Technique::fires("vforked", BY_VFORK, |stage| stage.start("vforked", &["x"])).by("vforking", &[]),
    Technique::fires("start-in-vain", IN_VAIN, |stage| {
        let error = Command::new(stage.path("there-is-none")).exec();
        anyhow::ensure!(error.kind() == std::io::ErrorKind::NotFound, "{error}");
        Ok(())
    })
    .by("in-vain", &[]),
    Technique::fires("long-chain", CHAIN, |stage| match stage.step().len() {
        CHAIN_PROCESSES => {
            stage.say(&Said::Pid(std::process::id()))?;
            open(stage, "end-of-chain")
        }
        generation => {
            let status = stage.partner("descendant", &"x".repeat(generation + 1))?.status()?;
            anyhow::ensure!(status.success(), "{status}");
            Ok(())
        }
    })
    .by("eldest", &[]),
];

fn open(stage: &Stage, name: &str) -> anyhow::Result<()> {
    File::create(stage.path(name))?;
    Ok(())
}
