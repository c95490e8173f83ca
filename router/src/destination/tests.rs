//! What destinations send for alerts whose every text was chosen by an attacker, and the limits that the services publish.

/// The limits that the services publish.
mod limits;

/// What every type sends, as snapshots.
mod shown;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tercel_alert::Alert;
use uuid::Uuid;

use super::*;

/// Mentions everybody, ends lines, strings and code spans, colours, reverses, and hides.
const NASTY: &str =
    "<!channel> <https://evil|ok> &lt; ```x```\r\n\"}]\\\x1b[31mred\x1b[0m\u{202e}txt.exe\u{200b}\u{fffd}é🔴{{id}}";

/// Characters of its longest texts: together they make an alert of the size that is still accepted.
const LONG: usize = 250_000;

fn nasty_alert() -> Arc<Alert> {
    let fields = json!({
        "evt.time": 1_700_000_000_000_000_000_u64, "proc.name": NASTY, "proc.cmdline": format!("{NASTY}{}", "é".repeat(LONG)),
        "fd.sip": "10.0.0.1", "fd.sip.name": null, "proc.args": ["a", NASTY], "nested": { "a.b": { "c": [1] } },
        "user.uid": 0, "k8s.pod.name": NASTY, "k8s.ns.name": 7, "empty": "", NASTY: NASTY, "": false,
        "container.id": "0123456789ab", "user.name": "root",
    });
    let alert = json!({
        "uuid": "01890a5d-ac96-774b-bcce-b302099a8057", "time": "2026-11-23T16:38:40.618643973Z", "priority": "Critical",
        "rule": format!("Rule {NASTY}"), "source": "syscall", "hostname": NASTY, "tags": ["mitre", NASTY],
        "output": format!("{NASTY} {}", "&".repeat(LONG)), "output_fields": fields,
    });
    Arc::new(serde_json::from_value(alert).unwrap())
}

/// The richest one: every field that the shipped rules and the schema of Elasticsearch have a place for.
const RICH: &str = r#"{
    "uuid": "01890a5d-ac96-774b-bcce-b302099a8057", "time": "2026-11-23T23:59:59.999999999Z",
    "priority": "Critical", "original_uuid": "5f9f1c0e-9a0b-4a55-8d6e-0a1f5a2b3c4d",
    "rule": "Shell in a container", "source": "syscall", "hostname": "node-1",
    "tags": ["T1059", "T1059.004", "T1611", "container", "mitre_execution", "mitre_privilege_escalation"],
    "output": "23:59:59.999999999: Critical A shell started (user=root)",
    "output_fields": {
        "evt.type": "execve", "evt.time": 1700000000000000000, "proc.pid": 4711, "proc.name": "bash",
        "proc.exepath": "/bin/bash", "proc.cmdline": "bash -i", "proc.cwd": "/tmp/", "proc.pgid": 4711,
        "proc.sid": 1, "proc.ppid": 1, "proc.pname": "nginx", "proc.pexepath": "/usr/sbin/nginx",
        "proc.pcmdline": "nginx -g daemon", "proc.aname[2]": "containerd-shim", "thread.tid": 4711, "user.uid": 0,
        "user.name": "root", "user.loginuid": 1000, "user.loginname": "eve", "group.gid": 0, "group.name": "root",
        "fd.name": "10.0.0.7:41234->192.0.2.1:4444", "fd.cip": "10.0.0.7", "fd.cport": 41234,
        "fd.sip": "192.0.2.1", "fd.sport": 4444, "fd.l4proto": "tcp", "fd.sip.name": "evil.example",
        "fs.path.target": "/etc/shadow", "container.id": "0123456789ab", "container.name": "shop",
        "container.type": "containerd", "container.image.repository": "registry.example/shop",
        "container.image.tag": "1.2", "container.image.digest": "sha256:ab", "k8s.ns.name": "payments",
        "k8s.pod.name": "shop-1", "k8s.pod.uid": "6f1c", "k8s.pod.ip": "10.0.0.7", "k8s.pod.labels": "app=shop",
        "proc.is_exe_writable": true, "cpu.load": 0.5, "nothing": null, "proc.env": "<NA>"
    }
}"#;

