//! Lets a program believe that the cluster's API server is on this machine.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use rustix::mount::mount_bind;

use crate::contact_cluster::{ADDRESS, NAME};
use crate::stage::{mount_tmpfs, own_mounts};

const HOSTS: &str = "/etc/hosts";

/// Covered by a file system of this process's own, out of which the new hosts file comes.
const COVERED: &str = "/mnt";

pub(crate) fn run(words: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = words.split_first().context("a program to run")?;
    own_mounts()?;
    let text = fs::read_to_string(HOSTS).unwrap_or_default();
    fs::create_dir_all(COVERED)?;
    mount_tmpfs(Path::new(COVERED))?;
    let hosts = Path::new(COVERED).join("hosts");
    fs::write(&hosts, format!("{text}\n{ADDRESS} {NAME}\n"))?;
    if !Path::new(HOSTS).exists() {
        fs::write(HOSTS, "")?;
    }
    mount_bind(&hosts, HOSTS).context(HOSTS)?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| program.clone())
}
