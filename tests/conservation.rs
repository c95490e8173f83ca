//! Whatever alerts, destinations and kills do, each alert has one outcome at each destination: random alerts to destinations of
//! all kinds that answer at random, a router that gets other configurations and is killed in between, and at the end the numbers
//! of `/metrics` held against what the destinations really got.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use e2e::receivers::{Answer, Elasticsearch, PagerDuty, Received, Receiver, Service, Slack, Webhook};
use fastrand::Rng;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use uuid::Uuid;

use crate::harness::{Metrics, Process, eventually, free_address, http_client, listening_router, scrape};

/// What all chance of a run comes from; each run prints its own.
const SEED_VARIABLE: &str = "TERCEL_TEST_SEED";

/// How many runs; 10 in the soak.
const RUNS_VARIABLE: &str = "TERCEL_TEST_CONSERVATION_RUNS";
const RUNS_DEFAULT: u64 = 1;

const KILLS: usize = 2;

/// Answers of each destination that are left to chance; after them it is well.
const ANSWERS: usize = 300;

/// A router that gets no answer waits for 15 s.
const HANGS_MAX: usize = 1;

/// Until everything has its outcome.
const SETTLE: Duration = Duration::from_mins(4);

/// What no service answers on its own: a body that means nothing to anybody, under a status of success.
const GARBAGE: u16 = 203;

/// The destinations with their names in the routing file; beside them an archive, a null and a console.
struct Receivers {
    each: Webhook,
    /// Takes over what `each` refuses.
    spare: Webhook,
    thinned: Webhook,
    /// Not in every configuration.
    passing: Webhook,
    slack: Slack,
    pager: PagerDuty,
    search: Elasticsearch,
}

/// What became of a request, as its receiver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Taken,
    /// Not to be sent again.
    Refused,
    /// To be sent again.
    Failed,
}

/// How many requests each receiver had got when the router was started last.
#[derive(Debug, Default)]
struct Before {
    each: usize,
    spare: usize,
    thinned: usize,
    passing: usize,
    slack: usize,
    pager: usize,
}

struct Stage {
    folder: TempDir,
    listen: SocketAddr,
    router: Process,
    admin: SocketAddr,
    receivers: Receivers,
    before: Before,
    acknowledged: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_alert_has_one_outcome_at_each_destination_whatever_happens() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    for run in 0..number(RUNS_VARIABLE).unwrap_or(RUNS_DEFAULT) {
        let seed = number(SEED_VARIABLE).map_or_else(|| fastrand::u64(..), |seed| seed + run);
        println!("{SEED_VARIABLE}={seed}");
        println!("{}", one_run(&mut Rng::with_seed(seed)).await);
    }
}

/// What happened in it.
async fn one_run(random: &mut Rng) -> String {
    let mut stage = Stage::start(random).await;
    for life in 0..=KILLS {
        for _ in 0..random.usize(10..20) {
            if random.u8(0..4) == 0 {
                stage.reload(random);
            }
            let batch = batch(random);
            stage.send(&batch).await;
        }
        if life < KILLS {
            stage.disturb(random).await;
        }
    }
    let metrics = stage.settled().await;
    stage.assert_all_arrived();
    format!(
        "{} alerts acknowledged; since the last kill {} configurations, {} recovered, {} delivered, {} suppressed, {} dead, {} moved on",
        stage.acknowledged.len(),
        metrics.sum("tercel_router_config_reloads_total", &[("result", "success")]),
        metrics.sum("tercel_router_recovered_total", &[]),
        metrics.sum("tercel_router_delivered_total", &[]),
        metrics.sum("tercel_router_suppressed_total", &[]),
        metrics.sum("tercel_router_dead_total", &[]),
        metrics.sum("tercel_router_moved_to_fallback_total", &[]),
    )
}

