//! The API through which a kubelet has containers made: CRI-O's, and containerd's beside its own.

mod message;

use std::path::Path;

use serde::Deserialize;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tonic::Request;
use tracing::debug;

use super::grpc::Client;
use super::image::Image;
use super::metadata::{Labels, Metadata, Mount};
use super::runtimes::{EVENTS_MAX, Error, Notice, Running, Runtime};
use crate::enrich::kubernetes::Pod;
use message::{
    ContainerEvent, ContainerStatus, ContainerStatusRequest, Containers, Empty, ImageSpec, ImageStatus,
    ImageStatusRequest, NamespaceOption, PodSandboxStatus, PodSandboxStatusRequest, PodSandboxes, SandboxStatus,
    Status,
};

const CONTAINER_STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const POD_SANDBOX_STATUS: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";
const IMAGE_STATUS: &str = "/runtime.v1.ImageService/ImageStatus";
const LIST_CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";
const LIST_POD_SANDBOXES: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
const GET_CONTAINER_EVENTS: &str = "/runtime.v1.RuntimeService/GetContainerEvents";

/// Both runtimes put what the API has no words for under this key, as JSON.
const INFO: &str = "info";

/// What a pod's sandbox is called: the kubelet's own word.
const SANDBOX_NAME: &str = "POD";

/// `NamespaceMode::NODE`
const NODE: i32 = 2;

/// By `MountPropagation`.
const PROPAGATIONS: [&str; 3] = ["private", "rslave", "rshared"];

/// Asks one runtime.
#[derive(Debug, Clone)]
pub(super) struct Cri {
    client: Client,
}

impl Runtime for Cri {
    async fn connect(socket: &Path) -> Result<(Self, Running, Receiver<Notice>), Error> {
        let client = Client::connect(socket).await?;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(forward_events(client.clone(), sender));
        let running = running(&client).await?;
        Ok((Self { client }, running, events))
    }

    async fn inspect(&self, id: &str) -> Result<Option<Metadata>, Error> {
        inspect(&self.client, id).await
    }
}

/// Containers and sandboxes.
pub(super) async fn running(client: &Client) -> Result<Running, Error> {
    let containers: Option<Containers> = client.ask(LIST_CONTAINERS, Request::new(Empty {})).await?;
    let sandboxes: Option<PodSandboxes> = client.ask(LIST_POD_SANDBOXES, Request::new(Empty {})).await?;
    let containers = containers.into_iter().flat_map(|listed| listed.containers).map(|container| container.id);
    let sandboxes = sandboxes.into_iter().flat_map(|listed| listed.items).map(|sandbox| sandbox.id);
    Ok(containers.chain(sandboxes).collect())
}

/// The first answer comes with the first event. Where the runtime has none, containers are asked for when a process of theirs
/// is seen.
async fn forward_events(client: Client, sender: Sender<Notice>) {
    let mut events = match client.subscribe::<_, ContainerEvent>(GET_CONTAINER_EVENTS, Empty {}).await {
        Ok(events) => events,
        Err(error) => {
            debug!(%error, "the runtime has no events");
            // The connection is as good without them.
            return sender.closed().await;
        }
    };
    while let Ok(Some(event)) = events.message().await {
        if sender.send(event.container_id.into()).await.is_err() {
            return;
        }
    }
}

/// A container, or the sandbox of a pod.
pub(super) async fn inspect(client: &Client, id: &str) -> Result<Option<Metadata>, Error> {
    let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
    let answer: Option<ContainerStatus> = client.ask(CONTAINER_STATUS, Request::new(request)).await?;
    let Some(ContainerStatus { status: Some(status), info }) = answer else { return inspect_sandbox(client, id).await };
    let info: ContainerInfo = read(info.get(INFO));
    let sandbox = match &info.sandbox_id {
        Some(sandbox_id) => sandbox(client, sandbox_id).await?,
        None => None,
    };
    let image = image_status(client, &status.image_ref).await?;
    Ok(Some(container_metadata(status, info, sandbox, &image)))
}

async fn inspect_sandbox(client: &Client, id: &str) -> Result<Option<Metadata>, Error> {
    let Some(sandbox) = sandbox(client, id).await? else { return Ok(None) };
    let image = image_status(client, &sandbox.info.image).await?;
    let metadata = sandbox_metadata(&sandbox, &image);
    Ok(Some(Metadata { pod: Some(sandbox.into()), ..metadata }))
}

async fn sandbox(client: &Client, id: &str) -> Result<Option<Sandbox>, Error> {
    let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
    let answer: Option<PodSandboxStatus> = client.ask(POD_SANDBOX_STATUS, Request::new(request)).await?;
    let Some(PodSandboxStatus { status: Some(status), info }) = answer else { return Ok(None) };
    let info = read(info.get(INFO));
    Ok(Some(Sandbox { status, info }))
}

