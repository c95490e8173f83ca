//! A router in this process, or in one of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;
use tempfile::TempDir;
use tercel_router::{Router, Settings};

use super::process::{Process, binary, free_address};
use super::{Metrics, SOON, eventually};

/// The whole of one request; a router under test may be busy, never stuck.
const REQUEST_WITHIN: Duration = Duration::from_secs(20);

/// A router on free ports, with its routing file, state and socket in a folder that goes with it.
pub(crate) struct TestRouter {
    router: Router,
    settings: Settings,
    folder: TempDir,
    client: Client,
}

/// What the router said to a sender.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

impl TestRouter {
    pub(crate) async fn start(routing: &str) -> Self {
        Self::start_with(routing, |_| {}).await
    }

    /// `change` alters the settings before the start.
    pub(crate) async fn start_with(routing: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path(), routing);
        change(&mut settings);
        let router = Router::start(settings.clone()).await.unwrap_or_else(|error| panic!("{error}\nin\n{routing}"));
        Self { router, settings, folder, client: http_client() }
    }

    /// Stops, and starts again with what it left behind.
    pub(crate) async fn restart(self) -> Self {
        let Self { router, settings, folder, client } = self;
        router.shutdown().await;
        let router = Router::start(settings.clone()).await.unwrap();
        Self { router, settings, folder, client }
    }

    /// Another routing file, which the router finds by itself; by a rename, so that it reads no half of it.
    pub(crate) fn rewrite(&self, routing: &str) {
        let new = self.folder.path().join("routing.toml.new");
        std::fs::write(&new, routing).unwrap();
        std::fs::rename(new, &self.settings.routing).unwrap();
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("tercel.sock")
    }

    pub(crate) fn ingest(&self) -> SocketAddr {
        self.router.ingest_addr().expect("the router listens")
    }

    /// # Panics
    /// If the router did not accept this one alert.
    pub(crate) async fn send(&self, alert: &Value) {
        let answer = self.post("/", alert.to_string()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.client.post(format!("http://{}{path}", self.ingest())).body(body);
        Answer::read(request.send().await.unwrap()).await
    }

    /// A request of any kind to the ingest address, still to be completed.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.ingest()))
    }

    /// What the admin address says.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = self.client.get(format!("http://{}{path}", self.router.admin_addr()));
        Answer::read(request.send().await.unwrap()).await
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics::new(self.get("/metrics").await.body)
    }

    /// Waits until nothing is queued; what was received must then be accounted for at every destination.
    pub(crate) async fn settled(&self) -> Metrics {
        self.settled_within(SOON).await
    }

    pub(crate) async fn settled_within(&self, within: Duration) -> Metrics {
        eventually("every alert has its outcome", within, async || {
            let metrics = self.metrics().await;
            let queued = metrics.sum("tercel_router_queued", &[]);
            if queued > 0 { Err(format!("{queued} queued")) } else { metrics.conservation().map(|()| metrics) }
        })
        .await
    }

    pub(crate) async fn shutdown(self) {
        self.router.shutdown().await;
    }
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let header = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        Self { status: response.status().as_u16(), retry_after: header, body: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A router of its own process, with `routing.toml`, state and socket in this folder; and where it tells its numbers.
pub(crate) async fn router_process(folder: &Path) -> (Process, SocketAddr) {
    let admin = free_address();
    let mut command = Command::new(binary("tercel-router"));
    command.args(["run", "--listen", "none"]).arg("--admin").arg(admin.to_string());
    command.arg("--routing").arg(folder.join("routing.toml")).arg("--state").arg(folder.join("state"));
    command.arg("--unix").arg(folder.join("router.sock"));
    let mut router = Process::start(&mut command);
    router.ready(admin).await;
    (router, admin)
}

/// The same, which takes alerts by TCP at `listen`.
pub(crate) async fn listening_router(folder: &Path, listen: SocketAddr) -> (Process, SocketAddr) {
    let admin = free_address();
    let mut command = Command::new(binary("tercel-router"));
    command.arg("run").args(["--listen", &listen.to_string()]).args(["--admin", &admin.to_string()]);
    command.arg("--routing").arg(folder.join("routing.toml")).arg("--state").arg(folder.join("state"));
    let mut router = Process::start(&mut command);
    router.ready(admin).await;
    (router, admin)
}

/// Settings for free ports and a folder of one's own, in which `routing` is written.
pub(crate) fn settings(folder: &Path, routing: &str) -> Settings {
    let file = folder.join("routing.toml");
    std::fs::write(&file, routing).unwrap();
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Settings {
        routing: file,
        listen: Some(free),
        unix: Some(folder.join("tercel.sock")),
        state: folder.join("state"),
        admin: free,
        ..Settings::default()
    }
}

/// A client with a bound on every request.
pub(crate) fn http_client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Already installed is as good: the router does it too.
        rustls::crypto::ring::default_provider().install_default().ok();
    });
    Client::builder().timeout(REQUEST_WITHIN).build().unwrap()
}
