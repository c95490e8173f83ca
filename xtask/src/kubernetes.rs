//! The lane `kubernetes`: the manifests and the images on a real cluster of one node, which the tests start and stop themselves.

mod build;

use anyhow::Result;

use crate::image::{self, Arch};
use crate::lanes::Outcome;
use crate::{e2e, step};

/// What a node needs beside the kubelet: a runtime, a network for its pods, and what the pods' image is made of.
const PACKAGES: [&str; 5] = ["containerd", "runc", "containernetworking-plugins", "iproute2", "busybox-static"];

pub(crate) fn lane() -> Result<Outcome> {
    if let Some(skipped) = e2e::unable_with_manifests(&PACKAGES, "a node of Kubernetes") {
        return Ok(skipped);
    }
    let programs = match build::prepare(&step::target().join("components")) {
        Ok(programs) => programs,
        Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
    };
    let images = image::build(&[Arch::Amd64])?;
    e2e::run_ignored("kubernetes::", &[("TERCEL_TEST_IMAGES", &images), ("TERCEL_TEST_KUBERNETES", &programs)])
}
