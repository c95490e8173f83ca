//! A cgroup that looks as a Kubernetes pod's, for processes to be put into.

use std::fs;
use std::path::{Path, PathBuf};

/// The cgroup of one container. Goes, with what was made for it, when it is dropped; it must be empty then.
pub(crate) struct Pod {
    path: PathBuf,
    /// Folders that were made, outermost first.
    made: Vec<PathBuf>,
    id: String,
}

impl Pod {
    /// As the kubelet's cgroupfs driver names it.
    pub(crate) fn new() -> Self {
        let id = format!("{0}{0}", uuid::Uuid::now_v7().simple());
        let names = ["kubepods", "besteffort", &format!("pod{}", uuid::Uuid::now_v7()), &id];
        let mut pod = Self { path: mount_point(), made: Vec::new(), id: id.clone() };
        for name in names {
            pod.path.push(name);
            if !pod.path.exists() {
                fs::create_dir(&pod.path).unwrap_or_else(|error| panic!("{}: {error}", pod.path.display()));
                pod.made.push(pod.path.clone());
            }
        }
        pod
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// As alerts show it.
    pub(crate) fn container_id(&self) -> &str {
        &self.id[..12]
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            // What somebody else uses by now stays.
            fs::remove_dir(folder).ok();
        }
    }
}

fn mount_point() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    mount.and_then(|line| line.split(' ').nth(1)).expect("cgroup2 is mounted").into()
}
