//! `container.*`: the container that it happened in, and its image.

use super::HOST;
use super::definition::Type::{AbsTime, Bool, RelTime, Text as Chars};
use super::definition::{Definition, Shape, row, text};

pub(super) const FIELDS: &[Definition] = &[
    row("container.id", Chars, "The first 12 digits of the container's id; `host` outside of containers.")
        .get(|event, _| Some(text(event.process.container.as_ref().map_or(HOST, |container| &container.id)))),
    row("container.full_id", Chars, "The container's whole id; missing outside of containers.")
        .get(|event, _| event.process.container.as_ref().map(|container| text(&container.full_id))),
    row("container.name", Chars, "`host` outside of containers; missing inside, since the runtime is not asked yet.")
        .get(|event, _| event.process.container.is_none().then(|| text(HOST))),
    row("container.image", Chars, "The image as the container names it, with its tag."),
    row("container.image.id", Chars, "The image's id."),
    row("container.type", Chars, "`docker`, `podman`, `containerd`, `cri-o`; `host` outside of containers.")
        .get(|event, _| Some(text(event.process.container.as_ref().map_or(HOST, |container| container.runtime)))),
    row("container.privileged", Bool, "Whether the container runs privileged."),
    row(
        "container.mounts",
        Chars,
        "What is mounted in it, `source:destination:mode:writable:propagation` with commas between them.",
    ),
    row(
        "container.mount",
        Chars,
        "One mount in that form, by its place from 0 or by its source; a star in it stands for anything.",
    )
    .required(Shape::IndexOrName),
    row("container.mount.source", Chars, "The source of the mount at that place, or with that destination.")
        .required(Shape::IndexOrName),
    row("container.mount.dest", Chars, "The destination of the mount at that place, or with that source.")
        .required(Shape::IndexOrName),
    row("container.mount.mode", Chars, "The mode of the mount at that place, or with that source.")
        .required(Shape::IndexOrName),
    row(
        "container.mount.rdwr",
        Chars,
        "Whether the mount at that place, or with that source, may be written to: `true` or `false`.",
    )
    .required(Shape::IndexOrName),
    row("container.mount.propagation", Chars, "How the mount at that place, or with that source, propagates.")
        .required(Shape::IndexOrName),
    row("container.image.repository", Chars, "The image, without tag."),
    row("container.image.tag", Chars, "The image's tag."),
    row("container.image.digest", Chars, "The image's digest, such as `sha256:…`."),
    row("container.healthcheck", Chars, "The command of the container's health check."),
    row("container.liveness_probe", Chars, "The command of its liveness probe."),
    row("container.readiness_probe", Chars, "The command of its readiness probe."),
    row("container.start_ts", AbsTime, "When the container was started: nanoseconds since 1970."),
    row("container.duration", RelTime, "Nanoseconds since the container was started."),
    row("container.ip", Chars, "Its address."),
    row("container.cni.json", Chars, "What the network plugin said when it made the pod's network."),
    row("container.host_pid", Bool, "Whether it is in the host's pid namespace."),
    row("container.host_network", Bool, "Whether it is in the host's network namespace."),
    row("container.host_ipc", Bool, "Whether it is in the host's IPC namespace."),
    row("container.label", Chars, "The label of that name.").required(Shape::Name),
    row("container.labels", Chars, "All labels, `name:value` with commas between them."),
];
