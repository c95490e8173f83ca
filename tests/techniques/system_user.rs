//! Rule "System user interactive": a user that is for services only runs a command in an SSH session.
//! Near misses: root does so; the same user runs it elsewhere.

use std::fs;
use std::os::unix::process::CommandExt as _;

use anyhow::Context as _;

use crate::stage::{Said, Stage, idle};
use crate::technique::Technique;

const RULE: &str = "System user interactive";

/// Of the rule's list, those that most machines have.
const USERS: [&str; 4] = ["nobody", "daemon", "bin", "www-data"];

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("system-user-in-session", RULE, command_of_system_user).by("sshd", &["-D"]).says(&[]),
    Technique::near_miss("root-in-session", RULE, |stage| stage.start("id", &[])).by("sshd", &["-D"]),
    Technique::near_miss("system-user-at-work", RULE, command_of_system_user).by("crond", &[]),
];

fn command_of_system_user(stage: &Stage) -> anyhow::Result<()> {
    let (name, uid) = system_user()?;
    stage.say(&Said::Field("user.name".to_owned(), name.into()))?;
    // That user may not be able to reach this program itself.
    let copy = Stage::copy(&stage.path("bin"), "id")?;
    stage.watch(idle(copy, &["-u"]).uid(uid).current_dir("/"))
}

fn system_user() -> anyhow::Result<(String, u32)> {
    let text = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    let users = text.lines().filter_map(|line| {
        let mut columns = line.split(':');
        Some((columns.next()?.to_owned(), columns.nth(1)?.parse().ok()?))
    });
    users.into_iter().find(|(name, _)| USERS.contains(&name.as_str())).context("/etc/passwd has no system user")
}
