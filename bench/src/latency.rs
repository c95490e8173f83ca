//! From the kernel's time of an event to its alert at a webhook, through the real sensor and the real router.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::receivers::Webhook;
use tercel_alert::Alert;

use crate::processes::{Program, shipped_rules};
use crate::statistics::Series;

const ROUTER_LISTEN: &str = "127.0.0.1:23801";
const ROUTER_ADMIN: &str = "127.0.0.1:23802";
const SENSOR_METRICS: &str = "127.0.0.1:23803";

/// Longest wait for one alert.
const ALERT_MAX: Duration = Duration::from_secs(5);

pub(crate) async fn run(alerts: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let webhook = Webhook::start().await;
    let routing = folder.path().join("routing.toml");
    std::fs::write(&routing, routing_text(&webhook.url()))?;
    let text = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (routing, state, socket) = (text("routing.toml"), text("state"), text("router.sock"));
    let router = Program::start(
        "tercel-router",
        &[
            "run",
            "--routing",
            &routing,
            "--listen",
            ROUTER_LISTEN,
            "--admin",
            ROUTER_ADMIN,
            "--state",
            &state,
            "--unix",
            &socket,
        ],
        &[],
        ROUTER_ADMIN,
    )
    .await?;
    let (rules, output) = (shipped_rules(), format!("unix:{socket}"));
    let rules = rules.to_string_lossy();
    let sensor = Program::start(
        "tercel-sensor",
        &["run", "--rules", &rules, "--output", &output, "--metrics", SENSOR_METRICS],
        &[],
        SENSOR_METRICS,
    )
    .await?;
    let milliseconds = Series::new(measure(&webhook, alerts).await?);
    println!(
        "cat /etc/shadow, {alerts} times, one after the other: kernel time of the open → body received at the webhook"
    );
    println!(
        "  p50 {:.1} ms  p90 {:.1} ms  p99 {:.1} ms  max {:.1} ms",
        milliseconds.median(),
        milliseconds.quantile(0.9),
        milliseconds.quantile(0.99),
        milliseconds.max()
    );
    println!("  ready after: router {} ms, sensor {} ms", router.start.as_millis(), sensor.start.as_millis());
    println!(
        "  resident: router {:.1} MiB, sensor {:.1} MiB",
        router.resident_mib("Rss")?,
        sensor.resident_mib("Rss")?
    );
    println!("  dropped in the kernel {:.0}", sensor.metric("tercel_sensor_dropped_total").await?);
    sensor.stop()?;
    router.stop()
}

async fn measure(webhook: &Webhook, alerts: usize) -> anyhow::Result<Vec<f64>> {
    let mut milliseconds = Vec::with_capacity(alerts);
    for number in 0..alerts {
        let status = Command::new("cat").arg("/etc/shadow").stdout(Stdio::null()).status()?;
        ensure!(status.success(), "cat /etc/shadow: {status}");
        let received = webhook.wait_for(number + 1, ALERT_MAX).await;
        let request = received.get(number).with_context(|| format!("alert {} did not come", number + 1))?;
        let alert: Alert = serde_json::from_slice(&request.body)?;
        milliseconds.push(request.time.duration_since(alert.time).as_secs_f64() * 1_000.0);
    }
    Ok(milliseconds)
}

/// No dedup window and no limit: every alert is delivered.
fn routing_text(url: &str) -> String {
    format!(
        r#"
[defaults]
dedup = {{ window = "0s" }}

[[route]]
name = "shadow"
when = "output contains /etc/shadow"
to = ["hook"]

[[route]]
name = "rest"
to = ["archive"]

[destination.archive]
type = "archive"
receive = "notifications"

[destination.hook]
type = "webhook"
url = "{url}"
"#
    )
}
