//! The lane `systemd`: the units of deploy/systemd, by systemd's own tool.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::lanes::Outcome;
use crate::{install, step};

/// Unit, its program, and the exposure by `systemd-analyze security` in tenths that it may have at most.
const UNITS: [(&str, &str, u32); 2] =
    [("tercel-router.service", "tercel-router", 20), ("tercel-sensor.service", "tercel-sensor", 35)];

/// As docs/security.md has it of the container.
const SENSOR_CAPABILITIES: [&str; 4] = ["CAP_BPF", "CAP_DAC_READ_SEARCH", "CAP_PERFMON", "CAP_SYS_PTRACE"];

/// Needs the debug build: a unit whose program is not there is wrong.
pub(crate) fn lane() -> Result<Outcome> {
    if step::find("systemd-analyze").is_none()
        && let Err(error) = install::debian_packages(&["systemd"], "checking the units")
    {
        return Ok(Outcome::Skipped(format!("{error:#}")));
    }
    let folder = step::target().join("units");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (unit, program, exposure) in UNITS {
        let source = step::workspace().join("deploy/systemd").join(unit);
        let text = std::fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
        if program == "tercel-sensor" {
            ensure_capabilities(&text)?;
        }
        let built = step::target().join("debug").join(program);
        let copy = folder.join(unit);
        std::fs::write(&copy, text.replace(&format!("/usr/bin/{program}"), &built.display().to_string()))
            .with_context(|| format!("cannot write {}", copy.display()))?;
        analyze(&["verify"], &copy)?;
        analyze(&["security", "--offline=true", &format!("--threshold={exposure}")], &copy)?;
    }
    Ok(Outcome::Passed)
}

fn analyze(arguments: &[&str], unit: &Path) -> Result<()> {
    let output = Command::new("systemd-analyze").args(arguments).arg("--no-pager").arg(unit).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // It verifies with a warning on its output and 0 as its code.
    let is_clean = arguments != ["verify"] || said.trim().is_empty();
    ensure!(output.status.success() && is_clean, "systemd-analyze {}:\n{said}", arguments.join(" "));
    step::note(said.lines().last().unwrap_or("verified"));
    Ok(())
}

fn ensure_capabilities(unit: &str) -> Result<()> {
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let mut found: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
    found.sort_unstable();
    ensure!(
        found == SENSOR_CAPABILITIES,
        "tercel-sensor.service has {found:?}, and {SENSOR_CAPABILITIES:?} are explained"
    );
    Ok(())
}
