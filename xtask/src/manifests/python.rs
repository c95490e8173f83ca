//! Tools that only `PyPI` has, in a folder of their own: nothing enters the system's Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::{folder, install, step};

/// Schemas of the Kubernetes API and what validates against them; policies. At these versions, since a newer one may want
/// something else of the same manifests.
const PACKAGES: [(&str, &str); 2] = [("kubernetes-validate", "1.37.0"), ("checkov", "3.3.30")];

pub(super) struct Python {
    folder: PathBuf,
}

/// Fetches what is not there yet, some 100 MB.
///
/// # Errors
/// If there is no Python with pip, or it cannot fetch.
pub(super) fn prepare() -> Result<Python> {
    let folder = step::target().join("tools/python");
    if step::find("python3").is_none() && !install::on_debian() {
        bail!("validating manifests needs python3 with pip");
    }
    install::debian_packages(&["python3-pip"], "validating manifests")
        .or_else(|error| has_pip().then_some(()).ok_or(error))?;
    for (package, version) in PACKAGES {
        fetch(package, version, &folder)?;
    }
    Ok(Python { folder })
}

impl Python {
    /// `python3 -m MODULE`.
    pub(super) fn module(&self, package: &str, module: &str) -> Command {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", self.folder.join(package)).args(["-m", module]);
        command
    }
}

fn has_pip() -> bool {
    Command::new("python3").args(["-m", "pip", "--version"]).output().is_ok_and(|output| output.status.success())
}

fn fetch(package: &str, version: &str, tools: &Path) -> Result<()> {
    let place = tools.join(package);
    folder::once(&place, version, || {
        step::say(format!("fetching {package} {version} from PyPI, for the manifests"));
        install::python_packages(&[format!("{package}=={version}")], &place)
    })
}
