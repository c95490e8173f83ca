//! Alerts that are sent one by one over a router's socket while routers come and go behind it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::receivers::Webhook;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::eventually;

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Where nobody took an alert.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<BTreeSet<String>>,
}

impl Load {
    pub(crate) fn start(socket: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sender = tokio::spawn(send_until(Arc::clone(&stop), socket));
        Self { stop, sender }
    }

    /// Ends it, and waits until the receiver has every alert that was acknowledged; how many that were.
    pub(crate) async fn all_delivered(self, hook: &Webhook, within: Duration) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let acknowledged = self.sender.await.unwrap();
        assert!(acknowledged.len() > 100, "{} alerts are no load", acknowledged.len());
        eventually("everything acknowledged is delivered", within, async || {
            let arrived: BTreeSet<_> = hook.received().iter().map(|one| one.json()["uuid"].to_string()).collect();
            let missing = acknowledged.difference(&arrived).count();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} of {} are missing", acknowledged.len())) }
        })
        .await;
        acknowledged.len()
    }
}

/// The ids of those that were acknowledged.
async fn send_until(stop: Arc<AtomicBool>, socket: PathBuf) -> BTreeSet<String> {
    // Already installed is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder().unix_socket(socket).timeout(TIMEOUT).build().unwrap();
    let mut acknowledged = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let uuid = uuid::Uuid::now_v7().to_string();
        let alert =
            json!({"uuid": uuid, "rule": "Load", "priority": "Warning", "time": jiff::Timestamp::now().to_string()});
        match client.post("http://router/").body(alert.to_string()).send().await {
            Ok(answer) if answer.status() == 202 => {
                acknowledged.insert(json!(uuid).to_string());
            }
            _ => sleep(PAUSE).await,
        }
    }
    acknowledged
}
