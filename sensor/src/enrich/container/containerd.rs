//! containerd's own API, which also knows the containers that no kubelet had made: by `ctr`, `nerdctl`, `BuildKit`.
//!
//! Its events come before a container's first process runs, in versions whose kubelet API has none, too.

mod message;

use std::path::Path;

use serde::Deserialize;
use tokio::sync::mpsc::{self, Receiver};

use super::grpc::{Client, in_namespace};
use super::image::Image;
use super::metadata::{Labels, Metadata, Mount};
use super::runtimes::{EVENTS_MAX, Error, Notice, Running, Runtime};
use super::{CONTAINERD_NAMESPACES, cri};
use message::{
    Container, ContainerAnswer, Containers, Envelope, EventBody, GetContainer, GetImage, ImageAnswer, ListContainers,
    Subscribe,
};

const GET_CONTAINER: &str = "/containerd.services.containers.v1.Containers/Get";
const LIST_CONTAINERS: &str = "/containerd.services.containers.v1.Containers/List";
const GET_IMAGE: &str = "/containerd.services.images.v1.Images/Get";
const SUBSCRIBE: &str = "/containerd.services.events.v1.Events/Subscribe";

/// When a container is there, and when its first process is about to run, and does: the kubelet's API knows it then.
const TOPICS: [&str; 3] = ["topic==\"/containers/create\"", "topic==\"/tasks/create\"", "topic==\"/tasks/start\""];

/// Docker keeps its containers here, and knows them better.
const DOCKER_NAMESPACE: &str = "moby";

/// On what was made for a kubelet.
const KUBELET_LABEL: &str = "io.cri-containerd.kind";

const NERDCTL_NAME: &str = "nerdctl/name";

/// What only a privileged container may do, of what an image's user might ask for.
const PRIVILEGED_CAPABILITIES: [&str; 2] = ["CAP_SYS_ADMIN", "CAP_SYS_MODULE"];

/// Asks one containerd.
#[derive(Debug, Clone)]
pub(super) struct Containerd {
    client: Client,
}

impl Runtime for Containerd {
    async fn connect(socket: &Path) -> Result<(Self, Running, Receiver<Notice>), Error> {
        let client = Client::connect(socket).await?;
        let containerd = Self { client };
        // First of all, so that hardly a container is made unseen between the list and the events.
        let events = containerd.events();
        let mut running = cri::running(&containerd.client).await?;
        for namespace in namespaces() {
            let request = in_namespace(namespace, ListContainers::default());
            let listed: Option<Containers> = containerd.client.ask(LIST_CONTAINERS, request).await?;
            let all = listed.into_iter().flat_map(|listed| listed.containers);
            running.extend(all.filter(|container| !container.is_kubelet_s()).map(|container| container.id));
        }
        Ok((containerd, running, events))
    }

    async fn inspect(&self, id: &str) -> Result<Option<Metadata>, Error> {
        if let Some(metadata) = cri::inspect(&self.client, id).await? {
            return Ok(Some(metadata));
        }
        for namespace in namespaces() {
            let request = in_namespace(namespace, GetContainer { id: id.to_owned() });
            let answer: Option<ContainerAnswer> = self.client.ask(GET_CONTAINER, request).await?;
            if let Some(container) = answer.and_then(|answer| answer.container) {
                // A kubelet's container that its API does not have yet will be there in a moment.
                let is_foreign = container.is_kubelet_s();
                return if is_foreign { Ok(None) } else { self.metadata(namespace, container).await.map(Some) };
            }
        }
        Ok(None)
    }
}

fn namespaces() -> impl Iterator<Item = &'static str> {
    CONTAINERD_NAMESPACES.into_iter().filter(|namespace| *namespace != DOCKER_NAMESPACE)
}

