//! What is read and written of `runtime.v1` (kubernetes/cri-api, `pkg/apis/runtime/v1/api.proto`): numbers and types are its.
//! The parts that nobody here reads are left out; Protocol Buffers pass over them.

use std::collections::BTreeMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Containers {
    #[prost(message, repeated, tag = "1")]
    pub(super) containers: Vec<Listed>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxes {
    #[prost(message, repeated, tag = "1")]
    pub(super) items: Vec<Listed>,
}

/// `Container`, `PodSandbox`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Listed {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

/// `ContainerEventResponse`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerEvent {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatusRequest {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
    #[prost(bool, tag = "2")]
    pub(super) verbose: bool,
}

/// `ContainerStatusResponse`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatus {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<Status>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) info: BTreeMap<String, String>,
}

/// `ContainerStatus`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<ContainerMetadata>,
    /// Nanoseconds since 1970, 0 before it is started.
    #[prost(int64, tag = "5")]
    pub(super) started_at: i64,
    #[prost(message, optional, tag = "8")]
    pub(super) image: Option<ImageSpec>,
    #[prost(string, tag = "9")]
    pub(super) image_ref: String,
    #[prost(btree_map = "string, string", tag = "12")]
    pub(super) labels: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "14")]
    pub(super) mounts: Vec<Mount>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ImageSpec {
    #[prost(string, tag = "1")]
    pub(super) image: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Mount {
    #[prost(string, tag = "1")]
    pub(super) container_path: String,
    #[prost(string, tag = "2")]
    pub(super) host_path: String,
    #[prost(bool, tag = "3")]
    pub(super) readonly: bool,
    #[prost(int32, tag = "5")]
    pub(super) propagation: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxStatusRequest {
    #[prost(string, tag = "1")]
    pub(super) pod_sandbox_id: String,
    #[prost(bool, tag = "2")]
    pub(super) verbose: bool,
}

/// `PodSandboxStatusResponse`
#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxStatus {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<SandboxStatus>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) info: BTreeMap<String, String>,
}

/// `PodSandboxStatus`
#[derive(Clone, PartialEq, Message)]
pub(super) struct SandboxStatus {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<PodSandboxMetadata>,
    #[prost(int64, tag = "4")]
    pub(super) created_at: i64,
    #[prost(message, optional, tag = "5")]
    pub(super) network: Option<PodSandboxNetworkStatus>,
    #[prost(message, optional, tag = "6")]
    pub(super) linux: Option<LinuxPodSandboxStatus>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxNetworkStatus {
    #[prost(string, tag = "1")]
    pub(super) ip: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LinuxPodSandboxStatus {
    #[prost(message, optional, tag = "1")]
    pub(super) namespaces: Option<Namespace>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Namespace {
    #[prost(message, optional, tag = "2")]
    pub(super) options: Option<NamespaceOption>,
}

/// Each a `NamespaceMode`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NamespaceOption {
    #[prost(int32, tag = "1")]
    pub(super) network: i32,
    #[prost(int32, tag = "2")]
    pub(super) pid: i32,
    #[prost(int32, tag = "3")]
    pub(super) ipc: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ImageStatusRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<ImageSpec>,
}

/// `ImageStatusResponse`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ImageStatus {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) repo_tags: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub(super) repo_digests: Vec<String>,
}
