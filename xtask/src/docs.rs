//! Files of docs/ that the programs print about themselves.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step;

/// File under docs/, program and arguments that print it.
const GENERATED: [(&str, &str, &[&str]); 2] =
    [("fields.md", "tercel-sensor", &["fields"]), ("routing.schema.json", "tercel-router", &["schema"])];

/// Builds the programs and writes every generated document.
pub(crate) fn write() -> Result<()> {
    step::run(&mut step::cargo(&["build", "--package", "tercel-router", "--package", "tercel-sensor"]))?;
    for (name, program, arguments) in GENERATED {
        let file = file(name);
        let text = print(program, arguments)?;
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        step::note(format!("docs/{name}"));
    }
    Ok(())
}

/// Needs the debug build.
///
/// # Errors
/// If a document is not what its program prints.
pub(crate) fn check() -> Result<()> {
    for (name, program, arguments) in GENERATED {
        let found = std::fs::read_to_string(file(name)).unwrap_or_default();
        ensure!(found == print(program, arguments)?, "docs/{name} is out of date; `cargo xtask docs` writes it");
    }
    Ok(())
}

fn file(name: &str) -> PathBuf {
    step::workspace().join("docs").join(name)
}

/// The program of the debug build prints it.
fn print(program: &str, arguments: &[&str]) -> Result<String> {
    step::read(Command::new(step::target().join("debug").join(program)).args(arguments))
}
