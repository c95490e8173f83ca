//! Rule "Fileless execution via `memfd_create"`: a program is run out of memory, by its descriptor or through /proc.
//! Near misses: a file is run by its descriptor; the memory is of the name that the container runtime uses.

use std::convert::Infallible;
use std::ffi::CStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use nix::unistd::fexecve;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::container::Layout;
use crate::stage::{idle, own_path};
use crate::technique::Technique;

const RULE: &str = "Fileless execution via memfd_create";

/// As runc calls its own copy of itself.
const OF_RUNC: &CStr = c"runc_cloned:/proc/self/exe";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("memfd-run", RULE, |_| run(in_memory(c"payload")?)),
    Technique::fires("memfd-run-by-proc", RULE, |stage| {
        let memory = in_memory(c"payload")?;
        let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd()));
        stage.watch(&mut idle(path, &[]))
    })
    .within(Layout::PodContainerd),
    Technique::near_miss("file-run-by-descriptor", RULE, |_| run(File::open(own_path()?)?)),
    Technique::near_miss("memfd-run-as-runtime", RULE, |_| run(in_memory(OF_RUNC)?)),
];

/// A copy of this program without a file.
fn in_memory(name: &CStr) -> anyhow::Result<OwnedFd> {
    let memory = memfd_create(name, MemfdFlags::CLOEXEC)?;
    std::io::copy(&mut File::open(own_path()?)?, &mut fs::File::from(memory.try_clone()?))?;
    Ok(memory)
}

fn run(program: impl AsFd) -> anyhow::Result<()> {
    let nothing: [&CStr; 0] = [];
    let error: Result<Infallible, _> = fexecve(program, &[c"harmless"], &nothing);
    Ok(error.map(|never| match never {})?)
}
