//! `k8s.*`: the pod that it happened in, and what the pod belongs to.

use tercel_filter::Value;

use super::container::{known, pod};
use super::definition::Type::Text as Chars;
use super::definition::{Definition, Place, Shape, row, text};
use crate::enrich::container::SHORT_ID_DIGITS;

pub(super) const FIELDS: &[Definition] = &[
    row("k8s.pod.name", Chars, "The pod's name.").told(|place, _| known(pod(place)?.name.as_deref())),
    row("k8s.ns.name", Chars, "The pod's namespace.").told(|place, _| known(pod(place)?.namespace.as_deref())),
    row("k8s.pod.id", Chars, "The same as `k8s.pod.uid`.").told(|place, _| uid(place)),
    row("k8s.pod.uid", Chars, "The pod's uid.").told(|place, _| uid(place)),
    row("k8s.pod.sandbox_id", Chars, "The first 12 digits of the id of the pod's sandbox.").told(|place, _| {
        let id = pod(place)?.sandbox_id.as_deref()?;
        Some(text(id.get(..SHORT_ID_DIGITS).unwrap_or(id)))
    }),
    row("k8s.pod.full_sandbox_id", Chars, "The whole id of the pod's sandbox.")
        .told(|place, _| known(pod(place)?.sandbox_id.as_deref())),
    row("k8s.pod.label", Chars, "The pod's label of that name.")
        .required(Shape::Name)
        .told(|place, name| known(pod(place)?.labels.get(name?))),
    row("k8s.pod.labels", Chars, "All its labels, `name:value` with commas between them.")
        .told(|place, _| known(pod(place)?.labels.text())),
    row("k8s.pod.ip", Chars, "The pod's address.").told(|place, _| known(pod(place)?.ip.as_deref())),
    row("k8s.pod.cni.json", Chars, "The interfaces that the network plugin made for the pod, as JSON.")
        .told(|place, _| known(pod(place)?.cni.as_deref())),
    row("k8s.rc.name", Chars, "The name of the replication controller."),
    row("k8s.rc.id", Chars, "The id of the replication controller."),
    row("k8s.rc.label", Chars, "The replication controller's label of that name.").required(Shape::Name),
    row("k8s.rc.labels", Chars, "All labels of the replication controller."),
    row("k8s.svc.name", Chars, "The names of the services in front of the pod."),
    row("k8s.svc.id", Chars, "The ids of those services."),
    row("k8s.svc.label", Chars, "Their label of that name.").required(Shape::Name),
    row("k8s.svc.labels", Chars, "All their labels."),
    row("k8s.ns.id", Chars, "The id of the pod's namespace."),
    row("k8s.ns.label", Chars, "The namespace's label of that name.").required(Shape::Name),
    row("k8s.ns.labels", Chars, "All labels of the namespace."),
    row("k8s.rs.name", Chars, "The name of the replica set."),
    row("k8s.rs.id", Chars, "The id of the replica set."),
    row("k8s.rs.label", Chars, "The replica set's label of that name.").required(Shape::Name),
    row("k8s.rs.labels", Chars, "All labels of the replica set."),
    row("k8s.deployment.name", Chars, "The name of the deployment."),
    row("k8s.deployment.id", Chars, "The id of the deployment."),
    row("k8s.deployment.label", Chars, "The deployment's label of that name.").required(Shape::Name),
    row("k8s.deployment.labels", Chars, "All labels of the deployment."),
];

/// The cgroup tells it at once where the kubelet named it after the pod, as it mostly does.
fn uid(place: Place<'_>) -> Option<Value<'_>> {
    let by_cgroup = place.container.and_then(|container| container.pod_uid.as_deref());
    known(by_cgroup.or_else(|| pod(place)?.uid.as_deref()))
}
