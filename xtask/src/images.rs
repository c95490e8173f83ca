//! The lane `images`: the images run by a real containerd, as the DaemonSet would run them.

use anyhow::Result;

use crate::e2e;
use crate::image::{self, Arch};
use crate::lanes::Outcome;

/// containerd with its client, what starts containers, and what the sandbox's image is made of.
const PACKAGES: [&str; 3] = ["containerd", "runc", "busybox-static"];

pub(crate) fn lane() -> Result<Outcome> {
    if let Some(skipped) = e2e::unable_with_manifests(&PACKAGES, "a test with containerd") {
        return Ok(skipped);
    }
    let images = image::build(&[Arch::Amd64])?;
    e2e::run_ignored("images::", &[("TERCEL_TEST_IMAGES", &images)])
}
