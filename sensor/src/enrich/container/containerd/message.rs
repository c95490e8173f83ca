//! What is read and written of containerd's services (`api/services/*/v1/*.proto`): numbers and types are theirs. The parts
//! that nobody here reads are left out; Protocol Buffers pass over them.

use std::collections::BTreeMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetContainer {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerAnswer {
    #[prost(message, optional, tag = "1")]
    pub(super) container: Option<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListContainers {
    #[prost(string, repeated, tag = "1")]
    pub(super) filters: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Containers {
    #[prost(message, repeated, tag = "1")]
    pub(super) containers: Vec<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Container {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) labels: BTreeMap<String, String>,
    #[prost(string, tag = "3")]
    pub(super) image: String,
    /// JSON.
    #[prost(message, optional, tag = "5")]
    pub(super) spec: Option<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetImage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ImageAnswer {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(message, optional, tag = "3")]
    pub(super) target: Option<Descriptor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Descriptor {
    #[prost(string, tag = "2")]
    pub(super) digest: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Subscribe {
    #[prost(string, repeated, tag = "1")]
    pub(super) filters: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Envelope {
    #[prost(message, optional, tag = "4")]
    pub(super) event: Option<Any>,
}

/// `ContainerCreate`, `TaskCreate` and `TaskStart`: the first field of each is the container's id.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EventBody {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
}
