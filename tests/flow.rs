//! One router, from the request to the notification.

use e2e::receivers::{Elasticsearch, PagerDuty, Received, Slack, Webhook};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::harness::{SOON, TestRouter, alert, all_to, nasty_alert, not_here, webhook, workspace};

/// Alerts that Falco itself wrote; only where they lie beside the repository.
const FALCO_ALERTS: &str = "../shared/reference/falco-alerts.sample.jsonl";

#[tokio::test]
async fn an_object_an_array_and_lines_arrive_unchanged_and_in_order() {
    let hook = Webhook::start().await;
    let router = TestRouter::start(&all_to(&hook, "")).await;
    let alerts: Vec<_> = (0..6).map(|number| alert("Rule", "Warning", &format!("p{number}"))).collect();
    let lines = format!("{}\n\n{}\n{}", alerts[3], alerts[4], alerts[5]);
    for (path, body, accepted) in [
        ("/", alerts[0].to_string(), 1),
        ("/v1/alerts", json!([alerts[1], alerts[2]]).to_string(), 2),
        ("/v1/alerts", lines, 3),
    ] {
        let answer = router.post(path, body).await;
        assert_eq!((answer.status, answer.json()), (202, json!({"accepted": accepted, "rejected": []})));
    }
    let received = hook.wait_for(6, SOON).await;
    assert_eq!(received.iter().map(Received::json).collect::<Vec<_>>(), alerts);
    let metrics = router.settled().await;
    assert_eq!(metrics.of("hook", "delivered_total"), 6);
    assert_eq!(metrics.sum("tercel_router_alerts_received_total", &[("priority", "Warning")]), 6);
}

#[tokio::test]
async fn alerts_go_where_their_severity_sends_them_and_the_rest_to_the_archive() {
    let (page, team) = (Webhook::start().await, Webhook::start().await);
    let routing = format!(
        r#"
        [[route]]
        name = "page"
        when = "priority >= critical"
        to = ["page"]
        continue = true
        [[route]]
        name = "team"
        when = "priority >= warning and not proc.name = noise"
        to = ["team"]
        {}{}"#,
        webhook("page", &page),
        webhook("team", &team)
    );
    let router = TestRouter::start(&routing).await;
    for (priority, process) in
        [("Emergency", "a"), ("Critical", "noise"), ("Error", "c"), ("Warning", "noise"), ("Debug", "e")]
    {
        router.send(&alert("Rule", priority, process)).await;
    }
    let metrics = router.settled().await;
    assert_eq!(names(&page.received()), ["a", "noise"]);
    assert_eq!(names(&team.received()), ["a", "c"]);
    assert_eq!(metrics.sum("tercel_router_unrouted_total", &[]), 2);
    let archive = archive(&router);
    assert_eq!(
        archive.iter().map(|alert| alert["priority"].as_str().unwrap()).collect::<Vec<_>>(),
        ["Warning", "Debug"]
    );
}

#[tokio::test]
async fn a_destination_that_two_routes_lead_to_gets_an_alert_once() {
    let hook = Webhook::start().await;
    let first = "[[route]]\nname = \"first\"\nto = [\"hook\"]\ncontinue = true\n";
    let router = TestRouter::start(&format!("{first}{}", all_to(&hook, ""))).await;
    router.send(&alert("Rule", "Error", "cat")).await;
    let metrics = router.settled().await;
    assert_eq!((metrics.of("hook", "deliveries_received_total"), hook.count()), (1, 1));
}

#[tokio::test]
async fn a_hundred_equal_alerts_become_one_and_a_summary_that_says_ninety_nine() {
    let hook = Webhook::start().await;
    let router = TestRouter::start(&all_to(&hook, "dedup = { window = \"2s\" }")).await;
    let alerts: Vec<_> = (0..100).map(|_| alert("Read a secret", "Critical", "cat")).collect();
    for ten in alerts.chunks(10) {
        assert_eq!(router.post("/v1/alerts", json!(ten).to_string()).await.status, 202);
    }
    let received = hook.wait_for(2, SOON).await;
    assert_eq!(received.len(), 2, "an alert and its summary");
    let (first, summary) = (received[0].json(), received[1].json());
    assert_eq!((&first["uuid"], &summary["notification"]["kind"]), (&alerts[0]["uuid"], &json!("summary")));
    // What came while the first one was on its way may be told with it.
    let (with_first, count) =
        (first["repeats"].as_u64().unwrap_or(0), summary["notification"]["count"].as_u64().unwrap());
    assert_eq!(with_first + count, 99, "{first} {summary}");
    assert!(summary["output"].as_str().unwrap().contains(&count.to_string()), "{summary}");
    let open = received[1].time.duration_since(received[0].time);
    assert!(open > SignedDuration::from_millis(1_800) && open < SignedDuration::from_secs(4), "closed after {open}");

    router.send(&alert("Read a secret", "Critical", "cat")).await;
    router.send(&alert("Read a secret", "Critical", "dd")).await;
    assert_eq!(names(&hook.wait_for(4, SOON).await)[2..], ["cat", "dd"], "a closed window lets the next one pass");
    let metrics = router.settled().await;
    assert_eq!(metrics.of("hook", "suppressed_total"), 99);
    assert_eq!(metrics.of("hook", "delivered_total"), 3);
    assert_eq!(metrics.sum("tercel_router_notifications_total", &[("kind", "summary")]), 1);
}

