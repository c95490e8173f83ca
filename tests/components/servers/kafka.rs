//! A Kafka cluster of three brokers, mocked by librdkafka, read by librdkafka's own consumer.

use std::collections::BTreeSet;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use super::{SEEN_WITHIN, START_WITHIN, folder, routing};
use crate::harness::{Metrics, Process, SOON, TestRouter, alert, eventually, http_client, nasty_alert, workspace};

/// Codes of Kafka's protocol.
const UNKNOWN_TOPIC: u32 = 3;
const TOO_LARGE: u32 = 10;
const NOT_ALLOWED: u32 = 29;

const PARTITIONS: usize = 6;

struct Cluster {
    _process: Process,
    brokers: Vec<String>,
    port: u16,
}

#[derive(Debug, Deserialize)]
struct Record {
    partition: u64,
    key: String,
    value: String,
    headers: Headers,
    /// Milliseconds.
    time: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Headers {
    uuid: String,
    notification: String,
    #[serde(rename = "content-type")]
    content_type: String,
}

impl Cluster {
    /// With the topic `tercel`.
    async fn start() -> Self {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", folder().join("python"));
        let process = Process::start(command.arg(workspace().join("tests/components/servers/kafka.py")));
        let (brokers, port) = eventually("the cluster is there", START_WITHIN, async || {
            let said = process.stdout();
            let mut lines = said.lines();
            let brokers = lines.next().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
            let port = lines.next().and_then(|port| port.parse().ok());
            brokers.zip(port).ok_or_else(|| format!("{said}{}", process.stderr()))
        })
        .await;
        let cluster = Self { _process: process, brokers, port };
        cluster.put(&format!("topic/tercel/{PARTITIONS}")).await;
        cluster
    }

    async fn put(&self, what: &str) {
        let answer = http_client().put(format!("http://127.0.0.1:{}/{what}", self.port)).send().await.unwrap();
        assert!(answer.status().is_success(), "{what}: {answer:?}");
    }

    async fn get(&self, what: &str) -> String {
        let answer = http_client().get(format!("http://127.0.0.1:{}/{what}", self.port)).send().await.unwrap();
        assert!(answer.status().is_success(), "{what}: {answer:?}");
        answer.text().await.unwrap()
    }

    async fn records(&self, topic: &str) -> Vec<Record> {
        serde_json::from_str(&self.get(&format!("records/{topic}")).await).unwrap()
    }

