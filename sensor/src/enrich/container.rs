//! cgroup path → container, and what its runtime tells of it.
//!
//! The runtimes name the cgroup of a container after its id; the tables of names are Falco's. A path is looked at
//! directory by directory, leaf first, so that a container which makes cgroups of its own (systemd inside) is found too.

mod containerd;
mod cri;
mod docker;
mod grpc;
mod image;
mod inventory;
mod metadata;
mod runtimes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::notification::RemovalCause;
use moka::sync::Cache;
use tercel_sensor_abi::process::CGROUP_LEVELS_MAX;

pub use image::Image;
pub(crate) use inventory::Pending;
pub use inventory::{Inventory, METADATA_WAIT};
pub use metadata::{Labels, Metadata, Mount, Mounts};
pub use runtimes::Socket;

use super::procfs;

/// Containers that are remembered by cgroup: a node runs some hundred.
const CACHED_CGROUPS_MAX: u64 = 4_096;

/// Hexadecimal digits of an id as the runtimes name it, and as `container.id` shows it.
const FULL_ID_DIGITS: usize = 64;
pub(crate) const SHORT_ID_DIGITS: usize = 12;

/// A pod's uid: 32 hexadecimal digits, with or without four dashes.
const POD_UID_BYTES: std::ops::RangeInclusive<usize> = 32..=36;

/// Directory name before and after the id, and the runtime that says so.
const NAMES: [(&str, &str, &str); 9] = [
    ("libpod-payload-", "", "podman"),
    ("libpod-", ".scope", "podman"),
    ("libpod-", "", "podman"),
    ("docker-", ".scope", "docker"),
    ("cri-containerd-", ".scope", "containerd"),
    ("nerdctl-", ".scope", "containerd"),
    ("crio-", ".scope", "cri-o"),
    ("crio-", "", "cri-o"),
    ("", "", "docker"),
];

/// What stands between slice and id where containerd's systemd driver gets a path instead of a slice.
const CONTAINERD_COLON: &str = ":cri-containerd:";

/// containerd namespaces whose containers may have any name. Falco takes every namespace, and with it every host cgroup
/// two levels deep.
const CONTAINERD_NAMESPACES: [&str; 4] = ["buildkit", "default", "k8s.io", "moby"];

/// A container as its cgroup names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The first 12 digits of the runtime's id.
    pub id: String,
    /// The whole of it.
    pub full_id: String,
    /// `docker`, `podman`, `containerd` or `cri-o`.
    pub runtime: &'static str,
    pub pod_uid: Option<String>,
}

/// Finds and remembers the containers of processes.
#[derive(Debug)]
pub struct Containers {
    by_cgroup: Cache<u64, Option<Arc<Container>>>,
    /// Given up because there were too many.
    evicted: Arc<AtomicU64>,
    /// cgroup v1 hierarchies are mounted: the containers may be in those alone.
    has_v1: bool,
    /// There is no /proc to ask: what is known was recorded.
    is_recorded: bool,
}

impl Containers {
    /// Looks at the sensor's own cgroups to learn whether there are v1 hierarchies.
    pub fn new() -> Self {
        let own = procfs::read_cgroups(std::process::id()).unwrap_or_default();
        let has_v1 = own.lines().any(|line| !line.starts_with("0::"));
        Self { has_v1, is_recorded: false, ..Self::recorded() }
    }

