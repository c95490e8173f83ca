//! Senders: as fast as they are answered, or at a steady rate.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use reqwest::Client;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::alerts::Keys;

/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// When each alert was sent, and acknowledged, by its uuid.
pub(super) type Posts = HashMap<String, (Instant, Instant)>;

pub(super) fn client() -> anyhow::Result<Client> {
    // A second installation finds the first in place.
    drop(rustls::crypto::ring::default_provider().install_default());
    Ok(Client::builder().no_proxy().tls_certs_only([]).timeout(ANSWER_MAX).build()?)
}

/// Posts all bodies over `connections`, each of which waits for its answer.
pub(super) async fn post_all(url: &str, bodies: Vec<String>, connections: usize) -> anyhow::Result<()> {
    let (client, bodies, next) = (client()?, Arc::new(bodies), Arc::new(AtomicUsize::new(0)));
    let mut senders = JoinSet::new();
    for _ in 0..connections {
        let (client, bodies, next, url) = (client.clone(), Arc::clone(&bodies), Arc::clone(&next), url.to_owned());
        senders.spawn(async move {
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                post(&client, &url, body.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(())
}

/// Posts single alerts, one every `period`, whether or not those before were answered.
pub(super) async fn post_steadily(url: &str, alerts: usize, period: Duration) -> anyhow::Result<Posts> {
    let (client, mut senders, mut posts) = (client()?, JoinSet::new(), Posts::new());
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..alerts {
        ticks.tick().await;
        let alert = Keys::Distinct.alert(number);
        let (client, url) = (client.clone(), url.to_owned());
        senders.spawn(async move {
            let start = Instant::now();
            post(&client, &url, alert.to_string()).await?;
            anyhow::Ok((id(&alert), (start, Instant::now())))
        });
    }
    while let Some(ended) = senders.join_next().await {
        posts.extend([ended??]);
    }
    Ok(posts)
}

/// An alert's uuid.
pub(super) fn id(alert: &Value) -> String {
    alert["uuid"].as_str().unwrap_or_default().to_owned()
}

async fn post(client: &Client, url: &str, body: String) -> anyhow::Result<()> {
    let answer = client.post(url).body(body).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{url} answered {status}: {text}");
    Ok(())
}
