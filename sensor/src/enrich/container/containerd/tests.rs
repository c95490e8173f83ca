//! What containerd 1.6 has of containers that `ctr` and `nerdctl` made, shortened.

use super::message::Any;
use super::*;

const SPEC: &str = r#"{"ociVersion":"1.0.2-dev",
    "process":{"user":{"uid":0,"gid":0},"args":["/bin/sh"],"capabilities":{"bounding":["CAP_CHOWN","CAP_KILL"]}},
    "mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["nosuid","noexec","nodev"]},
              {"destination":"/host/etc","type":"bind","source":"/etc","options":["rbind","ro","rslave"]}],
    "linux":{"namespaces":[{"type":"pid"},{"type":"ipc"},{"type":"mount"}],"maskedPaths":["/proc/kcore"]}}"#;

fn container(spec: &str, labels: &[(&str, &str)]) -> Container {
    Container {
        id: "web".to_owned(),
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        image: "docker.io/local/bb:1".to_owned(),
        spec: Some(Any { value: spec.as_bytes().to_vec() }),
    }
}

#[test]
fn a_container_of_ctr_has_its_id_as_name_and_its_mounts_from_the_specification() {
    let metadata = container(SPEC, &[]).into_metadata(Some("sha256:4b7c".to_owned()));
    assert_eq!(metadata.name.as_deref(), Some("web"));
    assert_eq!(metadata.image.repository.as_deref(), Some("docker.io/local/bb"));
    assert_eq!((metadata.image.tag.as_deref(), metadata.image.digest.as_deref()), (Some("1"), Some("sha256:4b7c")));
    assert_eq!(metadata.mounts.text(), Some("/etc:/host/etc:ro:false:rslave"), "of the host's files only");
    assert_eq!((metadata.host_pid, metadata.host_network, metadata.host_ipc), (Some(false), Some(true), Some(false)));
    assert_eq!(metadata.is_privileged, Some(false));
    assert_eq!(metadata.pod, None);
}

#[test]
fn a_container_is_privileged_that_may_everything_and_sees_all_of_proc() {
    let privileged = |spec: &str| container(spec, &[]).into_metadata(None).is_privileged;
    let may_all = SPEC.replace("CAP_KILL\"", "CAP_SYS_ADMIN\",\"CAP_SYS_MODULE\"");
    assert_eq!(privileged(&may_all), Some(false), "/proc/kcore is hidden");
    assert_eq!(privileged(&may_all.replace("\"/proc/kcore\"", "")), Some(true));
    assert_eq!(privileged(&SPEC.replace("\"/proc/kcore\"", "")), Some(false));
    assert_eq!(privileged("no JSON"), None);
}

#[test]
fn nerdctl_names_its_containers_by_a_label_and_a_kubelet_s_are_told_apart() {
    let named = container(SPEC, &[("nerdctl/name", "shop")]);
    assert!(!named.is_kubelet_s());
    assert_eq!(named.into_metadata(None).name.as_deref(), Some("shop"));
    assert!(container(SPEC, &[("io.cri-containerd.kind", "container")]).is_kubelet_s());
}

#[test]
fn an_event_tells_the_container_s_id() {
    use prost::Message as _;
    let body = EventBody { container_id: "web".to_owned() }.encode_to_vec();
    assert_eq!(Envelope { event: Some(Any { value: body }) }.container_id().as_deref(), Some("web"));
    assert_eq!(Envelope { event: Some(Any { value: vec![0xff] }) }.container_id(), None);
    assert_eq!(Envelope { event: None }.container_id(), None);
}
