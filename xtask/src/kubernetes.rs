//! The lane `kubernetes`: the manifests and the images on a real cluster of one node, which the tests start and stop themselves.

mod build;

use anyhow::{Result, bail};

use crate::image::{self, Arch};
use crate::lanes::Outcome;
use crate::{install, step};

/// What a node needs beside the kubelet: a runtime, a network for its pods, and what the pods' image is made of.
const PACKAGES: [&str; 5] = ["containerd", "runc", "containernetworking-plugins", "iproute2", "busybox-static"];

pub(crate) fn lane() -> Result<Outcome> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Outcome::Skipped("a node needs root".to_owned()));
    }
    if let Err(error) = install::debian_packages(&PACKAGES, "a node of Kubernetes") {
        return Ok(Outcome::Skipped(format!("{error:#}")));
    }
    if step::find("kubectl").is_none() {
        return Ok(Outcome::Skipped("no kubectl on the PATH, which applies the manifests".to_owned()));
    }
    let programs = match build::prepare(&step::target().join("components")) {
        Ok(programs) => programs,
        Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
    };
    let images = image::build(&[Arch::Amd64])?;
    let Some(folder) = images.first().and_then(|image| image.archive.parent()) else { bail!("no image was built") };
    // One after the other: each starts a cluster.
    let options = ["--", "--ignored", "--nocapture", "--test-threads", "1"];
    let mut tests = step::cargo(&["test", "--package", "e2e", "kubernetes::"]);
    tests.args(options).env("TERCEL_TEST_IMAGES", folder).env("TERCEL_TEST_KUBERNETES", programs);
    step::run(&mut tests)?;
    Ok(Outcome::Passed)
}
