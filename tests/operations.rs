//! What operators see and change at a running router: its real program, asked by its own commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use e2e::receivers::{PagerDuty, Received, Webhook};
use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Metrics, Process, SOON, alert, all_to, binary, eventually, nasty_alert, router_process, run, scrape,
};

const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

/// More than the router and the sockets keep for a reader.
const ALERTS: usize = 8_000;

/// All of a slow tail.
const TAIL_WITHIN: Duration = Duration::from_mins(1);

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
        let hook = Webhook::start().await;
        let routing = all_to(&hook, more);
        Self::start_on(hook, &routing, tempfile::tempdir().unwrap()).await
    }

    async fn start_on(hook: Webhook, routing: &str, folder: TempDir) -> Self {
        std::fs::write(folder.path().join("routing.toml"), routing).unwrap();
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
        self.send_all(std::slice::from_ref(alert)).await;
    }

    /// In one request.
    async fn send_all(&self, alerts: &[Value]) {
        let request = self.client().post("http://router/v1/alerts").body(json!(alerts).to_string());
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

/// A router that pages one service, beside the webhook that hears nothing.
async fn with_pager(pager: &PagerDuty) -> Operated {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, ROUTING_KEY).unwrap();
    let routing = format!(
        "[[route]]\nname = \"page\"\nto = [\"oncall\"]\n\
         [destination.oncall]\ntype = \"pagerduty\"\nrouting_key = {{ file = \"{}\" }}\nurl = \"{}\"\n\
         [destination.file]\ntype = \"null\"\n",
        key.display(),
        pager.url(),
    );
    Operated::start_on(Webhook::start().await, &routing, folder).await
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn silence<'a>(matcher: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["silence", "add", matcher, "--author", "ada", "--reason", "drill", "--duration", "1h"], more].concat()
}

