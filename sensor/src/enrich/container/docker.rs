//! Docker's API over its socket, which Podman speaks too.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use lru::LruCache;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{self, Receiver};

use super::image::Image;
use super::metadata::{Labels, Metadata, Mount};
use super::runtimes::{EVENTS_MAX, Error, Notice, REQUEST_TIMEOUT, Running, Runtime};
use crate::enrich::kubernetes::Pod;

/// Bytes of one answer: the list of all containers is the longest.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Bytes of one event.
const EVENT_BYTES_MAX: usize = 256 << 10;

/// Where the client thinks that it is; the socket decides.
const HOST: &str = "http://localhost";

/// `create` comes before the container's first process runs; with `start` come its address and time.
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22create%22%2C%22start%22%2C%22rename%22%5D%7D";

/// How long ago a container was started that was not: Docker's year 1.
const NEVER: &str = "0001-";

/// Containers of which is remembered what was told of them.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Asks one engine.
#[derive(Debug, Clone)]
pub(super) struct Docker {
    http: reqwest::Client,
    /// The engine answers nothing about a container while it starts it, and one that removes itself may be gone by then: what
    /// its events told, or itself before that.
    remembered: Arc<Mutex<LruCache<String, Metadata>>>,
}

/// What events tell: name, image and labels, in one map.
type Attributes = BTreeMap<String, String>;

impl Runtime for Docker {
    async fn connect(socket: &Path) -> Result<(Self, Running, Receiver<Notice>), Error> {
        // Wanted of every client, also of one that never speaks TLS. Installed already, it is the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .connect_timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let docker = Self { http, remembered: Arc::new(Mutex::new(LruCache::new(REMEMBERED_MAX))) };
        // First of all, so that no container is made unseen between the list and the events.
        let events = docker.events().await?;
        let listed: Vec<Listed> = docker.get("/containers/json").await?.unwrap_or_default();
        Ok((docker, listed.into_iter().map(|listed| listed.id).collect(), events))
    }

    async fn inspect(&self, id: &str) -> Result<Option<Metadata>, Error> {
        if !is_plain(id) {
            return Ok(None);
        }
        let Some(inspected) = self.get::<Inspected>(&format!("/containers/{id}/json")).await? else {
            // It is gone: there will be no more.
            let remembered = self.remembered().get(id).cloned();
            return Ok(remembered.map(|metadata| Metadata { is_partial: false, ..metadata }));
        };
        let image = if is_plain(&inspected.image) {
            self.get(&format!("/images/{}/json", inspected.image)).await?.unwrap_or_default()
        } else {
            InspectedImage::default()
        };
        let metadata = inspected.into_metadata(&image);
        let mut kept = metadata.clone();
        kept.bound();
        self.remembered().put(id.to_owned(), kept);
        Ok(Some(metadata))
    }
}

impl Docker {
    /// `None`: there is no such.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        let response = self.http.get(format!("{HOST}{path}")).timeout(REQUEST_TIMEOUT).send().await?;
        match response.status() {
            StatusCode::OK => Ok(Some(serde_json::from_slice(&body(response).await?)?)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(Error::Status(status.as_u16())),
        }
    }

    async fn events(&self) -> Result<Receiver<Notice>, Error> {
        let request = self.http.get(format!("{HOST}{EVENTS}")).send();
        let response = tokio::time::timeout(REQUEST_TIMEOUT, request).await.or(Err(Error::Timeout))??;
        if response.status() != StatusCode::OK {
            return Err(Error::Status(response.status().as_u16()));
        }
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let docker = self.clone();
        tokio::spawn(async move {
            let mut lines = Lines { response, buffer: Vec::new() };
            while let Some(Event { actor: Actor { id, attributes } }) = lines.next().await {
                let mut metadata = announced_metadata(attributes.unwrap_or_default());
                metadata.bound();
                docker.remember_announced(&id, &metadata);
                if sender.send(Notice { full_id: id, announced: Some(Box::new(metadata)) }).await.is_err() {
                    return;
                }
            }
        });
        Ok(events)
    }

    /// Unless more is known.
    fn remember_announced(&self, id: &str, metadata: &Metadata) {
        let mut remembered = self.remembered();
        if remembered.get(id).is_none_or(|known| known.is_partial) {
            remembered.put(id.to_owned(), metadata.clone());
        }
    }

    fn remembered(&self) -> MutexGuard<'_, LruCache<String, Metadata>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it may stand in a path: an id is the name of a cgroup, or what an engine says.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b':')
}

