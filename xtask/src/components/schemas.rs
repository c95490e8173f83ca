//! What services or others wrote about the messages that they take: OpenTelemetry's protobuf schema and Slack's SDK out of
//! `PyPI`, the library of Adaptive Cards and the types of Slack and PagerDuty out of npm.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{folder, install, step};

const OF_PYTHON: [&str; 3] = ["opentelemetry-proto==1.45.2", "protobuf==7.36.2", "slack_sdk==3.48.0"];
const OF_NODE: [&str; 4] = ["adaptivecards@3.0.6", "typescript@7.0.2", "@slack/types@3.2.0", "@pagerduty/pdjs@2.2.4"];

/// The folder: `python` for Python's path, `node` with `node_modules`.
///
/// # Errors
/// If a package is gone or cannot be fetched, or there is no Python or Node.js.
pub(super) fn prepare(components: &Path) -> Result<PathBuf> {
    let place = components.join("schemas");
    folder::once(&place, &[&OF_PYTHON[..], &OF_NODE].concat().join("\n"), || {
        install::debian_packages(&["python3-pip"], "schemas of messages")?;
        install::npm("schemas of messages")?;
        step::say("fetching schemas of OpenTelemetry, Slack, PagerDuty and Adaptive Cards, some 60 MB");
        install::python_packages(&OF_PYTHON, &place.join("python"))?;
        let node = place.join("node");
        folder::empty(&node)?;
        std::fs::write(node.join("package.json"), "{\"private\":true}\n").context("cannot write package.json")?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]).args(OF_NODE);
        step::run(npm.current_dir(&node))
    })?;
    Ok(place)
}
