//! containerd, by its own client and by what a kubelet would ask of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::cri::Kubelet;
use super::{Sensor, WITHIN, can_run, image, none_was_late, run};
use crate::harness::{Process, eventually};

const IMAGE: &str = "docker.io/local/bb:1";

/// The same files: a sandbox runs what the image says, which is to wait.
const SANDBOX_IMAGE: &str = "docker.io/local/pause:1";

/// Root may lack `CAP_SYS_RESOURCE` where these tests run: hence `restrict_oom_score_adj`. No network plugin: the pods here are
/// in the host's network.
const CONFIG: &str = r#"
version = 2
root = "FOLDER/root"
state = "FOLDER/state"
[grpc]
  address = "FOLDER/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/pause:1"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
"#;

struct Containerd {
    daemon: Process,
    folder: TempDir,
}

impl Containerd {
    async fn start() -> Option<Self> {
        if !can_run(&["containerd", "ctr", "runc", "busybox", "script"]) {
            return None;
        }
        // Below /run: the path of a socket has few bytes.
        let folder = tempfile::Builder::new().prefix("tercel").tempdir_in("/run").unwrap();
        let config = folder.path().join("config.toml");
        std::fs::write(&config, CONFIG.replace("FOLDER", &folder.path().display().to_string())).unwrap();
        let daemon = Process::start(Command::new("containerd").arg("--config").arg(config));
        let containerd = Self { daemon, folder };
        eventually("containerd answers", WITHIN, async || {
            let is_up = containerd.ctr(&["version"]).output().unwrap().status.success();
            if is_up { Ok(()) } else { Err(containerd.daemon.stderr()) }
        })
        .await;
        let folder = containerd.folder.path();
        let files = image::files(folder);
        for name in [IMAGE, SANDBOX_IMAGE] {
            run(containerd.ctr(&["images", "import"]).arg(image::oci_archive(folder, name, &files)));
        }
        Some(containerd)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("containerd.sock")
    }

    fn runtimes(&self) -> Vec<String> {
        vec![format!("containerd={}", self.socket().display())]
    }

    /// In the namespace that CRI's images and containers are in.
    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io"]).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// A shell in a running container, with a terminal; `script` makes one for the client.
    fn shell(&self, container: &str, line: &str) {
        let shell = ["tasks", "exec", "--tty", "--exec-id", "shell", container, "/bin/sh", "-c", line];
        let words = self.ctr(&shell);
        let words = std::iter::once(words.get_program()).chain(words.get_args());
        let words: Vec<_> = words.map(|word| format!("'{}'", word.display())).collect();
        run(Command::new("script").args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]));
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let tasks = self.ctr(&["tasks", "list", "--quiet"]).output().map(|output| output.stdout).unwrap_or_default();
        for task in String::from_utf8_lossy(&tasks).lines() {
            self.ctr(&["tasks", "delete", "--force", task]).output().ok();
        }
        self.daemon.signal(Signal::TERM);
        unmount_below(self.folder.path());
    }
}

/// What a container's or sandbox's end left mounted; the folder could not go else.
fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points =
        mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|point| Path::new(point).starts_with(folder));
    for point in points.collect::<Vec<_>>().into_iter().rev() {
        rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).ok();
    }
}

#[tokio::test]
#[ignore = "needs container runtimes; cargo xtask test --components installs them"]
async fn a_container_of_ctr_is_reported_with_its_name_and_image() {
    let Some(containerd) = Containerd::start().await else { return };
    let start = |name: &str| run(&mut containerd.ctr(&["run", "--detach", IMAGE, name, "/bin/sleep", "600"]));
    start("early");
    let sensor = Sensor::start(&containerd.runtimes()).await;
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
    let Some(containerd) = Containerd::start().await else { return };
    let kubelet = Kubelet::connect(&containerd.socket()).await;
    let early = kubelet.run_pod("early-0", "shop", &[]).await;
    let runs = kubelet.run_container(&early, "runs", IMAGE, &["/bin/sleep", "600"]).await;
    let sensor = Sensor::start(&containerd.runtimes()).await;
    containerd.shell(&runs, "exit 0");
    let alert = sensor.alert("runs", "sh -c exit 0").await;
    let fields = &alert["output_fields"];
    assert!(fields["proc.tty"].as_i64().unwrap() > 0, "it has a terminal: {alert}");
    assert_eq!((&fields["k8s.pod.name"], &fields["k8s.ns.name"]), (&"early-0".into(), &"shop".into()), "{alert}");
    assert_eq!((&fields["container.id"], &fields["container.full_id"]), (&runs[..12].into(), &runs.as_str().into()));
    assert_eq!(fields["container.image.repository"], "docker.io/local/bb");

    let pod = kubelet.run_pod("web-0", "shop", &[("app", "web"), ("tier", "front")]).await;
    let container = kubelet.run_container(&pod, "app", IMAGE, &["/bin/sh", "-c", "ls /bin; sleep 600"]).await;
    let alert = sensor.alert("app", "sh -c ls /bin; sleep 600").await;
    let fields = &alert["output_fields"];
    assert_eq!((&fields["k8s.pod.name"], &fields["k8s.ns.name"]), (&"web-0".into(), &"shop".into()), "{alert}");
    assert_eq!(fields["container.full_id"], container.as_str());
    assert_eq!(fields["container.image.repository"], "docker.io/local/bb");
    assert_eq!(fields["container.privileged"], false);
    assert_eq!(fields["k8s.pod.uid"], pod.uid.as_str());
    assert!(fields["k8s.pod.labels"].as_str().unwrap().contains("app:web,"), "{alert}");
    assert!(alert["output"].as_str().unwrap().contains("k8s_pod_name=web-0 k8s_ns_name=shop"), "{alert}");
    kubelet.exec(&container, &["/bin/ls", "/"]).await;
    let alert = sensor.alert("app", "ls /").await;
    assert_eq!(alert["output_fields"]["k8s.pod.name"], "web-0");
    kubelet.run_container(&pod, "short", IMAGE, &["/bin/true", "short"]).await;
    let alert = sensor.alert("short", "true short").await;
    assert_eq!(alert["output_fields"]["k8s.pod.name"], "web-0");
    none_was_late(&sensor).await;
    for pod in [early, pod] {
        kubelet.remove_pod(&pod).await;
    }
}
