//! What a kubelet asks of a runtime: as much of `runtime.v1` (kubernetes/cri-api) as the pods of tests take.

use std::collections::BTreeMap;
use std::path::Path;

use http::uri::PathAndQuery;
use prost::Message;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// `NamespaceMode`
const CONTAINER: i32 = 1;
const NODE: i32 = 2;
/// There is no network plugin to make another network than the node's.
pub(crate) const OWN_PROCESSES: NamespaceOption = NamespaceOption { network: NODE, pid: CONTAINER };
pub(crate) const NODES_PROCESSES: NamespaceOption = NamespaceOption { network: NODE, pid: NODE };

/// For one command in a container.
const EXEC_WITHIN_S: i64 = 30;

/// What the kubelet has hidden and protected of /proc and /sys where a pod says nothing of it.
pub(crate) const MASKED_PATHS: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
pub(crate) const READ_ONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(crate) struct Runtime {
    channel: Channel,
}

impl Runtime {
    pub(crate) async fn connect(socket: &Path) -> Self {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
        Self { channel: endpoint.connect().await.unwrap() }
    }

    /// The sandbox's id.
    pub(crate) async fn run_sandbox(&self, config: &PodSandboxConfig) -> String {
        let Id { id } = self.ask("RunPodSandbox", RunPodSandbox { config: Some(config.clone()) }).await.unwrap();
        id
    }

    /// The container's id.
    pub(crate) async fn start(&self, sandbox: &str, pod: &PodSandboxConfig, config: ContainerConfig) -> String {
        let request = CreateContainer {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(pod.clone()),
        };
        let Id { id } = self.ask("CreateContainer", request).await.unwrap();
        let Empty {} = self.ask("StartContainer", Id { id: id.clone() }).await.unwrap();
        id
    }

    /// Runs a command in a container, to its end.
    pub(crate) async fn exec(&self, container: &str, command: &[&str]) {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let request = ExecSync { container_id: container.to_owned(), command, timeout_s: EXEC_WITHIN_S };
        let Empty {} = self.ask("ExecSync", request).await.unwrap();
    }

    /// Its exit code, if it has ended.
    pub(crate) async fn exit_code(&self, id: &str) -> Option<i32> {
        const EXITED: i32 = 2;
        let answer: StatusAnswer = self.ask("ContainerStatus", Id { id: id.to_owned() }).await.unwrap();
        answer.status.filter(|status| status.state == EXITED).map(|status| status.exit_code)
    }

    /// SIGTERM, and SIGKILL after so many seconds.
    pub(crate) async fn stop(&self, id: &str, seconds: i64) {
        let Empty {} = self.ask("StopContainer", StopContainer { id: id.to_owned(), seconds }).await.unwrap();
    }

    pub(crate) async fn remove_sandbox(&self, id: &str) {
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let Empty {} = self.ask(method, Id { id: id.to_owned() }).await.unwrap();
        }
    }

    async fn ask<Q, A>(&self, method: &str, request: Q) -> Result<A, String>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| error.to_string())?;
        let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{method}").parse().unwrap();
        let answer = grpc.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await;
        Ok(answer.map_err(|status| format!("{method}: {status}"))?.into_inner())
    }
}

impl PodSandboxConfig {
    /// Of a pod in this class of service (`burstable`, `besteffort`), as a kubelet names its cgroup and labels. Logs go nowhere.
    pub(crate) fn new(metadata: PodSandboxMetadata, class: &str, namespaces: NamespaceOption) -> Self {
        let labels = [
            ("io.kubernetes.pod.name", &metadata.name),
            ("io.kubernetes.pod.namespace", &metadata.namespace),
            ("io.kubernetes.pod.uid", &metadata.uid),
        ];
        Self {
            labels: labels.map(|(key, value)| (key.to_owned(), value.clone())).into(),
            log_directory: String::new(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: format!("/kubepods/{class}/pod{}", metadata.uid),
                security_context: Some(SandboxSecurityContext { namespace_options: Some(namespaces) }),
            }),
            metadata: Some(metadata),
        }
    }
}

impl PodSandboxMetadata {
    pub(crate) fn new(name: &str, namespace: &str) -> Self {
        let uid = uuid::Uuid::now_v7().to_string();
        Self { name: name.to_owned(), uid, namespace: namespace.to_owned() }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Empty {}

/// Requests and answers of which the first field is an id.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct StopContainer {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(int64, tag = "2")]
    seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ExecSync {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(string, repeated, tag = "2")]
    command: Vec<String>,
    #[prost(int64, tag = "3")]
    timeout_s: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StatusAnswer {
    #[prost(message, optional, tag = "1")]
    status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerStatus {
    #[prost(int32, tag = "3")]
    state: i32,
    #[prost(int32, tag = "7")]
    exit_code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandbox {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(string, tag = "3")]
    pub(crate) log_directory: String,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) uid: String,
    #[prost(string, tag = "3")]
    pub(crate) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxPodSandboxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security_context: Option<SandboxSecurityContext>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxSecurityContext {
    #[prost(message, optional, tag = "1")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
    #[prost(int32, tag = "2")]
    pid: i32,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainer {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    pub(crate) image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    pub(crate) command: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub(crate) args: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) envs: Vec<KeyValue>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) mounts: Vec<Mount>,
    #[prost(btree_map = "string, string", tag = "9")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(string, tag = "11")]
    pub(crate) log_path: String,
    #[prost(message, optional, tag = "15")]
    pub(crate) linux: Option<LinuxContainerConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImageSpec {
    #[prost(string, tag = "1")]
    pub(crate) image: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Mount {
    #[prost(string, tag = "1")]
    pub(crate) container_path: String,
    #[prost(string, tag = "2")]
    pub(crate) host_path: String,
    #[prost(bool, tag = "3")]
    pub(crate) readonly: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LinuxContainerConfig {
    #[prost(message, optional, tag = "2")]
    pub(crate) security_context: Option<ContainerSecurityContext>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerSecurityContext {
    #[prost(message, optional, tag = "1")]
    pub(crate) capabilities: Option<Capability>,
    #[prost(message, optional, tag = "3")]
    pub(crate) namespace_options: Option<NamespaceOption>,
    #[prost(message, optional, tag = "5")]
    pub(crate) run_as_user: Option<Int64Value>,
    #[prost(bool, tag = "7")]
    pub(crate) readonly_rootfs: bool,
    #[prost(int64, repeated, tag = "8")]
    pub(crate) supplemental_groups: Vec<i64>,
    #[prost(bool, tag = "11")]
    pub(crate) no_new_privs: bool,
    #[prost(message, optional, tag = "12")]
    pub(crate) run_as_group: Option<Int64Value>,
    #[prost(string, repeated, tag = "13")]
    pub(crate) masked_paths: Vec<String>,
    #[prost(string, repeated, tag = "14")]
    pub(crate) readonly_paths: Vec<String>,
    #[prost(message, optional, tag = "15")]
    pub(crate) seccomp: Option<SecurityProfile>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Capability {
    #[prost(string, repeated, tag = "1")]
    pub(crate) add: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) drop: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Int64Value {
    #[prost(int64, tag = "1")]
    pub(crate) value: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SecurityProfile {
    #[prost(int32, tag = "1")]
    pub(crate) profile_type: i32,
}

impl SecurityProfile {
    pub(crate) const RUNTIME_DEFAULT: i32 = 0;
    pub(crate) const UNCONFINED: i32 = 1;
}
