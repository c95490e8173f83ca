//! Rule "Drop and execute new binary in container": a program is run that the container's image did not bring. The image
//! is the lower layer of an overlay that this process alone has mounted.
//! Near misses: a program of the image; a new one on the host.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use rustix::mount::{MountFlags, mount};

use crate::container::Layout;
use crate::stage::{Stage, idle, mount_tmpfs, own_mounts};
use crate::technique::Technique;

const RULE: &str = "Drop and execute new binary in container";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("dropped-program", RULE, run_dropped).within(Layout::PodContainerd),
    Technique::fires("changed-program", RULE, |stage| {
        let root = overlay(stage)?;
        let program = root.join("brought");
        // Its first change copies it into the upper layer.
        fs::set_permissions(&program, fs::metadata(&program)?.permissions())?;
        stage.watch(&mut idle(program, &[]))
    })
    .within(Layout::DockerSystemd),
    Technique::near_miss("program-of-image", RULE, |stage| {
        let root = overlay(stage)?;
        stage.watch(&mut idle(root.join("brought"), &[]))
    })
    .within(Layout::PodContainerd),
    Technique::near_miss("dropped-program-on-host", RULE, run_dropped),
];

fn run_dropped(stage: &Stage) -> anyhow::Result<()> {
    let root = overlay(stage)?;
    stage.watch(&mut idle(Stage::copy(&root, "dropped")?, &[]))
}

/// The root folder of an image with one program.
fn overlay(stage: &Stage) -> anyhow::Result<PathBuf> {
    own_mounts()?;
    let base = stage.path("layers");
    fs::create_dir(&base)?;
    // Not every file system can be an upper layer.
    mount_tmpfs(&base)?;
    for folder in ["lower", "upper", "work", "root"] {
        fs::create_dir(base.join(folder))?;
    }
    Stage::copy(&base.join("lower"), "brought")?;
    let place = base.display();
    let options = format!("lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work");
    let root = base.join("root");
    mount("overlay", &root, "overlay", MountFlags::empty(), CString::new(options)?.as_c_str())
        .with_context(|| format!("an overlay at {}", root.as_os_str().as_bytes().escape_ascii()))?;
    Ok(root)
}
