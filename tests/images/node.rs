//! A containerd that stands for a node, and the DaemonSet's pod on it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use super::WITHIN;
use super::cri::{
    LinuxPodSandboxConfig, NAMESPACES, PodSandboxConfig, PodSandboxMetadata, Runtime, SandboxSecurityContext,
};
use super::manifest::{Changes, Manifest};
use crate::harness::{Process, can_watch, eventually, free_address, http_client, kernel, skipped, workspace};
use crate::runtimes::{image, run};

/// Where the lane left the images: a folder with `tercel-router.tar` and `tercel-sensor.tar`.
const IMAGES_VARIABLE: &str = "TERCEL_TEST_IMAGES";

/// What a sandbox runs, which is to wait.
const SANDBOX_IMAGE: &str = "docker.io/local/pause:1";

/// Root may lack `CAP_SYS_RESOURCE` where these tests run: hence `restrict_oom_score_adj`.
const CONFIG: &str = r#"
version = 2
root = "FOLDER/root"
state = "FOLDER/state"
[grpc]
  address = "FOLDER/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/pause:1"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
"#;

pub(super) struct Node {
    daemon: Process,
    folder: TempDir,
    runtime: Runtime,
    manifest: Manifest,
    _kernel: MutexGuard<'static, ()>,
}

pub(super) struct Pod<'a> {
    node: &'a Node,
    sandbox: String,
    /// By name.
    containers: BTreeMap<String, String>,
    logs: PathBuf,
    pub(super) sensor_metrics: SocketAddr,
    router_metrics: SocketAddr,
}

/// What the kernel says of a process.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) uid: u32,
    /// The bounding set.
    pub(super) capabilities: u64,
    /// 2: a filter.
    pub(super) seccomp: u32,
    pub(super) no_new_privs: bool,
}

impl Node {
    /// `None`: not on this machine.
    pub(super) async fn start() -> Option<Self> {
        let images = std::env::var_os(IMAGES_VARIABLE).map(PathBuf::from);
        let Some(images) = images else {
            skipped(&format!("{IMAGES_VARIABLE} names no folder of images"));
            return None;
        };
        if !can_watch() {
            return None;
        }
        let kernel = kernel().await;
        // Below /run: the path of a socket has few bytes.
        let folder = tempfile::Builder::new().prefix("tercel").tempdir_in("/run").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let config = folder.path().join("config.toml");
        fs::write(&config, CONFIG.replace("FOLDER", &folder.path().display().to_string())).unwrap();
        let daemon = Process::start(Command::new("containerd").arg("--config").arg(config));
        let socket = folder.path().join("run/containerd.sock");
        eventually("containerd answers", WITHIN, async || {
            let is_up = ctr(&socket, &["version"]).output().unwrap().status.success();
            if is_up { Ok(()) } else { Err(daemon.stderr()) }
        })
        .await;
        let pause = image::oci_archive(folder.path(), SANDBOX_IMAGE, &image::files(folder.path()));
        for archive in [images.join("tercel-router.tar"), images.join("tercel-sensor.tar"), pause] {
            run(ctr(&socket, &["images", "import"]).arg(archive));
        }
        let runtime = Runtime::connect(&socket).await;
        let manifest = Manifest::read();
        assert!(manifest.shares_process_ids(), "the test gives every container the node's process ids");
        let node = Self { daemon, folder, runtime, manifest, _kernel: kernel };
        node.lay_out();
        Some(node)
    }

    /// The router's, while a pod runs.
    pub(super) fn router_socket(&self) -> PathBuf {
        self.path("socket").join("tercel.sock")
    }

