//! Rule "Run shell untrusted": a server starts a shell.
//! Near misses: the server starts something else; something else starts a shell; a shell that a server started starts one.

use crate::container::Layout;
use crate::technique::Technique;

const RULE: &str = "Run shell untrusted";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("shell-from-server", RULE, |stage| stage.start("sh", &["-c", "id; uname -a"])).by("nginx", &[]),
    Technique::fires("shell-from-server-in-container", RULE, |stage| stage.start("bash", &["-i"]))
        .by("redis-server", &["*:6379"])
        .within(Layout::PodContainerd),
    Technique::fires("shell-from-server-by-another-program", RULE, |stage| match stage.step() {
        "" => {
            let status = stage.partner("php-cgi", "php")?.status()?;
            anyhow::ensure!(status.success(), "{status}");
            Ok(())
        }
        _ => stage.start("dash", &["-c", "id"]),
    })
    .by("lighttpd", &[]),
    Technique::near_miss("program-from-server", RULE, |stage| stage.start("gzip", &["-c", "x"])).by("nginx", &[]),
    Technique::near_miss("shell-from-builder", RULE, |stage| stage.start("sh", &["-c", "id; uname -a"]))
        .by("make", &[]),
    Technique::near_miss("shell-from-server-as-known", RULE, |stage| stage.start("sh", &["-c", "whoami"]))
        .by("httpd", &[]),
];