fn rich_alert() -> Arc<Alert> {
    Arc::new(serde_json::from_str(RICH).unwrap())
}

fn resolve(by: Option<&str>) -> NotificationKind {
    let [since, last] = ["2026-11-23T16:38:40Z", "2026-11-23T16:50:00Z"].map(|time| time.parse().unwrap());
    let by = by.map(str::to_owned);
    NotificationKind::Resolve(Resolve { dedup_key: "ab".repeat(32), count: 400, since, last, by })
}

fn bare_alert() -> Arc<Alert> {
    let alert = json!({ "time": "2026-11-23T16:38:40Z", "priority": "debug", "rule": "Bare" });
    Arc::new(serde_json::from_value(alert).unwrap())
}

fn notification(alert: Arc<Alert>, kind: NotificationKind) -> Notification {
    let id = match &kind {
        NotificationKind::Alert => alert.uuid.unwrap_or(Uuid::max()),
        _ => Uuid::max(),
    };
    let key = matches!(kind, NotificationKind::Summary(_)).then(|| "ab".repeat(32).into());
    Notification::new(id, alert, "page".into(), key, kind)
}

fn summary() -> NotificationKind {
    let [first, last] = ["2026-11-23T16:38:40.7Z", "2026-11-23T16:38:42.5Z"].map(|time| time.parse().unwrap());
    let samples = vec![NASTY.to_owned(), "x".repeat(LONG), String::new()];
    NotificationKind::Summary(Summary { count: 99, first, last, samples, window: Duration::from_secs(2) })
}

fn digest() -> NotificationKind {
    let [since, until] = ["2026-11-23T16:38:00Z", "2026-11-23T16:43:00Z"].map(|time| time.parse().unwrap());
    let rules = vec![("Shell in a container".to_owned(), 300), (NASTY.to_owned(), 100), ("other".to_owned(), 12)];
    NotificationKind::Digest(Digest { count: 412, since, until, rules, time_window: None })
}

fn all_kinds() -> Vec<Notification> {
    let kinds = [NotificationKind::Alert, summary(), digest(), resolve(Some(NASTY))];
    let with = |alert: fn() -> Arc<Alert>| kinds.clone().map(|kind| notification(alert(), kind));
    [with(nasty_alert), with(bare_alert)].concat()
}

/// A destination from its table in routing.toml; `key` is a file that holds `secret`.
fn build(table: &str, secret: &str) -> Result<Destination, BuildError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), secret).unwrap();
    Destination::build("d", &toml::from_str(table).unwrap(), folder.path(), folder.path())
}

const WEBHOOK: &str = r#"type = "webhook"
url = "http://127.0.0.1:1/hook"
headers = { authorization = { file = "key" }, x-plain = "a" }"#;
const SLACK: &str = "type = \"slack\"\nwebhook_url = { file = \"key\" }";
const PAGERDUTY: &str = r#"type = "pagerduty"
routing_key = { file = "key" }
url = "http://127.0.0.1:1/""#;
const ELASTICSEARCH: &str = r#"type = "elasticsearch"
url = "http://127.0.0.1:1/prefix/"
api_key = { file = "key" }"#;
const SLACK_URL: &str = "http://127.0.0.1:1/services/T0/B0/hunter2";

fn request(table: &str, secret: &str, notification: &Notification) -> reqwest::Request {
    build(table, secret).unwrap().service.request(notification).expect("a service that speaks HTTP")
}

fn body(table: &str, secret: &str, notification: &Notification) -> String {
    let request = request(table, secret, notification);
    String::from_utf8(request.body().unwrap().as_bytes().unwrap().to_vec()).unwrap()
}

fn json_body(table: &str, secret: &str, notification: &Notification) -> Value {
    serde_json::from_str(&body(table, secret, notification)).unwrap()
}

fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(list) => list.iter().for_each(|value| texts(value, found)),
        Value::Object(map) => map.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

