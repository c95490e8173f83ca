//! The command line from outside: exit codes, and what is said to whom.

#![expect(clippy::unwrap_used, reason = "a helper that cannot start the program has failed, and so has its test")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

mod check;
mod describe;
mod eval;
mod record;
// The committed recording is of this kind of machine.
#[cfg(target_arch = "x86_64")]
mod replay;
mod run;
mod test;

const BAD_CONFIGURATION: i32 = 64;

const GOOD_RULE: &str = "
- rule: Shadow read
  desc: d
  condition: evt.type = openat and fd.name = /etc/shadow
  output: read %fd.name
  priority: WARNING
";

/// Runs the binary without the environment's settings.
fn sensor(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// The same with something on standard input.
fn sensor_reading(arguments: &[&str], input: &str) -> Output {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read all, for good reason.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercel-sensor"));
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("TERCEL_SENSOR")) {
        command.env_remove(key);
    }
    command.args(arguments);
    command
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn shipped_rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules")
}

#[test]
fn an_unknown_flag_or_command_is_bad_usage() {
    for arguments in [&["run", "--rulez", "x"][..], &["walk"], &[]] {
        assert_eq!(sensor(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_committed_field_reference_is_the_generated_one() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fields.md");
    let output = sensor(&["fields"]);
    assert_eq!(output.status.code(), Some(0));
    let committed = std::fs::read_to_string(committed).unwrap();
    assert!(committed == stdout(&output), "docs/fields.md is out of date: run `cargo xtask docs`");
}
