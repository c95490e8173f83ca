//! Each type of destination has what it needs beside its source: a template, a page that explains its keys, and its place in
//! the schema. (That each has snapshots, and an example that works, is tested where they are made.) Types and keys are asked of
//! the parser itself, which names them when it refuses others.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use e2e::receivers::{PagerDuty, Slack, Webhook};
use jiff::Timestamp;
use tercel_alert::Alert;
use tercel_router::destination::{Destination, DestinationConfig, Digest, Notification, NotificationKind, Summary};
use uuid::Uuid;

use crate::harness::{alert, files_below, nasty_alert, read, workspace};

/// Types without a template, and why.
const WITHOUT_TEMPLATE: [(&str, &str); 10] = [
    ("archive", "keeps alerts as they are"),
    ("console", "prints one line that no setting may break"),
    ("elasticsearch", "stores alerts as documents, under names that its mapping can hold"),
    ("falcosidekick", "hands on what Falco would send"),
    ("kafka", "hands on the alert as it is, unless a template of the reader's says otherwise"),
    ("loki", "keeps alerts as they are"),
    ("nats", "hands on the alert as it is, unless a template of the reader's says otherwise"),
    ("null", "shows nothing to anybody"),
    ("otlp", "has a record whose parts are OpenTelemetry's"),
    ("syslog", "has messages whose parts are the RFC's"),
];

/// Keys that many types have; the routing file explains them once.
const COMMON_KEYS: [&str; 8] = ["type", "receive", "fallback", "max_age", "concurrency", "pace", "http", "raw"];

/// Templates that the doubles of services judge.
const JUDGED: [&str; 3] = ["webhook", "slack", "pagerduty"];

#[test]
fn every_destination_type_has_a_template_or_a_reason_to_have_none() {
    let templates = files_below("templates");
    let templates = templates.iter().filter_map(|file| file.file_name()?.to_str()?.strip_suffix(".json.hbs"));
    let without = WITHOUT_TEMPLATE.map(|(name, _)| name);
    let all: Vec<_> = templates.chain(without).map(str::to_owned).collect();
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), types());
    assert_eq!(all.len(), types().len(), "a type has both a template and a reason to have none: {all:?}");
}

#[tokio::test]
async fn shipped_templates_render_what_their_services_take() {
    let secrets = tempfile::tempdir().unwrap();
    let (webhook, slack, pager) = (Webhook::start().await, Slack::start().await, PagerDuty::start().await);
    for kind in JUDGED {
        let (secret, url) = match kind {
            "webhook" => (String::new(), format!("url = \"{}\"", webhook.url())),
            "slack" => (slack.url(), "webhook_url = { file = \"SECRET\" }".to_owned()),
            _ => ("k".repeat(32), format!("url = \"{}\"\nrouting_key = {{ file = \"SECRET\" }}", pager.url())),
        };
        let path = secrets.path().join(kind);
        std::fs::write(&path, secret).unwrap();
        let url = url.replace("SECRET", path.to_str().unwrap());
        let destination = build(&format!("type = \"{kind}\"\ntemplate = \"templates/{kind}.json.hbs\"\n{url}"));
        for notification in notifications() {
            destination.send(&notification).await.unwrap_or_else(|error| panic!("templates/{kind}.json.hbs: {error}"));
        }
        assert_eq!(destination.render_fallbacks(), 0, "templates/{kind}.json.hbs failed on an alert");
    }
    let taken = [webhook.accepted(), slack.accepted(), pager.accepted()].map(|all| all.len());
    assert_eq!(taken, [6, 6, 6]);
}

#[test]
fn an_example_in_the_shipped_routing_file_has_every_key_of_its_type() {
    let text = read("routing.toml");
    let sections = sections(&text);
    let example = |kind: &String| sections.iter().find(|section| section.contains(&format!("type = \"{kind}\"")));
    let examples: Vec<_> = types().into_iter().filter_map(|kind| Some((example(&kind)?, kind))).collect();
    assert_eq!(examples.len(), sections.len());
    for (section, kind) in examples {
        for key in keys(&kind).iter().filter(|key| !COMMON_KEYS.contains(&key.as_str())) {
            assert!(
                section.lines().any(|line| line.starts_with(&format!("{key} = "))),
                "routing.toml does not explain `{key}` of type `{kind}`"
            );
        }
    }
}

#[test]
fn every_type_has_a_page_that_names_all_of_its_settings_and_is_named_in_the_readme() {
    let readme = read("README.md");
    for kind in types() {
        let text = read(page(&kind));
        assert!(readme.contains(&page(&kind)), "README.md does not lead to {}", page(&kind));
        for key in keys(&kind).iter().filter(|key| *key != "type") {
            assert!(text.contains(&format!("`{key}`")), "{} does not explain `{key}`", page(&kind));
        }
    }
}