/// Links to pages of MITRE ATT&CK are the router's own.
fn without_own_links(text: &str) -> String {
    let mut parts = text.split("<https://attack.mitre.org/t");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + part.split_once('>').unwrap().1)
}

fn length(value: &Value) -> usize {
    value.as_str().unwrap().chars().count()
}

#[test]
fn a_webhook_gets_the_alert_as_it_is() {
    let alert = nasty_alert();
    let body = json_body(WEBHOOK, "s", &notification(Arc::clone(&alert), NotificationKind::Alert));
    assert_eq!(body, serde_json::to_value(&*alert).unwrap());
}

#[test]
fn a_webhook_takes_other_forms_of_the_same_body() {
    let with = |form: &str| format!("{WEBHOOK}\nform = \"{form}\"");
    let shown = |form: &str| body(&with(form), "s", &notification(rich_alert(), NotificationKind::Alert));
    let alert = serde_json::to_value(&*rich_alert()).unwrap();
    assert_eq!(shown("ndjson"), format!("{alert}\n"));
    let cloud_event: Value = serde_json::from_str(&shown("cloudevents")).unwrap();
    assert_eq!(cloud_event["data"], alert);
    for (key, value) in [
        ("specversion", json!("1.0")),
        ("id", json!(rich_alert().uuid)),
        ("source", json!("/tercel/node-1")),
        ("type", json!("io.tercel.alert")),
        ("subject", json!("Shell in a container")),
        ("time", json!("2026-11-23T23:59:59.999999999Z")),
    ] {
        assert_eq!(cloud_event[key], value, "{key}");
    }
    let form = shown("form");
    assert!(form.contains("&rule=Shell+in+a+container&") && !form.contains([' ', '"', '\n']), "{form}");
}

#[test]
fn a_webhook_request_carries_its_headers_and_hides_the_secret_ones() {
    let request = request(WEBHOOK, "Bearer hunter2\n", &notification(bare_alert(), summary()));
    assert_eq!(request.method(), "POST");
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.headers()["idempotency-key"], Uuid::max().to_string());
    assert_eq!(request.headers()["authorization"], "Bearer hunter2");
    assert_eq!(request.headers()["x-plain"], "a");
    assert!(!format!("{:?}", request.headers()).contains("hunter2"));
}

