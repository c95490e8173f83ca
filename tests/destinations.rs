//! Each destination against a stand-in for its service: one attempt, judged as the service judges it.

use std::sync::Arc;
use std::time::Duration;

use e2e::receivers::{Answer, Elasticsearch, PagerDuty, Slack, Webhook};
use jiff::Timestamp;
use serde_json::{Value, json};
use tercel_alert::Alert;
use tercel_router::destination::{
    Destination, Digest, Notification, NotificationKind, Reason, Receipt, Retry, Summary,
};
use uuid::Uuid;

use crate::harness::{alert, free_address, nasty_alert};

/// As long as PagerDuty wants one, and plain to find where it should not be.
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A destination from its table; `{ file = "secret" }` in it holds `secret`.
fn destination(table: &str, secret: &str) -> Destination {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("secret"), secret).expect("a file in it");
    let config = toml::from_str(table).expect("a destination's table");
    Destination::build("d", &config, folder.path(), folder.path()).expect("a destination that can be built")
}

fn slack(service: &Slack) -> Destination {
    destination("type = \"slack\"\nwebhook_url = { file = \"secret\" }", &service.url())
}

fn pagerduty(service: &PagerDuty, key: &str) -> Destination {
    let table = format!("type = \"pagerduty\"\nrouting_key = {{ file = \"secret\" }}\nurl = \"{}\"", service.url());
    destination(&table, key)
}

fn webhook(service: &Webhook) -> Destination {
    destination(&format!("type = \"webhook\"\nurl = \"{}\"", service.url()), "")
}

fn elasticsearch(service: &Elasticsearch) -> Destination {
    destination(&format!("type = \"elasticsearch\"\nurl = \"{}\"", service.url()), "")
}

fn notification(alert: Value, kind: NotificationKind) -> Notification {
    let alert: Alert = serde_json::from_value(alert).expect("an alert");
    let id = alert.uuid.filter(|_| matches!(kind, NotificationKind::Alert)).unwrap_or_else(Uuid::now_v7);
    let dedup_key = Some("ab".repeat(32).into());
    Notification { id, alert: Arc::new(alert), route: "page".into(), dedup_key, kind, repeats: 0, post: None }
}

fn simple() -> Notification {
    notification(alert("Read a secret", "Critical", "cat"), NotificationKind::Alert)
}

/// A hostile and a minimal alert, as every kind of notification.
fn all_kinds() -> Vec<Notification> {
    let now = Timestamp::now();
    let samples = vec![nasty_alert()["output"].to_string(), String::new()];
    let summary = Summary { count: 99, first: now, last: now, samples, window: Duration::from_secs(2) };
    let digest = Digest {
        count: 412,
        since: now,
        until: now,
        rules: vec![("<!here>".into(), 400), ("other".into(), 12)],
        time_window: None,
    };
    let kinds = [NotificationKind::Alert, NotificationKind::Summary(summary), NotificationKind::Digest(digest)];
    let bare = json!({ "time": now.to_string(), "rule": "Bare", "priority": "debug" });
    let pair = |kind: NotificationKind| [notification(nasty_alert(), kind.clone()), notification(bare.clone(), kind)];
    kinds.into_iter().flat_map(pair).collect()
}

#[tokio::test]
async fn slack_takes_every_message_and_nobody_is_mentioned() {
    let service = Slack::start().await;
    let destination = slack(&service);
    for notification in all_kinds() {
        destination.send(&notification).await.unwrap();
    }
    assert_eq!(service.accepted().len(), 6);
    assert_eq!(service.with_service(|slack| slack.mentions().to_vec()), Vec::<String>::new());
}

#[tokio::test]
async fn slack_messages_that_slack_refuses_are_not_tried_again_and_say_why() {
    let service = Slack::start().await;
    let destination = slack(&service);
    service.answer_next([
        Answer::Body(400, "invalid_blocks".into()),
        Answer::Body(200, "<html>a login page</html>".into()),
        Answer::RetryAfter(429, "7"),
    ]);
    let refused = destination.send(&simple()).await.unwrap_err();
    assert_eq!((refused.reason, refused.retry), (Reason::ClientError, Retry::Never));
    assert!(refused.to_string().contains("invalid_blocks"), "{refused}");
    let strange = destination.send(&simple()).await.unwrap_err();
    assert_eq!((strange.reason, strange.retry), (Reason::ClientError, Retry::Never));
    let limited = destination.send(&simple()).await.unwrap_err();
    assert_eq!((limited.reason, limited.retry), (Reason::RateLimited, Retry::After(Duration::from_secs(7))));
}

