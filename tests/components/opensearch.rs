//! A real OpenSearch, and what a person does with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Metrics, Process, TestRouter, alert, binary, eventually, free_address, http_client, nasty_alert};

/// The program that starts a server: `FOLDER PORT [SETTING=VALUE…]`.
const SERVER_VARIABLE: &str = "TERCEL_TEST_OPENSEARCH";

/// Alerts that are sent; 100,000 where there is time.
const ALERTS_VARIABLE: &str = "TERCEL_TEST_ALERTS";
const ALERTS_DEFAULT: usize = 10_000;

/// Alerts in one request to the router.
const SENT_AT_ONCE: usize = 500;

/// Of a day whose index cannot take them.
const REFUSED: usize = 40;
const REFUSED_DAY: &str = "2026-01-02";
const REFUSED_INDEX: &str = "tercel-2026.01.02";

/// A Java program beside builds.
const START_WITHIN: Duration = Duration::from_mins(3);

/// For all alerts to have their outcome, after a queue that is full and a restart: retries and probes wait up to a minute.
const DELIVERED_WITHIN: Duration = Duration::from_mins(15);

/// So small that requests that come at once are refused with 429.
const TINY_QUEUE: [&str; 2] = ["thread_pool.write.size=1", "thread_pool.write.queue_size=1"];

/// One node, with its data in a folder of its own.
struct Server {
    process: Option<Process>,
    address: SocketAddr,
    folder: TempDir,
    client: Client,
}

