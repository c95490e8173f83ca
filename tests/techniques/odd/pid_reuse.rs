//! Rule "Process with a number that was another's": one process ends, another gets its number, and what it does is not
//! the first one's. The kernel is told to give the number out again.

use std::fs;

use anyhow::{Context as _, bail};

use crate::stage::{Said, Stage, create};
use crate::technique::Technique;

const RULE: &str = "Process with a number that was another's";

const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// Others start processes as well, and are quicker now and then.
const TRIES: usize = 200;

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("number-used-again", RULE, |stage| match stage.step() {
        "" => reuse(stage),
        _ => create(stage.path(stage.step())),
    })
    .says(&[("proc.name", "second-owner")]),
    Technique::near_miss("number-used-once", RULE, |stage| match stage.step() {
        "" => stage.watch(stage.partner("first-owner", "reused")?.arg("first")),
        _ => create(stage.path(stage.step())),
    }),
];

fn reuse(stage: &Stage) -> anyhow::Result<()> {
    for _ in 0..TRIES {
        let mut first = stage.partner("first-owner", "first")?.spawn()?;
        let pid = first.id();
        first.wait()?;
        fs::write(LAST_PID, (pid - 1).to_string()).context(LAST_PID)?;
        let mut second = stage.partner("second-owner", "reused")?.arg("second").spawn()?;
        let again = second.id();
        second.wait()?;
        if again == pid {
            return stage.say(&Said::Pid(pid));
        }
    }
    bail!("{LAST_PID}: in {TRIES} tries no number was given out twice")
}
