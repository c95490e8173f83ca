//! What operators see and change at a running router: its real program, asked by its own commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use e2e::receivers::{Received, Webhook};
use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Metrics, Process, SOON, alert, all_to, binary, eventually, router_process, run, scrape};

/// A router of its own process, which sends everything to one webhook.
struct Operated {
    hook: Webhook,
    folder: TempDir,
    router: Process,
    admin: SocketAddr,
}

impl Operated {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// `more` goes into the route.
    async fn start_with(more: &str) -> Self {
        let (hook, folder) = (Webhook::start().await, tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("routing.toml"), all_to(&hook, more)).unwrap();
        let (router, admin) = router_process(folder.path()).await;
        Self { hook, folder, router, admin }
    }

    /// Killed, and started again with what is on the disk.
    async fn restart(&mut self) {
        self.router.signal(Signal::KILL);
        assert!(self.router.wait(SOON).await.is_some());
        (self.router, self.admin) = router_process(self.folder.path()).await;
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("router.sock")
    }

    fn client(&self) -> Client {
        Client::builder().unix_socket(self.socket()).timeout(SOON).build().unwrap()
    }

    async fn send(&self, alert: &Value) {
        let request = self.client().post("http://router/v1/alerts").body(alert.to_string());
        assert_eq!(request.send().await.unwrap().status().as_u16(), 202);
    }

    /// `tercel-router` with these arguments, over the Unix socket.
    async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("tercel-router"));
        command.args(arguments).arg("--unix").arg(self.socket()).env_remove("USER");
        run(&mut command).await
    }

    /// Its standard output, where it ends well.
    async fn told(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output.stderr));
        said(&output.stdout)
    }

    async fn told_json(&self, arguments: &[&str]) -> Value {
        let text = self.told(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Waits until nothing is queued and everything is accounted for.
    async fn settled(&self) -> Metrics {
        eventually("every alert has its outcome", SOON, async || {
            let metrics = scrape(self.admin).await;
            let queued = metrics.sum("tercel_router_queued", &[]);
            if queued > 0 { Err(format!("{queued} queued")) } else { metrics.conservation().map(|()| metrics) }
        })
        .await
    }
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn silence<'a>(matcher: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["silence", "add", matcher, "--author", "ada", "--reason", "drill", "--duration", "1h"], more].concat()
}

#[tokio::test]
async fn a_silence_holds_back_what_it_matches_through_a_kill_until_it_is_ended() {
    let mut operated = Operated::start().await;
    let added = operated.told_json(&silence("proc.name = loud and priority < critical", &[])).await;
    assert_eq!((&added["state"], &added["author"]), (&json!("active"), &json!("ada")));
    for (priority, process) in [("Error", "loud"), ("Critical", "loud"), ("Error", "quiet")] {
        operated.send(&alert("Rule", priority, process)).await;
    }
    let delivered: Vec<_> = operated.hook.wait_for(2, SOON).await.iter().map(Received::json).collect();
    assert!(delivered.iter().all(|one| one["priority"] == "Critical" || one["output_fields"]["proc.name"] == "quiet"));
    let silenced = [("destination", "hook"), ("reason", "silence")];
    assert_eq!(operated.settled().await.sum("tercel_router_suppressed_total", &silenced), 1);

    operated.restart().await;
    operated.send(&alert("Rule", "Error", "loud")).await;
    let metrics = operated.settled().await;
    assert_eq!(metrics.sum("tercel_router_suppressed_total", &silenced), 1);
    let listed = operated.told_json(&["silence", "list", "--state", "active"]).await;
    assert_eq!((&listed["silences"][0]["id"], &listed["silences"][0]["hits"]), (&added["id"], &json!(2)));
    let table = operated.told(&["silence", "list"]).await;
    assert!(table.starts_with("ID ") && table.contains("proc.name = loud and priority < critical"), "{table}");

    let id = added["id"].as_str().unwrap();
    assert!(operated.told(&["silence", "expire", id]).await.contains("expired"));
    operated.send(&alert("Rule", "Error", "loud")).await;
    operated.hook.wait_for(3, SOON).await;
    let again = operated.command(&["silence", "expire", id]).await;
    assert_eq!(again.status.code(), Some(2));
    assert!(said(&again.stderr).contains("is over since"), "{}", said(&again.stderr));
}

#[tokio::test]
async fn a_silence_for_one_destination_leaves_the_others_alone_and_ends_by_itself() {
    let operated = Operated::start().await;
    let refused = operated.command(&silence("rule = Rule", &["--destination", "slak"])).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused.stderr).contains("there is no destination `slak`"), "{}", said(&refused.stderr));
    let mut short = silence("rule = Rule", &["--destination", "hook"]);
    *short.iter_mut().find(|argument| **argument == "1h").unwrap() = "2s";
    operated.told(&short).await;
    operated.send(&alert("Rule", "Error", "early")).await;
    eventually("the silence is over", SOON, async || {
        let active = scrape(operated.admin).await.sum("tercel_router_silences", &[("state", "active")]);
        if active == 0 { Ok(()) } else { Err(format!("{active} active")) }
    })
    .await;
    operated.send(&alert("Rule", "Error", "late")).await;
    let received = operated.hook.wait_for(1, SOON).await;
    assert_eq!(received[0].json()["output_fields"]["proc.name"], "late");
}

