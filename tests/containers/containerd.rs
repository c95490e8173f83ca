//! containerd, in a folder of a test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{image, run};
use crate::harness::{Process, eventually};

/// Root may lack `CAP_SYS_RESOURCE` where these tests run: hence `restrict_oom_score_adj`. No network plugin: pods are in the
/// host's network.
const CONFIG: &str = r#"
version = 2
root = "FOLDER/root"
state = "FOLDER/state"
[grpc]
  address = "FOLDER/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/pause:1"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
"#;

/// It takes seconds to start on a busy machine.
const WITHIN: Duration = Duration::from_mins(1);

/// A containerd that runs, with the sandbox's image. Its containers end with it.
pub(crate) struct Containerd {
    daemon: Process,
    folder: TempDir,
}

impl Containerd {
    pub(crate) async fn start() -> Self {
        // Below /run: the path of a socket has few bytes.
        let folder = tempfile::Builder::new().prefix("tercel").tempdir_in("/run").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let config = folder.path().join("config.toml");
        fs::write(&config, CONFIG.replace("FOLDER", &folder.path().display().to_string())).unwrap();
        let daemon = Process::start(Command::new("containerd").arg("--config").arg(config));
        let containerd = Self { daemon, folder };
        eventually("containerd answers", WITHIN, async || {
            let is_up = containerd.ctr(&["version"]).output().unwrap().status.success();
            if is_up { Ok(()) } else { Err(containerd.daemon.stderr()) }
        })
        .await;
        containerd.import_small(image::SANDBOX_IMAGE);
        containerd
    }

    /// For what belongs beside it; gone with it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where its socket lies, alone.
    pub(crate) fn socket_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.socket_folder().join("containerd.sock")
    }

    /// Its client, in the namespace that CRI's images and containers are in.
    pub(crate) fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io"]).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn import(&self, archive: &Path) {
        run(self.ctr(&["images", "import"]).arg(archive));
    }

    /// The small image, under this name.
    pub(crate) fn import_small(&self, name: &str) {
        self.import(&image::oci_archive(self.folder(), name));
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
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let points: Vec<_> = points.filter(|point| Path::new(point).starts_with(folder)).collect();
    for point in points.into_iter().rev() {
        rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).ok();
    }
}
