//! Docker's engine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Sensor, WITHIN, none_was_late};
use crate::containers::{can_run, image, run};
use crate::harness::{Process, eventually};

const IMAGE: &str = "registry.example/team/bb:1.0";

/// A runtime that gives every container the same few capabilities: where these tests run in a container themselves, root may
/// not give them all. Docker still has a container for privileged that was asked for as such.
const RUNC: &str = r#"#!/bin/sh
for argument; do
  [ "$previous" = --bundle ] && sed -i 's/"CAP_[A-Z_]*"\(,"CAP_[A-Z_]*"\)*/"CAP_CHOWN","CAP_KILL"/g' "$argument/config.json"
  previous=$argument
done
exec runc "$@"
"#;

struct Docker {
    engine: Process,
    folder: TempDir,
}

impl Docker {
    async fn start() -> Option<Self> {
        if !can_run(&["dockerd", "docker", "runc", "busybox", "unshare"]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let runc = path("runc-here");
        std::fs::write(&runc, RUNC).unwrap();
        std::fs::set_permissions(&runc, std::fs::Permissions::from_mode(0o755)).unwrap();
        // In a network namespace of its own its rules for packets stay there.
        let mut command = Command::new("unshare");
        command.args(["--net", "dockerd", "--host", &format!("unix://{}", path("docker.sock"))]);
        command.args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")]);
        command.args(["--add-runtime", &format!("here={runc}"), "--default-runtime", "here"]);
        let docker = Self { engine: Process::start(&mut command), folder };
        eventually("dockerd answers", WITHIN, async || {
            let is_up = docker.command(&["version"]).output().unwrap().status.success();
            if is_up { Ok(()) } else { Err(docker.engine.stderr()) }
        })
        .await;
        let files = image::files(docker.folder.path());
        run(docker.command(&["import"]).arg(files).arg(IMAGE));
        Some(docker)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    fn runtimes(&self) -> Vec<String> {
        vec![format!("docker={}", self.socket().display())]
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(arguments);
        command
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let ids = self.command(&["ps", "--all", "--quiet"]).output().map(|output| output.stdout).unwrap_or_default();
        for id in String::from_utf8_lossy(&ids).lines() {
            self.command(&["rm", "--force", id]).output().ok();
        }
        self.engine.signal(Signal::TERM);
        // It unmounts what it mounted; the folder could not go else.
        for _ in 0..100 {
            if !self.folder.path().join("pid").exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

#[tokio::test]
#[ignore = "needs container runtimes; cargo xtask test --components installs them"]
async fn the_first_program_of_a_container_is_reported_with_its_name_and_image() {
    let Some(docker) = Docker::start().await else { return };
    // Runs before the sensor does.
    run(&mut docker.command(&["run", "--detach", "--name", "early", IMAGE, "/bin/sleep", "600"]));
    let sensor = Sensor::start(&docker.runtimes()).await;
    run(docker
        .command(&["run", "--detach", "--name", "web", "--label", "team=blue", "--volume", "/etc:/host/etc:ro"])
        .args(["--privileged", IMAGE, "/bin/sleep", "600"]));
    let alert = sensor.alert("web", "sleep 600").await;
    let fields = &alert["output_fields"];
    assert_eq!(alert["rule"], "Program in a container", "{alert}");
    assert_eq!(fields["container.image.repository"], "registry.example/team/bb");
    assert_eq!(fields["container.image.tag"], "1.0");
    assert_eq!(fields["container.privileged"], true);
    assert_eq!(fields["container.label[team]"], "blue");
    assert_eq!(fields["container.mount.dest[/etc]"], "/host/etc");
    let full_id = run(&mut docker.command(&["inspect", "--format", "{{.Id}}", "web"]));
    assert_eq!(
        (&fields["container.full_id"], &fields["container.id"]),
        (&full_id.as_str().into(), &full_id[..12].into())
    );

    run(&mut docker.command(&["exec", "early", "/bin/ls", "/bin"]));
    let alert = sensor.alert("early", "ls /bin").await;
    assert_eq!(alert["output_fields"]["container.privileged"], false);
    assert_eq!(alert["output_fields"]["container.mount.dest[/etc]"], "N/A");
    none_was_late(&sensor).await;
}

#[tokio::test]
#[ignore = "needs container runtimes; cargo xtask test --components installs them"]
async fn containers_that_live_some_milliseconds_are_known_too() {
    let Some(docker) = Docker::start().await else { return };
    let sensor = Sensor::start(&docker.runtimes()).await;
    for number in 0..5 {
        let name = format!("short-{number}");
        run(&mut docker.command(&["run", "--rm", "--name", &name, IMAGE, "/bin/true", &name]));
    }
    for number in 0..5 {
        let name = format!("short-{number}");
        let alert = sensor.alert(&name, &format!("true {name}")).await;
        assert_eq!(alert["output_fields"]["container.image.repository"], "registry.example/team/bb");
    }
    none_was_late(&sensor).await;
}