impl Receivers {
    async fn start(random: &mut Rng) -> Self {
        let receivers = Self {
            each: Webhook::start().await,
            spare: Webhook::start().await,
            thinned: Webhook::start().await,
            passing: Webhook::start().await,
            slack: Slack::start().await,
            pager: PagerDuty::start().await,
            search: Elasticsearch::start().await,
        };
        receivers.each.answer_next(answers(random, &[400, GARBAGE]));
        receivers.thinned.answer_next(answers(random, &[400, GARBAGE]));
        receivers.passing.answer_next(answers(random, &[400, GARBAGE]));
        receivers.slack.answer_next(answers(random, &[400, GARBAGE]));
        receivers.pager.answer_next(answers(random, &[400, GARBAGE]));
        // What is refused for good before a kill is in no metric after it: these two take all in the end.
        receivers.spare.answer_next(answers(random, &[GARBAGE]));
        receivers.search.answer_next(answers(random, &[GARBAGE]));
        receivers
    }

    /// One of many configurations: windows, limits and retries as chance wants them, `passing` in every other one.
    fn routing(&self, folder: &TempDir, random: &mut Rng) -> String {
        let secret = |name: &str, text: &str| {
            let path = folder.path().join(name);
            if !path.exists() {
                std::fs::write(&path, text).unwrap();
            }
            format!("{{ file = \"{}\" }}", path.display())
        };
        let (window, burst, digests) = (random.u8(1..4), random.u8(1..20), random.u8(1..4));
        let rate = random.u8(30..120);
        let passing = if random.bool() {
            let url = self.passing.url();
            format!(
                "[[route]]\nto = [\"passing\"]\ncontinue = true\n[destination.passing]\ntype = \"webhook\"\nurl = \"{url}\"\n"
            )
        } else {
            String::new()
        };
        format!(
            r#"
            {passing}
            [[route]]
            to = ["each", "search", "archive", "nowhere"]
            dedup = {{ window = "0s" }}
            continue = true
            [[route]]
            to = ["thinned", "slack", "pager", "console"]
            dedup = {{ window = "{window}s", by = ["rule"] }}
            limit = {{ rate = "{rate}/min", burst = {burst}, by = ["rule"], over = "digest", digest_interval = "{digests}s" }}
            [destination.each]
            type = "webhook"
            url = "{}"
            fallback = "spare"
            [destination.spare]
            type = "webhook"
            url = "{}"
            [destination.thinned]
            type = "webhook"
            url = "{}"
            [destination.slack]
            type = "slack"
            webhook_url = {}
            [destination.pager]
            type = "pagerduty"
            url = "{}"
            routing_key = {}
            [destination.search]
            type = "elasticsearch"
            url = "{}"
            [destination.nowhere]
            type = "null"
            [destination.console]
            type = "console"
            "#,
            self.each.url(),
            self.spare.url(),
            self.thinned.url(),
            secret("slack", &self.slack.url()),
            self.pager.url(),
            secret("key", &"k".repeat(32)),
            self.search.url(),
        )
    }

    fn counts(&self) -> Before {
        Before {
            each: self.each.count(),
            spare: self.spare.count(),
            thinned: self.thinned.count(),
            passing: self.passing.count(),
            slack: self.slack.count(),
            pager: self.pager.count(),
        }
    }
}

impl Stage {
    async fn start(random: &mut Rng) -> Self {
        let receivers = Receivers::start(random).await;
        let (folder, listen) = (tempfile::tempdir().unwrap(), free_address());
        std::fs::write(folder.path().join("routing.toml"), receivers.routing(&folder, random)).unwrap();
        let (router, admin) = listening_router(folder.path(), listen).await;
        let (before, acknowledged) = (Before::default(), BTreeSet::new());
        Self { folder, listen, router, admin, receivers, before, acknowledged }
    }

    /// Another configuration, by a rename, so that nobody reads half of it. Whether the router notices the file or the signal
    /// first, or is killed before, is up to chance too.
    fn reload(&self, random: &mut Rng) {
        let new = self.folder.path().join("routing.toml.new");
        std::fs::write(&new, self.receivers.routing(&self.folder, random)).unwrap();
        std::fs::rename(new, self.folder.path().join("routing.toml")).unwrap();
        if random.bool() {
            self.router.signal(Signal::HUP);
        }
    }

