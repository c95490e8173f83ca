//! Rule "Execution from /dev/shm": a program is run out of shared memory, by its path, from its folder, by a shell.
//! Near misses: a folder of such a name elsewhere; a file there is only named.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use tempfile::TempDir;

use crate::container::Layout;
use crate::stage::{Stage, idle};
use crate::technique::Technique;

const RULE: &str = "Execution from /dev/shm";

const SHARED_MEMORY: &str = "/dev/shm";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("run-from-shared-memory", RULE, |stage| {
        let folder = folder()?;
        stage.watch(&mut idle(Stage::copy(folder.path(), "payload")?, &[]))
    }),
    Technique::fires("run-from-shared-memory-by-folder", RULE, |stage| {
        let folder = folder()?;
        let program = Stage::copy(folder.path(), "payload")?;
        stage.watch(idle(program, &[]).arg0("./payload").current_dir(folder.path()))
    })
    .within(Layout::PodCrio),
    Technique::fires("shell-runs-shared-memory", RULE, |stage| {
        stage.become_program("sh", &["/dev/shm/there-is-none.sh"])
    }),
    Technique::near_miss("run-from-like-folder", RULE, |stage| {
        let folder = stage.path("dev/shm");
        fs::create_dir_all(&folder)?;
        stage.watch(&mut idle(Stage::copy(&folder, "payload")?, &[]))
    }),
    Technique::near_miss("shared-memory-listed", RULE, |stage| stage.become_program("ls", &["/dev/shm/"])),
];

/// Goes when it is dropped.
fn folder() -> anyhow::Result<TempDir> {
    fs::create_dir_all(SHARED_MEMORY)?;
    Ok(tempfile::Builder::new().prefix("technique-").tempdir_in(Path::new(SHARED_MEMORY))?)
}