    /// Runs the DaemonSet's pod, its init container first. `without`: less this capability, everywhere.
    ///
    /// # Errors
    /// What an init container said that failed.
    pub(super) async fn pod(&self, routing: &str, without: Option<&str>) -> Result<Pod<'_>, String> {
        fs::write(self.path("routing").join("routing.toml"), routing).unwrap();
        let (sensor_metrics, router_metrics) = (free_address(), free_address());
        let uid = uuid::Uuid::now_v7().to_string();
        let logs = self.folder.path().join("logs").join(&uid);
        fs::create_dir_all(&logs).unwrap();
        let config = sandbox(&uid, &logs);
        let sandbox = self.runtime.run_sandbox(&config).await;
        let [before, containers] = self.manifest.containers(&self.changes(sensor_metrics, router_metrics), without);
        let mut pod = Pod { node: self, sandbox, containers: BTreeMap::new(), logs, sensor_metrics, router_metrics };
        for (name, container) in before {
            let id = self.runtime.start(&pod.sandbox, &config, container).await;
            pod.containers.insert(name.clone(), id);
            if pod.ended(&name, WITHIN).await != 0 {
                let said = pod.log(&name);
                pod.remove().await;
                return Err(said);
            }
        }
        for (name, container) in containers {
            let id = self.runtime.start(&pod.sandbox, &config, container).await;
            pod.containers.insert(name, id);
        }
        Ok(pod)
    }

    /// What `ConfigMap`s, the node's folder and the shared volume would hold.
    fn lay_out(&self) {
        for name in ["rules", "templates", "routing", "socket", "state"] {
            fs::create_dir_all(self.path(name)).unwrap();
        }
        for (folder, name) in [("rules", "rules"), ("templates", "templates")] {
            for entry in fs::read_dir(workspace().join(folder)).unwrap() {
                let file = entry.unwrap().path();
                if file.is_file() {
                    fs::copy(&file, self.path(name).join(file.file_name().unwrap())).unwrap();
                }
            }
        }
        // As the kubelet makes them: an emptyDir for the pod's group, the node's folder for root.
        let group = u32::try_from(self.manifest.fs_group()).unwrap();
        std::os::unix::fs::chown(self.path("socket"), None, Some(group)).unwrap();
        fs::set_permissions(self.path("socket"), fs::Permissions::from_mode(0o2777)).unwrap();
        fs::set_permissions(self.path("state"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self, volume: &str) -> PathBuf {
        self.folder.path().join("volumes").join(volume)
    }

    fn changes(&self, sensor: SocketAddr, router: SocketAddr) -> Changes {
        let volumes = ["rules", "templates", "routing", "socket", "state"].map(|name| (name, self.path(name)));
        let runtime = ("containerd", self.folder.path().join("run"));
        Changes {
            volumes: volumes.into_iter().chain([runtime]).map(|(name, path)| (name.to_owned(), path)).collect(),
            // In the node's network, where others may have the ports.
            texts: vec![
                ("0.0.0.0:2803".to_owned(), sensor.to_string()),
                ("0.0.0.0:2802".to_owned(), router.to_string()),
            ],
        }
    }
}

impl Pod<'_> {
    /// What a container wrote, as the runtime kept it.
    pub(super) fn log(&self, container: &str) -> String {
        fs::read_to_string(self.logs.join(format!("{container}.log"))).unwrap_or_default()
    }

    pub(super) async fn ready(&self, container: &str, within: Duration) {
        let address = if container == "sensor" { self.sensor_metrics } else { self.router_metrics };
        let client = http_client();
        eventually(&format!("the {container} is ready"), within, async || {
            if let Some(code) = self.node.runtime.exit_code(&self.containers[container]).await {
                panic!("the {container} ended with {code}:\n{}", self.log(container));
            }
            match client.get(format!("http://{address}/readyz")).send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                other => Err(format!("{other:?}\n{}", self.log(container))),
            }
        })
        .await;
    }

    /// The exit code.
    pub(super) async fn ended(&self, container: &str, within: Duration) -> i32 {
        eventually(&format!("the {container} ends"), within, async || {
            self.node.runtime.exit_code(&self.containers[container]).await.ok_or_else(|| self.log(container))
        })
        .await
    }

    /// Of the container's first process.
    pub(super) fn status_of(&self, container: &str) -> Status {
        let tasks = ctr(&self.node.folder.path().join("run/containerd.sock"), &["tasks", "list"]).output().unwrap();
        let tasks = String::from_utf8_lossy(&tasks.stdout).into_owned();
        let line =
            tasks.lines().find(|line| line.starts_with(&self.containers[container])).expect("the task is listed");
        let pid = line.split_whitespace().nth(1).unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_else(|| panic!("no {key} in\n{status}"))
        };
        Status {
            uid: value("Uid:").parse().unwrap(),
            capabilities: u64::from_str_radix(value("CapBnd:"), 16).unwrap(),
            seccomp: value("Seccomp:").parse().unwrap(),
            no_new_privs: value("NoNewPrivs:") == "1",
        }
    }

    /// As `kubectl delete` does it.
    pub(super) async fn remove(self) {
        self.end(30).await;
    }

    /// As `kubectl delete --force --grace-period=0`.
    pub(super) async fn kill(self) {
        self.end(0).await;
    }

    /// Both are told at once.
    async fn end(self, seconds: i64) {
        let stop = async |name: &str| {
            if let Some(id) = self.containers.get(name) {
                self.node.runtime.stop(id, seconds).await;
            }
        };
        tokio::join!(stop("sensor"), stop("router"));
        self.node.runtime.remove_sandbox(&self.sandbox).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let socket = self.folder.path().join("run/containerd.sock");
        let tasks =
            ctr(&socket, &["tasks", "list", "--quiet"]).output().map(|output| output.stdout).unwrap_or_default();
        for task in String::from_utf8_lossy(&tasks).lines() {
            ctr(&socket, &["tasks", "delete", "--force", task]).output().ok();
        }
        self.daemon.signal(Signal::TERM);
        unmount_below(self.folder.path());
    }
}

/// What a container's or sandbox's end left mounted; the folder could not go else.
fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let points: Vec<_> = points.filter(|point| Path::new(point).starts_with(folder)).collect();
    for point in points.into_iter().rev() {
        rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).ok();
    }
}

fn sandbox(uid: &str, logs: &Path) -> PodSandboxConfig {
    let (name, namespace) = ("tercel-x7x7x".to_owned(), "tercel".to_owned());
    let labels = [
        ("io.kubernetes.pod.name", name.as_str()),
        ("io.kubernetes.pod.namespace", namespace.as_str()),
        ("io.kubernetes.pod.uid", uid),
    ];
    PodSandboxConfig {
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        metadata: Some(PodSandboxMetadata { name, uid: uid.to_owned(), namespace }),
        log_directory: logs.display().to_string(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: format!("/kubepods/burstable/pod{uid}"),
            security_context: Some(SandboxSecurityContext { namespace_options: Some(NAMESPACES) }),
        }),
    }
}

/// In the namespace that CRI's images and containers are in.
fn ctr(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(socket).args(["--namespace", "k8s.io"]).args(arguments).stdin(Stdio::null());
    command
}
