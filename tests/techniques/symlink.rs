//! Rule "Create Symlink Over Sensitive Files": a link to a file with secrets, or to a folder full of them.
//! Near miss: a link to another file; a link whose own name is that of a secret.

use rustix::fs::{CWD, symlinkat};
use std::os::unix::fs::symlink;

use crate::container::Layout;
use crate::technique::Technique;

const RULE: &str = "Create Symlink Over Sensitive Files";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("symlink-to-shadow", RULE, |stage| Ok(symlink("/etc/shadow", stage.path("link"))?)),
    Technique::fires("symlinkat-to-etc", RULE, |stage| Ok(symlinkat("/etc", CWD, stage.path("link"))?))
        .within(Layout::DockerCgroupfs),
    // The rule does not ask whether it worked.
    Technique::fires("symlink-that-fails", RULE, |stage| {
        symlink("/etc/sudoers", stage.path("no-folder/link")).ok();
        Ok(())
    }),
    Technique::near_miss("symlink-to-hosts", RULE, |stage| Ok(symlink("/etc/hosts", stage.path("link"))?)),
    Technique::near_miss("symlink-called-shadow", RULE, |stage| Ok(symlink("/tmp", stage.path("shadow"))?)),
];