    /// Sends a batch again and again until it is acknowledged.
    async fn send(&mut self, batch: &[Value]) {
        eventually("the router takes a batch", SETTLE, async || post(self.listen, batch).await).await;
        self.acknowledged.extend(batch.iter().map(id));
    }

    /// What comes between two lives: the router is killed while it has a request, and starts again.
    async fn disturb(&mut self, random: &mut Rng) {
        let batch = batch(random);
        let post = {
            let (listen, batch) = (self.listen, batch.clone());
            tokio::spawn(async move { post(listen, &batch).await })
        };
        sleep(Duration::from_millis(random.u64(0..30))).await;
        self.router.signal(Signal::KILL);
        self.router.wait(SETTLE).await.expect("killed");
        if post.await.unwrap().is_ok() {
            self.acknowledged.extend(batch.iter().map(id));
        }
        self.before = self.at_rest().await;
        (self.router, self.admin) = listening_router(self.folder.path(), self.listen).await;
        self.send(&batch).await;
    }

    /// Waits until the receivers have read what the killed router had sent them.
    async fn at_rest(&self) -> Before {
        loop {
            let before = format!("{:?}", self.receivers.counts());
            sleep(Duration::from_millis(200)).await;
            let now = self.receivers.counts();
            if before == format!("{now:?}") {
                return now;
            }
        }
    }

    /// Waits until every alert has its outcome and every number agrees with what the receivers saw.
    async fn settled(&self) -> Metrics {
        eventually("every alert has one outcome", SETTLE, async || {
            let metrics = scrape(self.admin).await;
            let open = metrics.sum("tercel_router_queued", &[]) + metrics.sum("tercel_router_dedup_entries", &[]);
            if open > 0 {
                return Err(format!("{open} queued or in open windows"));
            }
            metrics.conservation()?;
            let (all, before) = (&self.receivers, &self.before);
            agree(&metrics, "each", &all.each, before.each)?;
            agree(&metrics, "spare", &all.spare, before.spare)?;
            agree(&metrics, "thinned", &all.thinned, before.thinned)?;
            agree_on_arrived(&metrics, "passing", &all.passing, before.passing)?;
            agree(&metrics, "slack", &all.slack, before.slack)?;
            agree(&metrics, "pager", &all.pager, before.pager)?;
            Ok(metrics)
        })
        .await
    }

    /// What was acknowledged in any life is where every alert goes.
    fn assert_all_arrived(&self) {
        let taken = |webhook: &Webhook| -> BTreeSet<String> {
            webhook.accepted().iter().map(|request| id(&request.json())).collect()
        };
        let each: BTreeSet<_> = taken(&self.receivers.each).union(&taken(&self.receivers.spare)).cloned().collect();
        assert_eq!(each, self.acknowledged, "each and its fallback");
        let documents = self.receivers.search.with_service(|search| search.documents().to_vec());
        let found: BTreeSet<_> = documents.iter().map(|document| document.id.clone()).collect();
        assert_eq!(found, self.acknowledged, "search");
        assert_eq!(documents.len(), found.len(), "search has each once");
        let archive = std::fs::read_to_string(self.folder.path().join("state/archive/alerts.ndjson")).unwrap();
        // A kill may cut a line; the alert then comes again.
        let lines = archive.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let archived: BTreeSet<_> = lines.map(|alert| id(&alert)).collect();
        assert_eq!(archived, self.acknowledged, "archive");
    }
}

