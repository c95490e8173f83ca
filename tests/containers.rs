//! Containers of a test's own: a containerd, what a kubelet asks of it, and a small image.

mod containerd;
pub(crate) mod cri;
pub(crate) mod image;

use std::path::Path;
use std::process::Command;

pub(crate) use containerd::Containerd;

use crate::harness::{can_watch, skipped};

/// Whether these programs are here, and the sensor can run.
pub(crate) fn can_run(programs: &[&str]) -> bool {
    let paths = std::env::var("PATH").unwrap_or_default();
    let is_here = |program: &str| paths.split(':').any(|folder| Path::new(folder).join(program).is_file());
    match programs.iter().find(|program| !is_here(program)) {
        Some(missing) => skipped(&format!("{missing} is not installed")),
        None => return can_watch(),
    }
    false
}

/// Runs a command, which must succeed, and gives what it prints.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}", text(&output.stderr), text(&output.stdout));
    text(&output.stdout)
}
