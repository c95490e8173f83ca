//! What senders are told, and what operators may ask.

use std::os::unix::fs::PermissionsExt as _;

use e2e::receivers::Webhook;
use reqwest::{Client, Method};
use serde_json::json;

use crate::harness::{Answer, SOON, TestRouter, alert, all_to};

/// One more byte than a body may have.
const BODY_BYTES_TOO_MANY: usize = 1024 * 1024 + 1;
/// One more alert than a request may hold.
const ALERTS_TOO_MANY: usize = 10_001;

#[tokio::test]
async fn good_lines_are_kept_and_bad_ones_are_named() {
    let hook = Webhook::start().await;
    let router = TestRouter::start(&all_to(&hook, "")).await;
    let (good, other) = (alert("Good", "Error", "a"), alert("Also good", "Error", "b"));
    let mut unknown = alert("Bad", "Error", "c");
    unknown["priority"] = json!("loud");
    let answer = router.post("/v1/alerts", format!("{good}\n{{\"rule\": \n{unknown}\n{other}\n")).await;
    assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(2)));
    let rejected = answer.json()["rejected"].as_array().unwrap().clone();
    let named: Vec<_> =
        rejected.iter().map(|rejection| (rejection["line"].clone(), rejection["code"].clone())).collect();
    assert_eq!(named, [(json!(2), json!("invalid_json")), (json!(3), json!("invalid_alert"))]);
    assert!(rejected[1]["message"].as_str().unwrap().contains("unknown priority `loud`"), "{rejected:?}");
    let received = hook.wait_for(2, SOON).await;
    assert_eq!(
        received.iter().map(|request| request.json()["rule"].clone()).collect::<Vec<_>>(),
        ["Good", "Also good"]
    );
}

#[tokio::test]
async fn what_is_not_taken_is_refused_by_its_own_status_and_counted() {
    let hook = Webhook::start().await;
    let router = TestRouter::start(&all_to(&hook, "")).await;
    let huge = format!("{{\"rule\": \"{}\"}}", "x".repeat(BODY_BYTES_TOO_MANY));
    for (body, status, reason) in [
        ("no json".to_owned(), 400, "invalid_json"),
        (String::new(), 400, "invalid_json"),
        ("[".repeat(100_000), 400, "invalid_json"),
        ("{\"rule\": \"x\"}".to_owned(), 400, "invalid_alert"),
        ("17".to_owned(), 400, "invalid_alert"),
        (alert(&"r".repeat(257), "Error", "a").to_string(), 400, "too_long"),
        ("{}\n".repeat(ALERTS_TOO_MANY), 413, "too_many"),
        (huge, 413, "body_size"),
    ] {
        let before = rejected(&router, reason).await;
        let answer = router.post("/v1/alerts", body).await;
        assert_eq!((answer.status, &answer.json()["accepted"]), (status, &json!(0)), "{reason}: {answer:?}");
        assert_eq!(rejected(&router, reason).await, before + 1, "{reason}");
    }
    let answers = [(Method::GET, "/v1/alerts", 405, "method"), (Method::POST, "/nowhere", 404, "path")];
    for (method, path, status, reason) in answers {
        let response = router.request(method, path).body("{}").send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(rejected(&router, reason).await, 1, "{reason}");
    }
    assert_eq!(hook.count(), 0);
}

#[tokio::test]
async fn a_token_is_asked_for_where_one_is_set() {
    let hook = Webhook::start().await;
    let router = TestRouter::start_with(&all_to(&hook, ""), |settings| {
        settings.token = Some(tercel_router::config::Token::new("opensesame"));
    })
    .await;
    let send = async |token: Option<&str>| {
        let request = router.request(Method::POST, "/").body(alert("Rule", "Error", "a").to_string());
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        Answer::read(request.send().await.unwrap()).await.status
    };
    assert_eq!((send(None).await, send(Some("opensesam")).await, send(Some("opensesame")).await), (401, 401, 202));
    assert_eq!(rejected(&router, "unauthorized").await, 2);
}

#[tokio::test]
async fn the_unix_socket_takes_alerts_from_its_group_and_answers_operators() {
    let hook = Webhook::start().await;
    let router = TestRouter::start(&all_to(&hook, "")).await;
    let mode = std::fs::metadata(router.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let client = Client::builder().unix_socket(router.socket()).timeout(SOON).build().unwrap();
    let body = alert("Rule", "Error", "a").to_string();
    let answer = Answer::read(client.post("http://localhost/v1/alerts").body(body).send().await.unwrap()).await;
    assert_eq!(answer.status, 202);
    assert_eq!(hook.wait_for(1, SOON).await.len(), 1);
    let metrics = Answer::read(client.get("http://localhost/metrics").send().await.unwrap()).await;
    assert!(metrics.body.contains("tercel_router_alerts_received_total"), "{metrics:?}");

    let socket = router.socket();
    router.shutdown().await;
    assert!(!socket.exists(), "the socket goes with its router");
}

#[tokio::test]
async fn liveness_readiness_and_metrics_are_on_the_admin_address_alone() {
    let hook = Webhook::start().await;
    let router = TestRouter::start(&all_to(&hook, "")).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(router.get(path).await.status, 200, "{path}");
        let ingest = router.request(Method::GET, path).send().await.unwrap();
        assert_eq!(ingest.status().as_u16(), 404, "{path} of the ingest address");
    }
    assert_eq!(router.get("/").await.status, 404);
}

/// `ingest_rejected_total` of a reason.
async fn rejected(router: &TestRouter, reason: &str) -> u64 {
    router.metrics().await.sum("tercel_router_ingest_rejected_total", &[("reason", reason)])
}
