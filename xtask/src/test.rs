//! `cargo xtask test`: what must be green before a change is merged; `cargo xtask ci` rebuilds the kernel object too, and
//! boots other kernels.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::lanes::{Lanes, Outcome};
use crate::{
    components, docs, ebpf, images, install, kernels, kubernetes, manifests, power, prometheus, runtimes, step, units,
};

/// The kernel programs build for the BPF target only: the ebpf lane compiles them.
const ALL_BUT_EBPF: [&str; 3] = ["--workspace", "--exclude", "tercel-sensor-ebpf"];
/// The cluster's routing; tests in the crates look at the one in the tree's root.
const BASE_ROUTING: &str = "deploy/kustomize/base/routing.toml";

/// A tracer of system calls, a clock that can be set, and file systems.
const E2E_PACKAGES: [&str; 3] = ["strace", "libfaketime", "e2fsprogs"];
/// Each takes some seconds for the guest to boot.
const POWER_LOSSES: u64 = 5;

pub(crate) fn test() -> ExitCode {
    let mut lanes = Lanes::default();
    run_all(&mut lanes);
    lanes.finish()
}

pub(crate) fn ci() -> ExitCode {
    let mut lanes = Lanes::default();
    lanes.run("ebpf", kernel_object);
    run_all(&mut lanes);
    components::run_all(&mut lanes);
    lanes.run("runtimes", runtimes::lane);
    lanes.run("images", images::lane);
    lanes.run("kubernetes", kubernetes::lane);
    lanes.run("kernels", kernels::lane);
    lanes.run("power", || power::lane(POWER_LOSSES));
    lanes.finish()
}

/// Against real servers.
pub(crate) fn components() -> ExitCode {
    let mut lanes = Lanes::default();
    lanes.run("build", || cargo(&with(&["build"], &["--bins"])));
    components::run_all(&mut lanes);
    lanes.run("runtimes", runtimes::lane);
    lanes.run("images", images::lane);
    lanes.run("kubernetes", kubernetes::lane);
    lanes.finish()
}

/// The same techniques on this machine's kernel and on those of QEMU.
pub(crate) fn kernels() -> ExitCode {
    let mut lanes = Lanes::default();
    lanes.run("this kernel", kernels::host);
    lanes.run("kernels", kernels::lane);
    lanes.run("power", || power::lane(POWER_LOSSES));
    lanes.finish()
}

/// What is applied to a cluster or a host, without either.
pub(crate) fn manifests() -> ExitCode {
    let mut lanes = Lanes::default();
    lanes.run("build", || cargo(&with(&["build"], &["--bins"])));
    deployed(&mut lanes);
    lanes.finish()
}

/// What is applied, on a real cluster only.
pub(crate) fn kubernetes() -> ExitCode {
    let mut lanes = Lanes::default();
    lanes.run("kubernetes", kubernetes::lane);
    lanes.finish()
}

/// Power losses only.
pub(crate) fn power(times: u64) -> ExitCode {
    let mut lanes = Lanes::default();
    lanes.run("power", || power::lane(times));
    lanes.finish()
}

fn run_all(lanes: &mut Lanes) {
    lanes.run("fmt", || cargo(&["fmt", "--all", "--check"]));
    lanes.run("clippy", || cargo(&with(&["clippy"], &["--all-targets", "--", "--deny", "warnings"])));
    lanes.run("build", || cargo(&with(&["build"], &["--bins"])));
    lanes.run("unit", || cargo(&with(&["test", "--quiet"], &["--exclude", "e2e"])));
    lanes.run("e2e", end_to_end);
    lanes.run("docs", || docs::check().map(|()| Outcome::Passed));
    deployed(lanes);
    lanes.run("routing", routing);
    lanes.run("prometheus", prometheus::lane);
    lanes.run("deny", deny);
}

fn deployed(lanes: &mut Lanes) {
    lanes.run("manifests", manifests::lane);
    lanes.run("systemd", units::lane);
}

fn with<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<&'a str> {
    [before, &ALL_BUT_EBPF, after].concat()
}

fn cargo(arguments: &[&str]) -> Result<Outcome> {
    step::run(&mut step::cargo(arguments))?;
    Ok(Outcome::Passed)
}

fn end_to_end() -> Result<Outcome> {
    if let Err(error) = install::debian_packages(&E2E_PACKAGES, "the tests of the router's promises") {
        step::note(format!("{error:#}; tests that need it say so"));
    }
    cargo(&["test", "--package", "e2e"])
}

fn kernel_object() -> Result<Outcome> {
    Ok(match ebpf::check()? {
        ebpf::Checked::Same => Outcome::Remarked("the committed object is what the sources build to".to_owned()),
        ebpf::Checked::NotCompared(why) => Outcome::Remarked(why),
    })
}

/// The cluster's routing, read by the router that the build lane made.
fn routing() -> Result<Outcome> {
    let mut check = Command::new(step::target().join("debug/tercel-router"));
    step::run(check.current_dir(step::workspace()).args(["check", "--routing", BASE_ROUTING]))?;
    Ok(Outcome::Passed)
}

/// Licences, bans and sources; advisories need the network's newest and have a place of their own.
fn deny() -> Result<Outcome> {
    if step::find("cargo-deny").is_none() {
        return Ok(Outcome::Remarked(
            "not checked: `cargo install cargo-deny` and this lane checks licences, duplicates and sources".to_owned(),
        ));
    }
    cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"])
}
