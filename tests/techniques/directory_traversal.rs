//! Rule "Directory traversal monitored file read": a file below /etc is reached by climbing out of another folder.
//! Near misses: one step up only; no step at all; many steps to a file that nobody minds.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use crate::container::Layout;
use crate::stage::Stage;
use crate::technique::Technique;

const RULE: &str = "Directory traversal monitored file read";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("traversal-to-etc", RULE, |_| open("/proc/../tmp/../etc/passwd")),
    Technique::fires("traversal-that-fails", RULE, |stage| open(climb(stage, "etc/there-is-none")?))
        .within(Layout::DockerCgroupfs),
    Technique::near_miss("one-step-to-etc", RULE, |_| open("/tmp/../etc/passwd")),
    Technique::near_miss("straight-to-etc", RULE, |_| open("/etc/passwd")),
    Technique::near_miss("traversal-elsewhere", RULE, |_| open("/proc/../tmp/../proc/version")),
];

/// From the working directory, however deep, to the root and down again.
fn climb(stage: &Stage, path: &str) -> anyhow::Result<String> {
    let folder = stage.path("");
    std::env::set_current_dir(&folder)?;
    Ok(format!("{}{path}", "../".repeat(folder.components().count() - 1)))
}

/// A file that is not there counts as well; nothing else may go wrong.
fn open(path: impl AsRef<Path>) -> anyhow::Result<()> {
    match File::open(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
