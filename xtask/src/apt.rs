//! apt with a source list and a state of its own, so that nothing enters the system's. It checks signatures; what was fetched
//! is kept.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::step;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

pub(crate) struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// Fetches the package lists of `sources` (archive, suite), once: they are as old as the folder.
    ///
    /// # Errors
    /// If apt cannot be asked, or the folder not be written.
    pub(crate) fn new(folder: &Path, sources: &[(&str, &str)], purpose: &str) -> Result<Self> {
        Self::of_kinds(&["deb"], folder, sources, purpose)
    }

    /// The same, of what packages are built from as well.
    pub(crate) fn with_source_packages(folder: &Path, sources: &[(&str, &str)], purpose: &str) -> Result<Self> {
        Self::of_kinds(&["deb", "deb-src"], folder, sources, purpose)
    }

    fn of_kinds(kinds: &[&str], folder: &Path, sources: &[(&str, &str)], purpose: &str) -> Result<Self> {
        let state = folder.join("apt");
        for needed in ["lists/partial", "cache/archives/partial"] {
            let needed = state.join(needed);
            std::fs::create_dir_all(&needed).with_context(|| format!("cannot create {}", needed.display()))?;
        }
        let list = state.join("sources.list");
        let options = [
            ("Dir::Etc::SourceList", list.display().to_string()),
            ("Dir::Etc::SourceParts", "/dev/null".to_owned()),
            ("Dir::State::Lists", state.join("lists").display().to_string()),
            ("Dir::Cache", state.join("cache").display().to_string()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".to_owned()),
            // The folder need not be open to apt's own user.
            ("APT::Sandbox::User", "root".to_owned()),
        ];
        let apt = Self { options: options.map(|(name, value)| format!("{name}={value}")).to_vec() };
        if !list.exists() {
            step::say(format!("fetching Debian's package lists, for {purpose} only"));
            let line = |kind: &str, (archive, suite): &(&str, &str)| {
                format!("{kind} [signed-by={KEYRING}] http://deb.debian.org/{archive} {suite} main\n")
            };
            let lines = kinds.iter().flat_map(|kind| sources.iter().map(move |source| line(kind, source)));
            let lines: String = lines.collect();
            let fresh = state.join("sources.new");
            std::fs::write(&fresh, lines).context("cannot write the source list")?;
            step::run(
                apt.command("apt-get", &["update", "-qq"])
                    .arg("-o")
                    .arg(format!("Dir::Etc::SourceList={}", fresh.display())),
            )?;
            std::fs::rename(&fresh, &list).context("cannot keep the source list")?;
        }
        Ok(apt)
    }

    /// `program` of apt's family with this state.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command.args(arguments);
        command
    }

    /// Unpacks packages into a folder; nothing is installed.
    ///
    /// # Errors
    /// If the archive does not have one of them, or it cannot be unpacked.
    pub(crate) fn unpack(&self, packages: &[&str], folder: &Path) -> Result<()> {
        let place = folder.join("packages");
        std::fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
        step::run(self.command("apt-get", &["download", "-qq"]).args(packages).current_dir(&place))?;
        for archive in files(&place)? {
            step::run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(folder))?;
        }
        std::fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}
