//! `container.*`: the container that it happened in, and its image.

use tercel_filter::Value;

use super::HOST;
use super::definition::Type::{AbsTime, Bool, RelTime, Text as Chars};
use super::definition::{Definition, Place, Shape, number, row, text, truth};
use crate::enrich::container::{Metadata, Mount};
use crate::enrich::kubernetes::Pod;

/// What a container has that has no such mount, health check or probe: Falco's rules compare with it.
const NOT_APPLICABLE: &str = "N/A";

pub(super) const FIELDS: &[Definition] = &[
    row("container.id", Chars, "The first 12 digits of the container's id; `host` outside of containers.")
        .place(|place, _| Some(text(place.container.map_or(HOST, |container| &container.id)))),
    row("container.full_id", Chars, "The container's whole id; missing outside of containers.")
        .place(|place, _| place.container.map(|container| text(&container.full_id))),
    row("container.name", Chars, "The container's name; `POD` of a pod's sandbox; `host` outside of containers.")
        .told(|place, _| if place.container.is_none() { Some(text(HOST)) } else { known(place.metadata?.name.as_deref()) }),
    row("container.image", Chars, "The image as whoever started the container named it.")
        .told(|place, _| known(place.metadata?.image.reference.as_deref())),
    row("container.image.id", Chars, "The first 12 digits of the image's id.")
        .told(|place, _| known(place.metadata?.image.id.as_deref())),
    row("container.type", Chars, "`docker`, `podman`, `containerd`, `cri-o`; `host` outside of containers.")
        .place(|place, _| Some(text(place.container.map_or(HOST, |container| container.runtime)))),
    row("container.privileged", Bool, "Whether the container runs privileged.")
        .told(|place, _| truth(place.metadata?.is_privileged?)),
    row(
        "container.mounts",
        Chars,
        "What is mounted in it, `source:destination:mode:writable:propagation` with commas between them.",
    )
    .told(|place, _| known(place.metadata?.mounts.text())),
    row(
        "container.mount",
        Chars,
        "One mount in that form, by its place from 0 or by its source, in which a star stands for anything; `N/A` where there \
         is no such.",
    )
    .required(Shape::IndexOrName)
    .told(|place, key| mount(place.metadata?, key?, |mount| &mount.source, |mount| &mount.text)),
    row("container.mount.source", Chars, "The source of the mount at that place, or with that destination; else `N/A`.")
        .required(Shape::IndexOrName)
        .told(|place, key| mount(place.metadata?, key?, |mount| &mount.destination, |mount| &mount.source)),
    row("container.mount.dest", Chars, "The destination of the mount at that place, or with that source; else `N/A`.")
        .required(Shape::IndexOrName)
        .told(|place, key| mount(place.metadata?, key?, |mount| &mount.source, |mount| &mount.destination)),
    row("container.mount.mode", Chars, "The mode of the mount at that place, or with that source; else `N/A`.")
        .required(Shape::IndexOrName)
        .told(|place, key| mount(place.metadata?, key?, |mount| &mount.source, |mount| &mount.mode)),
    row(
        "container.mount.rdwr",
        Chars,
        "Whether the mount at that place, or with that source, may be written to: `true` or `false`; else `N/A`.",
    )
    .required(Shape::IndexOrName)
    .told(|place, key| mount(place.metadata?, key?, |mount| &mount.source, writable)),
    row(
        "container.mount.propagation",
        Chars,
        "How the mount at that place, or with that source, propagates; else `N/A`.",
    )
    .required(Shape::IndexOrName)
    .told(|place, key| mount(place.metadata?, key?, |mount| &mount.source, |mount| &mount.propagation)),
    row("container.image.repository", Chars, "The image's name without tag and digest.")
        .told(|place, _| known(place.metadata?.image.repository.as_deref())),
    row("container.image.tag", Chars, "The image's tag.")
        .told(|place, _| known(place.metadata?.image.tag.as_deref())),
    row("container.image.digest", Chars, "The digest that the image's registry gave it: `sha256:…`.")
        .told(|place, _| known(place.metadata?.image.digest.as_deref())),
    row("container.healthcheck", Chars, "The command of its health check; `NONE` where it is switched off, `N/A` without one.")
        .told(|place, _| Some(text(place.metadata?.healthcheck.as_deref().unwrap_or(NOT_APPLICABLE)))),
    row("container.liveness_probe", Chars, "The command of its liveness probe."),
    row("container.readiness_probe", Chars, "The command of its readiness probe."),
    row("container.start_ts", AbsTime, "When the container was started: nanoseconds since 1970.")
        .told(|place, _| number(place.metadata?.started_ns?)),
    row("container.duration", RelTime, "Nanoseconds since the container was started.")
        .told(|place, _| number(place.time_ns.saturating_sub(place.metadata?.started_ns?).max(0))),
    row("container.ip", Chars, "Its address, or its pod's.").told(|place, _| ip(place.metadata?)),
    row("container.cni.json", Chars, "The interfaces that the network plugin made for the pod, as JSON.")
        .told(|place, _| known(pod(place)?.cni.as_deref())),
    row("container.host_pid", Bool, "Whether it is in the host's pid namespace.")
        .told(|place, _| truth(place.metadata?.host_pid?)),
    row("container.host_network", Bool, "Whether it is in the host's network namespace.")
        .told(|place, _| truth(place.metadata?.host_network?)),
    row("container.host_ipc", Bool, "Whether it is in the host's IPC namespace.")
        .told(|place, _| truth(place.metadata?.host_ipc?)),
    row("container.label", Chars, "The label of that name.")
        .required(Shape::Name)
        .told(|place, name| known(place.metadata?.labels.get(name?))),
    row("container.labels", Chars, "All labels, `name:value` with commas between them.")
        .told(|place, _| known(place.metadata?.labels.text())),
];

/// The pod that it happened in, as far as it was told.
pub(super) fn pod(place: Place<'_>) -> Option<&Pod> {
    place.metadata?.pod.as_ref()
}

pub(super) fn known(value: Option<&str>) -> Option<Value<'_>> {
    value.map(text)
}

fn ip(metadata: &Metadata) -> Option<Value<'_>> {
    known(metadata.ip.as_deref().or_else(|| metadata.pod.as_ref()?.ip.as_deref()))
}

/// `show`s the mount that `key` finds.
#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn mount<'m>(
    metadata: &'m Metadata,
    key: &str,
    path: fn(&Mount) -> &str,
    show: fn(&'m Mount) -> &'m str,
) -> Option<Value<'m>> {
    Some(text(metadata.mounts.find(key, path).map_or(NOT_APPLICABLE, show)))
}

fn writable(mount: &Mount) -> &str {
    if mount.is_writable { "true" } else { "false" }
}