impl Containerd {
    /// The first answer comes with the first event: nobody waits for it.
    fn events(&self) -> Receiver<Notice> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let client = self.client.clone();
        tokio::spawn(async move {
            let request = Subscribe { filters: TOPICS.map(str::to_owned).into() };
            let Ok(mut stream) = client.subscribe::<_, Envelope>(SUBSCRIBE, request).await else { return };
            while let Ok(Some(envelope)) = stream.message().await {
                let Some(id) = envelope.container_id() else { continue };
                if sender.send(id.into()).await.is_err() {
                    return;
                }
            }
        });
        events
    }

    async fn metadata(&self, namespace: &str, container: Container) -> Result<Metadata, Error> {
        let request = in_namespace(namespace, GetImage { name: container.image.clone() });
        let answer: Option<ImageAnswer> =
            if container.image.is_empty() { None } else { self.client.ask(GET_IMAGE, request).await? };
        let digest = answer.and_then(|answer| answer.image?.target).map(|target| target.digest);
        Ok(container.into_metadata(digest))
    }
}

/// What is read of an OCI runtime specification.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    process: SpecProcess,
    mounts: Vec<SpecMount>,
    linux: SpecLinux,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SpecProcess {
    capabilities: SpecCapabilities,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SpecCapabilities {
    bounding: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SpecMount {
    destination: String,
    r#type: String,
    source: String,
    options: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SpecLinux {
    masked_paths: Vec<String>,
    namespaces: Vec<SpecNamespace>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SpecNamespace {
    r#type: String,
}

impl Container {
    fn is_kubelet_s(&self) -> bool {
        self.labels.contains_key(KUBELET_LABEL)
    }

    fn into_metadata(self, digest: Option<String>) -> Metadata {
        let spec: Option<Spec> = self.spec.and_then(|spec| serde_json::from_slice(&spec.value).ok());
        let is_host =
            |kind: &str| Some(spec.as_ref()?.linux.namespaces.iter().all(|namespace| namespace.r#type != kind));
        let labels = Labels::from(self.labels);
        let mut image = Image::new(&self.image, "", &[], &[]);
        image.digest = image.digest.or(digest);
        Metadata {
            name: Some(labels.get(NERDCTL_NAME).unwrap_or(&self.id).to_owned()),
            image,
            is_privileged: spec.as_ref().map(Spec::is_privileged),
            host_pid: is_host("pid"),
            host_network: is_host("network"),
            host_ipc: is_host("ipc"),
            mounts: spec
                .map(|spec| spec.mounts)
                .unwrap_or_default()
                .into_iter()
                .filter_map(SpecMount::bound)
                .collect::<Vec<_>>()
                .into(),
            labels,
            ..Metadata::default()
        }
    }
}

impl Spec {
    /// As `--privileged` makes it: nothing of /proc is hidden, and it may do what nobody else may.
    fn is_privileged(&self) -> bool {
        let bounding = &self.process.capabilities.bounding;
        let may = |name: &&str| bounding.iter().any(|capability| capability == name);
        self.linux.masked_paths.is_empty() && PRIVILEGED_CAPABILITIES.iter().all(may)
    }
}

impl SpecMount {
    /// `None`: one of those that every container has, of no file of the host's.
    fn bound(self) -> Option<Mount> {
        let has = |option: &str| self.options.iter().any(|other| other == option);
        if self.r#type != "bind" && !has("bind") && !has("rbind") {
            return None;
        }
        let is_propagation =
            |option: &&String| ["private", "slave", "shared"].iter().any(|word| option.ends_with(word));
        let propagation = self.options.iter().find(is_propagation).cloned().unwrap_or_default();
        let (mode, is_writable) = if has("ro") { ("ro", false) } else { ("rw", true) };
        let (source, destination) = (self.source, self.destination);
        Some(Mount { source, destination, mode: mode.to_owned(), is_writable, propagation, text: String::new() })
    }
}

impl Envelope {
    fn container_id(self) -> Option<String> {
        use prost::Message as _;
        let body = EventBody::decode(self.event?.value.as_slice()).ok()?;
        (!body.container_id.is_empty()).then_some(body.container_id)
    }
}

#[cfg(test)]
mod tests;