#[tokio::test]
async fn pagerduty_takes_every_event_and_makes_one_incident_of_one_key() {
    let service = PagerDuty::start().await;
    let destination = pagerduty(&service, KEY);
    for notification in all_kinds() {
        destination.send(&notification).await.unwrap();
    }
    let incidents = service.with_service(|pagerduty| pagerduty.incidents().clone());
    // A digest is about many alerts, and has the incident of its route.
    assert_eq!(incidents.len(), 2);
    let of_the_alert = &incidents["ab".repeat(32).as_str()];
    assert_eq!((of_the_alert.len(), &of_the_alert[0]["payload"]["severity"]), (4, &"critical".into()));
}

#[tokio::test]
async fn pagerduty_errors_name_the_fault_and_not_the_key() {
    let service = PagerDuty::start().await;
    let error = pagerduty(&service, "hunter2").send(&simple()).await.unwrap_err();
    assert_eq!((error.reason, error.retry), (Reason::ClientError, Retry::Never));
    assert!(error.to_string().contains("Length of 'routing_key'") && !error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn elasticsearch_keeps_one_document_per_alert_however_often_it_is_sent() {
    let service = Elasticsearch::start().await;
    let destination = elasticsearch(&service);
    let notification = simple();
    for _ in 0..3 {
        destination.send(&notification).await.unwrap();
    }
    let documents = service.with_service(|elasticsearch| elasticsearch.documents().to_vec());
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0].id, notification.id.to_string());
    assert_eq!(documents[0].source["falco"]["output_fields"]["proc.name"], "cat");
    assert_eq!(documents[0].source["process"]["name"], "cat");
}

#[tokio::test]
async fn elasticsearch_maps_fields_whose_names_begin_alike() {
    let service = Elasticsearch::start().await;
    let destination = elasticsearch(&service);
    let mut both = alert("Connect", "Notice", "curl");
    both["output_fields"] = json!({ "fd.sip": "10.0.0.1", "fd.sip.name": "host", "a": { "b": 1 }, "": 1, ".": 2 });
    destination.send(&notification(both, NotificationKind::Alert)).await.unwrap();
    for notification in all_kinds() {
        destination.send(&notification).await.unwrap();
    }
    assert_eq!(service.accepted().len(), 7);
}

fn several(count: usize) -> Vec<Notification> {
    (0..count).map(|_| simple()).collect()
}

#[tokio::test]
async fn elasticsearch_takes_many_alerts_in_one_request_and_halves_one_that_is_too_large() {
    let service = Elasticsearch::start().await;
    let destination = elasticsearch(&service);
    assert_eq!(destination.send_all(&several(10)).await, vec![Ok(Receipt::default()); 10]);
    assert_eq!((service.accepted().len(), service.received()[0].header("content-encoding")), (1, "gzip"));
    service.answer_next([Answer::Status(413), Answer::Status(413)]);
    assert_eq!(destination.send_all(&several(9)).await, vec![Ok(Receipt::default()); 9]);
    assert_eq!(service.received().len(), 1 + 5, "nine, four, two and two, five");
    assert_eq!(service.with_service(|service| service.documents().len()), 19);
    service.answer_always(Answer::Status(413));
    let errors = destination.send_all(&several(2)).await;
    assert!(errors.iter().all(|error| error.as_ref().is_err_and(|error| error.retry == Retry::Never)), "{errors:?}");
}

#[tokio::test]
async fn elasticsearch_nodes_stand_in_for_one_another() {
    let (service, gone) = (Elasticsearch::start().await, free_address());
    let table = format!("type = \"elasticsearch\"\nurl = [\"http://{gone}/\", \"{}\"]", service.url());
    let nodes = destination(&table, "");
    for _ in 0..4 {
        assert_eq!(nodes.send_all(&several(3)).await, vec![Ok(Receipt::default()); 3]);
    }
    service.answer_always(Answer::Status(503));
    let error = nodes.send(&simple()).await.unwrap_err();
    assert!(error.retry == Retry::Backoff && error.to_string().contains("none of 2 nodes"), "{error}");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    service.answer_always(Answer::Status(401));
    let error = nodes.send(&simple()).await.unwrap_err();
    assert_eq!((error.reason, error.retry), (Reason::AuthError, Retry::Never), "one node's refusal is the cluster's");
}

#[tokio::test]
async fn elasticsearch_logs_in_with_a_key_a_token_or_a_password() {
    for (login, expected) in [
        ("api_key = { file = \"secret\" }", "ApiKey hunter2"),
        ("bearer_token = { file = \"secret\" }", "Bearer hunter2"),
        ("user = \"u\"\npassword = { file = \"secret\" }", "Basic dTpodW50ZXIy"),
    ] {
        let service = Elasticsearch::start().await;
        let table = format!("type = \"elasticsearch\"\nurl = \"{}\"\n{login}", service.url());
        destination(&table, "hunter2").send(&simple()).await.unwrap();
        assert_eq!(service.received()[0].header("authorization"), expected);
    }
}