#[tokio::test]
async fn a_silence_holds_back_the_summary_of_what_came_before_it() {
    let operated = Operated::start_with("dedup = { window = \"3s\" }\n").await;
    operated.send(&alert("Rule", "Error", "loud")).await;
    operated.hook.wait_for(1, SOON).await;
    for process in ["loud", "loud", "quiet", "quiet"] {
        operated.send(&alert("Rule", "Error", process)).await;
    }
    operated.told(&silence("proc.name = loud", &[])).await;
    let received = operated.hook.wait_for(3, SOON).await;
    let last = received.last().unwrap().json();
    assert_eq!((&last["output_fields"]["proc.name"], received.len()), (&json!("quiet"), 3), "{last}");
    eventually("the silence counts what it held back", SOON, async || {
        match operated.told_json(&["silence", "list"]).await["silences"][0]["hits"].as_u64() {
            Some(1) => Ok(()),
            hits => Err(format!("{hits:?} hits")),
        }
    })
    .await;
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

    eventually("it is counted", SOON, async || {
        match scrape(operated.admin).await.sum("tercel_router_silences", &[("state", "active")]) {
            1 => Ok(()),
            active => Err(format!("{active} active")),
        }
    })
    .await;

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
        let active = operated.told_json(&["silence", "list", "--state", "active"]).await;
        if active["silences"] == json!([]) { Ok(()) } else { Err(active.to_string()) }
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
async fn an_incident_is_ended_by_its_key_once_and_the_pager_hears_of_it() {
    let pager = PagerDuty::start().await;
    let mut operated = with_pager(&pager).await;
    operated.send_all(&[alert("Shell", "Critical", "sh"), alert("Read", "Warning", "cat")]).await;
    pager.wait_for(2, SOON).await;
    operated.settled().await;
    operated.restart().await;

    let open = operated.told_json(&["resolve", "--list"]).await;
    let open = open["incidents"].as_array().unwrap();
    let rules: Vec<_> = open.iter().map(|one| one["rule"].as_str().unwrap()).collect();
    assert_eq!((rules.len(), rules.contains(&"Shell"), rules.contains(&"Read")), (2, true, true), "{open:#?}");
    let key = open.iter().find(|one| one["rule"] == "Shell").unwrap()["dedup_key"].as_str().unwrap();
    let shown = operated.told(&["resolve", "--list"]).await;
    assert!(shown.contains(key) && shown.contains("oncall"), "{shown}");

    for (destination, message) in
        [("file", "destination `file` knows no incidents"), ("nobody", "no destination `nobody`")]
    {
        let refused = operated.command(&["resolve", key, "--author", "ada", "--destination", destination]).await;
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(said(&refused.stderr).contains(message), "{refused:?}");
    }
    let ended = operated.told_json(&["resolve", key, "--author", "ada"]).await;
    assert_eq!(
        (&ended["resolved"][0]["rule"], &ended["resolved"][0]["count"]),
        (&json!("Shell"), &json!(1)),
        "{ended:#}"
    );
    let received = pager.wait_for(3, SOON).await;
    let event = received[2].json();
    assert_eq!((&event["event_action"], event["dedup_key"].as_str()), (&json!("resolve"), Some(key)), "{event:#}");
    assert!(operated.router.stderr().contains("author=\"ada\""), "{}", operated.router.stderr());

    let again = operated.command(&["resolve", key, "--author", "ada"]).await;
    assert!(!again.status.success() && said(&again.stderr).contains("no incident with the dedup key"), "{again:?}");
    let left = operated.told_json(&["resolve", "--list"]).await;
    assert_eq!(
        (left["incidents"].as_array().unwrap().len(), &left["incidents"][0]["rule"]),
        (1, &json!("Read")),
        "{left:#}"
    );
}

/// With letters of so many alerts, each under a name of its own.
async fn with_letters(names: &[&str]) -> Operated {
    let operated = Operated::start().await;
    operated.hook.fail_next(400, names.len());
    let alerts: Vec<_> = names.iter().map(|name| alert("Rule", "Error", name)).collect();
    operated.send_all(&alerts).await;
    // They are counted as dead a moment before they are letters on the disk.
    eventually("the letters are written", SOON, async || {
        let letters = scrape(operated.admin).await.sum("tercel_router_dead_letters", &[]);
        if letters == names.len() as u64 { Ok(()) } else { Err(format!("{letters} letters")) }
    })
    .await;
    let metrics = operated.settled().await;
    assert_eq!(metrics.of("hook", "dead_total"), names.len() as u64);
    operated
}

/// What processes the letters are about.
fn processes(lines: &str) -> Vec<String> {
    let letters = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    letters.map(|letter| letter["alert"]["output_fields"]["proc.name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_dead_letter_is_listed_with_its_reason_replayed_once_and_counted() {
    let mut operated = with_letters(&["a", "b", "c"]).await;
    operated.restart().await;
    let list = operated.told(&["dead-letter", "list", "--json"]).await;
    assert_eq!(processes(&list), ["a", "b", "c"]);
    let first: Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    assert_eq!((&first["destination"], &first["reason"]), (&json!("hook"), &json!("client_error")));
    let table = operated.told(&["dead-letter", "list", "--reason", "client_error"]).await;
    assert!(table.starts_with("NUMBER ") && table.contains("answered 400"), "{table}");

    let delivered = operated.hook.count();
    let replay = ["dead-letter", "replay", "--when", "proc.name in (a, c)"];
    assert_eq!(operated.told_json(&replay).await["replayed"], 2);
    let received = operated.hook.wait_for(delivered + 2, SOON).await;
    let mut replayed: Vec<_> = received[delivered..].iter().map(Received::json).collect();
    replayed.sort_by_key(|alert| alert["output_fields"]["proc.name"].to_string());
    assert_eq!(replayed[0], first["alert"], "the alert as it came, under its id");
    let metrics = operated.settled().await;
    assert_eq!((metrics.of("hook", "replayed_total"), metrics.of("hook", "delivered_total")), (2, 2));
    assert_eq!(operated.told_json(&replay).await["replayed"], 0, "the letters are gone");
    assert_eq!(processes(&operated.told(&["dead-letter", "list", "--json"]).await), ["b"]);
}

#[tokio::test]
async fn a_letter_to_a_destination_that_has_another_name_now_is_replayed_to_that_one() {
    let mut operated = with_letters(&["a", "b"]).await;
    let routing = all_to(&operated.hook, "").replace("\"hook\"", "\"renamed\"").replace(".hook]", ".renamed]");
    std::fs::write(operated.folder.path().join("routing.toml"), routing).unwrap();
    operated.restart().await;
    for (order, complaint) in [(&[][..], "no destination of this name"), (&["--to", "renamde"], "no destination")] {
        let output = operated.command(&[&["dead-letter", "replay", "--all"], order].concat()).await;
        assert!(!output.status.success() && said(&output.stderr).contains(complaint), "{output:?}");
    }
    let delivered = operated.hook.count();
    let replay = ["dead-letter", "replay", "--all", "--to", "renamed"];
    assert_eq!(operated.told_json(&replay).await["replayed"], 2);
    operated.hook.wait_for(delivered + 2, SOON).await;
    let metrics = operated.settled().await;
    assert_eq!((metrics.of("renamed", "replayed_total"), metrics.of("renamed", "delivered_total")), (2, 2));
    assert_eq!(operated.told(&["dead-letter", "list", "--json"]).await, "");
}

#[tokio::test]
async fn a_purge_takes_what_was_meant_and_nobody_means_all_by_saying_nothing() {
    let operated = with_letters(&["a", "b"]).await;
    for order in ["replay", "purge"] {
        let output = operated.command(&["dead-letter", order]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output.stderr).contains("say which letters"), "{}", said(&output.stderr));
    }
    let list = operated.told(&["dead-letter", "list", "--json"]).await;
    let youngest: Value = serde_json::from_str(list.lines().last().unwrap()).unwrap();
    let number = youngest["number"].to_string();
    assert_eq!(operated.told(&["dead-letter", "purge", "--number", &number]).await, "purged: 1\n");
    assert_eq!(processes(&operated.told(&["dead-letter", "list", "--json"]).await), ["a"]);
    assert_eq!(operated.told(&["dead-letter", "purge", "--all"]).await, "purged: 1\n");
    eventually("no letter is left", SOON, async || {
        match scrape(operated.admin).await.sum("tercel_router_dead_letters", &[]) {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    })
    .await;
    let output = operated.command(&["dead-letter", "list", "--when", "priority >= loud"]).await;
    assert!(said(&output.stderr).contains("when:1:13: "), "{}", said(&output.stderr));
}

#[tokio::test]
async fn a_long_list_is_told_in_parts_and_moved_in_parts() {
    let names: Vec<_> = (0..300).map(|number| format!("p{number:03}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let operated = with_letters(&names).await;
    let client = operated.client();
    let order = json!({"all": true}).to_string();
    let first = client.post("http://router/v1/dead-letters/replay").body(order).send().await.unwrap();
    let first: Value = serde_json::from_str(&first.text().await.unwrap()).unwrap();
    assert_eq!(first["letters"]["replayed"], 256);
    assert_eq!(operated.told_json(&["dead-letter", "replay", "--all"]).await["replayed"], 44);
    let metrics = operated.settled().await;
    assert_eq!((metrics.of("hook", "replayed_total"), metrics.of("hook", "delivered_total")), (300, 300));
}

/// `tercel-router tail`, which reads along when this returns.
async fn tail(operated: &Operated, arguments: &[&str]) -> Process {
    let mut command = Command::new(binary("tercel-router"));
    command.arg("tail").args(arguments).arg("--unix").arg(operated.socket());
    let tail = Process::start(&mut command);
    readers(operated, 1).await;
    tail
}

async fn readers(operated: &Operated, expected: u64) {
    eventually("those who read along are counted", SOON, async || {
        match scrape(operated.admin).await.sum("tercel_router_tail_readers", &[]) {
            readers if readers == expected => Ok(()),
            readers => Err(format!("{readers} read along")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_tail_tells_what_was_decided_about_each_alert_and_ends_with_the_router() {
    let mut operated = Operated::start().await;
    operated.told(&silence("proc.name = loud", &[])).await;
    let mut tail = tail(&operated, &["--json", "--when", "priority >= error"]).await;
    for (priority, process) in [("Error", "quiet"), ("Debug", "other"), ("Error", "loud")] {
        operated.send(&alert("Rule", priority, process)).await;
    }
    let lines = eventually("both alerts are told", SOON, async || {
        let lines: Vec<Value> = tail.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.len() < 2 { Err(format!("{lines:?}; {}", tail.stderr())) } else { Ok(lines) }
    })
    .await;
    let decisions = |line: &Value, destination: &str| {
        let fates = line["deliveries"].as_array().unwrap().iter();
        fates.filter(|fate| fate["destination"] == destination).map(|fate| fate["decision"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(lines[0]["alert"]["output_fields"]["proc.name"], "quiet");
    assert_eq!(
        (decisions(&lines[0], "hook"), decisions(&lines[1], "hook")),
        (vec![json!("queued")], vec![json!("silence")])
    );
    assert_eq!(lines[0]["deliveries"][0]["route"], "all");
    assert!(operated.router.terminate(SOON).await.is_some_and(|status| status.success()));
    assert!(tail.wait(SOON).await.is_some_and(|status| status.success()), "{}", tail.stderr());
}

#[tokio::test]
async fn what_cannot_be_written_is_a_failure_and_a_reader_that_went_away_is_the_end() {
    let operated = with_letters(&["a"]).await;
    let mut list = Command::new(binary("tercel-router"));
    list.args(["dead-letter", "list", "--unix"]).arg(operated.socket());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = list.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output.stderr).contains("cannot write to standard output: "), "{}", said(&output.stderr));

    let mut tail = Command::new(binary("tercel-router"));
    tail.args(["tail", "--unix"]).arg(operated.socket()).stdout(std::process::Stdio::piped());
    let mut tail = tail.spawn().unwrap();
    readers(&operated, 1).await;
    drop(tail.stdout.take());
    operated.send(&alert("Rule", "Error", "b")).await;
    readers(&operated, 0).await;
    assert!(tail.wait().unwrap().success());
}

#[tokio::test]
async fn a_tail_for_people_shows_no_control_characters_and_bad_conditions_by_their_place() {
    let operated = Operated::start().await;
    let output = operated.command(&["tail", "--when", "priority >= loud"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output.stderr).contains("when:1:13: "), "{}", said(&output.stderr));
    let mut tail = tail(&operated, &[]).await;
    operated.send(&nasty_alert()).await;
    let line = eventually("the alert is told", SOON, async || {
        let told = tail.stdout();
        if told.ends_with('\n') { Ok(told) } else { Err(format!("{told}; {}", tail.stderr())) }
    })
    .await;
    assert!(line.contains("→ hook queued") && line.lines().count() == 1, "{line}");
    assert!(!line.trim_end().chars().any(|character| character.is_control() || character == '\u{202e}'), "{line:?}");
    tail.signal(Signal::TERM);
    tail.wait(SOON).await;
    readers(&operated, 0).await;
}

#[tokio::test]
async fn a_tail_that_is_read_too_slowly_is_told_what_it_missed_and_holds_nobody_up() {
    let operated = Operated::start_with("dedup = { window = \"1h\" }\n").await;
    let mut slow = operated.client().get("http://router/v1/tail").timeout(TAIL_WITHIN).send().await.unwrap();
    readers(&operated, 1).await;
    let one = json!({"time": "2026-01-01T00:00:00Z", "rule": "Rule", "priority": "error",
                     "output_fields": {"proc.exepath": "/bin/cat"}});
    operated.send_all(&vec![one; ALERTS]).await;
    assert_eq!(operated.hook.wait_for(1, SOON).await.len(), 1);
    let (mut text, mut looked) = (Vec::new(), 0);
    // What was told before the gap comes first; a piece may end within the word.
    while !said(&text[looked..]).contains("{\"missed\":") {
        looked = text.len().saturating_sub(16);
        text.extend(slow.chunk().await.unwrap().expect("the tail goes on"));
    }
    let missed = scrape(operated.admin).await.sum("tercel_router_tail_missed_total", &[]);
    assert!(missed > 0 && missed < ALERTS as u64, "{missed}");
    drop(slow);
    readers(&operated, 0).await;
}

#[tokio::test]
async fn an_alert_is_explained_by_what_the_router_holds_and_nothing_is_counted() {
    let operated = Operated::start_with("dedup = { window = \"1h\" }\n").await;
    let file = operated.folder.path().join("alert.json");
    let explain = async |about: &Value| {
        std::fs::write(&file, about.to_string()).unwrap();
        let arguments = ["route", "--running", "--alert", file.to_str().unwrap()];
        (operated.told(&arguments).await, operated.told_json(&arguments).await)
    };
    let (text, json) = explain(&alert("Rule", "Error", "cat")).await;
    assert!(text.contains("silences: none matches it now") && !text.contains("held back now"), "{text}");
    assert_eq!(json["deliveries"][0]["state"]["window"], Value::Null);

    for _ in 0..3 {
        operated.send(&alert("Rule", "Error", "cat")).await;
    }
    let silence = operated.told_json(&silence("proc.name = cat", &["--destination", "hook"])).await;
    let (text, json) = explain(&alert("Rule", "Error", "cat")).await;
    let state = &json["deliveries"][0]["state"];
    assert_eq!((&state["silenced_by"], &state["window"]["repeats"]), (&silence["id"], &json!(2)));
    assert!(text.contains(&format!("silence {} matches it", silence["id"].as_str().unwrap())), "{text}");
    assert!(text.contains("a window is open until"), "{text}");
    let listed = operated.told_json(&["silence", "list"]).await;
    assert_eq!(listed["silences"][0]["hits"], 0);
    assert_eq!(operated.settled().await.of("hook", "deliveries_received_total"), 3);

    std::fs::write(&file, "{\"rule\": 7}").unwrap();
    let bad = operated.command(&["route", "--running", "--alert", file.to_str().unwrap()]).await;
    assert_eq!(bad.status.code(), Some(2));
    assert!(said(&bad.stderr).contains("alert.json: alert 1: "), "{}", said(&bad.stderr));
}

#[tokio::test]
async fn the_audit_trail_tells_the_life_of_each_alert_by_its_id() {
    let (hook, folder) = (Webhook::start().await, tempfile::tempdir().unwrap());
    let settings = folder.path().join("router.toml");
    std::fs::write(&settings, "audit = \"file\"\n").unwrap();
    std::fs::write(folder.path().join("routing.toml"), all_to(&hook, "dedup = { window = \"1h\" }\n")).unwrap();
    let admin = crate::harness::free_address();
    let mut command = Command::new(binary("tercel-router"));
    command.args(["run", "--listen", "none", "--admin", &admin.to_string()]).arg("--config").arg(&settings);
    command.args(["--unix", "router.sock", "--state", "state"]).current_dir(folder.path());
    let mut router = Process::start(&mut command);
    router.ready(admin).await;
    let mut operated = Operated { hook, folder, router, admin };

    operated.hook.fail_next(500, 1);
    let (first, repeat, dead) = (alert("A", "Error", "a"), alert("A", "Error", "a"), alert("B", "Error", "b"));
    operated.send(&first).await;
    operated.settled().await;
    operated.send(&repeat).await;
    operated.hook.fail_next(400, 1);
    operated.send(&dead).await;
    operated.settled().await;
    operated.told(&["dead-letter", "replay", "--all"]).await;
    operated.settled().await;
    assert!(operated.router.terminate(SOON).await.is_some_and(|status| status.success()));

    let text = std::fs::read_to_string(operated.folder.path().join("state/audit/audit.ndjson")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let life = |alert: &Value| {
        let of_it = lines.iter().filter(|line| line["uuid"] == alert["uuid"]);
        let at_hook = of_it.filter(|line| line["destination"] == "hook" || line["destination"] == Value::Null);
        at_hook.map(|line| line["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(life(&first), ["accepted", "queued", "attempt_failed", "delivered"]);
    assert_eq!(life(&repeat), ["accepted", "suppressed"]);
    assert_eq!(life(&dead), ["accepted", "queued", "attempt_failed", "dead", "replayed", "queued", "delivered"]);
    let reasons: Vec<_> = lines.iter().filter_map(|line| line["reason"].as_str()).collect();
    assert_eq!(reasons, ["server_error", "dedup", "client_error", "client_error"]);
}

#[tokio::test]
async fn a_search_finds_alerts_of_the_archive_by_condition_and_time() {
    let hook = Webhook::start().await;
    let folder = tempfile::tempdir().unwrap();
    let routing = all_to(&hook, "").replace("[\"hook\"]", "[\"hook\", \"archive\"]");
    std::fs::write(folder.path().join("routing.toml"), routing).unwrap();
    let (router, admin) = router_process(folder.path()).await;
    let operated = Operated { hook, folder, router, admin };
    let names: Vec<_> = (0..5).map(|number| format!("p{number}")).collect();
    let mut alerts: Vec<_> = names.iter().map(|name| alert("Rule", "Error", name)).collect();
    alerts[1]["time"] = json!("2026-01-01T00:00:00Z");
    operated.send_all(&alerts).await;
    operated.settled().await;

    let found = operated.told(&["search", "proc.name in (p1, p3)", "--json"]).await;
    let found: Vec<Value> = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found, [alerts[1].clone(), alerts[3].clone()]);
    let recent = operated.told(&["search", "proc.name in (p1, p3)", "--since", "1h"]).await;
    assert!(recent.starts_with("TIME ") && recent.contains("process=p3") && !recent.contains("process=p1"), "{recent}");
    let cut = operated.command(&["search", "--count", "2"]).await;
    assert!(said(&cut.stderr).contains("older alerts may match too"), "{}", said(&cut.stderr));
    assert_eq!(said(&cut.stdout).lines().count(), 3);
    let none = operated.command(&["search", "--destination", "hook"]).await;
    assert_eq!(none.status.code(), Some(2));
    assert!(said(&none.stderr).contains("there is no archive `hook`"), "{}", said(&none.stderr));
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
