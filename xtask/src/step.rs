//! One line per step, then the command that does it: what the person at the terminal sees.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Says what happens next. Every step that takes longer than a blink says so first.
pub(crate) fn say(what: impl Display) {
    println!("▸ {what}");
}

/// A line that belongs to the step above it.
pub(crate) fn note(what: impl Display) {
    println!("  {what}");
}

/// Runs `command` with its output passed through.
///
/// # Errors
/// If it cannot start or ends with anything but 0; the message holds the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs `command` and returns what it wrote to standard output.
///
/// # Errors
/// As [`run`]; its standard error is passed through.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` wrote something that is not UTF-8", line(command)))
}

/// The folder of the workspace's Cargo.toml.
pub(crate) fn workspace() -> PathBuf {
    // cargo sets the variable when it runs a program; the value from the build serves a directly started xtask.
    let xtask = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let mut folder = PathBuf::from(xtask);
    folder.pop();
    folder
}

/// cargo's target folder.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// A cargo command in the workspace, with the toolchain of rust-toolchain.toml.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace()).args(arguments);
    command
}

/// Takes away what the environment tells cargo and rustc, for builds whose bytes only we decide.
pub(crate) fn without_cargo_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let cargos = name.starts_with("CARGO") && name != "CARGO_HOME" && !name.starts_with("CARGO_HTTP");
        if cargos || name.starts_with("RUST") && name != "RUSTUP_HOME" {
            command.env_remove(name);
        }
    }
}

/// Where cargo keeps the sources of crates.
///
/// # Errors
/// If the environment does not tell.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).context("neither CARGO_HOME nor HOME is set")
}

/// Where `program` lies on the PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// On CI (`CI=true`) a lane that cannot start is a failure; elsewhere it is skipped aloud.
pub(crate) fn on_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// The end of a task that failed: every cause on its own line.
#[expect(clippy::print_stderr, reason = "errors belong on standard error")]
pub(crate) fn fail(error: &anyhow::Error) {
    eprintln!("✗ {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
