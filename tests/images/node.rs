//! A containerd that stands for a node, and the DaemonSet's pod on it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::MutexGuard;

use super::WITHIN;
use super::manifest::{Changes, Manifest};
use crate::containers::Containerd;
use crate::containers::cri::{NODES_PROCESSES, PodSandboxConfig, PodSandboxMetadata, Runtime};
use crate::harness::{can_watch, eventually, free_address, http_client, kernel, skipped, workspace};

/// Where the lane left the images: a folder with `tercel-router.tar` and `tercel-sensor.tar`.
const IMAGES_VARIABLE: &str = "TERCEL_TEST_IMAGES";

pub(super) struct Node {
    containerd: Containerd,
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
        let containerd = Containerd::start().await;
        for archive in ["tercel-router.tar", "tercel-sensor.tar"] {
            containerd.import(&images.join(archive));
        }
        let runtime = Runtime::connect(&containerd.socket()).await;
        let manifest = Manifest::read();
        assert!(manifest.shares_process_ids(), "the test gives every container the node's process ids");
        let node = Self { containerd, runtime, manifest, _kernel: kernel };
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
        let metadata = PodSandboxMetadata::new("tercel-x7x7x", "tercel");
        let logs = self.containerd.folder().join("logs").join(&metadata.uid);
        fs::create_dir_all(&logs).unwrap();
        let mut config = PodSandboxConfig::new(metadata, "burstable", NODES_PROCESSES);
        config.log_directory = logs.display().to_string();
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
        self.containerd.folder().join("volumes").join(volume)
    }

    fn changes(&self, sensor: SocketAddr, router: SocketAddr) -> Changes {
        let volumes = ["rules", "templates", "routing", "socket", "state"].map(|name| (name, self.path(name)));
        let runtime = ("containerd", self.containerd.socket_folder());
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
        let tasks = self.node.containerd.ctr(&["tasks", "list"]).output().unwrap();
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