    /// Knows what it is told by [`Self::learn`] and what records say, and asks nobody.
    pub(crate) fn recorded() -> Self {
        let evicted = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&evicted);
        let by_cgroup = Cache::builder().max_capacity(CACHED_CGROUPS_MAX).eviction_listener(move |_, _, cause| {
            // Not those that were replaced.
            if cause == RemovalCause::Size {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { by_cgroup: by_cgroup.build(), evicted, has_v1: false, is_recorded: true }
    }

    /// Cgroups whose containers were forgotten because there were too many.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// From now on a process in this cgroup v2 directory is in this container.
    pub(crate) fn learn(&self, cgroup_id: u64, container: Option<Container>) {
        self.by_cgroup.insert(cgroup_id, container.map(Arc::new));
    }

    /// The container of a process that reported its cgroup v2 directories, leaf first. Where those do not tell (there are
    /// more than a record holds, or v1 may know), reads `/proc/<tgid>/cgroup`; `Unknown` if the process is gone by then.
    pub fn of_record<'a>(&self, tgid: u32, cgroup_id: u64, directories: impl Iterator<Item = &'a [u8]>) -> Lookup {
        let by_v2 = match self.by_cgroup.get(&cgroup_id) {
            Some(remembered) => Lookup::Known(remembered),
            None => self.remember(cgroup_id, directories),
        };
        match by_v2 {
            Lookup::Unknown if self.is_recorded => Lookup::Unknown,
            Lookup::Known(None) if self.has_v1 => Self::of_process(tgid),
            Lookup::Unknown => Self::of_process(tgid),
            known @ Lookup::Known(_) => known,
        }
    }

    /// The container of a cgroup v2 directory that was seen before.
    pub fn of_cgroup(&self, cgroup_id: u64) -> Lookup {
        self.by_cgroup.get(&cgroup_id).map_or(Lookup::Unknown, Lookup::Known)
    }

    /// The container of a process that is in this cgroup v2 directory now, from /proc; remembered where /proc tells.
    pub fn of_process_in(&self, tgid: u32, cgroup_id: u64) -> Lookup {
        let found = Self::of_process(tgid);
        if let Lookup::Known(container) = &found {
            self.by_cgroup.insert(cgroup_id, container.clone());
        }
        found
    }

    /// `Unknown` where the record may not hold all directories, and those that it holds name no container.
    fn remember<'a>(&self, cgroup_id: u64, directories: impl Iterator<Item = &'a [u8]>) -> Lookup {
        let directories: Vec<_> = directories.map(String::from_utf8_lossy).collect();
        let container = of_directories(&directories).map(Arc::new);
        if container.is_none() && directories.len() >= CGROUP_LEVELS_MAX {
            return Lookup::Unknown;
        }
        self.by_cgroup.insert(cgroup_id, container.clone());
        Lookup::Known(container)
    }

    /// The container of a running process, from `/proc/<tgid>/cgroup`.
    pub fn of_process(tgid: u32) -> Lookup {
        match procfs::read_cgroups(tgid) {
            Some(text) => Lookup::Known(of_cgroup_file(&text).map(Arc::new)),
            None => Lookup::Unknown,
        }
    }
}

impl Default for Containers {
    fn default() -> Self {
        Self::new()
    }
}

/// One of the names that containers have for their runtimes; `None`: there is no such.
pub(crate) fn runtime(name: &str) -> Option<&'static str> {
    NAMES.iter().map(|(_, _, runtime)| *runtime).find(|runtime| *runtime == name)
}

/// The answer to which container a process is in.
#[derive(Debug)]
pub enum Lookup {
    /// `None`: in none, it belongs to the host.
    Known(Option<Arc<Container>>),
    /// Not to be found out: the process is gone.
    Unknown,
}

/// Reads the lines `hierarchy:controllers:path`; the first that names a container decides.
fn of_cgroup_file(text: &str) -> Option<Container> {
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(|path| {
        let directories: Vec<_> = path.rsplit('/').filter(|name| !name.is_empty()).collect();
        of_directories(&directories)
    })
}

/// `directories`: leaf first.
fn of_directories<S: AsRef<str>>(directories: &[S]) -> Option<Container> {
    let found = directories.iter().find_map(|name| of_name(name.as_ref()));
    let (id, runtime) = found.or_else(|| of_containerd_namespace(directories))?;
    let pod_uid = directories.iter().find_map(|name| pod_uid(name.as_ref()));
    // A bare id below a pod: dockershim is gone from Kubernetes, what is left there is containerd's cgroupfs driver.
    let runtime = if runtime == "docker" && pod_uid.is_some() { "containerd" } else { runtime };
    Some(Container { id: id.chars().take(SHORT_ID_DIGITS).collect(), full_id: id.to_owned(), runtime, pod_uid })
}

fn of_name(name: &str) -> Option<(&str, &'static str)> {
    if let Some((_, id)) = name.split_once(CONTAINERD_COLON) {
        return is_full_id(id).then_some((id, "containerd"));
    }
    NAMES.iter().find_map(|(prefix, suffix, runtime)| {
        let id = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        is_full_id(id).then_some((id, *runtime))
    })
}

/// `/<namespace>/<any name>`, as `ctr run` makes them.
fn of_containerd_namespace<S: AsRef<str>>(directories: &[S]) -> Option<(&str, &'static str)> {
    let [id, namespace] = directories else { return None };
    let id = id.as_ref();
    let is_unit = [".service", ".slice", ".scope"].iter().any(|suffix| id.ends_with(suffix));
    let is_container = !is_unit && id.len() <= FULL_ID_DIGITS && CONTAINERD_NAMESPACES.contains(&namespace.as_ref());
    is_container.then_some((id, "containerd"))
}

