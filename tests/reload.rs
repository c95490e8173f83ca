//! The configuration changes while the router runs: all of it or nothing, and nothing is lost over it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::receivers::{Answer, Webhook};
use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::{
    Answer as Said, Metrics, Process, SOON, TestRouter, alert, all_to, binary, eventually, http_client, router_process,
    run, scrape, webhook,
};

/// Reloads under load.
const RELOADS: usize = 50;

/// Between two of them, at most.
const PAUSE_MAX_MS: u64 = 60;

/// Alerts of one request.
const BATCH: usize = 5;

/// For what a busy machine has to catch up with.
const SETTLE: Duration = Duration::from_mins(1);

/// A router of its own process, and whoever may administer it.
struct Live {
    process: Process,
    admin: SocketAddr,
    client: Client,
    folder: TempDir,
}

impl Live {
    async fn start(routing: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("routing.toml"), routing).unwrap();
        Self::start_in(folder).await
    }

    /// `folder` holds routing.toml.
    async fn start_in(folder: TempDir) -> Self {
        http_client();
        let (process, admin) = router_process(folder.path()).await;
        let socket = folder.path().join("router.sock");
        let client = Client::builder().unix_socket(socket).timeout(SETTLE).build().unwrap();
        Self { process, admin, client, folder }
    }

    /// By a rename, so that nobody reads half of it.
    fn write(&self, name: &str, text: &str) {
        let new = self.folder.path().join(format!("{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    async fn post(&self, path: &str, body: String) -> Said {
        Said::read(self.client.post(format!("http://router{path}")).body(body).send().await.unwrap()).await
    }

    async fn send(&self, alert: &Value) {
        let answer = self.post("/", alert.to_string()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    /// Another routing file, by a request.
    async fn reload(&self, routing: &str) -> Value {
        self.write("routing.toml", routing);
        let answer = self.post("/v1/reload", String::new()).await;
        assert_eq!(answer.status, 200, "{answer:?}\n{routing}");
        answer.json()
    }

    async fn metrics(&self) -> Metrics {
        scrape(self.admin).await
    }

    async fn reloads(&self, result: &str) -> u64 {
        self.metrics().await.sum("tercel_router_config_reloads_total", &[("result", result)])
    }

    /// Until so many reloads have ended so.
    async fn reloaded(&self, result: &str, count: u64) {
        eventually("the configuration is read again", SOON, async || match self.reloads(result).await {
            found if found >= count => Ok(()),
            found => Err(format!("{found} {result}; the router says:\n{}", self.process.stderr())),
        })
        .await;
    }

    async fn settled(&self) -> Metrics {
        eventually("every alert has its outcome", SETTLE, async || {
            let metrics = self.metrics().await;
            let queued = metrics.sum("tercel_router_queued", &[]);
            if queued > 0 { Err(format!("{queued} queued")) } else { metrics.conservation().map(|()| metrics) }
        })
        .await
    }
}

#[tokio::test]
async fn a_signal_a_request_and_a_changed_file_each_put_the_new_routes_into_force() {
    let (one, other) = (Webhook::start().await, Webhook::start().await);
    let routing = |to: &str| {
        let both = format!("{}{}", webhook("one", &one), webhook("other", &other));
        format!("[[route]]\nto = [\"{to}\"]\ndedup = {{ window = \"0s\" }}\n{both}")
    };
    let router = Live::start(&routing("one")).await;
    assert_eq!(router.reloads("success").await, 1, "the start");

    router.write("routing.toml", &routing("other"));
    router.process.signal(Signal::HUP);
    router.reloaded("success", 2).await;
    router.send(&alert("By signal", "Error", "a")).await;
    assert_eq!(other.wait_for(1, SOON).await[0].json()["rule"], "By signal");

    let answer = router.reload(&routing("one")).await;
    assert_eq!((&answer["ok"], &answer["routes"], &answer["destinations"]), (&json!(true), &json!(1), &json!(3)));
    router.send(&alert("By request", "Error", "a")).await;
    assert_eq!(one.wait_for(1, SOON).await[0].json()["rule"], "By request");

    let before = router.reloads("success").await;
    router.write("routing.toml", &routing("other"));
    router.reloaded("success", before + 1).await;
    router.send(&alert("By file", "Error", "a")).await;
    assert_eq!(other.wait_for(2, SOON).await[1].json()["rule"], "By file");
    let metrics = router.settled().await;
    assert_eq!((metrics.of("one", "delivered_total"), metrics.of("other", "delivered_total")), (1, 2));
}

#[tokio::test]
async fn a_bad_file_leaves_the_old_routes_in_force_and_is_told_as_check_tells_it() {
    let hook = Webhook::start().await;
    let good = all_to(&hook, "");
    let router = Live::start(&good).await;
    let bad = good.replace("to = [\"hook\"]", "to = [\"hok\"]\nwhen = \"priority >= \"");
    router.write("routing.toml", &bad);
    router.process.signal(Signal::HUP);
    router.reloaded("invalid", 1).await;

    let file = router.folder.path().join("routing.toml");
    let check = |arguments: &[&str]| {
        let mut command = Command::new(binary("tercel-router"));
        command.args(["check", "--routing"]).arg(&file).args(arguments);
        command
    };
    let checked = run(&mut check(&[])).await;
    assert_eq!(checked.status.code(), Some(64));
    let told = String::from_utf8(checked.stderr).unwrap();
    assert!(told.contains("routing.toml:") && told.contains("`hok`"), "{told}");
    assert!(router.process.stderr().contains(told.trim_end()), "{told}\nis not in\n{}", router.process.stderr());

    let answer = router.post("/v1/reload", String::new()).await;
    let checked: Value = serde_json::from_slice(&run(&mut check(&["--json"])).await.stdout).unwrap();
    assert_eq!((answer.status, &answer.json()["problems"]), (400, &checked["problems"]));
    let metrics = router.metrics().await;
    assert_eq!(metrics.sum("tercel_router_config_reload_success", &[]), 0);
    let loaded = metrics.sum("tercel_router_config_last_reload_success_timestamp_seconds", &[]);

    router.send(&alert("Rule", "Error", "a")).await;
    assert_eq!(hook.wait_for(1, SOON).await.len(), 1, "the old routes are in force");
    router.reload(&good).await;
    let metrics = router.metrics().await;
    assert_eq!(metrics.sum("tercel_router_config_reload_success", &[]), 1);
    assert!(metrics.sum("tercel_router_config_last_reload_success_timestamp_seconds", &[]) >= loaded);
}

#[tokio::test]
async fn only_administrators_may_ask_for_a_reload() {
    let hook = Webhook::start().await;
    let router = Live::start(&all_to(&hook, "")).await;
    let request = http_client().post(format!("http://{}/v1/reload", router.admin));
    assert_eq!(request.send().await.unwrap().status(), 401, "by network it needs a token, and there is none");
    let get = router.client.get("http://router/v1/reload").send().await.unwrap();
    assert_eq!(get.status(), 405);
    assert_eq!(router.reloads("success").await, 1);
}

/// As Kubernetes changes a mounted ConfigMap: the files are links through `..data`, which is renamed.
#[tokio::test]
async fn a_config_map_that_is_swapped_is_noticed() {
    let (one, other) = (Webhook::start().await, Webhook::start().await);
    let folder = tempfile::tempdir().unwrap();
    let place = |version: &str, hook: &Webhook| {
        let data = folder.path().join(version);
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("routing.toml"), all_to(hook, "")).unwrap();
        symlink(version, folder.path().join("..new")).unwrap();
        std::fs::rename(folder.path().join("..new"), folder.path().join("..data")).unwrap();
    };
    place("..first", &one);
    symlink("..data/routing.toml", folder.path().join("routing.toml")).unwrap();
    let (process, admin) = router_process(folder.path()).await;
    place("..second", &other);
    let client = Client::builder().unix_socket(folder.path().join("router.sock")).timeout(SETTLE).build().unwrap();
    let router = Live { process, admin, client, folder };
    router.reloaded("success", 2).await;
    router.send(&alert("Rule", "Error", "a")).await;
    assert_eq!((other.wait_for(1, SOON).await.len(), one.count()), (1, 0));
}

#[tokio::test]
async fn what_is_owed_to_a_removed_destination_is_dead_and_it_may_come_back() {
    let (gone, stays) = (Webhook::start().await, Webhook::start().await);
    gone.answer_always(Answer::Status(503));
    let both = format!(
        "[[route]]\nto = [\"gone\", \"stays\"]\ndedup = {{ window = \"0s\" }}\n{}{}",
        webhook("gone", &gone),
        webhook("stays", &stays)
    );
    let one = format!("[[route]]\nto = [\"stays\"]\ndedup = {{ window = \"0s\" }}\n{}", webhook("stays", &stays));
    let router = Live::start(&both).await;
    for number in 0..20 {
        router.send(&alert("Rule", "Error", &format!("p{number}"))).await;
    }
    stays.wait_for(20, SOON).await;
    let answer = router.reload(&one).await;
    assert_eq!((&answer["removed"], &answer["changed"]), (&json!(["gone"]), &json!([])));
    let metrics = router.settled().await;
    let dead = [("destination", "gone"), ("reason", "removed")];
    assert_eq!(metrics.sum("tercel_router_dead_total", &dead), 20);
    router.send(&alert("Rule", "Error", "x")).await;

    gone.answer_always(Answer::Normal);
    assert_eq!(router.reload(&both).await["added"], json!(["gone"]));
    router.send(&alert("Back", "Error", "y")).await;
    let metrics = router.settled().await;
    assert_eq!((metrics.of("gone", "delivered_total"), metrics.of("stays", "delivered_total")), (1, 22));
    assert_eq!(gone.accepted()[0].json()["rule"], "Back");
}

#[tokio::test]
async fn what_was_owed_to_a_destination_that_a_restart_does_not_find_is_recovered_and_dead() {
    let (gone, stays) = (Webhook::start().await, Webhook::start().await);
    gone.answer_always(Answer::Status(503));
    let routing =
        |to: &str, destinations: &str| format!("[[route]]\nto = {to}\ndedup = {{ window = \"0s\" }}\n{destinations}");
    let one = webhook("stays", &stays);
    let both = routing("[\"gone\", \"stays\"]", &(webhook("gone", &gone) + &one));
    let router = TestRouter::start_with(&both, |settings| settings.drain = Duration::ZERO).await;
    for number in 0..5 {
        router.send(&alert("Rule", "Error", &format!("p{number}"))).await;
    }
    stays.wait_for(5, SOON).await;
    std::fs::write(router.state().with_file_name("routing.toml"), routing("[\"stays\"]", &one)).unwrap();
    let router = router.restart().await;
    let metrics = router.settled().await;
    let dead = [("destination", "gone"), ("reason", "removed")];
    assert_eq!((metrics.of("gone", "recovered_total"), metrics.sum("tercel_router_dead_total", &dead)), (5, 5));
}

#[tokio::test]
async fn a_window_goes_on_through_a_reload() {
    let hook = Webhook::start().await;
    let window = |more: &str| all_to(&hook, &format!("dedup = {{ window = \"6s\" }}\n{more}"));
    let router = Live::start(&window("")).await;
    router.send(&alert("Rule", "Error", "cat")).await;
    hook.wait_for(1, SOON).await;
    router.settled().await;
    router.send(&alert("Rule", "Error", "cat")).await;
    router.reload(&window("limit = { rate = \"100/s\" }")).await;
    for _ in 0..3 {
        router.send(&alert("Rule", "Error", "cat")).await;
    }
    let received = hook.wait_for(2, SETTLE).await;
    assert_eq!((received[1].json()["notification"]["count"].clone(), received.len()), (json!(4), 2));
}

#[tokio::test]
async fn a_limit_that_is_gone_tells_at_once_what_it_held_back_and_one_that_stays_keeps_its_count() {
    let hook = Webhook::start().await;
    let limit = "limit = { rate = \"1/hour\", digest_interval = \"24h\" }";
    let router = Live::start(&all_to(&hook, limit)).await;
    for _ in 0..5 {
        router.send(&alert("Rule", "Error", "cat")).await;
    }
    hook.wait_for(1, SOON).await;
    router.reload(&all_to(&hook, &format!("{limit}\ncontinue = true"))).await;
    router.send(&alert("Rule", "Error", "cat")).await;
    assert_eq!(router.settled().await.of("hook", "suppressed_total"), 5, "its bucket stays empty");
    router.reload(&all_to(&hook, "")).await;
    let received = hook.wait_for(2, SOON).await;
    assert_eq!(received[1].json()["notification"]["count"], 5, "{:?}", received[1].json());
}

#[tokio::test]
async fn a_template_that_has_changed_is_used_for_what_waits() {
    let hook = Webhook::start().await;
    hook.answer_always(Answer::Status(503));
    let folder = tempfile::tempdir().unwrap();
    let template = |version: u8| format!("{{\"version\": {version}, \"rule\": {{{{json alert.rule}}}}}}");
    std::fs::write(folder.path().join("hook.hbs"), template(1)).unwrap();
    let routing = format!("{}template = \"hook.hbs\"\n", all_to(&hook, ""));
    std::fs::write(folder.path().join("routing.toml"), routing).unwrap();
    let router = Live::start_in(folder).await;
    router.send(&alert("Rule", "Error", "cat")).await;
    assert_eq!(hook.wait_for(1, SOON).await[0].json()["version"], 1);
    router.write("hook.hbs", &template(2));
    router.reloaded("success", 2).await;
    hook.answer_always(Answer::Normal);
    router.settled().await;
    assert_eq!(hook.accepted()[0].json(), json!({"version": 2, "rule": "Rule"}));
    assert!(router.process.stderr().contains("changed=[\"hook\"]"), "{}", router.process.stderr());
}

#[tokio::test]
async fn a_secret_that_is_rotated_is_used_also_while_the_routing_file_is_bad() {
    let hook = Webhook::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "old").unwrap();
    let good = format!("{}auth = {{ bearer = {{ file = \"token\" }} }}\n", all_to(&hook, ""));
    std::fs::write(folder.path().join("routing.toml"), &good).unwrap();
    let router = Live::start_in(folder).await;
    router.write("routing.toml", &good.replace("[[route]]", "[[rout]]"));
    router.reloaded("invalid", 1).await;
    router.write("token", "new");
    router.send(&alert("Rule", "Error", "a")).await;
    assert_eq!(hook.wait_for(1, SOON).await[0].header("authorization"), "Bearer new");
}

/// `kept` is in every configuration and gets everything; what others get, and whether they exist, is up to chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_reloads_under_load_lose_nothing() {
    let hooks: BTreeMap<&str, Webhook> = BTreeMap::from([
        ("kept", Webhook::start().await),
        ("a", Webhook::start().await),
        ("b", Webhook::start().await),
        ("c", Webhook::start().await),
    ]);
    let router = Live::start(&random_routing(&hooks)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let sender = send_until(Arc::clone(&stop), router.client.clone());
    for number in 0..RELOADS {
        for hook in hooks.values() {
            hook.answer_always(random_answer());
        }
        let routing = random_routing(&hooks);
        match number % 5 {
            0 => {
                router.write("routing.toml", &routing);
                router.process.signal(Signal::HUP);
            }
            1 => router.write("routing.toml", &routing.replace("to = ", "too = ")),
            _ => drop(router.reload(&routing).await),
        }
        sleep(Duration::from_millis(fastrand::u64(0..PAUSE_MAX_MS))).await;
    }
    for hook in hooks.values() {
        hook.answer_always(Answer::Normal);
    }
    router.reload(&random_routing(&hooks)).await;
    stop.store(true, Ordering::Relaxed);
    let sent = sender.await.unwrap();
    let metrics = router.settled().await;

    let arrived = |name: &str| -> Vec<String> {
        hooks[name].accepted().iter().map(|request| request.json()["uuid"].as_str().unwrap().to_owned()).collect()
    };
    let kept = arrived("kept");
    assert_eq!(kept.iter().cloned().collect::<BTreeSet<_>>(), sent, "everything that was acknowledged");
    assert_eq!((kept.len(), metrics.of("kept", "dead_total")), (sent.len(), 0), "and each once");
    let mut counted = Vec::new();
    for name in ["a", "b", "c"] {
        let (came, dead) = (arrived(name), metrics.of(name, "dead_total"));
        assert_eq!(came.len() as u64, metrics.of(name, "delivered_total"), "{name}");
        assert_eq!(dead, metrics.sum("tercel_router_dead_total", &[("destination", name), ("reason", "removed")]));
        assert_eq!(came.iter().collect::<BTreeSet<_>>().len(), came.len(), "{name}: each once");
        counted.push((name, came.len(), dead));
    }
    println!("{} alerts, {:?} (delivered, dead)", sent.len(), counted);
    assert!(sent.len() > RELOADS, "there was load");
}

fn random_routing(hooks: &BTreeMap<&str, Webhook>) -> String {
    let others: Vec<_> = hooks.keys().filter(|name| **name != "kept" && fastrand::bool()).collect();
    let mut parts = vec!["[defaults]\ndedup = { window = \"0s\" }\n".to_owned()];
    if let Some(first) = others.first() {
        let process = fastrand::u8(0..3);
        parts.push(format!("[[route]]\nto = {others:?}\nwhen = \"proc.name = p{process}\"\ncontinue = true\n"));
        parts.push(format!("[[route]]\nto = [{first:?}]\ncontinue = true\n"));
    }
    parts.push("[[route]]\nto = [\"kept\"]\n".to_owned());
    parts.push(webhook("kept", &hooks["kept"]));
    parts.extend(others.iter().map(|name| webhook(name, &hooks[**name])));
    parts.concat()
}

fn random_answer() -> Answer {
    match fastrand::u8(0..4) {
        0 => Answer::Status(503),
        1 => Answer::Slow(Duration::from_millis(30)),
        _ => Answer::Normal,
    }
}

/// Batch after batch; the ids of what was acknowledged.
fn send_until(stop: Arc<AtomicBool>, client: Client) -> JoinHandle<BTreeSet<String>> {
    tokio::spawn(async move {
        let mut sent = BTreeSet::new();
        while !stop.load(Ordering::Relaxed) {
            let alerts: Vec<_> = (0..BATCH).map(|number| alert("Rule", "Error", &format!("p{number}"))).collect();
            let body = serde_json::to_string(&alerts).unwrap();
            let answer = client.post("http://router/v1/alerts").body(body).send().await.unwrap();
            assert_eq!(answer.status(), 202);
            sent.extend(alerts.iter().map(|alert| alert["uuid"].as_str().unwrap().to_owned()));
            sleep(Duration::from_millis(2)).await;
        }
        sent
    })
}