#[tokio::test]
async fn elasticsearch_items_decide_whether_a_document_is_sent_again() {
    let service = Elasticsearch::start().await;
    let destination = elasticsearch(&service);
    let item = |status: u16, kind: &str| {
        let item = json!({ "create": { "status": status, "error": { "type": kind } } });
        Answer::Body(200, json!({ "errors": true, "items": [item] }).to_string())
    };
    service.answer_next([item(429, "es_rejected_execution_exception"), item(400, "document_parsing_exception")]);
    let busy = destination.send(&simple()).await.unwrap_err();
    assert_eq!((busy.reason, busy.retry), (Reason::RateLimited, Retry::Backoff));
    let refused = destination.send(&simple()).await.unwrap_err();
    assert_eq!((refused.reason, refused.retry), (Reason::ClientError, Retry::Never));
    assert!(refused.to_string().contains("document_parsing_exception"), "{refused}");
}

#[tokio::test]
async fn a_webhook_receives_the_alert_unchanged_with_its_id() {
    let service = Webhook::start().await;
    let notification = notification(nasty_alert(), NotificationKind::Alert);
    webhook(&service).send(&notification).await.unwrap();
    let request = &service.received()[0];
    assert_eq!(request.json(), serde_json::to_value(&*notification.alert).unwrap());
    assert_eq!(request.header("idempotency-key"), notification.id.to_string());
}

#[tokio::test]
async fn a_webhook_takes_many_alerts_in_one_request_and_one_that_is_refused_costs_no_other() {
    let service = Webhook::start().await;
    for (form, content_type) in [
        ("json", "application/json"),
        ("ndjson", "application/x-ndjson"),
        ("cloudevents", "application/cloudevents-batch+json"),
    ] {
        let table =
            format!("type = \"webhook\"\nurl = \"{}\"\nform = \"{form}\"\nbatch = {{ count = 10 }}", service.url());
        let (destination, alerts) = (destination(&table, ""), several(5));
        let before = service.received().len();
        assert_eq!(destination.send_all(&alerts).await, vec![Ok(Receipt::default()); 5]);
        let request = service.received().remove(before);
        assert_eq!(request.header("content-type"), content_type);
        let text = String::from_utf8(request.body.to_vec()).unwrap();
        let bodies: Vec<Value> = match form {
            "ndjson" => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            _ => serde_json::from_str(&text).unwrap(),
        };
        let ids: Vec<_> = bodies.iter().map(|body| body.get("id").unwrap_or(&body["uuid"]).clone()).collect();
        assert_eq!(ids, alerts.iter().map(|one| json!(one.id)).collect::<Vec<_>>());
        // All of them, and then each: the second is what the service cannot take.
        service.answer_next([Answer::Status(400), Answer::Status(200), Answer::Status(422)]);
        let results = destination.send_all(&alerts).await;
        let refused: Vec<_> = (0..5).filter(|number| results[*number].is_err()).collect();
        assert_eq!((refused, service.received().len()), (vec![1], before + 1 + 6));
    }
}

#[tokio::test]
async fn every_destination_follows_the_one_table_of_status_codes() {
    let services =
        (Webhook::start().await, Slack::start().await, PagerDuty::start().await, Elasticsearch::start().await);
    let destinations =
        [webhook(&services.0), slack(&services.1), pagerduty(&services.2, KEY), elasticsearch(&services.3)];
    for (answer, reason, retry) in [
        (Answer::Status(302), Reason::ClientError, Retry::Never),
        (Answer::Status(400), Reason::ClientError, Retry::Never),
        (Answer::Status(401), Reason::AuthError, Retry::Never),
        (Answer::Status(403), Reason::AuthError, Retry::Never),
        (Answer::Status(408), Reason::Timeout, Retry::Backoff),
        (Answer::Status(429), Reason::RateLimited, Retry::Backoff),
        (Answer::RetryAfter(429, "3"), Reason::RateLimited, Retry::After(Duration::from_secs(3))),
        (Answer::RetryAfter(503, "Mon, 06 Nov 2000 08:49:37 GMT"), Reason::ServerError, Retry::After(Duration::ZERO)),
        (Answer::Status(500), Reason::ServerError, Retry::Backoff),
        (Answer::Close, Reason::Other, Retry::Backoff),
    ] {
        services.0.answer_always(answer.clone());
        services.1.answer_always(answer.clone());
        services.2.answer_always(answer.clone());
        services.3.answer_always(answer.clone());
        for (number, destination) in destinations.iter().enumerate() {
            let error = destination.send(&simple()).await.unwrap_err();
            assert_eq!((error.reason, error.retry), (reason, retry), "{answer:?} of service {number}: {error}");
        }
    }
}