async fn image_status(client: &Client, image: &str) -> Result<message::Image, Error> {
    if image.is_empty() {
        return Ok(message::Image::default());
    }
    let request = ImageStatusRequest { image: Some(ImageSpec { image: image.to_owned() }) };
    let answer: Option<ImageStatus> = client.ask(IMAGE_STATUS, Request::new(request)).await?;
    Ok(answer.and_then(|answer| answer.image).unwrap_or_default())
}

/// A pod's sandbox as it was answered.
struct Sandbox {
    status: SandboxStatus,
    info: SandboxInfo,
}

/// What is read of a container's JSON. It is the runtime's own matter and changes: what is not there is not known.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerInfo {
    #[serde(rename = "sandboxID")]
    sandbox_id: Option<String>,
    /// CRI-O's.
    privileged: Option<bool>,
    /// containerd's.
    config: ContainerConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerConfig {
    linux: LinuxConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LinuxConfig {
    security_context: Option<SecurityContext>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SecurityContext {
    /// Left out where it is false.
    privileged: bool,
}

/// What is read of a sandbox's JSON.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SandboxInfo {
    image: String,
    #[serde(rename = "cniResult")]
    cni: Option<CniResult>,
}

#[derive(Deserialize)]
struct CniResult {
    #[serde(rename = "Interfaces")]
    interfaces: serde_json::Value,
}

fn read<T: Default + for<'de> Deserialize<'de>>(json: Option<&String>) -> T {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

fn container_metadata(
    status: Status,
    info: ContainerInfo,
    sandbox: Option<Sandbox>,
    image: &message::Image,
) -> Metadata {
    let by_containerd = info.config.linux.security_context.map(|context| context.privileged);
    let labels = Labels::from(status.labels);
    let namespaces = sandbox.as_ref().and_then(Sandbox::namespaces);
    let pod = sandbox.map(Pod::from).or_else(|| Pod::of_labels(&labels));
    Metadata {
        name: status.metadata.map(|metadata| metadata.name).filter(|name| !name.is_empty()),
        image: image_of(&status.image.unwrap_or_default().image, image),
        is_privileged: info.privileged.or(by_containerd),
        mounts: status.mounts.into_iter().map(Mount::from).collect::<Vec<_>>().into(),
        labels,
        healthcheck: None,
        started_ns: Some(status.started_at).filter(|started| *started > 0),
        ip: None,
        pod,
        ..in_namespaces(namespaces.as_ref())
    }
}

fn sandbox_metadata(sandbox: &Sandbox, image: &message::Image) -> Metadata {
    Metadata {
        name: Some(SANDBOX_NAME.to_owned()),
        image: image_of(&sandbox.info.image, image),
        labels: sandbox.status.labels.clone().into(),
        started_ns: Some(sandbox.status.created_at).filter(|created| *created > 0),
        ..in_namespaces(sandbox.namespaces().as_ref())
    }
}

fn in_namespaces(options: Option<&NamespaceOption>) -> Metadata {
    let is_host = |mode: fn(&NamespaceOption) -> i32| options.map(|options| mode(options) == NODE);
    Metadata {
        host_pid: is_host(|options| options.pid),
        host_network: is_host(|options| options.network),
        host_ipc: is_host(|options| options.ipc),
        ..Metadata::default()
    }
}

fn image_of(named: &str, image: &message::Image) -> Image {
    Image::new(named, &image.id, &image.repo_tags, &image.repo_digests)
}

impl Sandbox {
    fn namespaces(&self) -> Option<NamespaceOption> {
        self.status.linux.clone()?.namespaces?.options
    }
}

impl From<Sandbox> for Pod {
    fn from(Sandbox { status, info }: Sandbox) -> Self {
        let known = |text: String| (!text.is_empty()).then_some(text);
        let metadata = status.metadata.unwrap_or_default();
        Self {
            name: known(metadata.name),
            namespace: known(metadata.namespace),
            uid: known(metadata.uid),
            sandbox_id: known(status.id),
            labels: status.labels.into(),
            ip: known(status.network.unwrap_or_default().ip),
            cni: info.cni.map(|cni| cni.interfaces.to_string()),
        }
    }
}

impl From<message::Mount> for Mount {
    fn from(mount: message::Mount) -> Self {
        let propagation = usize::try_from(mount.propagation).ok().and_then(|number| PROPAGATIONS.get(number));
        Self {
            source: mount.host_path,
            destination: mount.container_path,
            mode: String::new(),
            is_writable: !mount.readonly,
            propagation: propagation.copied().unwrap_or_default().to_owned(),
            text: String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
