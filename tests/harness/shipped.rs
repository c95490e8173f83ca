//! The router as shipped, in a process of its own that can be killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::Client;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Process, binary, free_address, scrape};
use super::router::{Answer, http_client};
use super::{Metrics, SOON};

/// A start after a kill reads everything that is stored.
const READY: Duration = Duration::from_mins(1);

/// Killed when it is dropped; its state stays.
pub(crate) struct Router {
    pub(crate) process: Process,
    pub(crate) state: PathBuf,
    /// Holds the routing file.
    folder: TempDir,
    listen: SocketAddr,
    admin: SocketAddr,
    /// Variables of its environment.
    variables: Vec<(String, String)>,
    client: Client,
}

impl Router {
    pub(crate) async fn start(state: PathBuf, routing: &str) -> Self {
        Self::start_with(state, routing, Vec::new()).await
    }

    pub(crate) async fn start_with(state: PathBuf, routing: &str, variables: Vec<(String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("routing.toml"), routing).unwrap();
        let (process, listen, admin) = started(folder.path(), &state, &variables).await;
        Self { process, state, folder, listen, admin, variables, client: http_client() }
    }

    pub(crate) async fn killed(&mut self) {
        self.process.signal(Signal::KILL);
        assert!(self.process.wait(SOON).await.is_some());
    }

    pub(crate) async fn killed_and_started(mut self) -> Self {
        self.killed().await;
        self.started_again().await
    }

    /// With the same state, on other ports.
    pub(crate) async fn started_again(self) -> Self {
        let (process, listen, admin) = started(self.folder.path(), &self.state, &self.variables).await;
        Self { process, listen, admin, ..self }
    }

    pub(crate) async fn post(&self, alert: &Value) -> Answer {
        let request = self.client.post(format!("http://{}/", self.listen)).body(alert.to_string());
        Answer::read(request.send().await.unwrap()).await
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        scrape(self.admin).await
    }
}

/// `run` with this routing file and state.
pub(crate) fn router_command(routing: &Path, state: &Path) -> Command {
    let mut command = Command::new(binary("tercel-router"));
    command.arg("run").arg("--routing").arg(routing).arg("--state").arg(state);
    command
}

async fn started(folder: &Path, state: &Path, variables: &[(String, String)]) -> (Process, SocketAddr, SocketAddr) {
    let (listen, admin) = (free_address(), free_address());
    let mut command = router_command(&folder.join("routing.toml"), state);
    command.args(["--listen", &listen.to_string(), "--admin", &admin.to_string()]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let mut process = Process::start(&mut command);
    process.ready_within(admin, READY).await;
    (process, listen, admin)
}
