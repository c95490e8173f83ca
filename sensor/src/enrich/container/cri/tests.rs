//! What containerd 1.6 and CRI-O 1.30 answer, shortened.

use super::*;

const CONTAINERD: &str = r#"{"sandboxID":"5f5f","pid":4242,"snapshotter":"overlayfs",
    "config":{"metadata":{"name":"app"},"linux":{"resources":{},"security_context":{"privileged":true,"namespace_options":{"pid":1}}}},
    "runtimeSpec":{"ociVersion":"1.0.2","process":{"args":["/bin/sh"]}}}"#;
const CRI_O: &str = r#"{"sandboxID":"5f5f","pid":4242,"runtimeSpec":{"ociVersion":"1.2.0"},"privileged":false}"#;
const SANDBOX: &str = r#"{"pid":4200,"image":"registry.k8s.io/pause:3.9",
    "cniResult":{"Interfaces":{"eth0":{"IPConfigs":[{"IP":"10.88.0.7","Gateway":"10.88.0.1"}],"Mac":"aa:bb"}},"DNS":[{}]}}"#;

fn status() -> Status {
    let labels = [("io.kubernetes.container.name", "app"), ("io.kubernetes.pod.name", "web-0")];
    Status {
        metadata: Some(message::ContainerMetadata { name: "app".to_owned() }),
        started_at: 1_795_451_910_500_000_000,
        image: Some(ImageSpec { image: "docker.io/local/bb:1".to_owned() }),
        image_ref: "sha256:05455a08881ea9cf0e752bc48e61bbd71a34c029bb13df01e40e3e70e0d007bd".to_owned(),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        mounts: vec![message::Mount {
            container_path: "/host".to_owned(),
            host_path: "/".to_owned(),
            readonly: true,
            propagation: 1,
        }],
    }
}

fn sandbox() -> Sandbox {
    let status = SandboxStatus {
        id: "5f5f".to_owned(),
        metadata: Some(message::PodSandboxMetadata {
            name: "web-0".to_owned(),
            uid: "u1".to_owned(),
            namespace: "shop".to_owned(),
        }),
        created_at: 1_795_451_900_000_000_000,
        network: Some(message::PodSandboxNetworkStatus { ip: "10.88.0.7".to_owned() }),
        linux: Some(message::LinuxPodSandboxStatus {
            namespaces: Some(message::Namespace { options: Some(NamespaceOption { network: 0, pid: 2, ipc: 0 }) }),
        }),
        labels: [("app".to_owned(), "web".to_owned())].into(),
    };
    Sandbox { status, info: read(Some(&SANDBOX.to_owned())) }
}

fn image() -> message::Image {
    message::Image {
        id: status().image_ref,
        repo_tags: vec!["docker.io/local/bb:1".to_owned()],
        repo_digests: vec!["docker.io/local/bb@sha256:4b7c".to_owned()],
    }
}

#[test]
fn a_container_of_a_pod_has_the_pod_s_name_labels_and_address() {
    let metadata = container_metadata(status(), read(Some(&CONTAINERD.to_owned())), Some(sandbox()), &image());
    assert_eq!(metadata.name.as_deref(), Some("app"));
    assert_eq!(metadata.image.repository.as_deref(), Some("docker.io/local/bb"));
    assert_eq!((metadata.image.tag.as_deref(), metadata.image.digest.as_deref()), (Some("1"), Some("sha256:4b7c")));
    assert_eq!(metadata.image.id.as_deref(), Some("05455a08881e"));
    assert_eq!(metadata.mounts.text(), Some("/:/host::false:rslave"));
    assert_eq!(metadata.started_ns, Some(1_795_451_910_500_000_000));
    assert_eq!((metadata.host_pid, metadata.host_network, metadata.host_ipc), (Some(true), Some(false), Some(false)));
    let pod = metadata.pod.unwrap();
    assert_eq!((pod.name.as_deref(), pod.namespace.as_deref()), (Some("web-0"), Some("shop")));
    assert_eq!((pod.uid.as_deref(), pod.sandbox_id.as_deref()), (Some("u1"), Some("5f5f")));
    assert_eq!((pod.labels.text(), pod.ip.as_deref()), (Some("app:web"), Some("10.88.0.7")));
    assert!(pod.cni.unwrap().starts_with(r#"{"eth0":{"IPConfigs":[{"IP":"10.88.0.7""#));
}

#[test]
fn both_runtimes_say_in_their_own_way_whether_a_container_is_privileged() {
    let privileged =
        |info: &str| container_metadata(status(), read(Some(&info.to_owned())), None, &image()).is_privileged;
    assert_eq!(privileged(CONTAINERD), Some(true));
    assert_eq!(privileged(&CONTAINERD.replace(r#""privileged":true,"#, "")), Some(false), "false is left out");
    assert_eq!(privileged(CRI_O), Some(false));
    assert_eq!(privileged(&CRI_O.replace("false", "true")), Some(true));
    for unknown in ["", "{}", "no JSON", r#"{"config":{"linux":{}}}"#] {
        assert_eq!(privileged(unknown), None, "{unknown}");
    }
}

#[test]
fn a_sandbox_is_called_pod_and_is_of_the_pause_image() {
    let sandbox = sandbox();
    let metadata = sandbox_metadata(&sandbox, &message::Image::default());
    assert_eq!(metadata.name.as_deref(), Some("POD"));
    assert_eq!(metadata.image.repository.as_deref(), Some("registry.k8s.io/pause"));
    assert_eq!(metadata.started_ns, Some(1_795_451_900_000_000_000));
    assert_eq!(Pod::from(sandbox).namespace.as_deref(), Some("shop"));
}

#[test]
fn a_container_that_is_not_started_yet_and_says_little_is_read_too() {
    let metadata = container_metadata(Status::default(), ContainerInfo::default(), None, &message::Image::default());
    assert_eq!(metadata, Metadata::default());
}
