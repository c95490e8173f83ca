//! Strict validation against the schemas of the Kubernetes API: an unknown key is an error.

use anyhow::{Result, ensure};

use super::Build;
use super::python::Python;
use crate::step;

/// The oldest that knows all that the manifests say (`appArmorProfile` came with it), and the newest with a schema.
pub(super) const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// Kinds that are no part of Kubernetes; nobody validates them here.
const FOREIGN: [&str; 2] = ["PodMonitor", "PrometheusRule"];

pub(super) fn check(python: &Python, builds: &[Build]) -> Result<()> {
    for version in VERSIONS {
        let mut command = python.module("kubernetes-validate", "kubernetes_validate");
        command.args(["--strict", "--kubernetes-version", version]).args(builds.iter().map(|build| &build.file));
        let output = command.output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let wrong: Vec<_> = said.lines().filter(|line| !is_good(line)).collect();
        ensure!(wrong.is_empty(), "not valid for Kubernetes {version}:\n  {}", wrong.join("\n  "));
        let passed = said.lines().filter(|line| line.starts_with("INFO ")).count();
        let known: usize =
            builds.iter().flat_map(|build| &build.objects).filter(|object| !FOREIGN.contains(&object.kind())).count();
        ensure!(passed == known, "{passed} of {known} objects were looked at for Kubernetes {version}:\n{said}");
        step::note(format!("valid for Kubernetes {version}: {passed} objects"));
    }
    Ok(())
}

fn is_good(line: &str) -> bool {
    let is_foreign = |kind: &str| line.contains(&format!("Couldn't find schema for kind {kind} "));
    line.starts_with("INFO ") && line.contains(" passed ")
        || line.starts_with("WARN ") && FOREIGN.iter().any(|kind| is_foreign(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_of_others_may_be_unknown() {
        assert!(is_good("INFO a.yaml passed for resource service/tercel against version 1.37"));
        assert!(is_good(
            "WARN a.yaml Couldn't find schema for kind PodMonitor with api version m/v1 for kubernetes version 1.37"
        ));
        assert!(!is_good(
            "WARN a.yaml Couldn't find schema for kind DemonSet with api version apps/v1 for kubernetes version 1.37"
        ));
        assert!(!is_good("ERROR a.yaml did not validate for resource daemonset/tercel against version 1.29: x"));
    }
}
