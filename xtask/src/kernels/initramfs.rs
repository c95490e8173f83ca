//! What a guest has for a disk: busybox, the sensor, the techniques, the libraries of both, and the rules.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{folder, step};

const INIT: &str = include_str!("init.sh");
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n";
/// (file, what is in it)
const FILES: [(&str, &str); 9] = [
    ("etc/passwd", PASSWD),
    ("etc/group", GROUP),
    ("etc/shadow", "root:*:19000:0:99999:7:::\n"),
    ("etc/gshadow", "root:*::\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/nsswitch.conf", "hosts: files\n"),
    ("etc/hostname", "guest\n"),
    ("sensor.toml", SETTINGS),
    ("stress.yaml", STRESS_RULE),
];
/// Techniques are known by their process, which not every rule names.
const SETTINGS: &str = "append_output = [{ suggested_output = true, extra_fields = [\"proc.pid\"] }]\n";
/// Every open of the stress is one alert, and nothing else is any.
const STRESS_RULE: &str = "\
- rule: Counted open
  desc: What the stress does five thousand times.
  condition: evt.type in (open, openat, openat2) and fd.name = /stress/counted
  output: Counted
  priority: WARNING
";
const FOLDERS: [&str; 12] =
    ["bin", "dev", "etc", "lib64", "mnt", "proc", "root", "run", "stress", "sys", "tmp", "var/log"];
const PROGRAMS: [&str; 2] = ["tercel-sensor", "technique"];
const TECHNIQUE_RULES: &str = "tests/techniques/rules.yaml";
/// Falco's own rules, read where they lie beside the repository; they are not part of it.
const UPSTREAM_RULES: &str = "../shared/reference/falco-rules/falco_rules.yaml";

/// A folder that becomes a guest's root.
pub(crate) struct Initramfs {
    root: PathBuf,
    archive: PathBuf,
}

impl Initramfs {
    /// # Errors
    /// If something to put into it is missing.
    pub(crate) fn build(folder: &Path) -> Result<Self> {
        let root = folder.join("root");
        empty(&root, &FOLDERS)?;
        for (name, text) in FILES {
            let file = root.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        init(&root, INIT)?;
        for name in PROGRAMS {
            program(&root, name)?;
        }
        rules(&root)?;
        Ok(Self { root, archive: folder.join("initramfs.cpio") })
    }

    /// An archive of it, with this kernel's module.
    pub(crate) fn with_module(&self, module: &Path) -> Result<&Path> {
        copy(module, &self.root.join("overlay.ko"))?;
        pack(&self.root, &self.archive)?;
        Ok(&self.archive)
    }
}

/// A folder with these folders in it and nothing else.
pub(crate) fn empty(root: &Path, folders: &[&str]) -> Result<()> {
    folder::empty(root)?;
    for name in folders {
        fs::create_dir_all(root.join(name)).with_context(|| format!("cannot create {name} for the guest"))?;
    }
    Ok(())
}

/// The first process, a script, and busybox that runs it.
pub(crate) fn init(root: &Path, script: &str) -> Result<()> {
    let init = root.join("init");
    fs::write(&init, script).context("cannot write the guest's init")?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).context("cannot make init a program")?;
    copy(&step::find("busybox").context("no busybox on the PATH")?, &root.join("bin/busybox"))
}

/// A program of the debug build. Libraries rather than static programs: the build that all lanes share will do.
pub(crate) fn program(root: &Path, name: &str) -> Result<()> {
    let program = step::target().join("debug").join(name);
    step::run(Command::new("strip").arg("-o").arg(root.join("bin").join(name)).arg(&program))?;
    for library in libraries(&step::read(Command::new("ldd").arg(&program))?) {
        let place = root.join(library.strip_prefix("/").unwrap_or(library));
        fs::create_dir_all(place.parent().context("a library lies in a folder")?)?;
        copy(library, &place)?;
    }
    Ok(())
}

/// An archive of the folder.
pub(crate) fn pack(root: &Path, archive: &Path) -> Result<()> {
    let mut pack = Command::new("sh");
    pack.args(["-c", "find . | cpio --create --format=newc --quiet >\"$0\""]).arg(archive);
    step::run(pack.current_dir(root))
}

/// The files that `ldd` names, each as `NAME => /FILE (ADDRESS)` or, the linker itself, `/FILE (ADDRESS)`.
fn libraries(ldd: &str) -> Vec<&Path> {
    let words = ldd.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(Path::new).collect()
}

fn rules(root: &Path) -> Result<()> {
    let place = root.join("rules");
    fs::create_dir_all(&place).context("cannot create the guest's rules")?;
    let shipped = step::workspace().join("rules");
    for entry in fs::read_dir(&shipped).with_context(|| format!("cannot read {}", shipped.display()))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            copy(&file, &place.join(file.file_name().context("a file has a name")?))?;
        }
    }
    copy(&step::workspace().join(TECHNIQUE_RULES), &root.join("odd.yaml"))?;
    let upstream = step::workspace().join(UPSTREAM_RULES);
    if upstream.exists() {
        return copy(&upstream, &root.join("stable.yaml"));
    }
    step::note(format!("{UPSTREAM_RULES} is not there: its techniques are left out"));
    Ok(())
}

pub(crate) fn copy(file: &Path, place: &Path) -> Result<()> {
    fs::copy(file, place).map(drop).with_context(|| format!("cannot copy {} for the guest", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_files_that_ldd_names() {
        let ldd = "\tlinux-vdso.so.1 (0x00007fff)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(libraries(ldd), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(Path::new));
    }
}