/// Types that speak HTTP and have no double of their own, with their settings.
const OTHERS: [(&str, &str); 8] = [
    ("alertmanager", "url = \"URL\""),
    ("discord", "webhook_url = { file = \"secret\" }"),
    ("falcosidekick", "url = \"URL\""),
    ("loki", "url = \"URL\""),
    ("opsgenie", "url = \"URL\"\napi_key = { file = \"token\" }"),
    ("otlp", "url = \"URL\""),
    ("teams", "webhook_url = { file = \"secret\" }"),
    ("telegram", "url = \"URL\"\nchat = \"1\"\nbot_token = { file = \"token\" }"),
];

fn other(kind: &str, settings: &str, service: &Webhook) -> Destination {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), service.url()).unwrap();
    std::fs::write(folder.path().join("token"), "1:abc").unwrap();
    let table = format!("type = \"{kind}\"\n{}", settings.replace("URL", &service.url()));
    Destination::build("d", &toml::from_str(&table).unwrap(), folder.path(), folder.path()).unwrap()
}

#[tokio::test]
async fn every_other_service_follows_it_too_and_takes_every_kind() {
    for (kind, settings) in OTHERS {
        let service = Webhook::start().await;
        let destination = other(kind, settings, &service);
        for notification in all_kinds() {
            destination.send(&notification).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
        for (answer, reason, retry) in [
            (Answer::Status(302), Reason::ClientError, Retry::Never),
            (Answer::Status(400), Reason::ClientError, Retry::Never),
            (Answer::Status(401), Reason::AuthError, Retry::Never),
            (Answer::RetryAfter(429, "3"), Reason::RateLimited, Retry::After(Duration::from_secs(3))),
            (Answer::Status(503), Reason::ServerError, Retry::Backoff),
        ] {
            service.answer_next([answer.clone()]);
            let error = destination.send(&simple()).await.unwrap_err();
            assert_eq!((error.reason, error.retry), (reason, retry), "{answer:?} of {kind}: {error}");
            assert!(!error.to_string().contains("127.0.0.1"), "{kind}: {error}");
        }
    }
}

#[tokio::test]
async fn a_wait_that_stands_in_the_body_is_kept_to() {
    for (kind, body, wait) in [
        ("discord", r#"{"message":"You are being rate limited.","retry_after":0.5,"global":false}"#, 500),
        (
            "telegram",
            r#"{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":7}}"#,
            7_000,
        ),
    ] {
        let service = Webhook::start().await;
        let (_, settings) = OTHERS.into_iter().find(|(name, _)| *name == kind).unwrap();
        service.answer_next([Answer::Body(429, body.to_owned())]);
        let error = other(kind, settings, &service).send(&simple()).await.unwrap_err();
        assert_eq!(error.retry, Retry::After(Duration::from_millis(wait)), "{kind}: {error}");
    }
}

#[tokio::test]
async fn a_service_that_takes_many_gets_one_request_and_a_refused_line_costs_no_other() {
    for (kind, lines) in [("loki", "/streams/0/values"), ("otlp", "/resourceLogs/0/scopeLogs/0/logRecords")] {
        let service = Webhook::start().await;
        let (_, settings) = OTHERS.into_iter().find(|(name, _)| *name == kind).unwrap();
        let destination = other(kind, settings, &service);
        assert_eq!(destination.send_all(&several(7)).await, vec![Ok(Receipt::default()); 7]);
        let request = service.received().remove(0).json();
        assert_eq!(request.pointer(lines).and_then(Value::as_array).map(Vec::len), Some(7), "{kind}: {request}");
        service.answer_next([Answer::Status(400), Answer::Status(400), Answer::Status(200)]);
        let results = destination.send_all(&several(3)).await;
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, true], "{kind}");
    }
}

#[tokio::test]
async fn a_service_that_hangs_costs_fifteen_seconds_at_most() {
    let service = Webhook::start().await;
    service.answer_always(Answer::Hang);
    let start = std::time::Instant::now();
    let error = webhook(&service).send(&simple()).await.unwrap_err();
    assert_eq!((error.reason, error.retry), (Reason::Timeout, Retry::Backoff));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_receiver_that_came_back_is_found_again() {
    let service = Webhook::start().await;
    let (address, destination) = (service.address(), webhook(&service));
    destination.send(&simple()).await.unwrap();
    drop(service);
    let error = destination.send(&simple()).await.unwrap_err();
    assert_eq!(error.retry, Retry::Backoff);
    let service = Webhook::start_at(address).await;
    destination.send(&simple()).await.unwrap();
    assert_eq!(service.count(), 1);
}
