//! containerd, by its own client and by what a kubelet would ask of it.

use std::collections::BTreeMap;
use std::process::Command;

use super::{Sensor, none_was_late};
use crate::containers::cri::{
    ContainerConfig, ContainerMetadata, ContainerSecurityContext, ImageSpec, LinuxContainerConfig, OWN_PROCESSES,
    PodSandboxConfig, PodSandboxMetadata, Runtime,
};
use crate::containers::{Containerd, can_run, run};

const IMAGE: &str = "docker.io/local/bb:1";

/// With an image to run.
async fn containerd() -> Option<Containerd> {
    if !can_run(&["containerd", "ctr", "runc", "busybox", "script"]) {
        return None;
    }
    let containerd = Containerd::start().await;
    containerd.import_small(IMAGE);
    Some(containerd)
}

fn runtimes(containerd: &Containerd) -> Vec<String> {
    vec![format!("containerd={}", containerd.socket().display())]
}

/// A shell in a running container, with a terminal; `script` makes one for the client.
fn shell(containerd: &Containerd, container: &str, line: &str) {
    let shell = ["tasks", "exec", "--tty", "--exec-id", "shell", container, "/bin/sh", "-c", line];
    let words = containerd.ctr(&shell);
    let words = std::iter::once(words.get_program()).chain(words.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.display())).collect();
    run(Command::new("script").args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]));
}

/// A pod that runs, as a kubelet would have it run.
struct Pod<'a> {
    runtime: &'a Runtime,
    uid: String,
    sandbox: String,
    config: PodSandboxConfig,
}

impl<'a> Pod<'a> {
    async fn run(runtime: &'a Runtime, name: &str, labels: &[(&str, &str)]) -> Self {
        let metadata = PodSandboxMetadata::new(name, "shop");
        let uid = metadata.uid.clone();
        let mut config = PodSandboxConfig::new(metadata, "besteffort", OWN_PROCESSES);
        config.labels.extend(map(labels));
        Self { uid, sandbox: runtime.run_sandbox(&config).await, runtime, config }
    }

    /// The container's id.
    async fn run_container(&self, name: &str, command: &[&str]) -> String {
        let security = ContainerSecurityContext { namespace_options: Some(OWN_PROCESSES), ..Default::default() };
        let mut labels = self.config.labels.clone();
        labels.extend(map(&[("io.kubernetes.container.name", name)]));
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned() }),
            image: Some(ImageSpec { image: IMAGE.to_owned() }),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            labels,
            linux: Some(LinuxContainerConfig { security_context: Some(security) }),
            ..Default::default()
        };
        self.runtime.start(&self.sandbox, &self.config, config).await
    }

    async fn remove(self) {
        self.runtime.remove_sandbox(&self.sandbox).await;
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
#[ignore = "needs container runtimes; cargo xtask test --components installs them"]
async fn a_container_of_ctr_is_reported_with_its_name_and_image() {
    let Some(containerd) = containerd().await else { return };
    let start = |name: &str| run(&mut containerd.ctr(&["run", "--detach", IMAGE, name, "/bin/sleep", "600"]));
    start("early");
    let sensor = Sensor::start(&runtimes(&containerd)).await;
    start("web");
    let alert = sensor.alert("web", "sleep 600").await;
    let fields = &alert["output_fields"];
    assert_eq!(fields["container.image.repository"], "docker.io/local/bb", "{alert}");
    assert_eq!((&fields["container.id"], &fields["container.privileged"]), (&"web".into(), &false.into()));
    assert!(fields["container.image.digest"].as_str().unwrap().starts_with("sha256:"), "{alert}");
    run(&mut containerd.ctr(&["tasks", "exec", "--exec-id", "one", "early", "/bin/ls", "/bin"]));
    sensor.alert("early", "ls /bin").await;
    run(&mut containerd.ctr(&["run", "--rm", IMAGE, "short", "/bin/true", "short"]));
    sensor.alert("short", "true short").await;
    none_was_late(&sensor).await;
}

#[tokio::test]
#[ignore = "needs container runtimes; cargo xtask test --components installs them"]
async fn a_container_of_a_pod_is_reported_with_the_pod_s_name_namespace_and_labels() {
    let Some(containerd) = containerd().await else { return };
    let runtime = Runtime::connect(&containerd.socket()).await;
    let early = Pod::run(&runtime, "early-0", &[]).await;
    let runs = early.run_container("runs", &["/bin/sleep", "600"]).await;
    let sensor = Sensor::start(&runtimes(&containerd)).await;
    shell(&containerd, &runs, "exit 0");
    let alert = sensor.alert("runs", "sh -c exit 0").await;
    let fields = &alert["output_fields"];
    assert!(fields["proc.tty"].as_i64().unwrap() > 0, "it has a terminal: {alert}");
    assert_eq!((&fields["k8s.pod.name"], &fields["k8s.ns.name"]), (&"early-0".into(), &"shop".into()), "{alert}");
    assert_eq!((&fields["container.id"], &fields["container.full_id"]), (&runs[..12].into(), &runs.as_str().into()));
    assert_eq!(fields["container.image.repository"], "docker.io/local/bb");

    let pod = Pod::run(&runtime, "web-0", &[("app", "web"), ("tier", "front")]).await;
    let container = pod.run_container("app", &["/bin/sh", "-c", "ls /bin; sleep 600"]).await;
    let alert = sensor.alert("app", "sh -c ls /bin; sleep 600").await;
    let fields = &alert["output_fields"];
    assert_eq!((&fields["k8s.pod.name"], &fields["k8s.ns.name"]), (&"web-0".into(), &"shop".into()), "{alert}");
    assert_eq!(fields["container.full_id"], container.as_str());
    assert_eq!(fields["container.image.repository"], "docker.io/local/bb");
    assert_eq!(fields["container.privileged"], false);
    assert_eq!(fields["k8s.pod.uid"], pod.uid.as_str());
    assert!(fields["k8s.pod.labels"].as_str().unwrap().contains("app:web,"), "{alert}");
    assert!(alert["output"].as_str().unwrap().contains("k8s_pod_name=web-0 k8s_ns_name=shop"), "{alert}");
    runtime.exec(&container, &["/bin/ls", "/"]).await;
    let alert = sensor.alert("app", "ls /").await;
    assert_eq!(alert["output_fields"]["k8s.pod.name"], "web-0");
    pod.run_container("short", &["/bin/true", "short"]).await;
    let alert = sensor.alert("short", "true short").await;
    assert_eq!(alert["output_fields"]["k8s.pod.name"], "web-0");
    none_was_late(&sensor).await;
    for pod in [early, pod] {
        pod.remove().await;
    }
}
