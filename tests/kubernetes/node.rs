//! What stands for a node: namespaces of its own for mounts and the network, in which /run and /var are the node's and every
//! port is free, so that manifests are applied as they are; and a cgroup for all that the kubelet starts.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::receivers::{Receiver, Service};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use super::WITHIN;
use crate::containers::run;
use crate::harness::{Process, eventually, workspace};

const ENTER: &str = include_str!("node/enter.sh");
/// For the programs of a cluster, below /run/node.
const FILES: [(&str, &str); 5] = [
    ("containerd.toml", include_str!("node/containerd.toml")),
    ("kubelet.yaml", include_str!("node/kubelet.yaml")),
    ("kubeconfig.yaml", include_str!("node/kubeconfig.yaml")),
    ("tokens.csv", include_str!("node/tokens.csv")),
    ("network/network.conflist", include_str!("node/network.conflist")),
];
const CGROUPS: &str = "/sys/fs/cgroup";

pub(super) struct Node {
    /// Its namespaces are the node's.
    holder: Process,
    folder: TempDir,
    /// Below each hierarchy.
    cgroup: String,
}

impl Node {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--net", "--propagation", "private", "sh", "-c", ENTER, "enter"]).arg(folder.path());
        let holder = Process::start(&mut unshare);
        let node = Self { holder, folder, cgroup: format!("tercel-test-{}", std::process::id()) };
        eventually("the node's namespaces are laid out", WITHIN, async || {
            if node.run_folder().join("node").is_dir() { Ok(()) } else { Err(node.holder.stderr()) }
        })
        .await;
        for (name, content) in FILES {
            let file = node.run_folder().join("node").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        for hierarchy in hierarchies() {
            fs::create_dir_all(hierarchy.join(&node.cgroup)).unwrap();
        }
        node
    }

    /// As the kubelet takes it.
    pub(super) fn cgroup(&self) -> String {
        format!("/{}", self.cgroup)
    }

    /// What is /run there.
    pub(super) fn run_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// A path of the node's, mounts and all.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.holder.pid()))
    }

    /// A program that runs there, in the folder of the sources.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        let of = |kind: &str| format!("/proc/{}/ns/{kind}", self.holder.pid());
        command.arg(format!("--mount={}", of("mnt"))).arg(format!("--net={}", of("net")));
        command.arg(format!("--wdns={}", workspace().display())).arg("--").arg(program);
        command
    }

    pub(super) fn import(&self, archive: &Path) {
        run(self.command("ctr").args(["--namespace", "k8s.io", "images", "import"]).arg(archive));
    }

    /// Takes requests at this port of every address of the node.
    pub(super) fn receiver<S: Service>(&self, port: u16) -> Receiver<S> {
        let network = File::open(format!("/proc/{}/ns/net", self.holder.pid())).unwrap();
        let bind = move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            std::net::TcpListener::bind(("0.0.0.0", port)).unwrap()
        };
        // By a thread of its own, which ends in the node's network.
        Receiver::start_on(std::thread::spawn(bind).join().unwrap())
    }

    /// Names of the programs in the pods.
    pub(super) fn programs(&self) -> Vec<String> {
        let name = |pid: &Pid| fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
        self.processes().iter().filter_map(|pid| name(pid).ok()).map(|name| name.trim_end().to_owned()).collect()
    }

    /// What the node has gained below /var with this text in its name, by the uppermost folder.
    pub(super) fn gained(&self, text: &str) -> Vec<String> {
        let var = self.folder.path().join("var");
        let mut found = Vec::new();
        let mut look = vec![var.clone()];
        while let Some(folder) = look.pop() {
            for path in entries(&folder) {
                let name = path.strip_prefix(&var).unwrap().display().to_string();
                if name.contains(text) {
                    found.push(format!("/var/{name}"));
                } else if path.is_dir() && !path.is_symlink() {
                    look.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// In the pods' cgroups.
    fn processes(&self) -> Vec<Pid> {
        let mut look: Vec<_> = hierarchies().into_iter().map(|hierarchy| hierarchy.join(&self.cgroup)).collect();
        let mut pids = Vec::new();
        while let Some(cgroup) = look.pop() {
            let listed = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            pids.extend(listed.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
            look.extend(entries(&cgroup).into_iter().filter(|path| path.is_dir()));
        }
        pids.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
        pids.dedup();
        pids
    }

    /// Of the node's network, but for who holds it: what started the pods' processes.
    fn shims(&self) -> Vec<Pid> {
        let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let nodes = network(&self.holder.pid().to_string());
        let pids = entries(Path::new("/proc")).into_iter();
        let pids = pids.filter_map(|path| path.file_name().and_then(OsStr::to_str).map(str::to_owned));
        pids.filter(|pid| nodes.is_some() && network(pid) == nodes && *pid != self.holder.pid().to_string())
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
            .collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Those that start others first. Mounts, interfaces and rules for packets go with the last process of the namespaces.
        for pid in self.shims().into_iter().chain(self.processes()) {
            kill_process(pid, Signal::KILL).ok();
        }
        for _ in 0..100 {
            if self.processes().is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        for hierarchy in hierarchies() {
            remove(&hierarchy.join(&self.cgroup));
        }
    }
}

/// One folder, or one for each controller.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(CGROUPS);
    if root.join("cgroup.controllers").is_file() {
        return vec![root.to_owned()];
    }
    entries(root).into_iter().filter(|path| path.is_dir() && !path.is_symlink()).collect()
}

/// A cgroup and those below it.
fn remove(cgroup: &Path) {
    for path in entries(cgroup).into_iter().filter(|path| path.is_dir()) {
        remove(&path);
    }
    fs::remove_dir(cgroup).ok();
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()).collect()
}
