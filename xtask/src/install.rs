//! What is missing on this machine: installed from apt on Debian, printed elsewhere.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step;

/// True on Debian itself, whose package names these are.
pub(crate) fn on_debian() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line == "ID=debian") && step::find("apt-get").is_some()
}

/// The code name of this release of Debian.
pub(crate) fn debian_release() -> Option<String> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=").map(str::to_owned))
}

/// Installs those of `packages` that dpkg does not know as installed. Nothing missing: no output, no apt.
///
/// # Errors
/// If this is not Debian (the message names the packages), or apt fails.
pub(crate) fn debian_packages(packages: &[&str], purpose: &str) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !on_debian() {
        bail!("{purpose} needs {list} (names of Debian's packages); install them and run this again");
    }
    step::say(format!("installing {list} with apt, for {purpose}"));
    step::run(apt().args(["update", "-qq"])).context("the package lists could not be refreshed")?;
    step::run(apt().args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("cannot install {list}"))
}

fn apt() -> Command {
    let mut command = if rustix::process::geteuid().is_root() { Command::new("apt-get") } else { Command::new("sudo") };
    if !rustix::process::geteuid().is_root() {
        command.arg("apt-get");
    }
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

/// The version that apt would install; none where this is not Debian.
pub(crate) fn debian_candidate(package: &str) -> Option<String> {
    if !on_debian() || step::run(apt().args(["update", "-qq"])).is_err() {
        return None;
    }
    let output = Command::new("apt-cache").args(["policy", package]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.trim().strip_prefix("Candidate: ").map(str::to_owned))
}

/// The version of an installed Debian package.
pub(crate) fn package_version(package: &str) -> Option<String> {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Installs a crate's program at one exact version into `root`/bin, unless that version is there. `cargo` carries the
/// environment, `options` the features.
///
/// # Errors
/// If cargo cannot build it.
pub(crate) fn crate_program(
    name: &str,
    version: &str,
    root: &Path,
    mut cargo: Command,
    options: &[&str],
) -> Result<()> {
    let program = root.join("bin").join(name);
    if program_version(&program).is_some_and(|found| found.split_whitespace().next_back() == Some(version)) {
        return Ok(());
    }
    step::say(format!("building {name} {version} (a minute or two, once)"));
    step::run(cargo.args(["install", name, "--version", version, "--locked", "--root"]).arg(root).args(options))
}

/// npm, and Node.js with it.
///
/// # Errors
/// As [`debian_packages`].
pub(crate) fn npm(purpose: &str) -> Result<()> {
    if step::find("npm").is_some() { Ok(()) } else { debian_packages(&["nodejs", "npm"], purpose) }
}

/// Unpacks packages of `PyPI` into a folder for Python's path.
///
/// # Errors
/// If pip is missing, or cannot fetch one.
pub(crate) fn python_packages(packages: &[impl AsRef<OsStr>], folder: &Path) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", "--target"]);
    step::run(pip.env("PIP_ROOT_USER_ACTION", "ignore").arg(folder).args(packages))
}

/// First line of `program --version`.
pub(crate) fn program_version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}
