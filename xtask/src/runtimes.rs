//! The lane `runtimes`: the sensor beside real container runtimes, which the tests start and stop themselves.

use anyhow::Result;

use crate::e2e;
use crate::lanes::Outcome;

/// Docker's engine and client, containerd with its client, what starts containers, and what the test image is made of.
const PACKAGES: [&str; 4] = ["docker.io", "containerd", "runc", "busybox-static"];

pub(crate) fn lane() -> Result<Outcome> {
    match e2e::unable(&PACKAGES, "a test with container runtimes") {
        Some(skipped) => Ok(skipped),
        None => e2e::run_ignored("runtimes::", &[]),
    }
}
