//! The programs of a cluster, on a node of a test's own: etcd, the API server, and what acts upon its objects.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::KeyPair;
use serde_json::Value;
use tokio::sync::MutexGuard;

use super::WITHIN;
use super::node::Node;
use crate::containers::{can_run, image, run};
use crate::harness::{Process, eventually, kernel, skipped};

/// Where the lane left the cluster's programs and the images.
const PROGRAMS_VARIABLE: &str = "TERCEL_TEST_KUBERNETES";
const IMAGES_VARIABLE: &str = "TERCEL_TEST_IMAGES";
const NEEDED: [&str; 6] = ["containerd", "runc", "ip", "unshare", "nsenter", "kubectl"];

const ETCD: &str = "http://127.0.0.1:2379";
pub(super) const NODE_ADDRESS: &str = "10.88.0.1";
pub(super) const NODE_NAME: &str = "node-1";

pub(super) struct Cluster {
    /// In the order in which they are stopped.
    daemons: Vec<(&'static str, Process)>,
    pub(super) node: Node,
    programs: PathBuf,
    _kernel: MutexGuard<'static, ()>,
}

impl Cluster {
    /// With an API server alone. `None`: not on this machine.
    pub(super) async fn start() -> Option<Self> {
        let Some(programs) = std::env::var_os(PROGRAMS_VARIABLE).map(PathBuf::from) else {
            skipped(&format!("{PROGRAMS_VARIABLE} names no folder of Kubernetes' programs"));
            return None;
        };
        if !can_run(&NEEDED) {
            return None;
        }
        let kernel = kernel().await;
        let node = Node::start().await;
        let mut cluster = Self { daemons: Vec::new(), node, programs, _kernel: kernel };
        cluster.run_etcd();
        cluster.run_api_server();
        eventually("the API server is ready", WITHIN, async || {
            let answer = cluster.kubectl(&["get", "--raw", "/readyz"]).output().unwrap();
            if answer.status.success() { Ok(()) } else { Err(cluster.says("kube-apiserver")) }
        })
        .await;
        Some(cluster)
    }

    /// With a node that runs pods from the images.
    pub(super) async fn start_with_node() -> Option<Self> {
        let Some(images) = std::env::var_os(IMAGES_VARIABLE).map(PathBuf::from) else {
            skipped(&format!("{IMAGES_VARIABLE} names no folder of images"));
            return None;
        };
        let mut cluster = Self::start().await?;
        cluster.run_controllers();
        cluster.run_containerd(&images).await;
        cluster.run_kubelet();
        eventually("the node is ready", WITHIN, async || {
            let node = cluster.try_object(&["get", "node", NODE_NAME]).ok_or_else(|| cluster.says("kubelet"))?;
            if is_ready(&node) { Ok(()) } else { Err(node["status"]["conditions"].to_string()) }
        })
        .await;
        Some(cluster)
    }

    pub(super) fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = self.node.command("kubectl");
        command.args(["--kubeconfig", "/run/node/kubeconfig.yaml"]);
        command.args(["--cache-dir", "/run/node/kubectl"]).args(arguments);
        command
    }

    /// What kubectl, which must succeed, says, its warnings aside.
    #[track_caller]
    pub(super) fn run(&self, arguments: &[&str]) -> String {
        run(&mut self.kubectl(arguments))
    }

    #[track_caller]
    pub(super) fn object(&self, arguments: &[&str]) -> Value {
        self.try_object(arguments).unwrap_or_else(|| panic!("nothing: {arguments:?}"))
    }

