//! Rule "Remove Bulk Data from Disk": a program whose work is to destroy data.
//! Near miss: a program with a similar name.

use crate::technique::Technique;

const RULE: &str = "Remove Bulk Data from Disk";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("shred", RULE, |stage| stage.become_program("shred", &["--help"])),
    Technique::fires("mkfs", RULE, |stage| stage.become_program("mke2fs", &["-V"])),
    Technique::near_miss("shredder", RULE, |stage| stage.become_program("shredder", &["--help"])),
    Technique::near_miss("shred-as-word", RULE, |stage| stage.become_program("man", &["shred"])),
];