/// # Errors
/// What `/metrics` says of a destination is not what its receiver saw since the last start.
fn agree<S: Service>(metrics: &Metrics, name: &str, receiver: &Receiver<S>, before: usize) -> Result<(), String> {
    let requests = receiver.received();
    let count = |verdict| requests[before..].iter().filter(|request| judge(name, request) == verdict).count() as u64;
    let (taken, refused, failed) = (count(Verdict::Taken), count(Verdict::Refused), count(Verdict::Failed));
    let of = |metric: &str| metrics.of(name, metric);
    let given_up = of("dead_total") + of("moved_to_fallback_total") + of("notifications_lost_total");
    let told = (of("notifications_total"), given_up, of("attempts_total"));
    let seen = (taken, refused, taken + refused + failed);
    if told == seen {
        return Ok(());
    }
    Err(format!(
        "{name}: (arrived, given up, attempts) are {told:?} by the metrics, {seen:?} by the receiver\n{metrics}"
    ))
}

/// For a destination that may have been removed under what it was owed: what arrived only.
///
/// # Errors
/// As of [`agree`].
fn agree_on_arrived<S: Service>(
    metrics: &Metrics,
    name: &str,
    receiver: &Receiver<S>,
    before: usize,
) -> Result<(), String> {
    let taken = receiver.received()[before..].iter().filter(|request| judge(name, request) == Verdict::Taken).count();
    let told = metrics.of(name, "notifications_total");
    if told == taken as u64 {
        Ok(())
    } else {
        Err(format!("{name}: {told} arrived by the metrics, {taken} by the receiver\n{metrics}"))
    }
}

/// By the answer's status, as the destination's own documentation means it.
fn judge(name: &str, request: &Received) -> Verdict {
    match request.status {
        // Slack says `ok` in the body of what it took.
        Some(GARBAGE) if name == "slack" => Verdict::Refused,
        Some(200..=299) => Verdict::Taken,
        Some(400) => Verdict::Refused,
        _ => Verdict::Failed,
    }
}

/// `odd`: statuses beside those that every destination gives.
fn answers(random: &mut Rng, odd: &[u16]) -> Vec<Answer> {
    let mut hangs = 0;
    let mut answer = || match random.u8(0..100) {
        0..70 => Answer::Normal,
        70..80 => Answer::Slow(Duration::from_millis(random.u64(0..100))),
        80..83 => Answer::RetryAfter(429, "1"),
        83..88 => Answer::Status(500),
        88..92 => Answer::Close,
        92..98 => match odd[random.usize(0..odd.len())] {
            GARBAGE => Answer::Body(GARBAGE, "<html>\u{0}garbage".to_owned()),
            status => Answer::Status(status),
        },
        _ if hangs < HANGS_MAX => {
            hangs += 1;
            Answer::Hang
        }
        _ => Answer::Normal,
    };
    (0..ANSWERS).map(|_| answer()).collect()
}

fn batch(random: &mut Rng) -> Vec<Value> {
    (0..random.usize(1..12)).map(|_| alert(random)).collect()
}

fn alert(random: &mut Rng) -> Value {
    let priorities = ["Debug", "Informational", "Notice", "Warning", "Error", "Critical", "Alert", "Emergency"];
    let text = |random: &mut Rng| -> String {
        let length = random.usize(0..60);
        (0..length).map(|_| random.char(..)).collect()
    };
    json!({
        "uuid": Uuid::now_v7(),
        "time": jiff::Timestamp::now(),
        "rule": format!("rule {}", random.u8(0..6)),
        "priority": priorities[random.usize(0..priorities.len())],
        "output": text(random),
        "output_fields": {"proc.name": text(random), "proc.cmdline": text(random).repeat(random.usize(0..40)), "user.uid": random.i32(..)},
        "tags": [format!("tag-{}", random.u8(..))],
    })
}

fn id(alert: &Value) -> String {
    alert["uuid"].as_str().unwrap_or_default().to_owned()
}

async fn post(listen: SocketAddr, batch: &[Value]) -> Result<(), String> {
    let request = http_client().post(format!("http://{listen}/v1/alerts")).body(Value::from(batch).to_string());
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let (status, text) = (answer.status(), answer.text().await.map_err(|error| error.to_string())?);
    let taken = serde_json::from_str::<Value>(&text).unwrap_or_default()["accepted"].as_u64();
    if status == 202 && taken == Some(batch.len() as u64) { Ok(()) } else { Err(format!("{status}: {text}")) }
}
