//! What a program is made of: a bill of materials in `CycloneDX` 1.5, by the plugin that its makers keep for cargo.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::{Arch, Place, Program};
use crate::{install, step};

const PLUGIN: &str = "cargo-cyclonedx";
const VERSION: &str = "0.5.9";

/// The file, below the place's target.
pub(super) fn write(place: &Place, program: Program, arch: Arch) -> Result<PathBuf> {
    let tools = step::target().join("tools");
    install::crate_program(PLUGIN, VERSION, &tools, step::cargo(&[]), &[])?;
    let folder = place.source.join(program.name().trim_start_matches("tercel-"));
    let written = folder.join(format!("{}_bin.cdx.json", program.name()));

    let mut plugin = std::process::Command::new(tools.join("bin").join(PLUGIN));
    step::without_cargo_settings(&mut plugin);
    // With a time given it makes up neither a time nor a serial number.
    plugin.env("SOURCE_DATE_EPOCH", place.origin.time_s.to_string()).current_dir(&place.source);
    plugin.args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--describe", "binaries"]);
    plugin.args(["--target", arch.triple(), "--manifest-path"]).arg(folder.join("Cargo.toml"));
    step::run(&mut plugin)?;

    let text = std::fs::read_to_string(&written).with_context(|| format!("{PLUGIN} wrote no {}", written.display()))?;
    std::fs::remove_file(&written).with_context(|| format!("cannot remove {}", written.display()))?;
    // Our own crates are named by where they lay.
    let text = text.replace(&format!("file://{}", place.source.display()), "file:///tercel");
    ensure!(!text.contains(&place.source.display().to_string()), "the bill of materials names this machine's folders");
    let file = place.target.join(format!("{}-{}.cdx.json", program.name(), arch.name()));
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
