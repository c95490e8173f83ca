//! The lane `runtimes`: the sensor beside real container runtimes, which the tests start and stop themselves.

use anyhow::Result;

use crate::lanes::Outcome;
use crate::{install, step};

/// Docker's engine and client, containerd with its client, what starts containers, and what the test image is made of.
const PACKAGES: [&str; 4] = ["docker.io", "containerd", "runc", "busybox-static"];

pub(crate) fn lane() -> Result<Outcome> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Outcome::Skipped("container runtimes need root".to_owned()));
    }
    if let Err(error) = install::debian_packages(&PACKAGES, "tests with container runtimes") {
        return Ok(Outcome::Skipped(format!("{error:#}")));
    }
    // One after the other: each starts a runtime.
    let options = ["--", "--ignored", "--nocapture", "--test-threads", "1"];
    step::run(step::cargo(&["test", "--package", "e2e", "runtimes::"]).args(options))?;
    Ok(Outcome::Passed)
}
