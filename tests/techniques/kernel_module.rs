//! Rule "Linux Kernel Module Injection Detected": a module is loaded from a container that may. What is given is no module,
//! and the kernel refuses it.
//! Near misses: on the host; by one that may not.

use std::fs::File;

use nix::kmod::{ModuleInitFlags, finit_module, init_module};
use rustix::thread::CapabilitySet;

use crate::container::Layout;
use crate::release_agent::give_up;
use crate::stage::Stage;
use crate::technique::Technique;

const RULE: &str = "Linux Kernel Module Injection Detected";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("init-module", RULE, |_| {
        init_module(b"no module", c"").err();
        Ok(())
    })
    .within(Layout::PodCgroupfs),
    Technique::fires("finit-module", RULE, load_file).within(Layout::DockerCgroupfs),
    Technique::near_miss("finit-module-on-host", RULE, load_file),
    Technique::near_miss("finit-module-without-capability", RULE, |stage| {
        give_up(CapabilitySet::SYS_MODULE)?;
        load_file(stage)
    })
    .within(Layout::DockerCgroupfs),
];

fn load_file(stage: &Stage) -> anyhow::Result<()> {
    let file = File::open(stage.file("no-module.ko")?)?;
    finit_module(file, c"", ModuleInitFlags::empty()).err();
    Ok(())
}
