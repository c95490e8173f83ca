//! Rule "Clear Log Activities": a log is emptied.
//! Near misses: a line is added to it; another file is emptied.

use std::fs::OpenOptions;

use crate::container::Layout;
use crate::stage::Stage;
use crate::technique::Technique;

const RULE: &str = "Clear Log Activities";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("log-emptied", RULE, |stage| empty(stage, "auth.log")),
    Technique::fires("log-emptied-in-container", RULE, |stage| empty(stage, "log/syslog")).within(Layout::PodCrio),
    Technique::near_miss("log-written", RULE, |stage| {
        let path = stage.path("auth.log");
        OpenOptions::new().create(true).append(true).open(path)?;
        Ok(())
    }),
    Technique::near_miss("notes-emptied", RULE, |stage| empty(stage, "notes.txt")),
];

fn empty(stage: &Stage, name: &str) -> anyhow::Result<()> {
    let path = stage.path(name);
    std::fs::create_dir_all(stage.path("log"))?;
    OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    Ok(())
}