#[test]
fn every_type_and_all_of_its_settings_are_in_the_schema() {
    let schema: serde_json::Value = serde_json::from_str(&read("docs/routing.schema.json")).unwrap();
    let schemas = schema["definitions"]["Destination"]["oneOf"].as_array().unwrap();
    for kind in types() {
        let schema = schemas.iter().find(|schema| schema["properties"]["type"]["const"] == kind.as_str());
        let schema = schema.unwrap_or_else(|| panic!("the schema has no type `{kind}`; `cargo xtask docs` writes it"));
        let known: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let missing: Vec<_> = keys(&kind).into_iter().filter(|key| !known.contains(key)).collect();
        assert!(missing.is_empty(), "the schema of `{kind}` lacks {missing:?}");
    }
}

#[test]
fn every_template_is_shipped_with_the_manifests() {
    let listed = read("templates/kustomization.yaml");
    for file in files_below("templates").iter().filter(|file| file.extension().is_some_and(|end| end == "hbs")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(listed.contains(&format!("- {name}\n")), "templates/kustomization.yaml does not list {name}");
    }
}

#[test]
fn every_example_in_the_shipped_routing_file_is_a_destination() {
    for section in sections(&read("routing.toml")) {
        let table = section.split_once('\n').unwrap().1;
        toml::from_str::<DestinationConfig>(table).unwrap_or_else(|error| panic!("routing.toml: {error}\n{section}"));
    }
}

fn build(table: &str) -> Destination {
    let config = toml::from_str(table).unwrap_or_else(|error| panic!("{error}\n{table}"));
    Destination::build("d", &config, workspace(), Path::new("/nonexistent")).unwrap()
}

/// A plain and a hostile alert, as every kind of notification.
fn notifications() -> Vec<Notification> {
    let (now, window) = (Timestamp::now(), Duration::from_secs(2));
    let summary = Summary { count: 99, first: now, last: now, samples: vec!["<!here> \"x\"".to_owned()], window };
    let digest =
        Digest { count: 12, since: now, until: now, rules: vec![("<!here>".to_owned(), 12)], time_window: None };
    let kinds = [NotificationKind::Alert, NotificationKind::Summary(summary), NotificationKind::Digest(digest)];
    let alerts =
        [alert("Rule", "Error", "cat"), nasty_alert()].map(|alert| serde_json::from_value::<Alert>(alert).unwrap());
    let pairs = kinds.iter().flat_map(|kind| alerts.iter().map(move |alert| (kind.clone(), Arc::new(alert.clone()))));
    let notification = |(kind, alert)| Notification {
        id: Uuid::now_v7(),
        alert,
        route: "all".into(),
        dedup_key: Some("ab".repeat(32).into()),
        kind,
        repeats: 0,
        post: None,
    };
    pairs.map(notification).collect()
}

fn page(kind: &str) -> String {
    format!("docs/destinations/{kind}.md")
}

/// The values that `type` may have.
fn types() -> BTreeSet<String> {
    expected("type = \"?\"")
}

/// The keys that a type may have.
fn keys(kind: &str) -> BTreeSet<String> {
    expected(&format!("type = \"{kind}\"\nno_such_key = 1"))
}

/// What the parser names as expected when it refuses this table.
fn expected(table: &str) -> BTreeSet<String> {
    let error = toml::from_str::<DestinationConfig>(table).unwrap_err().message().to_owned();
    let names = error.split_once("expected ").unwrap_or_else(|| panic!("{error}")).1;
    let names: BTreeSet<_> = names.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(names.len() > 1, "the parser no longer names what it knows: {error}");
    names
}

/// The `[destination.…]` tables of the routing file, with those lines that are switched off switched on.
fn sections(text: &str) -> Vec<String> {
    let start = text.find("\n[destination.").expect("routing.toml has destinations");
    let lines = text[start..].lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    let is_toml = |line: &&str| {
        let word = line.split([' ', '.']).next().unwrap_or_default();
        line.starts_with("[destination.") || !word.is_empty() && line[word.len()..].starts_with(" = ")
    };
    let mut sections: Vec<String> = Vec::new();
    for line in lines.filter(is_toml) {
        if line.starts_with('[') {
            sections.push(String::new());
        }
        let section = sections.last_mut().expect("the first line opens a table");
        section.push_str(line);
        section.push('\n');
    }
    sections
}
