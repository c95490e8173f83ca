//! Where an acting process finds what it needs, and how it comes to be: by its program's name, in its container.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::container;
use crate::table;
use crate::technique::Technique;

const PHASE: &str = "TECHNIQUE_PHASE";
const NAME: &str = "TECHNIQUE_NAME";
const FOLDER: &str = "TECHNIQUE_FOLDER";
const CGROUP: &str = "TECHNIQUE_CGROUP";
const STEP: &str = "TECHNIQUE_STEP";

/// Others may enter and read: some techniques are another user's.
const FOR_ALL: u32 = 0o755;

/// What a process started by this program is to do.
pub(crate) enum Phase {
    /// Go into the container, then become the acting program.
    Enter,
    /// Do what the technique says.
    Act,
}

/// What the acting process has to tell beyond its own number.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Pid(u32),
    Field(String, Value),
}

/// The folder of one act.
pub(crate) struct Stage {
    folder: PathBuf,
    /// A technique of several processes: which one this is. The first is empty.
    step: String,
}

impl Phase {
    pub(crate) fn of_environment() -> anyhow::Result<Option<Self>> {
        match env::var_os(PHASE).as_deref().map(OsStr::as_encoded_bytes) {
            None => Ok(None),
            Some(b"enter") => Ok(Some(Self::Enter)),
            Some(b"act") => Ok(Some(Self::Act)),
            Some(_) => anyhow::bail!("{PHASE}: not a phase; it is this program's own, unset it"),
        }
    }

    pub(crate) fn go_through(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Enter => {
                if let Some(cgroup) = env::var_os(CGROUP) {
                    container::enter(Path::new(&cgroup))?;
                }
                let mut words = env::args_os().skip(1);
                let program = words.next().context("a program to become")?;
                Err(Command::new(program).args(words).env(PHASE, "act").env_remove(CGROUP).exec().into())
            }
            Self::Act => {
                let technique = table::find(&env::var(NAME)?)?;
                (technique.action)(&Stage::of_environment()?)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Stage {
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        for path in [folder.to_owned(), folder.join("bin")] {
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(FOR_ALL))?;
        }
        Ok(Self { folder: folder.to_owned(), step: String::new() })
    }

    fn of_environment() -> anyhow::Result<Self> {
        let folder = env::var_os(FOLDER).context("no folder to act in")?;
        Ok(Self { folder: folder.into(), step: env::var(STEP).unwrap_or_default() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn step(&self) -> &str {
        &self.step
    }

    /// A file with a word in it.
    pub(crate) fn file(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        fs::write(&path, "nothing\n")?;
        Ok(path)
    }

    /// The acting process of a technique.
    pub(crate) fn actor(&self, technique: &Technique, cgroup: Option<&Path>) -> anyhow::Result<Command> {
        let mut command = Command::new(own_path()?);
        command.arg0(crate::OWN_NAME).arg(self.program(technique.program)?).args(technique.arguments);
        command.env(PHASE, "enter").env(NAME, technique.name).env(FOLDER, &self.folder).env_remove(STEP);
        match cgroup {
            Some(cgroup) => command.env(CGROUP, cgroup),
            None => command.env_remove(CGROUP),
        };
        Ok(command)
    }

    /// A child of the acting process that takes part under its own name.
    pub(crate) fn partner(&self, name: &str, step: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(self.program(name)?);
        command.env(STEP, step);
        Ok(command)
    }

    /// As [`Self::partner`], in a container.
    pub(crate) fn partner_within(&self, cgroup: &Path, name: &str, step: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(own_path()?);
        command.arg(self.program(name)?).env(STEP, step).env(PHASE, "enter").env(CGROUP, cgroup);
        Ok(command)
    }

    /// This program under any name.
    pub(crate) fn program(&self, name: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
        let link = self.folder.join("bin").join(name);
        if !link.is_symlink() {
            symlink(own_path()?, &link)?;
        }
        Ok(link)
    }

    /// A copy of this program, in a folder that is there.
    pub(crate) fn copy(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let path = folder.join(name);
        fs::copy(own_path()?, &path).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(FOR_ALL))?;
        Ok(path)
    }

    /// Becomes a program of this name that does nothing.
    pub(crate) fn become_program(&self, name: &str, arguments: &[&str]) -> anyhow::Result<()> {
        Err(idle(self.program(name)?, arguments).exec().into())
    }

    /// Starts a child of this name that does nothing. It is what the technique is about.
    pub(crate) fn start(&self, name: &str, arguments: &[&str]) -> anyhow::Result<()> {
        self.watch(&mut idle(self.program(name)?, arguments))
    }

    /// Starts a child, waits for its end, and says that the technique is about it.
    pub(crate) fn watch(&self, command: &mut Command) -> anyhow::Result<()> {
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        self.say(&Said::Pid(child.id()))?;
        let status = child.wait()?;
        anyhow::ensure!(status.success(), "{command:?}: {status}");
        Ok(())
    }

    pub(crate) fn say(&self, said: &Said) -> anyhow::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path("said"))?;
        Ok(writeln!(file, "{}", serde_json::to_string(said)?)?)
    }

    pub(crate) fn said(&self) -> anyhow::Result<Vec<Said>> {
        let text = fs::read_to_string(self.path("said")).unwrap_or_default();
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

/// A program of ours that is given nothing to do.
pub(crate) fn idle(path: PathBuf, arguments: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(arguments).env_clear();
    command
}

/// Opens a file for reading, and no more.
pub(crate) fn look_at(path: impl AsRef<Path>) -> anyhow::Result<()> {
    File::open(path)?;
    Ok(())
}

/// Makes an empty file, or makes one empty.
pub(crate) fn create(path: impl AsRef<Path>) -> anyhow::Result<()> {
    File::create(path)?;
    Ok(())
}

/// What this process mounts from here on ends with it.
pub(crate) fn own_mounts() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("private mounts")
}

pub(crate) fn mount_tmpfs(folder: &Path) -> anyhow::Result<()> {
    mount("none", folder, "tmpfs", MountFlags::empty(), None).with_context(|| folder.display().to_string())
}

/// The last part of argument 0.
pub(crate) fn own_name() -> OsString {
    let path = PathBuf::from(env::args_os().next().unwrap_or_default());
    path.file_name().unwrap_or_default().to_owned()
}

/// This program's file.
pub(crate) fn own_path() -> anyhow::Result<PathBuf> {
    env::current_exe().context("/proc/self/exe")
}