#[tokio::test]
async fn what_a_limit_holds_back_is_counted_and_told_in_a_digest() {
    let hook = Webhook::start().await;
    let limit = "limit = { rate = \"1/min\", burst = 2, by = [\"rule\"], over = \"digest\", digest_interval = \"2s\" }";
    let router = TestRouter::start(&all_to(&hook, limit)).await;
    for number in 0..5 {
        router.send(&alert("Loud", "Warning", &format!("p{number}"))).await;
    }
    router.send(&alert("Quiet", "Warning", "p")).await;
    let metrics = router.settled().await;
    assert_eq!(names(&hook.received()), ["p0", "p1", "p"]);
    assert_eq!(metrics.sum("tercel_router_suppressed_total", &[("destination", "hook"), ("reason", "limit")]), 3);

    let received = hook.wait_for(4, SOON).await;
    let digest = received[3].json();
    assert_eq!((&digest["notification"]["kind"], &digest["notification"]["count"]), (&json!("digest"), &json!(3)));
}

#[tokio::test]
async fn history_stays_whole_while_notifications_are_thinned() {
    let (hook, history) = (Webhook::start().await, Elasticsearch::start().await);
    let routing = format!(
        "[[route]]\nname = \"all\"\nto = [\"hook\", \"history\", \"file\"]\n{}\
         [destination.history]\ntype = \"elasticsearch\"\nurl = \"{}\"\n[destination.file]\ntype = \"archive\"\n",
        webhook("hook", &hook),
        history.url()
    );
    let router = TestRouter::start(&routing).await;
    for _ in 0..10 {
        router.send(&alert("Rule", "Notice", "cat")).await;
    }
    router.settled().await;
    assert_eq!(hook.count(), 1);
    assert_eq!(history.with_service(|history| history.documents().len()), 10);
    assert_eq!(archive(&router).len(), 10);
}

#[tokio::test]
async fn a_hostile_alert_reaches_every_service_in_a_form_that_it_takes() {
    let (hook, slack) = (Webhook::start().await, Slack::start().await);
    let (pager, history) = (PagerDuty::start().await, Elasticsearch::start().await);
    let secrets = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        let path = secrets.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("{{ file = \"{}\" }}", path.display())
    };
    let routing = format!(
        "[[route]]\nname = \"all\"\nto = [\"hook\", \"chat\", \"pager\", \"history\", \"file\"]\n{}\
         [destination.chat]\ntype = \"slack\"\nwebhook_url = {}\n\
         [destination.pager]\ntype = \"pagerduty\"\nrouting_key = {}\nurl = \"{}\"\n\
         [destination.history]\ntype = \"elasticsearch\"\nurl = \"{}\"\n\
         [destination.file]\ntype = \"archive\"\n",
        webhook("hook", &hook),
        secret("slack", &slack.url()),
        secret("pagerduty", "0123456789abcdef0123456789abcdef"),
        pager.url(),
        history.url(),
    );
    let router = TestRouter::start(&routing).await;
    let nasty = nasty_alert();
    router.send(&nasty).await;
    let metrics = router.settled().await;
    for destination in ["hook", "chat", "pager", "history", "file"] {
        assert_eq!(metrics.of(destination, "delivered_total"), 1, "{destination}\n{metrics}");
    }
    assert_eq!(hook.received()[0].json(), nasty);
    assert_eq!(slack.with_service(|slack| slack.mentions().to_vec()), Vec::<String>::new());
    assert_eq!(pager.with_service(|pager| pager.incidents().len()), 1);
    assert_eq!(history.with_service(|history| history.documents()[0].id.clone()), nasty["uuid"].as_str().unwrap());
    assert_eq!(archive(&router), [nasty]);
}

#[tokio::test]
async fn half_a_character_does_not_cost_the_alert() {
    let hook = Webhook::start().await;
    let router = TestRouter::start(&all_to(&hook, "")).await;
    let mut body = alert("Rule", "Error", "cXt").to_string().into_bytes();
    let places: Vec<_> =
        body.windows(3).enumerate().filter(|(_, text)| *text == b"cXt").map(|(at, _)| at + 1).collect();
    for place in places {
        body[place] = 0xe2;
    }
    assert_eq!(router.post("/", body).await.status, 202);
    let received = hook.wait_for(1, SOON).await;
    assert_eq!(received[0].json()["output_fields"]["proc.name"], "c\u{fffd}t");
}

#[tokio::test]
async fn what_falco_writes_is_taken_as_it_is_and_gets_an_id() {
    let hook = Webhook::start().await;
    let router = TestRouter::start(&all_to(&hook, "")).await;
    let mut lines = vec![include_str!("fixtures/falco-alert.json").trim().to_owned()];
    match std::fs::read_to_string(workspace().join(FALCO_ALERTS)) {
        Ok(text) => lines.extend(text.lines().map(str::to_owned)),
        Err(_) => not_here(&format!("Falco's own alerts: there is no {FALCO_ALERTS}")),
    }
    for line in &lines {
        assert_eq!(router.post("/", line.clone()).await.status, 202, "{line}");
    }
    let received = hook.wait_for(lines.len(), SOON).await;
    for (received, line) in received.iter().zip(&lines) {
        let (mut got, sent): (Value, Value) = (received.json(), serde_json::from_str(line).unwrap());
        let id = got.as_object_mut().unwrap().remove("uuid").expect("the router gives an id");
        assert!(uuid::Uuid::parse_str(id.as_str().unwrap()).is_ok_and(|id| id.get_version_num() == 7), "{id}");
        assert_eq!(got, sent);
    }
    assert_eq!(received.len(), lines.len());
}

/// `proc.name` of each notification.
fn names(received: &[Received]) -> Vec<String> {
    let name = |request: &Received| request.json()["output_fields"]["proc.name"].as_str().unwrap().to_owned();
    received.iter().map(name).collect()
}

/// The archive, after everything has settled.
fn archive(router: &TestRouter) -> Vec<Value> {
    let path = router.state().join("archive/alerts.ndjson");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
