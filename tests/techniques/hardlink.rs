//! Rule "Create Hardlink Over Sensitive Files": another name for a file with secrets. It is made where there is no folder,
//! so that it always fails; the rule does not ask whether it worked.
//! Near miss: another name for another file.

use std::fs;

use rustix::fs::{AtFlags, Mode, OFlags, link, linkat, open};

use crate::container::Layout;
use crate::technique::Technique;

const RULE: &str = "Create Hardlink Over Sensitive Files";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("hardlink-to-shadow", RULE, |stage| {
        link("/etc/shadow", stage.path("no-folder/link")).ok();
        Ok(())
    }),
    Technique::fires("linkat-to-shadow-by-folder", RULE, |stage| {
        let etc = open("/etc", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        linkat(&etc, "shadow", &etc, stage.path("no-folder/link"), AtFlags::empty()).ok();
        Ok(())
    })
    .within(Layout::Podman),
    Technique::near_miss("hardlink-to-own-file", RULE, |stage| {
        Ok(fs::hard_link(stage.file("shadow")?, stage.path("link"))?)
    }),
];
