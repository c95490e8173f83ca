//! What a program is made of: a bill of materials in `CycloneDX` 1.5, by the plugin that its makers keep for cargo.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Arch, Place, Program};
use crate::{install, step};

const PLUGIN: &str = "cargo-cyclonedx";
const VERSION: &str = "0.5.9";

/// The file, below the place's target.
pub(super) fn write(place: &Place, program: Program, arch: Arch) -> Result<PathBuf> {
    let plugin = plugin()?;
    // The plugin writes beside every Cargo.toml of the workspace: in a copy.
    let copy = place.target.join("sbom");
    super::copy_sources(&step::workspace(), &copy)?;
    let folder = copy.join(program.name().trim_start_matches("tercel-"));

    let mut command = Command::new(plugin);
    step::without_cargo_settings(&mut command);
    // With a time given it makes up neither a time nor a serial number.
    command.env("SOURCE_DATE_EPOCH", place.origin.time_s.to_string()).current_dir(&copy);
    command.args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--describe", "binaries"]);
    command.args(["--target", arch.triple(), "--manifest-path"]).arg(folder.join("Cargo.toml"));
    step::run(&mut command)?;

    let written = folder.join(format!("{}_bin.cdx.json", program.name()));
    let text = std::fs::read_to_string(&written).with_context(|| format!("{PLUGIN} wrote no {}", written.display()))?;
    std::fs::remove_dir_all(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    // Our own crates are named by where they lay.
    let here = copy.display().to_string();
    let text = text.replace(&format!("file://{here}"), "file:///tercel");
    ensure!(!text.contains(&here), "the bill of materials names this machine's folders");
    let file = place.target.join(format!("{}-{}.cdx.json", program.name(), arch.name()));
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn plugin() -> Result<PathBuf> {
    let tools = step::target().join("tools");
    let plugin = tools.join("bin").join(PLUGIN);
    // It tells its version behind its subcommand only.
    let version = Command::new(&plugin).args(["cyclonedx", "--version"]).output();
    if !version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim_end().ends_with(VERSION)) {
        // Not to be quick but to be there soon.
        install::crate_program(PLUGIN, VERSION, &tools, step::cargo(&[]), &["--debug"])?;
    }
    Ok(plugin)
}
