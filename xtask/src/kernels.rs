//! The lane `kernels`: sensor and techniques on the kernels that Tercel is for, each booted by QEMU's emulation, which needs
//! neither KVM nor rights. What holds on this machine's own kernel is shown by the end-to-end tests.

mod fetch;
mod guest;
pub(crate) mod initramfs;
mod judge;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::lanes::Outcome;
use crate::{install, step};

use fetch::{DISK_MODULES, FAMILIES, Kernel};
use guest::Boot;
pub(crate) use guest::plain;
use initramfs::Initramfs;
use judge::Findings;
pub(crate) use judge::last_lines;

/// Beside them the C library and the linker's strip, which building Tercel needs anyway.
const DEBIAN_PACKAGES: [&str; 4] = ["qemu-system-x86", "busybox-static", "cpio", "xz-utils"];
pub(crate) const QEMU: &str = "qemu-system-x86_64";
const WITH_DISK: &str = "6.1";

/// Every technique on every kernel, and the stress of preemption on the newest.
///
/// # Errors
/// If an alert is missing or wrong, or a guest ends before it has said everything.
pub(crate) fn lane() -> Result<Outcome> {
    let kernels = match prepare() {
        Ok(kernels) => kernels,
        Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
    };
    step::say("building the sensor and the techniques");
    step::run(&mut step::cargo(&["build", "--package", "tercel-sensor", "--package", "e2e", "--bins"]))?;
    let initramfs = Initramfs::build(&folder())?;
    let mut findings = Findings::default();
    for kernel in &kernels {
        for boot in Boot::all(kernel.family) {
            findings.add(kernel, *boot, &examine(kernel, *boot, &initramfs)?);
        }
    }
    findings.outcome()
}

/// The same techniques on the kernel that runs here, as end-to-end tests.
pub(crate) fn host() -> Result<Outcome> {
    let tests = ["test", "--package", "e2e", "kernel::"];
    let listed = step::read(step::cargo(&tests).args(["--", "--list"]))?;
    ensure!(listed.lines().any(|line| line.ends_with(": test")), "package e2e has no tests called kernel::…");
    step::run(&mut step::cargo(&tests))?;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    Ok(Outcome::Remarked(format!("this machine's own kernel, {release}")))
}

/// The image of a kernel, and the modules that a virtual disk needs.
///
/// # Errors
/// If it cannot be had, or QEMU cannot.
pub(crate) fn with_disk() -> Result<(PathBuf, Vec<PathBuf>)> {
    programs()?;
    let family = FAMILIES.iter().find(|family| family.name == WITH_DISK).context("one is called so")?;
    let image = fetch::kernel_with_disk(family, &folder())?.image;
    let modules = DISK_MODULES.iter().map(|name| image.with_file_name(name)).collect();
    Ok((image, modules))
}

fn programs() -> Result<()> {
    install::debian_packages(&DEBIAN_PACKAGES, "booting other kernels")?;
    for program in [QEMU, "busybox", "cpio", "xz", "strip", "ldd"] {
        if step::find(program).is_none() {
            bail!("no {program} on the PATH");
        }
    }
    Ok(())
}

fn prepare() -> Result<Vec<Kernel>> {
    programs()?;
    FAMILIES.iter().map(|family| fetch::kernel(family, &folder())).collect()
}

fn examine(kernel: &Kernel, boot: Boot, initramfs: &Initramfs) -> Result<String> {
    step::say(format!("booting {} for {boot}", kernel.release));
    let start = Instant::now();
    let log = folder().join("logs").join(format!("{}-{boot}.log", kernel.family.name));
    let console = guest::run(kernel, boot, initramfs, &log)
        .with_context(|| format!("kernel {}; what it said is in {}", kernel.release, log.display()))?;
    step::note(format!("ended after {:.1} s", start.elapsed().as_secs_f64()));
    Ok(console)
}

fn folder() -> PathBuf {
    step::target().join("kernels")
}
