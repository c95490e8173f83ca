//! Rule "Debugfs Launched in Privileged Container". Whether a container is privileged is known to its runtime.
//! Near misses: on the host; another program.

use crate::container::Layout;
use crate::technique::Technique;

const RULE: &str = "Debugfs Launched in Privileged Container";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("debugfs", RULE, |stage| stage.become_program("debugfs", &["-V"])).within(Layout::DockerSystemd),
    Technique::near_miss("debugfs-on-host", RULE, |stage| stage.become_program("debugfs", &["-V"])),
    Technique::near_miss("dumpe2fs", RULE, |stage| stage.become_program("dumpe2fs", &["-V"]))
        .within(Layout::DockerSystemd),
];
