//! Containers, as far as a sensor can tell from outside: a cgroup named as the runtimes name theirs.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context as _;

/// A cgroup may be busy for a moment after its last process ended.
const REMOVALS_MAX: u32 = 100;
const BETWEEN_REMOVALS: Duration = Duration::from_millis(5);

/// Who made the container, and which cgroup driver it used.
#[derive(Clone, Copy)]
pub(crate) enum Layout {
    DockerCgroupfs,
    DockerSystemd,
    PodCgroupfs,
    PodContainerd,
    PodContainerdColon,
    PodCrio,
    Podman,
    Nerdctl,
}

/// The cgroup of one container. Goes, with what was made for it, when it is dropped; it must be empty then.
pub(crate) struct Container {
    path: PathBuf,
    /// Folders that were made, outermost first.
    made: Vec<PathBuf>,
    id: String,
}

impl Layout {
    fn folders(self, id: &str, pod: &str) -> Vec<String> {
        let slice = format!("kubepods-burstable-pod{}.slice", pod.replace('-', "_"));

        match self {
            Self::DockerCgroupfs => vec!["docker".to_owned(), id.to_owned()],
            Self::DockerSystemd => vec!["system.slice".to_owned(), format!("docker-{id}.scope")],
            Self::PodCgroupfs => {
                vec!["kubepods".to_owned(), "burstable".to_owned(), format!("pod{pod}"), id.to_owned()]
            }
            Self::PodContainerd => in_slices(slice, format!("cri-containerd-{id}.scope")),
            Self::PodContainerdColon => vec!["system.slice".to_owned(), format!("{slice}:cri-containerd:{id}")],
            Self::PodCrio => in_slices(slice, format!("crio-{id}.scope")),
            Self::Podman => {
                vec!["machine.slice".to_owned(), format!("libpod-{id}.scope"), "container".to_owned()]
            }
            Self::Nerdctl => vec!["system.slice".to_owned(), format!("nerdctl-{id}.scope")],
        }
    }
}

fn in_slices(slice: String, scope: String) -> Vec<String> {
    vec!["kubepods.slice".to_owned(), "kubepods-burstable.slice".to_owned(), slice, scope]
}

impl Container {
    pub(crate) fn make(layout: Layout) -> anyhow::Result<Self> {
        let id = format!("{}{}", uuid()?, uuid()?).replace('-', "");
        let mut container = Self { path: mount_point()?, made: Vec::new(), id: id.clone() };
        for name in layout.folders(&id, &uuid()?) {
            container.path.push(name);
            if !container.path.exists() {
                fs::create_dir(&container.path).with_context(|| container.path.display().to_string())?;
                container.made.push(container.path.clone());
            }
        }
        Ok(container)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// As alerts show it.
    pub(crate) fn short_id(&self) -> &str {
        &self.id[..12]
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            // What somebody else uses by now stays.
            let busy = || fs::remove_dir(folder).is_err_and(|error| error.kind() == std::io::ErrorKind::ResourceBusy);
            (0..REMOVALS_MAX).take_while(|_| busy()).for_each(|_| sleep(BETWEEN_REMOVALS));
        }
    }
}

/// Moves this process.
pub(crate) fn enter(cgroup: &Path) -> anyhow::Result<()> {
    let file = cgroup.join("cgroup.procs");
    fs::write(&file, std::process::id().to_string()).with_context(|| file.display().to_string())
}

fn uuid() -> anyhow::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim_end().to_owned())
}

fn mount_point() -> anyhow::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let path = mount.and_then(|line| line.split(' ').nth(1)).context("cgroup2 is not mounted; mount it")?;
    Ok(path.into())
}
