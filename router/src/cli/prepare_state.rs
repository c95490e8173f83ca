//! `tercel-router prepare-state`: done once by root, with `CAP_CHOWN` and nothing else, so that the router itself need not be
//! root. A node's folder is made by the kubelet, for root.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, open};
use tercel_router::ToolError;

use super::say;

/// Nobody else may look at alerts.
const MODE: u32 = 0o700;

#[derive(Args)]
pub(super) struct Arguments {
    /// The folder for what the router keeps; made if it is not there
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Numbers of the user and group that the router will run as
    #[arg(long, value_name = "UID:GID")]
    owner: Owner,
}

/// Written as `65532:65532`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    user: u32,
    group: u32,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once(':').and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
        match numbers {
            // -1 stands for "leave it" in the kernel's call.
            Some((user, group)) if user != u32::MAX && group != u32::MAX => Ok(Self { user, group }),
            _ => Err("expected two numbers, as in 65532:65532".to_owned()),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, ToolError> {
    let Arguments { state, owner } = arguments;
    let place = state.display();
    let failed = |error: std::io::Error| ToolError::Failed(format!("{place}: {error}"));
    if !state.exists() {
        DirBuilder::new().recursive(true).mode(MODE).create(state).map_err(failed)?;
    }
    let found = owner_of(state).map_err(failed)?;
    if found == *owner {
        say(&format!("{place}: belongs to {}:{} already", owner.user, owner.group));
        return Ok(ExitCode::SUCCESS);
    }
    if found.user != rustix::process::geteuid().as_raw() {
        return Err(ToolError::Failed(format!(
            "{place}: belongs to user {}, neither to me nor to {}; another router may keep its alerts here",
            found.user, owner.user
        )));
    }
    hand_over(state, *owner).map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::PERM.raw_os_error() => {
            ToolError::Failed(format!("{place}: {error}; missing capability CAP_CHOWN"))
        }
        _ => failed(error),
    })?;
    say(&format!("{place}: belongs to {}:{} now", owner.user, owner.group));
    Ok(ExitCode::SUCCESS)
}

/// A link is not followed: it could lead to somebody else's files.
fn owner_of(folder: &Path) -> std::io::Result<Owner> {
    // Who lacks the right to read the folder may ask whose it is.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = fstat(open(folder, flags, Mode::empty())?)?;
    Ok(Owner { user: found.st_uid, group: found.st_gid })
}

fn hand_over(folder: &Path, owner: Owner) -> std::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = open(folder, flags, Mode::empty())?;
    fchmod(&folder, Mode::from_raw_mode(MODE))?;
    fchown(&folder, Some(Uid::from_raw(owner.user)), Some(Gid::from_raw(owner.group)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn me() -> Owner {
        Owner { user: rustix::process::geteuid().as_raw(), group: rustix::process::getegid().as_raw() }
    }

    fn prepare(state: &Path, owner: Owner) -> Result<ExitCode, ToolError> {
        run(&Arguments { state: state.to_owned(), owner })
    }

    #[test]
    fn an_owner_is_two_numbers() {
        assert_eq!("65532:7".parse(), Ok(Owner { user: 65_532, group: 7 }));
        for wrong in ["65532", "tercel:tercel", "-1:-1", "4294967295:0", ":"] {
            assert!(wrong.parse::<Owner>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_missing_folder_is_made_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a/state");
        for _again in 0..2 {
            prepare(&state, me()).unwrap();
        }
        assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(owner_of(&state).unwrap(), me());
    }

    #[test]
    fn root_gives_the_folder_away_once_and_leaves_it_then() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let router = Owner { user: 65_532, group: 65_532 };
        prepare(folder.path(), router).unwrap();
        assert_eq!(owner_of(folder.path()).unwrap(), router);
        prepare(folder.path(), router).unwrap();
        let error = prepare(folder.path(), Owner { user: 7, group: 7 }).unwrap_err().to_string();
        assert!(error.contains("belongs to user 65532"), "{error}");
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("state");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(prepare(&link, me()).is_err());
    }
}
