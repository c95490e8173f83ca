//! The Kubernetes manifests, built as a cluster's administrator would.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::lanes::Outcome;
use crate::{install, step};

const BASE: &str = "deploy/kustomize/base";
/// kubectl 1.N: the first with a Kustomize that knows `labels` and folders as resources.
const KUBECTL_MINOR_MIN: u32 = 22;
const KUBECTL_PAGE: &str = "https://kubernetes.io/docs/tasks/tools/";

/// Builds the manifests, as `kubectl apply -k` would, and looks for every rule file and template in them: Kustomize takes
/// no pattern, so a new file is easily forgotten.
pub(crate) fn lane() -> Result<Outcome> {
    let mut command = match kustomize()? {
        Ok(command) => command,
        Err(why) => return Ok(Outcome::Skipped(format!("{why}; see {KUBECTL_PAGE}"))),
    };
    let manifests = step::read(command.arg(BASE).current_dir(step::workspace()).stdout(Stdio::piped()))?;
    ensure!(manifests.contains("\nkind: DaemonSet\n"), "{BASE} builds without a DaemonSet in it");
    let forgotten = missing(&manifests, &[("rules", "yaml"), ("templates", "hbs")])?;
    ensure!(
        forgotten.is_empty(),
        "not in the manifests: {}; the folder's Kustomization names its files",
        forgotten.join(", ")
    );
    Ok(Outcome::Remarked(format!("{} objects", manifests.lines().filter(|line| line.starts_with("kind: ")).count())))
}

/// Files of the folders, by extension, that are no key of a ConfigMap in `manifests`.
fn missing(manifests: &str, folders: &[(&str, &str)]) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for (folder, extension) in folders {
        for entry in std::fs::read_dir(step::workspace().join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_key = manifests.lines().any(|line| line.starts_with(&format!("  {name}:")));
            if name.ends_with(&format!(".{extension}")) && !is_key && name != "kustomization.yaml" {
                missing.push(format!("{folder}/{name}"));
            }
        }
    }
    Ok(missing)
}

/// What builds manifests on this machine, or why nothing does.
fn kustomize() -> Result<Result<Command, String>> {
    if step::find("kubectl").is_none() && step::find("kustomize").is_none() {
        let offered = install::debian_candidate("kubernetes-client").as_deref().and_then(minor);
        if offered.is_none_or(|minor| minor < KUBECTL_MINOR_MIN) {
            return Ok(Err(
                "neither kubectl nor kustomize is on the PATH, and no recent one can be installed".to_owned()
            ));
        }
        install::debian_packages(&["kubernetes-client"], "building the manifests")?;
    }
    if let Some(kustomize) = step::find("kustomize") {
        return Ok(Ok(command(&kustomize, "build")));
    }
    let Some(kubectl) = step::find("kubectl") else { return Ok(Err("no kubectl on the PATH".to_owned())) };
    let version: serde_json::Value =
        serde_json::from_str(&step::read(Command::new(&kubectl).args(["version", "--client", "--output", "json"]))?)?;
    let version = version["clientVersion"]["gitVersion"].as_str().unwrap_or_default().trim_start_matches('v');
    if minor(version).is_some_and(|minor| minor < KUBECTL_MINOR_MIN) {
        return Ok(Err(format!("kubectl {version} is older than 1.{KUBECTL_MINOR_MIN}")));
    }
    Ok(Ok(command(&kubectl, "kustomize")))
}

fn command(program: &Path, word: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(word);
    command
}

/// 32 of `1.32.4-something`.
fn minor(version: &str) -> Option<u32> {
    let digits: String = version.split('.').nth(1)?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_found_in_what_kubectl_and_apt_say() {
        assert_eq!(minor("1.32.4-dispatcher"), Some(32));
        assert_eq!(minor("1.20.5+really1.20.2-1.1+deb12u1"), Some(20));
        assert_eq!(minor("unknown"), None);
    }

    #[test]
    fn a_file_that_no_config_map_holds_is_named() {
        let whole = "data:\n  routing.toml: |\n    x\n";
        let missing = missing(whole, &[("deploy/kustomize/base", "toml"), ("xtask", "toml")]).unwrap();
        assert_eq!(missing, ["xtask/Cargo.toml"]);
    }
}
