//! Rule "Detect `release_agent` File Container Escapes": a container writes a file of that name. It is an ordinary file in
//! the technique's own folder.
//! Near misses: on the host; it reads it; it lacks the capability.

use std::fs::OpenOptions;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::container::Layout;
use crate::stage::{Stage, look_at};
use crate::technique::Technique;

const RULE: &str = "Detect release_agent File Container Escapes";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("release-agent-written", RULE, write).within(Layout::PodContainerdColon),
    Technique::near_miss("release-agent-written-on-host", RULE, write),
    Technique::near_miss("release-agent-read", RULE, |stage| {
        // Made under another name: to write it would be the technique itself.
        let (made, named) = (stage.file("agent")?, stage.path("release_agent"));
        std::fs::rename(made, &named)?;
        look_at(named)
    })
    .by("reader", &[])
    .within(Layout::PodContainerdColon),
    Technique::near_miss("release-agent-without-capability", RULE, |stage| {
        give_up(CapabilitySet::SYS_ADMIN)?;
        write(stage)
    })
    .within(Layout::PodContainerdColon),
];

fn write(stage: &Stage) -> anyhow::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).open(stage.path("release_agent"))?;
    Ok(())
}

/// For this process, for good.
pub(crate) fn give_up(capability: CapabilitySet) -> anyhow::Result<()> {
    let mut sets = capabilities(None)?;
    sets.effective.remove(capability);
    sets.permitted.remove(capability);
    Ok(set_capabilities(None, sets)?)
}
