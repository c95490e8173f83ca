//! A real NATS server, read by its own protocol of text lines.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{SEEN_WITHIN, folder, listening, routing};
use crate::harness::{Process, TestRouter, alert, free_address, nasty_alert};

struct Server {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

/// One message, as a subscriber gets it.
struct Message {
    subject: String,
    headers: String,
    payload: String,
}

struct Subscriber(BufStream<TcpStream>);

impl Server {
    async fn start() -> Self {
        let (data, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut command = Command::new(folder().join("newest/usr/sbin/nats-server"));
        command.args(["-a", "127.0.0.1", "-p", &address.port().to_string(), "-js", "-sd"]).arg(data.path());
        let process = Process::start(&mut command);
        listening(&process, address).await;
        Self { _process: process, _folder: data, address }
    }
}

impl Subscriber {
    async fn of(server: &Server, subject: &str) -> Self {
        let mut stream = BufStream::new(TcpStream::connect(server.address).await.unwrap());
        let hello =
            format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\nSUB {subject} 1\r\nSUB answers 2\r\nPING\r\n");
        stream.write_all(hello.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut subscriber = Self(stream);
        while subscriber.line().await != "PONG" {}
        subscriber
    }

    /// What the API of `JetStream` answers.
    async fn ask(&mut self, subject: &str, request: &str) -> Value {
        let request = format!("PUB {subject} answers {}\r\n{request}\r\n", request.len());
        self.0.write_all(request.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
        loop {
            let message = self.next().await;
            if message.subject == "answers" {
                return serde_json::from_str(&message.payload).unwrap();
            }
        }
    }

    async fn next(&mut self) -> Message {
        timeout(SEEN_WITHIN, self.read()).await.expect("a message")
    }

    /// `MSG subject sid [reply] bytes` or `HMSG subject sid [reply] header-bytes bytes`, and those bytes.
    async fn read(&mut self) -> Message {
        loop {
            let line = self.line().await;
            let words: Vec<_> = line.split(' ').collect();
            if words[0] != "MSG" && words[0] != "HMSG" {
                continue;
            }
            let number = |from_end: usize| words[words.len() - from_end].parse::<usize>().unwrap();
            let mut bytes = vec![0; number(1) + 2];
            self.0.read_exact(&mut bytes).await.unwrap();
            let text = String::from_utf8(bytes).unwrap();
            let (headers, payload) = text.split_at(if words[0] == "HMSG" { number(2) } else { 0 });
            let payload = payload.trim_end_matches("\r\n").to_owned();
            return Message { subject: words[1].to_owned(), headers: headers.to_owned(), payload };
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.0.read_line(&mut line).await.unwrap(), 0, "the server hung up");
        line.trim_end().to_owned()
    }
}

fn table(server: &Server, more: &str) -> String {
    format!("type = \"nats\"\nservers = [\"{}\"]\n{more}", server.address)
}

#[tokio::test]
#[ignore = "needs a real NATS server: cargo xtask test --components"]
async fn a_subscriber_gets_alerts_under_subjects_that_no_value_can_widen() {
    let server = Server::start().await;
    let mut subscriber = Subscriber::of(&server, "tercel.>").await;
    let router = TestRouter::start(&routing(&table(&server, ""))).await;
    let alerts = [alert("Shell in a container", "Critical", "bash"), nasty_alert()];
    for alert in &alerts {
        router.send(alert).await;
        let message = subscriber.next().await;
        let body: Value = serde_json::from_str(&message.payload).unwrap();
        assert_eq!(body["uuid"], alert["uuid"]);
        assert_eq!(body["rule"], alert["rule"]);
        assert_eq!(message.subject.split('.').count(), 3, "{}", message.subject);
        assert!(message.headers.contains(&format!("Nats-Msg-Id: {}\r\n", alert["uuid"].as_str().unwrap())));
    }
    assert_eq!(router.settled().await.of("there", "delivered_total"), 2);
}

#[tokio::test]
#[ignore = "needs a real NATS server: cargo xtask test --components"]
async fn a_stream_acknowledges_and_keeps_each_alert_once() {
    let server = Server::start().await;
    let mut subscriber = Subscriber::of(&server, "nothing").await;
    let router = TestRouter::start(&routing(&table(&server, "jetstream = true"))).await;
    // Nobody takes it at first, so it is tried again.
    router.send(&alert("Shell", "Critical", "bash")).await;
    let create = r#"{"name":"ALERTS","subjects":["tercel.>"],"storage":"file","num_replicas":1}"#;
    let answer = subscriber.ask("$JS.API.STREAM.CREATE.ALERTS", create).await;
    assert_eq!(answer.get("error"), None, "{answer}");
    for number in 0..50 {
        router.send(&alert(&format!("Rule {number}"), "Error", "cat")).await;
    }
    let metrics = router.settled().await;
    assert_eq!(metrics.of("there", "delivered_total"), 51, "{metrics}");
    let stream = subscriber.ask("$JS.API.STREAM.INFO.ALERTS", "").await;
    assert_eq!(stream["state"]["messages"], 51, "{stream}");
}
