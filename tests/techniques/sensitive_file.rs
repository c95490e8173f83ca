//! Rules "Read sensitive file untrusted" and "Read sensitive file trusted after startup": the password hashes are read by
//! a program that has no business there; by a server that is long past its start.
//! Near misses: a program that may; a file that all may read; a server that has just started.

use std::fs::{self, File};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::container::Layout;
use crate::stage::{Stage, look_at, mount_tmpfs, own_mounts};
use crate::technique::Technique;

const UNTRUSTED: &str = "Read sensitive file untrusted";
const AFTER_STARTUP: &str = "Read sensitive file trusted after startup";

const SHADOW: &str = "/etc/shadow";

/// The rule takes a process for new in its first five seconds.
const NO_LONGER_NEW: Duration = Duration::from_millis(5_200);

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("shadow-read", UNTRUSTED, read_shadow),
    Technique::fires("shadow-read-in-container", UNTRUSTED, read_shadow).by("cat", &[SHADOW]).within(Layout::PodCrio),
    Technique::fires("pam-settings-read", UNTRUSTED, |_| read_pam()),
    Technique::near_miss("shadow-read-by-su", UNTRUSTED, read_shadow).by("su", &[]),
    Technique::near_miss("passwd-read", UNTRUSTED, |_| look_at("/etc/passwd")),
    Technique::fires("shadow-read-by-server", AFTER_STARTUP, |stage| {
        sleep(NO_LONGER_NEW);
        read_shadow(stage)
    })
    .by("nginx", &["-g", "daemon off;"]),
    Technique::near_miss("shadow-read-by-new-server", AFTER_STARTUP, read_shadow).by("nginx", &[]),
];

fn read_shadow(_: &Stage) -> anyhow::Result<()> {
    if !Path::new(SHADOW).exists() {
        own_mounts()?;
        fs::create_dir_all("/etc")?;
        mount_tmpfs(Path::new("/etc"))?;
        fs::write(SHADOW, "root:*:::::::\n")?;
    }
    File::open(SHADOW)?;
    Ok(())
}

/// In a folder that is there for this process only.
fn read_pam() -> anyhow::Result<()> {
    own_mounts()?;
    fs::create_dir_all("/etc")?;
    mount_tmpfs(Path::new("/etc"))?;
    fs::create_dir("/etc/pam.d")?;
    fs::write("/etc/pam.d/common-auth", "")?;
    File::open("/etc/pam.d/common-auth")?;
    Ok(())
}
