//! The wall clock is set back and ahead under a running router, and between two of its lives: every window still closes,
//! every digest still comes, nothing is lost, and nothing turns in circles.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::receivers::{Answer, Received, Webhook};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::chaos::told;
use crate::harness::{Router, Usage, alert, eventually, skipped, webhook};

/// Where Debian has it, by architecture.
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// Alerts of one rule: the first goes out, the rest is held back for some seconds and told then.
const ALERTS: usize = 5;

/// By the wall clock alone a window would be open for hours.
const TOLD: Duration = Duration::from_mins(1);

const IDLE: Duration = Duration::from_secs(2);

/// Of the idle time: much more than an idle router takes, and less than a loop without a rest.
const CPU_SHARE_MAX: f64 = 0.5;

/// What the router takes for the time: the real one and an offset that a file holds.
struct Clock {
    folder: TempDir,
    library: PathBuf,
}

/// A router with three destinations: one that gets each alert, one behind dedup, one behind a limit.
struct Stage {
    clock: Clock,
    router: Router,
    each: Webhook,
    thinned: Webhook,
    limited: Webhook,
    sent: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_or_ahead_loses_nothing_and_keeps_nothing_open() {
    let Some(mut stage) = Stage::start().await else { return };
    for offset in ["-2h", "+26h", "-26h"] {
        stage.each.answer_always(Answer::Status(503));
        stage.send(offset).await;
        stage.clock.set(offset);
        stage.each.answer_always(Answer::Normal);
        stage.told(offset).await;
        stage.send(&format!("after {offset}")).await;
        stage.told(offset).await;
        stage.is_idle(offset).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_while_the_router_is_away_keeps_nothing_open() {
    let Some(mut stage) = Stage::start().await else { return };
    // Less than `max_age` apart: what is owed when the router is killed is delivered.
    for offset in ["-2h", "+20h"] {
        stage.send(offset).await;
        stage.router.killed().await;
        stage.clock.set(offset);
        let Stage { clock, router, each, thinned, limited, sent } = stage;
        stage = Stage { clock, router: router.started_again().await, each, thinned, limited, sent };
        stage.told(offset).await;
        stage.is_idle(offset).await;
    }
}

impl Clock {
    fn start() -> Option<Self> {
        let libraries = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join(LIBRARY));
        let Some(library) = libraries.into_iter().find(|path| path.is_file()) else {
            skipped("there is no libfaketime");
            return None;
        };
        let clock = Self { folder: tempfile::tempdir().unwrap(), library };
        clock.set("+0");
        Some(clock)
    }

    fn set(&self, offset: &str) {
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, offset).unwrap();
        std::fs::rename(fresh, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// Waits go by the monotonic clock, which nobody sets.
    fn variables(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        let variables = [
            ("LD_PRELOAD", text(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.file())),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}

impl Stage {
    async fn start() -> Option<Self> {
        let clock = Clock::start()?;
        let (each, thinned, limited) = (Webhook::start().await, Webhook::start().await, Webhook::start().await);
        let routing = format!(
            r#"
            [[route]]
            to = ["each"]
            dedup = {{ window = "0s" }}
            continue = true
            [[route]]
            to = ["thinned"]
            dedup = {{ window = "3s", by = ["rule"] }}
            continue = true
            [[route]]
            to = ["limited"]
            dedup = {{ window = "0s" }}
            limit = {{ rate = "1/h", burst = 1, by = ["rule"], over = "digest", digest_interval = "3s" }}
            {}{}{}"#,
            webhook("each", &each),
            webhook("thinned", &thinned),
            webhook("limited", &limited)
        );
        let state = clock.folder.path().join("state");
        let router = Router::start_with(state, &routing, clock.variables()).await;
        Some(Self { clock, router, each, thinned, limited, sent: 0 })
    }

    /// Alerts of one rule.
    async fn send(&mut self, rule: &str) {
        for number in 0..ALERTS {
            let alert = alert(rule, "Error", &format!("p{number}"));
            let answer = self.router.post(&alert).await;
            assert_eq!(answer.status, 202, "{answer:?}");
        }
        self.sent += ALERTS;
    }

    /// Waits until each alert is delivered, and told of by who gets less.
    async fn told(&self, offset: &str) {
        eventually(&format!("all is told although the clock was set to {offset}"), TOLD, async || {
            let told =
                [distinct(&self.each.accepted()), told(&self.thinned.received()), told(&self.limited.received())];
            // What is told is counted a moment later.
            let law = self.router.metrics().await.conservation();
            if told == [self.sent as u64; 3] { law } else { Err(format!("{told:?} of {}", self.sent)) }
        })
        .await;
        let metrics = self.router.metrics().await;
        assert_eq!(metrics.sum("tercel_router_dead_total", &[]), 0, "{metrics}");
    }

    async fn is_idle(&self, offset: &str) {
        let cpu_s = || Usage::of(self.router.process.pid()).unwrap().cpu_s;
        let before = cpu_s();
        sleep(IDLE).await;
        let share = (cpu_s() - before) / IDLE.as_secs_f64();
        assert!(share < CPU_SHARE_MAX, "{offset}: an idle router takes {:.0} % of a processor", share * 100.0);
    }
}

/// What was on its way when the router was killed comes once more.
fn distinct(received: &[Received]) -> u64 {
    let ids: BTreeSet<_> = received.iter().map(|request| request.json()["uuid"].to_string()).collect();
    ids.len() as u64
}
