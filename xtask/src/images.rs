//! The lane `images`: the images run by a real containerd, as the DaemonSet would run them.

use anyhow::{Result, bail};

use crate::image::{self, Arch};
use crate::lanes::Outcome;
use crate::{install, step};

/// containerd with its client, what starts containers, and what the sandbox's image is made of.
const PACKAGES: [&str; 3] = ["containerd", "runc", "busybox-static"];

pub(crate) fn lane() -> Result<Outcome> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Outcome::Skipped("containerd needs root".to_owned()));
    }
    if let Err(error) = install::debian_packages(&PACKAGES, "tests with containerd") {
        return Ok(Outcome::Skipped(format!("{error:#}")));
    }
    if step::find("kubectl").is_none() {
        return Ok(Outcome::Skipped("no kubectl on the PATH, which builds the manifests".to_owned()));
    }
    let images = image::build(&[Arch::Amd64])?;
    let Some(folder) = images.first().and_then(|image| image.archive.parent()) else { bail!("no image was built") };
    // One after the other: each starts a containerd.
    let options = ["--", "--ignored", "--nocapture", "--test-threads", "1"];
    let mut tests = step::cargo(&["test", "--package", "e2e", "images::"]);
    step::run(tests.args(options).env("TERCEL_TEST_IMAGES", folder))?;
    Ok(Outcome::Passed)
}