#[test]
fn slack_messages_keep_to_the_limits_and_mention_nobody() {
    let mut large = (*nasty_alert()).clone();
    large.output = "&".repeat(1 << 20);
    large.output_fields.insert("proc.cmdline".into(), "`&<".repeat(1 << 18).into());
    large.rule = "é".repeat(1 << 18);
    let large = notification(Arc::new(large), NotificationKind::Alert);
    for notification in all_kinds().into_iter().chain([large]) {
        let message = json_body(SLACK, SLACK_URL, &notification);
        let blocks = message["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50);
        for block in blocks {
            let text = &block["text"];
            let limit = if block["type"] == "header" { 150 } else { 3_000 };
            assert!(text.is_null() || (1..=limit).contains(&length(&text["text"])), "{text}");
            let fields = block["fields"].as_array().cloned().unwrap_or_default();
            assert!(fields.len() <= 10 && fields.iter().all(|field| length(&field["text"]) <= 2_000));
        }
        let mut found = Vec::new();
        texts(&message, &mut found);
        for text in found {
            let own = without_own_links(text);
            assert!(!own.contains(['<', '>', '\r', '\u{1b}', '\u{202e}']), "{text}");
        }
    }
}

#[test]
fn pagerduty_events_keep_to_the_limits() {
    let with_fields = |count: usize, length: usize| {
        let mut alert = (*nasty_alert()).clone();
        alert.output_fields.extend((0..count).map(|number| (format!("f.{number}"), "é".repeat(length).into())));
        notification(Arc::new(alert), NotificationKind::Alert)
    };
    let large = [with_fields(20, 20_000), with_fields(5_000, 80), with_fields(1, 1 << 19)];
    for notification in all_kinds().into_iter().chain(large) {
        let text = body(PAGERDUTY, "key", &notification);
        assert!(text.len() <= 512_000, "{} bytes", text.len());
        let event: Value = serde_json::from_str(&text).unwrap();
        if event["event_action"] == "resolve" {
            continue;
        }
        assert!((1..=1_024).contains(&length(&event["payload"]["summary"])));
        assert!(length(&event["dedup_key"]) <= 255 && length(&event["payload"]["source"]) > 0);
    }
}

/// The two lines of one document.
fn bulk_lines(table: &str, notification: &Notification) -> Value {
    let text = build(table, "k").unwrap().preview(notification).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    lines.into()
}

#[test]
fn elasticsearch_gets_output_fields_as_a_list_where_that_is_asked_for() {
    let table = format!("{ELASTICSEARCH}\nkey_values = true\ndata_stream = \"alerts\"");
    let lines = bulk_lines(&table, &notification(rich_alert(), NotificationKind::Alert));
    assert_eq!(lines[0]["create"]["_index"], "alerts");
    let list = lines[1]["falco"]["key_values"].as_array().unwrap();
    assert!(list.contains(&"proc.name=bash".into()) && list.contains(&"user.uid=0".into()), "{list:?}");
    assert!(!lines[1].to_string().contains("\"proc.env="), "what Falco has no value for is no pair: {list:?}");
}

#[test]
fn no_value_of_an_elasticsearch_document_is_longer_than_the_server_finds_again() {
    fn check(path: &str, value: &Value) {
        match value {
            Value::String(text) if !["/message", "/falco/output"].contains(&path) => {
                assert!(text.chars().count() <= 4_096, "{path} has {} characters", text.chars().count());
            }
            Value::Array(list) => list.iter().for_each(|value| check(path, value)),
            Value::Object(map) => map.iter().for_each(|(name, value)| check(&format!("{path}/{name}"), value)),
            _ => {}
        }
    }
    for alert in [nasty_alert(), rich_alert()] {
        check("", &bulk_lines(ELASTICSEARCH, &notification(alert, NotificationKind::Alert))[1]);
    }
}

#[test]
fn a_console_line_is_one_line_and_moves_no_cursor() {
    for notification in all_kinds() {
        let line = console::line(&notification, false);
        assert!(line.ends_with('\n') && line.chars().filter(|character| character.is_control()).count() == 1, "{line}");
        assert!(line.chars().count() < 2_100);
    }
}

#[test]
fn a_template_that_fails_on_an_alert_costs_no_alert() {
    let folder = tempfile::tempdir().unwrap();
    // Passes with the samples, which have no field `n`, and makes no JSON of what the alert holds there.
    std::fs::write(folder.path().join("t.hbs"), r#"{"n": {{{default (field "n") "1"}}} }"#).unwrap();
    let table = "type = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\ntemplate = \"t.hbs\"\nraw = true";
    let config = toml::from_str(table).unwrap();
    let destination = Destination::build("d", &config, folder.path(), folder.path()).unwrap();
    let mut alert = (*bare_alert()).clone();
    alert.output_fields.insert("n".into(), "}".into());
    let notification = notification(Arc::new(alert), NotificationKind::Alert);
    let body: Value = serde_json::from_str(&destination.preview(&notification).unwrap()).unwrap();
    assert_eq!(body["rule"], "Bare");
    assert_eq!(destination.render_fallbacks(), 1);
}

#[test]
fn the_example_template_renders_every_kind() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = "type = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\ntemplate = \"templates/webhook.json.hbs\"";
    let destination = Destination::build("d", &toml::from_str(table).unwrap(), folder, folder).unwrap();
    for notification in all_kinds() {
        let body: Value = serde_json::from_str(&destination.preview(&notification).unwrap()).unwrap();
        assert_eq!(body["kind"], notification.kind.name());
    }
    assert_eq!(destination.render_fallbacks(), 0);
}

#[test]
fn a_template_is_tried_out_when_it_is_read() {
    for (template, cause) in [
        ("{\"a\": {{#if}", "template"),
        ("{\"a\": \"{{alert.rul}}\"}", "fails for an alert without fields"),
        ("{\"a\": \"{{alert.output_fields.x}}\"}", "`field \"name\"`"),
        ("{\"a\": {{#if summary}}{{else}}1{{/if}} }", "fails for a summary: the result is no JSON"),
        ("{\"a\": {{log \"x\"}} }", "there is no helper `log`"),
        ("{\"a\": \"{{titel}}\"}", "there is nothing called `titel`"),
        ("{\"a\": {{#if digest}}{{json titel}}{{else}}1{{/if}} }", "there is nothing called `titel`"),
        ("{\"a\": \"{{{title}}}\"}", "raw = true"),
        ("{\"a\": \"{{&title}}\"}", "raw = true"),
        ("{\"a\": \"{{date time zone=\"Mars\"}}\"}", "no time zone `Mars`"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.hbs"), template).unwrap();
        let table = "type = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\ntemplate = \"t.hbs\"";
        let config = toml::from_str(table).unwrap();
        let message = Destination::build("d", &config, folder.path(), folder.path()).unwrap_err().to_string();
        assert!(
            message.contains(cause) && message.starts_with("destination `d`: ") && !message.contains('\n'),
            "{message}"
        );
    }
}

#[test]
fn settings_that_cannot_work_are_refused_with_the_setting() {
    for (table, cause) in [
        ("type = \"slack\"\nwebhook_url = { env = \"TERCEL_NO_SUCH\" }", "TERCEL_NO_SUCH"),
        ("type = \"webhook\"\nurl = \"nowhere\"", "`url` is no URL"),
        ("type = \"webhook\"\nurl = \"http://h/\"\nheaders = { host = \"a\" }", "`headers.host`"),
        ("type = \"webhook\"\nurl = \"http://h/\"\nheaders = { \"a b\" = \"a\" }", "no header name"),
        ("type = \"webhook\"\nurl = \"http://h/\"\ntemplate = \"none.hbs\"", "none.hbs"),
        ("type = \"elasticsearch\"\nurl = \"http://h/\"\nindex = \"A\"", "`index`"),
        ("type = \"elasticsearch\"\nurl = \"http://h/\"\nuser = \"a\"", "`password`"),
    ] {
        let message = build(table, "s").unwrap_err().to_string();
        assert!(message.contains(cause), "{message}");
    }
}

#[test]
fn a_misspelt_setting_or_type_names_the_known_ones() {
    for (table, known) in [
        ("type = \"slack\"\nwebhok_url = { env = \"A\" }", "webhook_url"),
        ("type = \"slak\"", "slack"),
        ("type = \"webhook\"\nurl = \"http://h/\"\nmethod = \"fetch it\"", "POST"),
        ("type = \"slack\"\nwebhook_url = \"https://hooks.slack.com/services/hunter2\"", "{ env = "),
    ] {
        let message = toml::from_str::<DestinationConfig>(table).unwrap_err().message().to_owned();
        assert!(message.contains(known) && !message.contains("hunter2"), "{message}");
    }
}

#[test]
fn history_receives_all_and_people_receive_notifications() {
    let receive = |table: &str| toml::from_str::<DestinationConfig>(table).unwrap().receive();
    assert_eq!(receive("type = \"archive\""), Receive::All);
    assert_eq!(receive("type = \"console\""), Receive::Notifications);
    assert_eq!(receive("type = \"console\"\nreceive = \"all\""), Receive::All);
    assert_eq!(receive(ELASTICSEARCH), Receive::All);
    assert_eq!(receive(SLACK), Receive::Notifications);
    assert_eq!(receive("type = \"null\""), Receive::Notifications);
    assert_eq!(DestinationConfig::builtin_archive().type_name(), "archive");
}

#[tokio::test]
async fn a_null_destination_takes_every_kind() {
    let destination = build("type = \"null\"", "").unwrap();
    for notification in all_kinds() {
        assert_eq!(destination.send(&notification).await, Ok(()));
    }
}

#[tokio::test]
async fn a_failed_delivery_shows_neither_url_nor_secret() {
    for (table, secret) in [(SLACK, SLACK_URL), (WEBHOOK, "hunter2"), (PAGERDUTY, "hunter2")] {
        let destination = build(table, secret).unwrap();
        let error = destination.send(&notification(bare_alert(), NotificationKind::Alert)).await.unwrap_err();
        assert_eq!((error.reason, error.retry), (Reason::Connect, Retry::Backoff));
        let shown = format!("{error} {error:?} {destination:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("127.0.0.1") && shown.contains("refused"), "{shown}");
    }
}

#[test]
fn time_priority_and_rule_are_said_once() {
    let check = |output: &str, expected: &str| {
        let mut alert = Arc::unwrap_or_clone(bare_alert());
        (alert.rule, alert.output, alert.priority) =
            ("Shell".to_owned(), output.to_owned(), tercel_alert::Priority::Warning);
        let notification = notification(Arc::new(alert), NotificationKind::Alert);
        assert_eq!(crate::render::headline(&notification), expected, "{output}");
    };
    check("16:38:40.618643973: Warning Shell: bash started", "Shell: bash started");
    check("2026-11-23T16:38:40.618643973+0000: Warning bash started", "Shell: bash started");
    check("16:38:40.618643973: Error bash started", "Shell: 16:38:40.618643973: Error bash started");
    check("a: Warning bash", "Shell: a: Warning bash");
    check("", "Shell");
}

/// The bare alert, which came again so often while it waited.
fn repeated(repeats: u64) -> Notification {
    Notification { repeats, ..notification(bare_alert(), NotificationKind::Alert) }
}

#[test]
fn repeats_that_came_while_an_alert_waited_are_shown_everywhere() {
    let more = "Bare (+7 more so far)";
    let slack = json_body(SLACK, SLACK_URL, &repeated(7));
    assert!(slack["text"].as_str().unwrap().contains(more), "{slack}");
    assert!(slack["blocks"][0]["text"]["text"].as_str().unwrap().contains(more), "{slack}");
    let event = json_body(PAGERDUTY, "key", &repeated(7));
    assert!(event["payload"]["summary"].as_str().unwrap().starts_with(more), "{event}");
    assert_eq!(event["payload"]["custom_details"]["repeats"], 7);
    assert_eq!(json_body(WEBHOOK, "s", &repeated(7))["repeats"], 7);
    assert!(console::line(&repeated(7), false).contains(more));
}

#[test]
fn an_alert_without_repeats_says_nothing_of_them() {
    assert_eq!(json_body(WEBHOOK, "s", &repeated(0)).get("repeats"), None);
    let event = json_body(PAGERDUTY, "key", &repeated(0)).to_string();
    assert!(!event.contains("repeats") && !event.contains("more so far"), "{event}");
}

#[test]
fn the_count_of_repeats_is_not_what_gets_cut() {
    let mut alert = Arc::unwrap_or_clone(bare_alert());
    alert.rule = "R".repeat(5_000);
    let notification = Notification { repeats: 7, ..notification(Arc::new(alert), NotificationKind::Alert) };
    let slack = json_body(SLACK, SLACK_URL, &notification);
    assert!(slack["blocks"][0]["text"]["text"].as_str().unwrap().ends_with("(+7 more so far)"), "{slack}");
}

#[test]
fn the_short_way_to_a_body_writes_the_same() {
    let told_later = Notification { repeats: 3, ..notification(nasty_alert(), NotificationKind::Alert) };
    for notification in all_kinds().into_iter().chain([told_later]) {
        let body = crate::render::alert_body(&notification).to_string();
        assert_eq!(crate::render::alert_text(&notification), body);
    }
}

#[test]
fn a_digest_names_the_time_window_that_muted_what_it_tells_of() {
    let NotificationKind::Digest(digest) = digest() else { unreachable!("made as one") };
    let kind = NotificationKind::Digest(Digest { time_window: Some("night".into()), ..digest });
    let body = crate::render::alert_body(&notification(bare_alert(), kind));
    let output = body["output"].as_str().unwrap();
    assert!(output.starts_with("412 alerts held back by the time window `night` in 5m: Shell"), "{output}");
    assert_eq!(body["notification"]["time_window"], "night");
}