fn is_full_id(id: &str) -> bool {
    id.len() == FULL_ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `pod<uid>`, or `kubepods-<class>-pod<uid>.slice` with underscores for the dashes.
fn pod_uid(name: &str) -> Option<String> {
    let uid = match name.split_once(".slice") {
        Some((slice, _)) => &slice[slice.rfind("-pod")? + "-pod".len()..],
        None => name.strip_prefix("pod")?,
    };
    let is_uid = POD_UID_BYTES.contains(&uid.len())
        && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'_'));
    is_uid.then(|| uid.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2a91c07b5d0c1e8b7f6a5d4c3b2a190817263544536271809fedcba9876543";
    const UID: &str = "2a2f5c0e-7d3c-4f8e-9a77-4a1f0c6b1d22";

    /// `ID` and `UID` in the line stand for the values above; expects `runtime pod_uid?` of a container with that id.
    #[track_caller]
    fn check(line: &str, expected: Option<(&str, bool)>) {
        let line = line.replace("UID_", &UID.replace('-', "_")).replace("UID", UID).replace("ID", ID);
        let found = of_cgroup_file(&line);
        assert!(found.iter().all(|container| container.id == ID[..12]), "{found:?}");
        let found = found.as_ref().map(|container| (container.runtime, container.pod_uid.as_deref() == Some(UID)));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn docker_is_found_under_both_cgroup_drivers_and_in_v1() {
        check("0::/docker/ID", Some(("docker", false)));
        check("0::/system.slice/docker-ID.scope", Some(("docker", false)));
        check("12:cpu,cpuacct:/docker/ID\n0::/", Some(("docker", false)));
    }

    #[test]
    fn systemd_inside_a_container_does_not_hide_it() {
        check("0::/system.slice/docker-ID.scope/init.scope", Some(("docker", false)));
        check("0::/docker/ID/system.slice/ssh.service", Some(("docker", false)));
    }

    #[test]
    fn podman_is_found_rootful_and_rootless() {
        check("0::/machine.slice/libpod-ID.scope/container", Some(("podman", false)));
        check("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope", Some(("podman", false)));
        check("0::/machine.slice/libpod-payload-ID", Some(("podman", false)));
    }

    #[test]
    fn pods_are_found_with_their_uid() {
        let slice = "kubepods-burstable.slice/kubepods-burstable-podUID_.slice";
        check(&format!("0::/kubepods.slice/{slice}/cri-containerd-ID.scope"), Some(("containerd", true)));
        check(&format!("0::/kubepods.slice/{slice}/crio-ID.scope"), Some(("cri-o", true)));
        check("0::/kubepods/besteffort/podUID/ID", Some(("containerd", true)));
        check(
            "0::/system.slice/containerd.service/kubepods-podUID_.slice:cri-containerd:ID",
            Some(("containerd", true)),
        );
    }

    #[test]
    fn a_sensor_in_its_own_cgroup_namespace_sees_relative_paths_and_still_finds_them() {
        check("0::/../../kubepods-podUID_.slice/cri-containerd-ID.scope", Some(("containerd", true)));
    }

    #[test]
    fn a_named_container_of_containerd_is_found() {
        let container = of_cgroup_file("0::/default/web").unwrap();
        assert_eq!((container.id.as_str(), container.runtime), ("web", "containerd"));
    }

    #[test]
    fn a_cgroup_beyond_the_bound_pushes_out_another_and_is_counted() {
        let containers = Containers::recorded();
        // Replaced below, which pushes nobody out.
        containers.learn(0, None);
        for cgroup_id in 0..CACHED_CGROUPS_MAX + 3 {
            containers.learn(cgroup_id, None);
        }
        containers.by_cgroup.run_pending_tasks();
        let remembered = (0..CACHED_CGROUPS_MAX + 3)
            .filter(|id| matches!(containers.of_cgroup(*id), Lookup::Known(_)))
            .count() as u64;
        assert_eq!((remembered, containers.evicted()), (CACHED_CGROUPS_MAX, 3));
    }

    #[test]
    fn host_cgroups_are_no_containers() {
        check("0::/", None);
        check("0::/init.scope", None);
        check("0::/user.slice/user-0.slice/session-1.scope", None);
        check("0::/system.slice/cron.service", None);
        check("4:memory:/workers/0123456789abcdef0123456789abcdef\n0::/", None);
        check("0::/docker/ID0", None);
        check("no colons at all", None);
    }
}
