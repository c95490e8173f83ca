//! What services or others wrote about the messages that they take: OpenTelemetry's protobuf schema and Slack's SDK out of
//! `PyPI`, the library of Adaptive Cards and the types of Slack and PagerDuty out of npm.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{install, step};

const OF_PYTHON: [&str; 3] = ["opentelemetry-proto==1.45.2", "protobuf==7.36.2", "slack_sdk==3.48.0"];
const OF_NODE: [&str; 4] = ["adaptivecards@3.0.6", "typescript@7.0.2", "@slack/types@3.2.0", "@pagerduty/pdjs@2.2.4"];

/// The folder: `python` for Python's path, `node` with `node_modules`.
///
/// # Errors
/// If a package is gone or cannot be fetched, or there is no Python or Node.js.
pub(super) fn prepare(folder: &Path) -> Result<PathBuf> {
    let place = folder.join("schemas");
    let wanted = [&OF_PYTHON[..], &OF_NODE].concat().join("\n");
    if std::fs::read_to_string(place.join("complete")).is_ok_and(|there| there == wanted) {
        return Ok(place);
    }
    install::debian_packages(&["python3-pip"], "schemas of messages")?;
    if step::find("npm").is_none() {
        install::debian_packages(&["nodejs", "npm"], "schemas of messages")?;
    }
    step::say("fetching schemas of OpenTelemetry, Slack, PagerDuty and Adaptive Cards, some 60 MB");
    if place.exists() {
        std::fs::remove_dir_all(&place).with_context(|| format!("cannot empty {}", place.display()))?;
    }
    let node = place.join("node");
    std::fs::create_dir_all(&node).with_context(|| format!("cannot create {}", node.display()))?;
    let mut pip = Command::new("python3");
    step::run(pip.args(["-m", "pip", "-q", "install"]).args(OF_PYTHON).arg("--target").arg(place.join("python")))?;
    std::fs::write(node.join("package.json"), "{\"private\":true}\n").context("cannot write package.json")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]).args(OF_NODE);
    step::run(npm.current_dir(&node))?;
    std::fs::write(place.join("complete"), wanted).context("cannot note that the schemas are complete")?;
    Ok(place)
}
