//! Both programs, the router with a routing of the test's own, and what keeps them busy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use super::server::Target;
use crate::harness::{
    Cat, Process, alert, can_watch, free_address, http_client, kernel, router_command, sensor_command,
};

const READY_WITHIN: Duration = Duration::from_mins(1);

pub(super) const NODE: &str = "node-1";

/// Programs that alerts of others are about, so that not all are equal.
const PROGRAMS: usize = 30;

/// Rules of Falco's, their priorities, and namespaces, for alerts of others.
const FOREIGN: [(&str, &str, &str); 6] = [
    ("Terminal shell in container", "Notice", "payments"),
    ("Contact K8S API Server From Container", "Notice", "shop"),
    ("Read sensitive file untrusted", "Warning", "search"),
    ("Netcat Remote Code Execution in Container", "Error", "shop"),
    ("Drop and execute new binary in container", "Critical", "payments"),
    ("Packet socket created in container", "Notice", "kube-system"),
];

pub(super) struct Scene {
    pub(super) router: SocketAddr,
    pub(super) sensor: SocketAddr,
    router_process: Process,
    _sensor_process: Process,
    ingest: SocketAddr,
    routing: PathBuf,
    client: Client,
    cat: Cat,
    _folder: TempDir,
    _kernel: MutexGuard<'static, ()>,
}

impl Scene {
    /// `routing` is given a folder where secrets may lie. `None`: not on this machine.
    pub(super) async fn start(routing: impl FnOnce(&Path) -> String) -> Option<Self> {
        if !can_watch() {
            return None;
        }
        let kernel = kernel().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("routing.toml");
        std::fs::write(&file, routing(folder.path())).unwrap();
        let (ingest, router, sensor) = (free_address(), free_address(), free_address());
        let mut command = router_command(&file, &folder.path().join("state"));
        command.args(["--listen", &ingest.to_string(), "--admin", &router.to_string()]);
        let mut router_process = Process::start(command.env("TERCEL_ROUTER_NAMESPACE_LABEL", "true"));
        router_process.ready_within(router, READY_WITHIN).await;
        let mut command = sensor_command(&format!("http://{ingest}/v1/alerts"), sensor);
        let mut sensor_process = Process::start(command.env("TERCEL_SENSOR_HOSTNAME", NODE));
        sensor_process.ready_within(sensor, READY_WITHIN).await;
        Some(Self {
            router,
            sensor,
            router_process,
            _sensor_process: sensor_process,
            ingest,
            routing: file,
            client: http_client(),
            cat: Cat::new(),
            _folder: folder,
            _kernel: kernel,
        })
    }

    pub(super) fn targets(&self) -> [Target; 2] {
        [("tercel-router", self.router, NODE), ("tercel-sensor", self.sensor, NODE)]
    }

    /// What the sensor's own rules see.
    pub(super) fn read_secret(&self) {
        self.cat.read("/etc/shadow");
    }

    /// An alert of somebody else in a pod; each number has its turn.
    pub(super) async fn post_foreign(&self, number: usize) {
        let (rule, priority, namespace) = FOREIGN[number % FOREIGN.len()];
        let mut foreign = alert(rule, priority, "sh");
        let exe = format!("/tmp/.cache/x{}", number % PROGRAMS);
        foreign["output"] = format!("{rule} | command={exe} -c id parent=nginx container={namespace}").into();
        foreign["output_fields"] = json!({
            "container.id": "3f2a91c07b5d",
            "container.image.repository": format!("registry.example/{namespace}"),
            "container.name": namespace,
            "k8s.ns.name": namespace,
            "k8s.pod.name": format!("{namespace}-7d9c5-{}", number % 3),
            "proc.cmdline": format!("{exe} -c id"),
            "proc.exepath": exe,
            "proc.pname": "nginx",
            "user.name": "root",
        });
        self.post(&foreign).await;
    }

    /// An alert of a rule of this name.
    pub(super) async fn post_rule(&self, rule: &str, process: &str) {
        self.post(&alert(rule, "Warning", process)).await;
    }

    /// Whatever the router says to it.
    pub(super) async fn post(&self, body: &Value) {
        let request = self.client.post(format!("http://{}/", self.ingest)).body(body.to_string());
        request.send().await.unwrap();
    }

    /// The routing is written anew, and read.
    pub(super) fn reload(&self) {
        let routing = std::fs::read_to_string(&self.routing).unwrap();
        std::fs::write(&self.routing, format!("{routing}\n# read again\n")).unwrap();
        self.router_process.signal(Signal::HUP);
    }
}