#[tokio::test]
async fn a_matcher_that_makes_no_sense_is_shown_with_line_and_column() {
    let operated = Operated::start().await;
    let output = operated.command(&silence("rule = a or\n  prioriti = error", &[])).await;
    let error = said(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    for expected in ["matcher:2:3: ", "prioriti", "^^^^^^^^"] {
        assert!(error.contains(expected), "`{expected}` is not in\n{error}");
    }
    let output = operated.command(&["silence", "add", "rule = a", "--duration", "1h", "--reason", "drill"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output.stderr).contains("--author"), "{}", said(&output.stderr));
    assert_eq!(operated.told_json(&["silence", "list"]).await, json!({"silences": []}));
}

#[tokio::test]
async fn by_network_nobody_operates_without_the_token() {
    let (hook, folder) = (Webhook::start().await, tempfile::tempdir().unwrap());
    let settings = folder.path().join("router.toml");
    std::fs::write(&settings, "token = \"opensesame\"\n").unwrap();
    std::fs::write(folder.path().join("routing.toml"), all_to(&hook, "")).unwrap();
    let admin = crate::harness::free_address();
    let mut command = Command::new(binary("tercel-router"));
    command.args(["run", "--listen", "none", "--admin", &admin.to_string()]).arg("--config").arg(&settings);
    command.current_dir(folder.path());
    let mut router = Process::start(&mut command);
    router.ready(admin).await;
    let list = async |token: Option<&str>| {
        let mut command = Command::new(binary("tercel-router"));
        command.args(["silence", "list", "--admin", &admin.to_string()]).env_remove("TERCEL_ROUTER_TOKEN");
        command.envs(token.map(|token| ("TERCEL_ROUTER_TOKEN", token)));
        run(&mut command).await
    };
    for token in [None, Some("opensesam")] {
        let refused = list(token).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(said(&refused.stderr).contains("set TERCEL_ROUTER_TOKEN"), "{}", said(&refused.stderr));
    }
    assert_eq!(list(Some("opensesame")).await.status.code(), Some(0));
    let client = crate::harness::http_client();
    let get = async |path: &str| client.get(format!("http://{admin}{path}")).send().await.unwrap().status().as_u16();
    assert_eq!((get("/v1/silences").await, get("/v1/nowhere").await, get("/livez").await), (401, 401, 200));
}

#[tokio::test]
async fn a_router_that_is_not_there_is_said_to_be_unreachable() {
    let mut command = Command::new(binary("tercel-router"));
    command.args(["silence", "list", "--admin", &crate::harness::free_address().to_string()]);
    let output = run(&mut command).await;
    assert_eq!(output.status.code(), Some(1));
    let error = said(&output.stderr);
    assert!(error.contains("cannot reach the router at 127.0.0.1:") && error.contains("--unix PATH"), "{error}");
}
