//! The pictures in the documentation: both programs live through some minutes of an attack, and the dashboards are drawn of it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::receivers::{Answer, PagerDuty, Receiver, Service, Slack, Webhook};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::scene::Scene;
use super::server::Prometheus;
use crate::harness::{webhook, workspace};
use crate::triggers::{Stage, TRIGGERS};

/// How long it goes on, in seconds.
const SECONDS_VARIABLE: &str = "TERCEL_TEST_PICTURES_S";
const SECONDS: u64 = 720;

/// Where what is drawn is put, and what Slack and PagerDuty got.
const FOLDER_VARIABLE: &str = "TERCEL_TEST_PICTURES";

const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
#[ignore = "draws the pictures in docs; cargo xtask pictures"]
async fn the_dashboards_are_drawn() {
    let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else { return };
    let folder = Path::new(&folder);
    let seconds = std::env::var(SECONDS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let (slack, pager, siem) = (Slack::start().await, PagerDuty::start().await, Webhook::start().await);
    let Some(scene) = Scene::start(|folder| routing_to(folder, &slack, &pager, &siem)).await else { return };
    let prometheus = Prometheus::start(&scene.targets(), Duration::from_secs(5)).await;
    let from = jiff::Timestamp::now().as_second();
    play(&scene, &siem, seconds).await;
    let to = jiff::Timestamp::now().as_second();
    keep(&folder.join("slack.json"), &slack);
    keep(&folder.join("pagerduty.json"), &pager);
    let mut render = Command::new("node");
    render.current_dir(folder).arg("render.mjs");
    render.args([format!("http://{}", prometheus.address), from.to_string(), to.to_string()]);
    render.arg(workspace().join("grafana")).arg(folder);
    assert!(render.status().unwrap().success());
}

/// Quiet, then one attack after the other and a storm; meanwhile the SIEM is down, refuses some, and the routing changes.
async fn play(scene: &Scene, siem: &Webhook, seconds: u64) {
    let (stage, start) = (Stage::new(), Instant::now());
    let mut triggers = TRIGGERS.iter().cycle();
    for second in 0..seconds {
        sleep_until(start + Duration::from_secs(second)).await;
        let percent = 100 * second / seconds;
        if second % 4 == 0 {
            scene.post_foreign(usize::try_from(second / 4).unwrap()).await;
        }
        if second % 30 == 0 {
            scene.read_secret();
        }
        if (35..70).contains(&percent) && second % 3 == 0 {
            triggers.next().unwrap().pull(&stage);
        }
        if (45..60).contains(&percent) {
            for number in 0..5 {
                scene.post_foreign(usize::try_from(second * 5 + number).unwrap()).await;
            }
        }
        match percent {
            25 if second % 2 == 0 => siem.fail_next(400, 1),
            50..70 => siem.answer_always(Answer::Status(503)),
            70 => siem.answer_always(Answer::Normal),
            15 | 85 if second * 100 % seconds < 100 => scene.reload(),
            80 => scene.post(&Value::Null).await,
            _ => {}
        }
    }
}

fn keep<S: Service>(file: &Path, receiver: &Receiver<S>) {
    let bodies: Vec<_> = receiver.accepted().iter().map(e2e::receivers::Received::json).collect();
    std::fs::write(file, serde_json::to_string_pretty(&bodies).unwrap()).unwrap();
}

fn routing_to(folder: &Path, slack: &Slack, pager: &PagerDuty, siem: &Webhook) -> String {
    std::fs::write(folder.join("slack"), slack.url()).unwrap();
    std::fs::write(folder.join("key"), ROUTING_KEY).unwrap();
    format!(
        r#"
[defaults]
dedup = {{ window = "2m" }}

[[route]]
name = "page"
when = "priority >= critical"
to = ["oncall"]
continue = true

[[route]]
name = "team"
# Whoever builds and tests on this machine runs programs there.
when = "priority >= notice and not rule = 'Program run from a temporary directory'"
to = ["team", "siem", "archive"]
limit = {{ rate = "3/min", burst = 3, by = ["rule"], over = "digest" }}

[destination.team]
type = "slack"
webhook_url = {{ file = "slack" }}

[destination.oncall]
type = "pagerduty"
routing_key = {{ file = "key" }}
url = "{}"

{}receive = "all"
"#,
        pager.url(),
        webhook("siem", siem)
    )
}
