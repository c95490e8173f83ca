//! The pod that a container belongs to, as the kubelet told the runtime.

use serde::{Deserialize, Serialize};

use super::container::Labels;

/// The labels that the kubelet gives to whatever it has a runtime make.
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const POD_UID: &str = "io.kubernetes.pod.uid";
const SANDBOX_ID: &str = "io.kubernetes.sandbox.id";

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub uid: Option<String>,
    /// The whole id of the container that holds its namespaces.
    pub sandbox_id: Option<String>,
    pub labels: Labels,
    pub ip: Option<String>,
    /// The interfaces that the network plugin made, as JSON.
    pub cni: Option<String>,
}

impl Pod {
    /// What a container's labels tell; `None`: it is in no pod.
    pub(crate) fn of_labels(labels: &Labels) -> Option<Self> {
        let label = |name| labels.get(name).map(str::to_owned);
        let (name, namespace) = (label(POD_NAME)?, label(POD_NAMESPACE)?);
        let (uid, sandbox_id) = (label(POD_UID), label(SANDBOX_ID));
        Some(Self { name: Some(name), namespace: Some(namespace), uid, sandbox_id, ..Self::default() })
    }

    pub(super) fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let Self { name, namespace, uid, sandbox_id, ip, cni, .. } = self;
        [name, namespace, uid, sandbox_id, ip, cni].into_iter().flatten()
    }

    pub(super) fn bytes(&self) -> usize {
        let Self { name, namespace, uid, sandbox_id, ip, cni, labels } = self;
        let texts = [name, namespace, uid, sandbox_id, ip, cni];
        labels.bytes() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}