    fn table(&self, more: &str) -> String {
        let brokers: Vec<_> = self.brokers.iter().map(|broker| format!("\"{broker}\"")).collect();
        let batch = "batch = { wait = \"100ms\" }";
        format!("type = \"kafka\"\nbrokers = [{}]\n{batch}\n{more}", brokers.join(", "))
    }
}

/// One request, so that all of it goes out together.
async fn send(router: &TestRouter, alerts: &[Value]) {
    let lines: String = alerts.iter().map(|alert| format!("{alert}\n")).collect();
    assert_eq!(router.post("/v1/alerts", lines).await.status, 202);
}

fn failures(metrics: &Metrics, reason: &str) -> u64 {
    metrics.sum("tercel_router_send_failures_total", &[("destination", "there"), ("reason", reason)])
}

async fn failed(router: &TestRouter, reason: &str) {
    eventually("an attempt failed", SOON, async || {
        let metrics = router.metrics().await;
        if failures(&metrics, reason) > 0 { Ok(()) } else { Err(metrics.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a mock of a Kafka cluster: cargo xtask test --components"]
async fn records_lie_where_kafkas_own_clients_would_put_them() {
    let cluster = Cluster::start().await;
    for compression in ["none", "gzip", "snappy"] {
        let topic = format!("alerts-{compression}");
        cluster.put(&format!("topic/{topic}/{PARTITIONS}")).await;
        let table = cluster
            .table(&format!("topic = \"{topic}\"\nkey = \"{{{{alert.rule}}}}\"\ncompression = \"{compression}\""));
        let router = TestRouter::start(&routing(&table)).await;
        let mut alerts: Vec<_> = (0..200).map(|number| alert(&format!("Rule-{number}"), "Error", "cat")).collect();
        alerts.push(nasty_alert());
        send(&router, &alerts).await;
        let metrics = router.settled().await;
        assert_eq!(metrics.of("there", "delivered_total"), 201, "{metrics}");
        let records = cluster.records(&topic).await;
        let ids = |ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
        let sent = ids(alerts.iter().map(|alert| alert["uuid"].as_str().unwrap()).collect());
        assert_eq!(ids(records.iter().map(|record| record.headers.uuid.as_str()).collect()), sent);
        assert_eq!(records.len(), 201);
        for record in &records {
            let body: Value = serde_json::from_str(&record.value).unwrap();
            assert_eq!(
                (body["uuid"].as_str(), body["rule"].as_str()),
                (Some(&*record.headers.uuid), Some(&*record.key))
            );
            let time: jiff::Timestamp = body["time"].as_str().unwrap().parse().unwrap();
            assert_eq!(time.as_millisecond(), record.time);
            assert_eq!((&*record.headers.notification, &*record.headers.content_type), ("alert", "application/json"));
        }
        let partitions: BTreeSet<_> = records.iter().map(|record| record.partition).collect();
        assert_eq!(partitions.len(), PARTITIONS, "all partitions are used");
        for record in records.iter().take(20) {
            let theirs = cluster.get(&format!("partition/tercel/{}", record.key)).await;
            assert_eq!(theirs, record.partition.to_string(), "{}", record.key);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a mock of a Kafka cluster: cargo xtask test --components"]
async fn alerts_wait_for_brokers_that_are_away() {
    let cluster = Cluster::start().await;
    cluster.put("down").await;
    let router = TestRouter::start(&routing(&cluster.table(""))).await;
    send(&router, &[alert("Before", "Error", "cat")]).await;
    failed(&router, "connect").await;
    cluster.put("up").await;
    assert_eq!(router.settled().await.of("there", "delivered_total"), 1);
    // And for those that go while they are connected to.
    cluster.put("down").await;
    send(&router, &[alert("Meanwhile", "Error", "cat")]).await;
    eventually("an attempt failed", SEEN_WITHIN, async || {
        let metrics = router.metrics().await;
        let attempts = metrics.of("there", "attempts_total");
        if attempts > 2 { Ok(()) } else { Err(metrics.to_string()) }
    })
    .await;
    cluster.put("up").await;
    let metrics = router.settled().await;
    assert_eq!((metrics.of("there", "delivered_total"), metrics.of("there", "dead_total")), (2, 0), "{metrics}");
    let rules: BTreeSet<_> = cluster.records("tercel").await.into_iter().map(|record| rule(&record)).collect();
    assert_eq!(rules, BTreeSet::from(["Before".to_owned(), "Meanwhile".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a mock of a Kafka cluster: cargo xtask test --components"]
async fn a_topic_that_is_missing_delays_its_own_alerts_only() {
    let cluster = Cluster::start().await;
    for topic in ["t-Error", "t-Critical"] {
        cluster.put(&format!("topic/{topic}/1")).await;
    }
    cluster.put(&format!("topic-error/t-Error/{UNKNOWN_TOPIC}")).await;
    let router = TestRouter::start(&routing(&cluster.table("topic = \"t-{{alert.priority}}\""))).await;
    send(&router, &[alert("Waits", "Error", "cat"), alert("Goes", "Critical", "cat")]).await;
    failed(&router, "client_error").await;
    assert_eq!(router.metrics().await.of("there", "delivered_total"), 1);
    cluster.put("topic-error/t-Error/0").await;
    let metrics = router.settled().await;
    assert_eq!((metrics.of("there", "delivered_total"), metrics.of("there", "dead_total")), (2, 0), "{metrics}");
    assert_eq!(rule(&cluster.records("t-Error").await[0]), "Waits");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a mock of a Kafka cluster: cargo xtask test --components"]
async fn what_is_too_large_at_once_is_sent_in_parts_and_alone_is_a_dead_letter() {
    let cluster = Cluster::start().await;
    let router = TestRouter::start(&routing(&cluster.table("key = \"one\""))).await;
    // All four, then the first half of them.
    cluster.put(&format!("errors/{TOO_LARGE},{TOO_LARGE}")).await;
    let alerts: Vec<_> = (0..4).map(|number| alert(&format!("Rule {number}"), "Error", "cat")).collect();
    send(&router, &alerts).await;
    let metrics = router.settled().await;
    assert_eq!((metrics.of("there", "delivered_total"), metrics.of("there", "dead_total")), (4, 0), "{metrics}");
    assert_eq!(cluster.records("tercel").await.len(), 4, "each once");
    for code in [TOO_LARGE, NOT_ALLOWED] {
        cluster.put(&format!("errors/{code}")).await;
        send(&router, &[alert(&format!("Refused {code}"), "Error", "cat")]).await;
        router.settled().await;
    }
    let metrics = router.metrics().await;
    let dead = |reason| metrics.sum("tercel_router_dead_total", &[("destination", "there"), ("reason", reason)]);
    assert_eq!((dead("client_error"), dead("auth_error")), (1, 1), "{metrics}");
}

fn rule(record: &Record) -> String {
    let body: Value = serde_json::from_str(&record.value).unwrap();
    body["rule"].as_str().unwrap().to_owned()
}