async fn body(mut response: Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Error::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// One event a line.
struct Lines {
    response: Response,
    buffer: Vec<u8>,
}

impl Lines {
    /// `None`: the connection broke, or what came was no event.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).ok();
            }
            if self.buffer.len() > EVENT_BYTES_MAX {
                return None;
            }
            self.buffer.extend_from_slice(&self.response.chunk().await.ok()??);
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    actor: Actor,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    attributes: Option<Attributes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
}

/// What is read of `/containers/<id>/json`. Podman and older engines leave some of it out, or null.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    name: String,
    /// Its id.
    image: String,
    state: State,
    config: Config,
    host_config: HostConfig,
    mounts: Option<Vec<InspectedMount>>,
    network_settings: NetworkSettings,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    started_at: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    /// As it was named.
    image: String,
    labels: Option<BTreeMap<String, String>>,
    healthcheck: Option<Healthcheck>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Healthcheck {
    test: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    privileged: bool,
    pid_mode: String,
    network_mode: String,
    ipc_mode: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedMount {
    source: String,
    destination: String,
    mode: String,
    #[serde(rename = "RW")]
    is_writable: bool,
    propagation: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    #[serde(rename = "IPAddress")]
    ip: String,
    networks: Option<BTreeMap<String, Network>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Network {
    #[serde(rename = "IPAddress")]
    ip: String,
}

/// What is read of `/images/<id>/json`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedImage {
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
}

/// Without mounts, and without whether it is privileged.
fn announced_metadata(mut announced: Attributes) -> Metadata {
    let image = announced.remove("image").unwrap_or_default();
    let name = announced.remove("name");
    let labels = Labels::from(announced);
    Metadata {
        name,
        image: Image::new(&image, "", &[], &[]),
        pod: Pod::of_labels(&labels),
        labels,
        is_partial: true,
        ..Metadata::default()
    }
}

impl Inspected {
    fn into_metadata(self, image: &InspectedImage) -> Metadata {
        let Self { config, host_config, network_settings, .. } = self;
        let names = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
        let labels = Labels::from(config.labels.unwrap_or_default());
        let pod = Pod::of_labels(&labels);
        Metadata {
            name: text(self.name.trim_start_matches('/')),
            image: Image::new(&config.image, &self.image, &names(&image.repo_tags), &names(&image.repo_digests)),
            is_privileged: Some(host_config.privileged),
            mounts: self.mounts.unwrap_or_default().into_iter().map(Mount::from).collect::<Vec<_>>().into(),
            healthcheck: config.healthcheck.and_then(|check| command_of(&check.test?)),
            started_ns: started(&self.state.started_at),
            ip: network_settings.address(),
            host_pid: Some(host_config.pid_mode == "host"),
            host_network: Some(host_config.network_mode == "host"),
            host_ipc: Some(host_config.ipc_mode == "host"),
            labels,
            pod,
            is_partial: false,
        }
    }
}

impl NetworkSettings {
    /// The first that there is.
    fn address(&self) -> Option<String> {
        let others = self.networks.iter().flat_map(BTreeMap::values).map(|network| &network.ip);
        std::iter::once(&self.ip).chain(others).find_map(|ip| text(ip))
    }
}

impl From<InspectedMount> for Mount {
    fn from(mount: InspectedMount) -> Self {
        let InspectedMount { source, destination, mode, is_writable, propagation } = mount;
        Self { source, destination, mode, is_writable, propagation, text: String::new() }
    }
}

/// `["NONE"]`, `["CMD", program, arguments …]` or `["CMD-SHELL", line]`.
fn command_of(test: &[String]) -> Option<String> {
    let (kind, rest) = test.split_first()?;
    match kind.as_str() {
        "NONE" => Some("NONE".to_owned()),
        "CMD" => text(&rest.join(" ")),
        "CMD-SHELL" => Some(format!("/bin/sh -c {}", rest.join(" "))),
        _ => None,
    }
}

fn started(time: &str) -> Option<i64> {
    let time: Timestamp = time.parse().ok().filter(|_| !time.starts_with(NEVER))?;
    time.as_nanosecond().try_into().ok()
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Docker 20.10, shortened.
    const DOCKER: &str = include_str!("docker/docker.json");
    /// Of Podman 4.3, shortened.
    const PODMAN: &str = include_str!("docker/podman.json");
    /// Of cri-dockerd: the kubelet's labels.
    const KUBELET: &str = r#"{"Id":"e1","Name":"/k8s_app_web-0_shop_u1_0","Image":"sha256:05455a08881ea9cf0e752bc48e61bbd71a34c029bb13df01e40e3e70e0d007bd",
        "Config":{"Image":"quay.io/shop/app@sha256:4b7c","Labels":{"io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop",
        "io.kubernetes.pod.uid":"u1","io.kubernetes.sandbox.id":"5f5f"}}}"#;

    fn told(inspected: &str, image: &str) -> Metadata {
        let image: InspectedImage = serde_json::from_str(image).unwrap();
        serde_json::from_str::<Inspected>(inspected).unwrap().into_metadata(&image)
    }

    #[test]
    fn what_docker_answers_is_read() {
        let image =
            r#"{"RepoTags":["registry.example/team/bb:1.0"],"RepoDigests":["registry.example/team/bb@sha256:4b7c"]}"#;
        let metadata = told(DOCKER, image);
        assert_eq!(metadata.name.as_deref(), Some("web"));
        assert_eq!(metadata.image.reference.as_deref(), Some("registry.example/team/bb:1.0"));
        assert_eq!(metadata.image.repository.as_deref(), Some("registry.example/team/bb"));
        assert_eq!(
            (metadata.image.tag.as_deref(), metadata.image.digest.as_deref()),
            (Some("1.0"), Some("sha256:4b7c"))
        );
        assert_eq!(metadata.image.id.as_deref(), Some("1e453865f4a6"));
        assert_eq!(metadata.is_privileged, Some(true));
        assert_eq!(metadata.mounts.text(), Some("/etc:/host/etc:ro:false:rprivate"));
        assert_eq!(metadata.labels.text(), Some("team:blue"));
        assert_eq!((metadata.started_ns, metadata.ip, metadata.pod), (None, None, None), "it was not started yet");
        assert_eq!(
            (metadata.host_pid, metadata.host_network, metadata.host_ipc),
            (Some(false), Some(false), Some(false))
        );
    }

    #[test]
    fn what_podman_answers_is_read() {
        let metadata = told(PODMAN, "{}");
        assert_eq!(metadata.name.as_deref(), Some("quiet"));
        assert_eq!(metadata.image.repository.as_deref(), Some("localhost/bb"));
        assert_eq!(metadata.image.tag.as_deref(), Some("1.0"));
        assert_eq!(metadata.host_network, Some(true));
        assert!(metadata.started_ns.unwrap() > 1_795_000_000_000_000_000);
        assert_eq!(metadata.healthcheck.as_deref(), Some("/bin/sh -c true && cat /ok"));
    }

    #[test]
    fn a_container_that_a_kubelet_had_made_is_in_a_pod() {
        let pod = told(KUBELET, "{}").pod.unwrap();
        assert_eq!((pod.name.as_deref(), pod.namespace.as_deref()), (Some("web-0"), Some("shop")));
        assert_eq!((pod.uid.as_deref(), pod.sandbox_id.as_deref()), (Some("u1"), Some("5f5f")));
    }

    #[test]
    fn an_event_tells_enough_of_a_container_that_is_gone_when_it_is_asked_for() {
        let event = r#"{"status":"create","id":"c8","from":"registry.example/team/bb:1.0","Type":"container","Action":"create",
            "Actor":{"ID":"c8","Attributes":{"image":"registry.example/team/bb:1.0","name":"short","team":"blue"}},"scope":"local"}"#;
        let Event { actor } = serde_json::from_str(event).unwrap();
        let metadata = announced_metadata(actor.attributes.unwrap());
        assert_eq!((actor.id.as_str(), metadata.name.as_deref()), ("c8", Some("short")));
        assert_eq!(metadata.image.repository.as_deref(), Some("registry.example/team/bb"));
        assert_eq!((metadata.labels.text(), metadata.is_privileged), (Some("team:blue"), None));
        assert!(metadata.is_partial);
    }

    #[test]
    fn health_checks_are_told_by_their_form() {
        let command = |test: &[&str]| command_of(&test.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(command(&["NONE"]).as_deref(), Some("NONE"));
        assert_eq!(command(&["CMD", "/bin/check", "-v"]).as_deref(), Some("/bin/check -v"));
        assert_eq!(command(&["CMD-SHELL", "a | b"]).as_deref(), Some("/bin/sh -c a | b"));
        assert_eq!((command(&[]), command(&["CMD"]), command(&["?", "x"])), (None, None, None));
    }

    #[test]
    fn only_plain_ids_are_asked_for() {
        assert!(is_plain("564ad0038c4e") && is_plain("sha256:1e45"));
        assert!(!is_plain("") && !is_plain("../images") && !is_plain("a?b") && !is_plain("a%2fb"));
    }
}
