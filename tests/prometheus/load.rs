//! Something of everything that a dashboard shows: receivers that are well, refuse, or are down, and requests that are none.

use std::sync::Arc;
use std::time::Duration;

use e2e::receivers::{Answer, Webhook};
use serde_json::json;

use super::scene::Scene;
use crate::harness::webhook;

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(400);

/// Rounds between two reloads.
const RELOAD_EVERY: usize = 20;

/// A scene that is kept busy until the runtime ends.
pub(super) struct Load {
    pub(super) scene: Arc<Scene>,
    _receivers: [Webhook; 3],
}

impl Load {
    /// `None`: not on this machine.
    pub(super) async fn start() -> Option<Self> {
        let receivers = [Webhook::start().await, Webhook::start().await, Webhook::start().await];
        let [well, refuses, down] = &receivers;
        refuses.answer_always(Answer::Status(400));
        down.answer_always(Answer::Status(503));
        let scene = Arc::new(Scene::start(|_| routing_to(well, refuses, down)).await?);
        let busy = Arc::clone(&scene);
        tokio::spawn(async move {
            for number in 0.. {
                round(&busy, number).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Some(Self { scene, _receivers: receivers })
    }
}

async fn round(scene: &Scene, number: usize) {
    scene.read_secret();
    scene.post_foreign(number).await;
    for rule in ["Refused", "Moved", "Waiting", "Unrouted"] {
        scene.post_rule(rule, &format!("p{number}")).await;
    }
    scene.post(&json!("no alert")).await;
    if number % RELOAD_EVERY == 1 {
        scene.reload();
    }
}

/// One receiver takes everything. Of the two that refuse for good, one has somebody to take over.
fn routing_to(well: &Webhook, refuses: &Webhook, down: &Webhook) -> String {
    let route = |name: &str, when: &str, to: &str| {
        format!("[[route]]\nname = \"{name}\"\nwhen = \"{when}\"\nto = [\"{to}\"]\n")
    };
    [
        "[defaults]\ndedup = { window = \"10s\" }\n".to_owned(),
        route("refused", "rule = Refused", "strict"),
        route("moved", "rule = Moved", "with-fallback"),
        route("waiting", "rule = Waiting", "down"),
        route("rest", "not rule = Unrouted", "team"),
        webhook("team", well),
        webhook("strict", refuses),
        webhook("with-fallback", refuses) + "fallback = \"team\"\n",
        webhook("down", down),
    ]
    .concat()
}
