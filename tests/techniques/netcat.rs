//! Rule "Netcat Remote Code Execution in Container": netcat is told to hand its connection to a program.
//! Near misses: it only connects; on the host.

use crate::container::Layout;
use crate::technique::Technique;

const RULE: &str = "Netcat Remote Code Execution in Container";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("nc-with-program", RULE, |stage| stage.become_program("nc", &["127.0.0.1", "9", "-e", "/bin/sh"]))
        .within(Layout::DockerSystemd),
    Technique::fires("ncat-with-program", RULE, |stage| {
        stage.become_program("ncat", &["--sh-exec", "id", "127.0.0.1", "9"])
    })
    .within(Layout::Nerdctl),
    Technique::near_miss("nc-alone", RULE, |stage| stage.become_program("nc", &["-z", "127.0.0.1", "9"]))
        .within(Layout::DockerSystemd),
    Technique::near_miss("nc-with-program-on-host", RULE, |stage| {
        stage.become_program("nc", &["127.0.0.1", "9", "-e", "/bin/sh"])
    }),
];
