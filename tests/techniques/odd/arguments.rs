//! Rules "Command line of two megabytes" and "Program without any argument".

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Context as _;
use nix::unistd::execve;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::stage::Stage;
use crate::technique::Technique;

const LONG: &str = "Command line of two megabytes";
const NONE: &str = "Program without any argument";

/// The kernel takes 128 KiB for one argument, and a quarter of the stack's limit for all.
const ARGUMENT_BYTES: usize = 127 << 10;
const ARGUMENTS: usize = 17;
const STACK_BYTES: u64 = 16 << 20;

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("two-megabytes-of-arguments", LONG, run_long).says(&[("proc.name", "long-line")]),
    Technique::near_miss("short-arguments", LONG, |stage| stage.become_program("long-line", &["short"])),
    Technique::fires("no-arguments", NONE, |stage| {
        let path = CString::new(stage.program("no-arguments")?.as_os_str().as_bytes())?;
        let nothing: [&CStr; 0] = [];
        execve(&path, &nothing, &nothing).map(|never| match never {})?;
        Ok(())
    })
    .says(&[("proc.name", "no-arguments")]),
];

fn run_long(stage: &Stage) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Stack);
    setrlimit(Resource::Stack, Rlimit { current: Some(STACK_BYTES), maximum: limit.maximum })
        .context("a larger stack")?;
    let long = "A".repeat(ARGUMENT_BYTES);
    let arguments: Vec<_> = ["first"].into_iter().chain(std::iter::repeat_n(long.as_str(), ARGUMENTS)).collect();
    stage.become_program("long-line", &arguments)
}
