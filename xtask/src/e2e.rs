//! Tests of the package e2e that are ignored but in the lane that has made what they need.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::lanes::Outcome;
use crate::{install, step};

/// Why a lane that needs root and these packages of Debian cannot run here, once what can be installed is.
pub(crate) fn unable(packages: &[&str], purpose: &str) -> Option<Outcome> {
    if !rustix::process::geteuid().is_root() {
        return Some(Outcome::Skipped(format!("{purpose} needs root")));
    }
    install::debian_packages(packages, purpose).err().map(|error| Outcome::Skipped(format!("{error:#}")))
}

/// As [`unable`], for a lane that makes or applies the manifests too.
pub(crate) fn unable_with_manifests(packages: &[&str], purpose: &str) -> Option<Outcome> {
    let kubectl = || {
        let is_there = step::find("kubectl").is_some();
        (!is_there)
            .then(|| Outcome::Skipped("no kubectl on the PATH, which builds and applies the manifests".to_owned()))
    };
    unable(packages, purpose).or_else(kubectl)
}

/// Runs the ignored tests of this module one after the other, since what each starts takes the machine. `files`: what the lane
/// made for them, by the variables of their environment.
///
/// # Errors
/// If one fails, or there is none.
pub(crate) fn run_ignored(module: &str, files: &[(&str, &Path)]) -> Result<Outcome> {
    let command = ["test", "--package", "e2e", module];
    let listed = step::read(step::cargo(&command).args(["--", "--list", "--ignored"]))?;
    ensure!(listed.lines().any(|line| line.ends_with(": test")), "package e2e has no tests called {module}…");
    let options = ["--", "--ignored", "--nocapture", "--test-threads", "1"];
    step::run(step::cargo(&command).args(options).envs(files.iter().copied()))?;
    Ok(Outcome::Passed)
}
