//! docs/*.md that the programs print about themselves.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::step;

/// File under docs/, package and arguments that print it.
const GENERATED: [(&str, &str, &[&str]); 1] = [("fields.md", "tercel-sensor", &["fields"])];

/// Writes every generated document.
pub(crate) fn write() -> Result<()> {
    for (name, package, arguments) in GENERATED {
        let file = file(name);
        let text = print(package, arguments)?;
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        step::note(format!("docs/{name}"));
    }
    Ok(())
}

/// # Errors
/// If a document is not what its program prints.
pub(crate) fn check() -> Result<()> {
    for (name, package, arguments) in GENERATED {
        let found = std::fs::read_to_string(file(name)).unwrap_or_default();
        ensure!(found == print(package, arguments)?, "docs/{name} is out of date; `cargo xtask docs` writes it");
    }
    Ok(())
}

fn file(name: &str) -> PathBuf {
    step::workspace().join("docs").join(name)
}

fn print(package: &str, arguments: &[&str]) -> Result<String> {
    let mut command = step::cargo(&["run", "--quiet", "--package", package, "--"]);
    step::read(command.args(arguments))
}