impl Server {
    async fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for below in ["config", "data", "logs"] {
            std::fs::create_dir(folder.path().join(below)).unwrap();
        }
        let mut server = Self { process: None, address: free_address(), folder, client: http_client() };
        server.run(settings).await;
        server
    }

    /// With the data that is there.
    async fn run(&mut self, settings: &[&str]) {
        let program = std::env::var_os(SERVER_VARIABLE).map(PathBuf::from);
        let program =
            program.unwrap_or_else(|| panic!("{SERVER_VARIABLE} is not set; use cargo xtask test --components"));
        let mut command = Command::new(program);
        command.arg(self.folder.path()).arg(self.address.port().to_string()).args(settings);
        let process = Process::start(&mut command);
        eventually("OpenSearch answers", START_WITHIN, async || {
            let health = format!("{}_cluster/health?wait_for_status=yellow&timeout=5s", self.url());
            match self.client.get(health).send().await {
                Ok(response) if response.status().is_success() => Ok(()),
                Ok(response) => Err(response.status().to_string()),
                Err(error) => Err(format!("{error}; it says:\n{}", process.stderr())),
            }
        })
        .await;
        self.process = Some(process);
    }

    /// As a machine that loses its power.
    fn kill(&mut self) {
        drop(self.process.take());
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = self.client.request(method, format!("{}{path}", self.url()));
        let request = request.header("content-type", "application/json");
        let request = if body.is_null() { request } else { request.body(body.to_string()) };
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn refresh(&self) {
        self.ask(Method::POST, "_refresh", &Value::Null).await;
    }

    async fn count(&self, index: &str, query: Value) -> u64 {
        let answer = self.ask(Method::POST, &format!("{index}/_count"), &json!({ "query": query })).await;
        answer["count"].as_u64().unwrap()
    }

    /// Ids of all documents, and how often each is there.
    async fn ids(&self, index: &str) -> BTreeMap<String, usize> {
        let (mut ids, mut after) = (BTreeMap::new(), json!(""));
        loop {
            let body = json!({
                "size": 10_000, "_source": false, "query": { "match_all": {} },
                "sort": [{ "event.id": "asc" }], "search_after": [after],
            });
            let answer = self.ask(Method::POST, &format!("{index}/_search"), &body).await;
            let hits = answer["hits"]["hits"].as_array().unwrap();
            let Some(last) = hits.last() else { return ids };
            after = last["sort"][0].clone();
            for hit in hits {
                *ids.entry(hit["_id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
    }

    /// Fields that the mapping of this index has, and those that are not objects only.
    async fn mapped_fields(&self, index: &str) -> usize {
        fn count(mapping: &Value) -> usize {
            let below = mapping["properties"].as_object().into_iter().chain(mapping["fields"].as_object());
            usize::from(mapping.get("type").is_some())
                + below.flatten().map(|(_, mapping)| count(mapping)).sum::<usize>()
        }
        let answer = self.ask(Method::GET, &format!("{index}/_mapping"), &Value::Null).await;
        answer.as_object().unwrap().values().map(|index| count(&index["mappings"])).max().unwrap_or_default()
    }
}

fn alerts() -> usize {
    std::env::var(ALERTS_VARIABLE).map_or(ALERTS_DEFAULT, |text| text.parse().unwrap())
}

fn routing(server: &Server, more: &str) -> String {
    let url = server.url();
    format!(
        "[[route]]\nname = \"all\"\nto = [\"history\"]\n[destination.history]\ntype = \"elasticsearch\"\nurl = \"{url}\"\n\
         key_values = true\n{more}\n"
    )
}

/// `tercel-router elasticsearch setup history`, and what it says.
async fn set_up(routing: &str, more: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routing.toml");
    std::fs::write(&file, routing).unwrap();
    let mut command = Command::new(binary("tercel-router"));
    command.args(["elasticsearch", "setup", "history", "--routing"]).arg(file).args(more);
    let output = run_to_end(&mut command).await;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

/// A cluster that has just started takes its time.
async fn run_to_end(command: &mut Command) -> Output {
    let mut process = Process::start(command);
    let status = process.wait(START_WITHIN).await.unwrap_or_else(|| panic!("{command:?} does not end"));
    Output { status, stdout: process.stdout().into_bytes(), stderr: process.stderr().into_bytes() }
}

/// Every seventh names another technique, and pods take turns.
fn numbered(number: usize) -> Value {
    let mut alert = alert("Numbered", "Notice", "cat");
    alert["output_fields"]["k8s.ns.name"] = json!("shop");
    alert["output_fields"]["k8s.pod.name"] = json!(format!("shop-{}", number % 10));
    alert["tags"] = if number.is_multiple_of(7) { json!(["T1059.004", "mitre_execution"]) } else { json!(["T1003"]) };
    alert
}

fn uuid(alert: &Value) -> String {
    alert["uuid"].as_str().unwrap().to_owned()
}

async fn send(router: &TestRouter, alerts: &[Value]) {
    let lines = alerts.iter().map(|alert| format!("{alert}\n")).collect::<Vec<_>>().concat();
    let answer = router.post("/v1/alerts", lines).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

fn failures(metrics: &Metrics, reason: &str) -> u64 {
    metrics.sum("tercel_router_send_failures_total", &[("destination", "history"), ("reason", reason)])
}

#[tokio::test]
#[ignore = "needs a real OpenSearch: cargo xtask test --components"]
async fn every_alert_is_there_once_after_a_full_queue_and_a_restart_and_what_cannot_be_there_is_a_dead_letter() {
    let mut server = Server::start(&TINY_QUEUE).await;
    // Made by somebody else, with a mapping that no alert fits.
    let conflict = json!({ "mappings": { "properties": { "rule": { "type": "keyword" } } } });
    server.ask(Method::PUT, REFUSED_INDEX, &conflict).await;
    let routing = routing(&server, "concurrency = 4\nbatch = { count = 250, wait = \"200ms\" }");
    let said = set_up(&routing, &[]).await;
    assert!(said.contains("index template `tercel` for `tercel-*`: installed"), "{said}");
    assert!(said.contains("OpenSearch") && said.contains("this server has no such policies"), "{said}");

    let router = TestRouter::start(&routing).await;
    let good: Vec<_> = (0..alerts()).map(numbered).collect();
    let start = std::time::Instant::now();
    let (first, second) = good.split_at(good.len() / 2);
    for alerts in first.chunks(SENT_AT_ONCE) {
        send(&router, alerts).await;
    }
    eventually("requests are refused with 429, and others delivered", DELIVERED_WITHIN, async || {
        let metrics = router.metrics().await;
        let seen = (failures(&metrics, "rate_limited"), metrics.of("history", "delivered_total"));
        if seen.0 > 0 && seen.1 > 0 { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    server.kill();
    let refused: Vec<_> = (0..REFUSED)
        .map(|number| {
            let mut alert = numbered(number);
            alert["time"] = json!(format!("{REFUSED_DAY}T12:00:00Z"));
            alert
        })
        .collect();
    send(&router, &refused).await;
    for alerts in second.chunks(SENT_AT_ONCE) {
        send(&router, alerts).await;
    }
    eventually("the router notices that the node is away", DELIVERED_WITHIN, async || {
        let failed = failures(&router.metrics().await, "connect");
        if failed > 0 { Ok(()) } else { Err("no attempt failed".to_owned()) }
    })
    .await;
    server.run(&[]).await;

    let metrics = router.settled_within(DELIVERED_WITHIN).await;
    println!(
        "{} alerts in {:.0} s: {} attempts, refused with 429: {}, connect failures: {}",
        good.len(),
        start.elapsed().as_secs_f64(),
        metrics.of("history", "attempts_total"),
        failures(&metrics, "rate_limited"),
        failures(&metrics, "connect"),
    );
    assert_eq!(metrics.of("history", "delivered_total"), good.len() as u64, "{metrics}");
    let dead = [("destination", "history"), ("reason", "client_error")];
    assert_eq!(metrics.sum("tercel_router_dead_total", &dead), REFUSED as u64, "{metrics}");
    router.shutdown().await;
    server.refresh().await;

    let ids = server.ids("tercel-*").await;
    assert_eq!(ids.values().max(), Some(&1));
    assert_eq!(ids.into_keys().collect::<BTreeSet<_>>(), good.iter().map(uuid).collect());
    assert_eq!(server.count(REFUSED_INDEX, json!({ "match_all": {} })).await, 0);

    let expected = |wanted: fn(usize) -> bool| (0..good.len()).filter(|number| wanted(*number)).count() as u64;
    let term = |name: &str, value: &str| json!({ "term": { name: value } });
    for (name, value, wanted) in [
        ("threat.technique.id", "T1059", (|number| number % 7 == 0) as fn(usize) -> bool),
        ("threat.technique.subtechnique.id", "T1059.004", |number| number % 7 == 0),
        ("threat.tactic.name", "Execution", |number| number % 7 == 0),
        ("orchestrator.resource.name", "shop-3", |number| number % 10 == 3),
        ("falco.key_values", "k8s.pod.name=shop-3", |number| number % 10 == 3),
        ("falco.key_values", "user.uid=0", |_| true),
        ("process.name", "cat", |_| true),
        ("event.kind", "alert", |_| true),
    ] {
        assert_eq!(server.count("tercel-*", term(name, value)).await, expected(wanted), "{name} = {value}");
    }
}

#[tokio::test]
#[ignore = "needs a real OpenSearch: cargo xtask test --components"]
async fn a_data_stream_takes_hostile_alerts_and_its_mapping_does_not_grow() {
    let server = Server::start(&[]).await;
    let routing = routing(&server, "data_stream = \"logs-tercel-default\"\nbatch = { wait = \"100ms\" }");
    set_up(&routing, &["--shards", "2"]).await;
    let again = set_up(&routing, &[]).await;
    assert!(again.contains("`logs-tercel-default`: installed"), "{again}");

    let router = TestRouter::start(&routing).await;
    send(&router, &[numbered(1)]).await;
    router.settled_within(DELIVERED_WITHIN).await;
    let before = server.mapped_fields("logs-tercel-default").await;
    let mut strange = vec![nasty_alert()];
    for number in 0..300 {
        let mut alert = numbered(number);
        alert["output_fields"][format!("made.up.{number}")] = json!({ "deep": [[number]], format!("key.{number}"): 1 });
        alert["output_fields"]["fd.sip"] = if number % 2 == 0 { json!("10.0.0.1") } else { json!("no address") };
        alert["output_fields"]["proc.pid"] = if number % 2 == 0 { json!(number) } else { json!("no number") };
        alert["output_fields"]["fd.sip.name"] = json!("evil.example");
        for name in ["", ".", "a..b", " ", "a.", "nul\0"] {
            alert["output_fields"][name] = json!(number);
        }
        strange.push(alert);
    }
    send(&router, &strange).await;
    let metrics = router.settled_within(DELIVERED_WITHIN).await;
    assert_eq!(metrics.of("history", "delivered_total"), 1 + strange.len() as u64, "{metrics}");
    router.shutdown().await;
    server.refresh().await;
    assert_eq!(server.count("logs-tercel-default", json!({ "match_all": {} })).await, 1 + strange.len() as u64);
    assert_eq!(server.mapped_fields("logs-tercel-default").await, before);
    let made_up = json!({ "term": { "falco.key_values": "fd.sip=no address" } });
    assert_eq!(server.count("logs-tercel-default", made_up).await, 150);
    let address = json!({ "term": { "destination.ip": "10.0.0.0/8" } });
    assert_eq!(server.count("logs-tercel-default", address).await, 150);
}

#[tokio::test]
#[ignore = "needs a real OpenSearch: cargo xtask test --components"]
async fn setup_says_what_is_missing_and_leaves_templates_of_others_alone() {
    let server = Server::start(&[]).await;
    let without = routing(&server, "").replace("key_values = true", "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routing.toml");
    let setup = async |routing: &str, more: &[&str]| {
        std::fs::write(&file, routing).unwrap();
        let mut command = Command::new(binary("tercel-router"));
        command.args(["elasticsearch", "setup", "history", "--routing"]).arg(&file).args(more);
        let output = run_to_end(&mut command).await;
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = setup(&without, &[]).await;
    assert!(code == Some(1) && said.contains("set `key_values = true`"), "{code:?}: {said}");
    let (code, said) = setup(&routing(&server, ""), &["--dry-run"]).await;
    assert_eq!(code, Some(0), "{said}");
    let foreign = json!({ "index_patterns": ["tercel-*"], "priority": 1, "template": {} });
    server.ask(Method::PUT, "_index_template/tercel", &foreign).await;
    let (code, said) = setup(&routing(&server, ""), &[]).await;
    assert!(code == Some(1) && said.contains("`tercel` is there and not Tercel's"), "{code:?}: {said}");
}
