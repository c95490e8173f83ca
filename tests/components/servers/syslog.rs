//! A real rsyslog, which takes structured data apart and writes what it understood as JSON.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{SEEN_WITHIN, folder, listening, routing};
use crate::harness::{Process, TestRouter, alert, eventually, free_address, nasty_alert};

struct Server {
    process: Option<Process>,
    address: SocketAddr,
    folder: TempDir,
}

impl Server {
    async fn start() -> Self {
        let mut server = Self { process: None, address: free_address(), folder: tempfile::tempdir().unwrap() };
        server.run().await;
        server
    }

    async fn run(&mut self) {
        let place = self.folder.path();
        let libraries = folder().join("release/usr/lib/x86_64-linux-gnu");
        let config = place.join("rsyslog.conf");
        std::fs::write(&config, configuration(place, &libraries.join("rsyslog"), self.address.port())).unwrap();
        let mut command = Command::new(folder().join("release/usr/sbin/rsyslogd"));
        command.env("LD_LIBRARY_PATH", &libraries).arg("-n").arg("-i").arg(place.join("pid"));
        command.arg("-M").arg(libraries.join("rsyslog")).arg("-f").arg(config);
        let process = Process::start(&mut command);
        listening(&process, self.address).await;
        self.process = Some(process);
    }

    /// What it understood of each message.
    fn messages(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("messages")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    async fn wait_for(&self, count: usize) -> Vec<Value> {
        eventually("rsyslog has the messages", SEEN_WITHIN, async || match self.messages().len() {
            there if there == count => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
        self.messages()
    }
}

fn configuration(place: &Path, modules: &Path, port: u16) -> String {
    let load = |name: &str| format!("module(load=\"{}/{name}.so\")\n", modules.display());
    let input = |kind: &str| format!("input(type=\"{kind}\" address=\"127.0.0.1\" port=\"{port}\")\n");
    format!(
        "global(workDirectory=\"{0}\" maxMessageSize=\"64k\")\n{1}{2}{3}{4}{5}action(type=\"mmpstrucdata\")\n\
         template(name=\"json\" type=\"list\") {{ property(name=\"jsonmesg\") constant(value=\"\\n\") }}\n\
         action(type=\"omfile\" file=\"{0}/messages\" template=\"json\")\n",
        place.display(),
        load("imtcp"),
        load("imudp"),
        load("mmpstrucdata"),
        input("imtcp"),
        input("imudp"),
    )
}

fn table(server: &Server, more: &str) -> String {
    format!("type = \"syslog\"\nserver = \"{}\"\n{more}", server.address)
}

#[tokio::test]
#[ignore = "needs a real rsyslog: cargo xtask test --components"]
async fn rsyslog_understands_what_it_is_sent_by_tcp_and_by_udp() {
    for transport in ["tcp", "udp"] {
        let server = Server::start().await;
        let table = table(&server, &format!("transport = \"{transport}\"\nfacility = \"local3\""));
        let router = TestRouter::start(&routing(&table)).await;
        let shell = alert("Shell \"in\" a [container]\\", "Critical", "bash");
        router.send(&shell).await;
        router.send(&nasty_alert()).await;
        let messages = server.wait_for(2).await;
        let first = &messages[0];
        for (name, value) in [("pri", "154"), ("app-name", "tercel"), ("msgid", "alert"), ("protocol-version", "1")] {
            assert_eq!(first[name], value, "{transport}: {first}");
        }
        let data = &first["$!"]["rfc5424-sd"]["tercel@32473"];
        assert_eq!((&data["rule"], &data["id"]), (&json!("Shell \"in\" a [container]\\"), &shell["uuid"]), "{first}");
        assert_eq!(messages[1]["app-name"], "tercel", "{transport}: {}", messages[1]);
    }
}

#[tokio::test]
#[ignore = "needs a real rsyslog: cargo xtask test --components"]
async fn json_and_cef_come_whole_and_a_server_that_came_back_is_found_again() {
    let mut server = Server::start().await;
    let json_router = TestRouter::start(&routing(&table(&server, "format = \"json\""))).await;
    let mut large = alert("Large", "Error", "cat");
    large["output_fields"]["proc.cmdline"] = json!("é\"".repeat(100_000));
    json_router.send(&large).await;
    let message = server.wait_for(1).await.remove(0);
    let body: Value = serde_json::from_str(message["msg"].as_str().unwrap().trim()).unwrap();
    assert_eq!((&body["uuid"], &body["rule"]), (&large["uuid"], &large["rule"]));
    drop(server.process.take());
    json_router.send(&alert("While it was away", "Error", "cat")).await;
    server.run().await;
    let messages = server.wait_for(2).await;
    assert!(messages[1]["msg"].as_str().unwrap().contains("While it was away"), "{}", messages[1]);
    let cef_router = TestRouter::start(&routing(&table(&server, "format = \"cef\""))).await;
    let mut tricky = alert("a|b\\c", "Critical", "cat");
    tricky["output"] = json!("x=1 suser=evil\nact=none");
    cef_router.send(&tricky).await;
    let messages = server.wait_for(3).await;
    let text = messages[2]["msg"].as_str().unwrap().trim();
    assert!(text.starts_with(r"CEF:0|Tercel|Tercel|0.1.0|a\|b\\c|a\|b\\c|8|externalId="), "{text}");
    assert!(text.contains(r"msg=x\=1 suser\=evil\\nact\=none "), "{text}");
}
