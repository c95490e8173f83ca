//! What builds manifests on this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::{install, step};

/// kubectl 1.N: the first with a Kustomize whose components and patches are those of today.
const KUBECTL_MINOR_MIN: u32 = 27;
const KUBECTL_PAGE: &str = "https://kubernetes.io/docs/tasks/tools/";

pub(super) struct Tool {
    program: PathBuf,
    word: &'static str,
}

impl Tool {
    pub(super) fn build(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(self.word).arg(folder).stdout(Stdio::piped());
        command
    }
}

/// The tool, or why there is none.
pub(super) fn find() -> Result<Result<Tool, String>> {
    if step::find("kubectl").is_none() && step::find("kustomize").is_none() {
        let offered = install::debian_candidate("kubernetes-client").as_deref().and_then(minor);
        if offered.is_none_or(|minor| minor < KUBECTL_MINOR_MIN) {
            return Ok(Err(format!(
                "neither kubectl nor kustomize is on the PATH, and no recent one can be installed; see {KUBECTL_PAGE}"
            )));
        }
        install::debian_packages(&["kubernetes-client"], "building the manifests")?;
    }
    if let Some(program) = step::find("kustomize") {
        return Ok(Ok(Tool { program, word: "build" }));
    }
    let Some(program) = step::find("kubectl") else { return Ok(Err("no kubectl on the PATH".to_owned())) };
    let version: serde_json::Value =
        serde_json::from_str(&step::read(Command::new(&program).args(["version", "--client", "--output", "json"]))?)?;
    let version = version["clientVersion"]["gitVersion"].as_str().unwrap_or_default().trim_start_matches('v');
    if minor(version).is_some_and(|minor| minor < KUBECTL_MINOR_MIN) {
        return Ok(Err(format!("kubectl {version} is older than 1.{KUBECTL_MINOR_MIN}; see {KUBECTL_PAGE}")));
    }
    Ok(Ok(Tool { program, word: "kustomize" }))
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
}