    pub(super) fn try_object(&self, arguments: &[&str]) -> Option<Value> {
        let output = self.kubectl(arguments).args(["--output", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// What one of its programs wrote.
    pub(super) fn says(&self, program: &str) -> String {
        let (_, process) = self.daemons.iter().find(|(name, _)| *name == program).expect("it was started");
        let said = process.stderr();
        let mut end = said.len().saturating_sub(4_000);
        while !said.is_char_boundary(end) {
            end += 1;
        }
        said[end..].to_owned()
    }

    fn run_etcd(&mut self) {
        let mut etcd = self.program("etcd");
        etcd.args(["--data-dir", "/run/node/etcd", "--unsafe-no-fsync", "--listen-client-urls", ETCD]);
        etcd.args(["--advertise-client-urls", ETCD, "--listen-peer-urls", "http://127.0.0.1:2380"]);
        self.add("etcd", &mut etcd);
    }

    fn run_api_server(&mut self) {
        // Tokens of service accounts are signed with it.
        let key = KeyPair::generate().unwrap();
        let folder = self.node.run_folder().join("node");
        std::fs::write(folder.join("accounts.key"), key.serialize_pem()).unwrap();
        std::fs::write(folder.join("accounts.pub"), key.public_key_pem()).unwrap();
        let mut server = self.program("kube-apiserver");
        server.args(["--etcd-servers", ETCD, "--bind-address=127.0.0.1", "--secure-port=6443", "--insecure-port=0"]);
        server.args(["--advertise-address", NODE_ADDRESS, "--endpoint-reconciler-type=none"]);
        server.args(["--service-cluster-ip-range=10.77.0.0/24", "--cert-dir=/run/node/certificates"]);
        server.args(["--token-auth-file=/run/node/tokens.csv", "--authorization-mode=Node,RBAC"]);
        server.args(["--service-account-key-file=/run/node/accounts.pub"]);
        server.args(["--service-account-signing-key-file=/run/node/accounts.key"]);
        server.args(["--service-account-issuer=https://test", "--api-audiences=https://test"]);
        server.args(["--allow-privileged=true", "--kubelet-preferred-address-types=InternalIP"]);
        self.add("kube-apiserver", &mut server);
    }

    fn run_controllers(&mut self) {
        for program in ["kube-controller-manager", "kube-scheduler"] {
            let mut command = self.program(program);
            command.args(["--kubeconfig=/run/node/kubeconfig.yaml", "--port=0", "--leader-elect=false"]);
            command.arg("--cert-dir=/run/node/certificates");
            if program == "kube-controller-manager" {
                command.arg("--service-account-private-key-file=/run/node/accounts.key");
            }
            self.add(program, &mut command);
        }
    }

    async fn run_containerd(&mut self, images: &Path) {
        let mut containerd = self.node.command("containerd");
        self.add("containerd", containerd.args(["--config", "/run/node/containerd.toml"]));
        eventually("containerd answers", WITHIN, async || {
            let answer = self.node.command("ctr").arg("version").output().unwrap();
            if answer.status.success() { Ok(()) } else { Err(self.says("containerd")) }
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        for name in [image::SANDBOX_IMAGE, "docker.io/local/bb:1"] {
            self.node.import(&image::oci_archive(folder.path(), name));
        }
        for name in ["tercel-router.tar", "tercel-sensor.tar"] {
            self.node.import(&images.join(name));
        }
    }

    fn run_kubelet(&mut self) {
        let mut kubelet = self.program("kubelet");
        kubelet.args(["--config=/run/node/kubelet.yaml", "--kubeconfig=/run/node/kubeconfig.yaml"]);
        kubelet.args(["--root-dir=/run/kubelet", "--cert-dir=/run/node/kubelet", "--runtime-cgroups=/"]);
        kubelet.args(["--container-runtime=remote"]);
        kubelet.arg("--container-runtime-endpoint=unix:///run/containerd/containerd.sock");
        kubelet.args(["--hostname-override", NODE_NAME, "--node-ip", NODE_ADDRESS]);
        kubelet.args(["--cgroup-root", &self.node.cgroup()]);
        self.add("kubelet", &mut kubelet);
    }

    fn program(&self, name: &str) -> Command {
        self.node.command(self.programs.join(name))
    }

    /// Whoever was started last ends first.
    fn add(&mut self, name: &'static str, command: &mut Command) {
        self.daemons.insert(0, (name, Process::start(command)));
    }
}

/// Whether an object's condition `Ready` holds.
pub(super) fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}
