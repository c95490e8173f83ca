//! What a kubelet asks of a runtime: just enough of `runtime.v1` (kubernetes/cri-api) to have a pod run.

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

pub(super) struct Kubelet {
    channel: Channel,
}

/// A pod that runs.
pub(super) struct Pod {
    pub(super) uid: String,
    sandbox_id: String,
    config: PodSandboxConfig,
}

impl Kubelet {
    pub(super) async fn connect(socket: &Path) -> Self {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
        Self { channel: endpoint.connect().await.unwrap() }
    }

    pub(super) async fn run_pod(&self, name: &str, namespace: &str, labels: &[(&str, &str)]) -> Pod {
        let uid = uuid::Uuid::now_v7().to_string();
        let own = [
            ("io.kubernetes.pod.name", name),
            ("io.kubernetes.pod.namespace", namespace),
            ("io.kubernetes.pod.uid", &uid),
        ];
        let metadata = PodSandboxMetadata { name: name.to_owned(), uid: uid.clone(), namespace: namespace.to_owned() };
        let config = PodSandboxConfig {
            metadata: Some(metadata),
            labels: map(&[&own, labels].concat()),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: format!("/kubepods/besteffort/pod{uid}"),
                security_context: Some(SecurityContext { namespace_options: Some(NAMESPACES) }),
            }),
            ..PodSandboxConfig::default()
        };
        let request = RunPodSandbox { config: Some(config.clone()) };
        let Id { id: sandbox_id } = self.ask("RunPodSandbox", request).await;
        Pod { uid, sandbox_id, config }
    }

    /// The container's id.
    pub(super) async fn run_container(&self, pod: &Pod, name: &str, image: &str, command: &[&str]) -> String {
        let labels = map(&[("io.kubernetes.container.name", name)]);
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned() }),
            image: Some(ImageSpec { image: image.to_owned() }),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            labels: pod.config.labels.clone().into_iter().chain(labels).collect(),
            linux: Some(LinuxContainerConfig {
                security_context: Some(ContainerSecurityContext { namespace_options: Some(NAMESPACES) }),
            }),
        };
        let request = CreateContainer {
            pod_sandbox_id: pod.sandbox_id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        let Id { id } = self.ask("CreateContainer", request).await;
        let Empty {} = self.ask("StartContainer", Id { id: id.clone() }).await;
        id
    }

    pub(super) async fn exec(&self, container: &str, command: &[&str]) {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let Empty {} =
            self.ask("ExecSync", ExecSync { container_id: container.to_owned(), command, timeout: 30 }).await;
    }

    pub(super) async fn remove_pod(&self, pod: &Pod) {
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let Empty {} = self.ask(method, Id { id: pod.sandbox_id.clone() }).await;
        }
    }

    async fn ask<Q, A>(&self, method: &str, request: Q) -> A
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{method}").parse().unwrap();
        let answer = grpc.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await;
        answer.unwrap_or_else(|status| panic!("{method}: {status}")).into_inner()
    }
}

/// The host's network: there is no plugin to make another.
const NAMESPACES: NamespaceOption = NamespaceOption { network: NODE, pid: CONTAINER };

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
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
struct RunPodSandbox {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(string, tag = "2")]
    hostname: String,
    #[prost(btree_map = "string, string", tag = "6")]
    labels: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxPodSandboxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security_context: Option<SecurityContext>,
}

#[derive(Clone, PartialEq, Message)]
struct SecurityContext {
    #[prost(message, optional, tag = "1")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
struct NamespaceOption {
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
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(btree_map = "string, string", tag = "9")]
    labels: BTreeMap<String, String>,
    #[prost(message, optional, tag = "15")]
    linux: Option<LinuxContainerConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxContainerConfig {
    #[prost(message, optional, tag = "2")]
    security_context: Option<ContainerSecurityContext>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerSecurityContext {
    #[prost(message, optional, tag = "3")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
struct ExecSync {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(string, repeated, tag = "2")]
    command: Vec<String>,
    #[prost(int64, tag = "3")]
    timeout: i64,
}
