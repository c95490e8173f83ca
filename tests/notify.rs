//! What people get: messages at a pace that they and their services bear, incidents and threads in place of floods.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use e2e::receivers::{
    Answer, PagerDuty, Received, SLACK_CHANNEL, SLACK_CHANNEL_ID, SLACK_TOKEN, Slack, SlackApi, SlackApiService,
    SlackMessage, SlackService, Webhook,
};
use regex::Regex;
use serde_json::{Value, json};

use crate::harness::{Router, SOON, TestRouter, alert, eventually, workspace};

const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

const RELOADS: &str = "tercel_router_config_reloads_total";

/// Alerts of a storm, and the rules that raise them.
const STORM_ALERTS: u64 = 5_000;
const STORM_RULES: u64 = 25;

const STORM_SECONDS: u64 = 60;

/// What a person bears in the first minute of a storm, and in ten.
const MESSAGES_MAX: usize = 30;
const MESSAGES_IN_ALL_MAX: usize = 60;

/// How long the storm lasts; [`STORM_SECONDS`] in the soak.
fn storm_seconds() -> u64 {
    std::env::var("TERCEL_TEST_STORM_S").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// A file that holds a secret, and how the configuration refers to it.
fn secret(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    format!("{{ file = \"{}\" }}", path.display())
}

/// How many alerts a message stands for.
fn told(message: &Received) -> u64 {
    static HELD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(\d+) alerts held back by").unwrap());
    static SUMMARY: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\((\d+) more in ").unwrap());
    static REPEATS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\(\+(\d+) more so far\)").unwrap());
    let text = message.json()["text"].as_str().unwrap().to_owned();
    let number = |regex: &Regex| regex.captures(&text).map(|found| found[1].parse::<u64>().unwrap());
    number(&HELD).or_else(|| number(&SUMMARY)).unwrap_or_else(|| 1 + number(&REPEATS).unwrap_or_default())
}

/// What becomes of a storm in a channel.
struct Told {
    in_the_storm: usize,
    in_all: usize,
}

/// Sends the alerts evenly over the time of a storm and looks at what comes of them until ten times that time is over, or
/// all of them are told of where the storm is a short one. `process`: of an alert with this number.
#[expect(clippy::print_stdout, reason = "what a run measured, for who asks to see it")]
async fn weather(router: &TestRouter, slack: &Slack, process: fn(u64) -> u64) -> Told {
    let (seconds, start) = (storm_seconds(), Instant::now());
    let per_second = STORM_ALERTS / seconds;
    for second in 0..seconds {
        let first = per_second * second;
        let last = if second + 1 == seconds { STORM_ALERTS } else { first + per_second };
        let line = |number: u64| {
            let process = format!("process-{}", process(number));
            format!("{}\n", alert(&format!("Rule {}", number % STORM_RULES), "Error", &process))
        };
        let lines: String = (first..last).map(line).collect();
        assert_eq!(router.post("/v1/alerts", lines).await.status, 202);
        tokio::time::sleep_until((start + Duration::from_secs(second + 1)).into()).await;
    }
    let in_the_storm = slack.accepted().len();
    let end = start + Duration::from_secs(10 * seconds);
    eventually("every alert is told of", end.duration_since(Instant::now()), async || {
        let told = slack.accepted().iter().map(told).sum::<u64>();
        if told >= STORM_ALERTS { Ok(()) } else { Err(format!("{told} of {STORM_ALERTS}")) }
    })
    .await;
    let all_told = start.elapsed();
    if is_real() {
        tokio::time::sleep_until(end.into()).await;
    }
    let messages = slack.accepted();
    assert_eq!(messages.iter().map(told).sum::<u64>(), STORM_ALERTS);
    for pair in messages.windows(2) {
        let between = pair[1].time.duration_since(pair[0].time).as_secs_f64();
        assert!(between >= 0.8, "two messages within {between} s");
    }
    println!(
        "{STORM_ALERTS} alerts in {seconds} s: {in_the_storm} messages meanwhile, {} after {} s; all told after {} s",
        messages.len(),
        start.elapsed().as_secs(),
        all_told.as_secs()
    );
    Told { in_the_storm, in_all: messages.len() }
}

/// Whether the storm has its real length, and with it the windows and limits of the configuration.
fn is_real() -> bool {
    storm_seconds() >= STORM_SECONDS
}

fn bearable(told: &Told) {
    let Told { in_the_storm, in_all } = *told;
    assert!((1..=MESSAGES_MAX).contains(&in_the_storm), "{in_the_storm} messages during the storm");
    assert!(in_all <= MESSAGES_IN_ALL_MAX, "{in_all} messages");
}

/// Twenty-five rules, each raised by forty programs, on the route that the page about Slack proposes.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_a_few_messages_whose_counts_sum_to_all_alerts() {
    let (slack, folder) = (Slack::start().await, tempfile::tempdir().unwrap());
    slack.with_service(SlackService::limit_rate);
    let page = std::fs::read_to_string(workspace().join("docs/destinations/slack.md")).unwrap();
    let limit = page.lines().find(|line| line.starts_with("limit = ")).expect("the page proposes a limit");
    let seconds = storm_seconds();
    let limit = limit.replace(" }", &format!(", digest_interval = \"{seconds}s\" }}"));
    let routing = format!(
        "[[route]]\nname = \"all\"\nto = [\"chat\"]\ndedup = {{ window = \"{}s\" }}\n{limit}\n\
         [destination.chat]\ntype = \"slack\"\nwebhook_url = {}\n",
        5 * seconds,
        secret(&folder, "url", &slack.url()),
    );
    let router = TestRouter::start(&routing).await;
    bearable(&weather(&router, &slack, |number| number / STORM_RULES % 40).await);
}

/// Twenty-five rules, each raised by one program, on the routes that ship.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_on_the_shipped_routes_is_a_few_messages_too() {
    if !is_real() {
        println!("SKIPPED: the shipped windows are five minutes long; cargo xtask test --soak waits for them");
        return;
    }
    let (slack, folder) = (Slack::start().await, tempfile::tempdir().unwrap());
    slack.with_service(SlackService::limit_rate);
    let shipped = std::fs::read_to_string(workspace().join("routing.toml")).unwrap();
    let to_team = shipped.replace("to = [\"console\"]            # to = [\"console\", \"team\"]", "to = [\"team\"]");
    assert_ne!(to_team, shipped);
    let url = secret(&folder, "url", &slack.url());
    let routing = format!("{to_team}\n[destination.team]\ntype = \"slack\"\nwebhook_url = {url}\n");
    let router = TestRouter::start(&routing).await;
    bearable(&weather(&router, &slack, |_number| 0).await);
}

#[tokio::test]
async fn four_hundred_repeats_on_many_nodes_are_one_incident() {
    let (pager, folder) = (PagerDuty::start().await, tempfile::tempdir().unwrap());
    let routing = format!(
        "[[route]]\nname = \"page\"\nto = [\"oncall\"]\ndedup = {{ window = \"2s\" }}\n\
         [destination.oncall]\ntype = \"pagerduty\"\nrouting_key = {}\nurl = \"{}\"\ndedup_by = [\"rule\", \"proc.exepath\"]\n\
         client_url = \"https://tercel.example/\"\nlinks = {{ Dashboard = \"https://grafana.example/d/host?var-host={{{{alert.hostname}}}}\" }}\n\
         runbooks = {{ T1059 = \"https://runbooks.example/shell\", T9999 = \"https://runbooks.example/other\" }}\n",
        secret(&folder, "key", ROUTING_KEY),
        pager.url(),
    );
    let router = TestRouter::start(&routing).await;
    let lines: Vec<_> = (0..400)
        .map(|number| {
            let mut alert = alert("Shell", "Critical", "sh");
            alert["hostname"] = json!(format!("node {}", number % 4));
            alert["tags"] = json!(["T1059", "container"]);
            format!("{alert}\n")
        })
        .collect();
    let lines = lines.concat();
    assert_eq!(router.post("/v1/alerts", lines.into_bytes()).await.status, 202);
    let told = |event: &Value| {
        let details = &event["payload"]["custom_details"];
        details["summary"]["count"].as_u64().unwrap_or_else(|| 1 + details["repeats"].as_u64().unwrap_or_default())
    };
    let incidents = eventually("every alert is told of", SOON, async || {
        let incidents = pager.with_service(|pager| pager.incidents().clone());
        let count: u64 = incidents.values().flatten().map(told).sum();
        if count >= 400 { Ok(incidents) } else { Err(format!("{count} of 400")) }
    })
    .await;
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
    let events = incidents.values().next().unwrap();
    assert_eq!(events.iter().map(told).sum::<u64>(), 400);
    // An alert and a summary for each node, or an alert that tells of its repeats.
    assert!(events.len() <= 12, "{} events", events.len());
    let sent = &events[0]["links"];
    assert_eq!(sent[0], json!({ "href": "https://runbooks.example/shell", "text": "Runbook: T1059" }));
    assert_eq!(sent[1]["href"], "https://grafana.example/d/host?var-host=node%200");
    assert_eq!(sent[2]["href"], "https://attack.mitre.org/techniques/T1059/");
    assert_eq!((sent.as_array().unwrap().len(), &events[0]["client_url"]), (3, &json!("https://tercel.example/")));
}

#[tokio::test]
async fn what_pagerduty_refuses_is_a_dead_letter_and_what_it_delays_is_not() {
    let (pager, folder) = (PagerDuty::start().await, tempfile::tempdir().unwrap());
    let routing = format!(
        "[[route]]\nname = \"page\"\nto = [\"oncall\"]\ndedup = {{ window = \"0s\" }}\n\
         [destination.oncall]\ntype = \"pagerduty\"\nrouting_key = {}\nurl = \"{}\"\n",
        secret(&folder, "key", ROUTING_KEY),
        pager.url(),
    );
    let router = TestRouter::start(&routing).await;
    pager.answer_next([
        Answer::RetryAfter(429, "1"),
        Answer::Normal,
        Answer::Body(400, json!({ "status": "invalid event", "errors": ["'payload.source' is odd"] }).to_string()),
    ]);
    router.send(&alert("First", "Error", "cat")).await;
    pager.wait_for(2, SOON).await;
    router.send(&alert("Second", "Error", "cat")).await;
    let metrics = router.settled().await;
    assert_eq!((metrics.of("oncall", "delivered_total"), metrics.of("oncall", "dead_total")), (1, 1), "{metrics}");
}

/// One Slack destination that speaks the Web API, and a window of deduplication of three seconds.
fn web_api(slack: &SlackApi, folder: &tempfile::TempDir, more: &str) -> String {
    format!(
        "[[route]]\nname = \"page\"\nto = [\"chat\"]\ndedup = {{ window = \"3s\" }}\n\
         [destination.chat]\ntype = \"slack\"\nbot_token = {}\nchannel = \"{SLACK_CHANNEL}\"\nurl = \"{}\"\npace = \"100/s\"\n{more}\n",
        secret(folder, "token", SLACK_TOKEN),
        slack.url(),
    )
}

async fn with_web_api(slack: &SlackApi, folder: &tempfile::TempDir, more: &str) -> TestRouter {
    TestRouter::start(&web_api(slack, folder, more)).await
}

/// Another routing file comes into force.
async fn reload(router: &TestRouter, routing: &str) {
    let before = router.metrics().await.sum(RELOADS, &[("result", "success")]);
    router.rewrite(routing);
    eventually("the configuration is read again", SOON, async || {
        let now = router.metrics().await.sum(RELOADS, &[("result", "success")]);
        if now > before { Ok(()) } else { Err(format!("{now} reloads")) }
    })
    .await;
}

async fn messages(slack: &SlackApi, count: usize) -> Vec<SlackMessage> {
    slack.wait_for(count, SOON).await;
    slack.with_service(|slack| slack.messages().to_vec())
}

#[tokio::test]
async fn a_summary_goes_into_the_thread_of_its_first_message() {
    let (slack, folder) = (SlackApi::start().await, tempfile::tempdir().unwrap());
    let router = with_web_api(&slack, &folder, "").await;
    router.send(&alert("Shell", "Error", "sh")).await;
    slack.wait_for(1, SOON).await;
    for _ in 0..2 {
        router.send(&alert("Shell", "Error", "sh")).await;
    }
    let messages = messages(&slack, 2).await;
    assert_eq!(messages.len(), 2);
    assert_eq!((&messages[0].thread_ts, &messages[1].thread_ts), (&None, &Some(messages[0].ts.clone())));
    assert!(messages[1].body["text"].as_str().unwrap().contains("Shell (2 more in"), "{:?}", messages[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_finds_its_thread_although_the_router_was_killed_meanwhile() {
    let (slack, folder) = (SlackApi::start().await, tempfile::tempdir().unwrap());
    let router = Router::start(folder.path().join("state"), &web_api(&slack, &folder, "")).await;
    assert_eq!(router.post(&alert("Shell", "Error", "sh")).await.status, 202);
    eventually("that it was delivered is written down", SOON, async || {
        let metrics = router.metrics().await;
        let (delivered, posts) = (metrics.of("chat", "delivered_total"), metrics.of("chat", "posts"));
        if (delivered, posts) == (1, 1) { Ok(()) } else { Err(format!("{delivered} delivered, {posts} posts")) }
    })
    .await;
    assert_eq!(router.post(&alert("Shell", "Error", "sh")).await.status, 202);
    let router = router.killed_and_started().await;
    let messages = messages(&slack, 2).await;
    assert_eq!(messages.len(), 2);
    assert_eq!((&messages[0].thread_ts, &messages[1].thread_ts), (&None, &Some(messages[0].ts.clone())));
    assert!(messages[1].body["text"].as_str().unwrap().contains("Shell (1 more in"), "{:?}", messages[1]);
    let metrics = router.metrics().await;
    assert_eq!(metrics.sum("tercel_router_recovered_total", &[]), 0, "{metrics}");
}

#[tokio::test]
async fn a_reload_leaves_threads_alone_and_another_channel_has_its_own() {
    let (slack, folder) = (SlackApi::start().await, tempfile::tempdir().unwrap());
    let router = with_web_api(&slack, &folder, "").await;
    router.send(&alert("Shell", "Error", "sh")).await;
    slack.wait_for(1, SOON).await;
    router.send(&alert("Shell", "Error", "sh")).await;
    reload(&router, &web_api(&slack, &folder, "concurrency = 1")).await;
    let first = messages(&slack, 2).await;
    assert_eq!(first[1].thread_ts, Some(first[0].ts.clone()));
    router.send(&alert("Other", "Error", "sh")).await;
    slack.wait_for(3, SOON).await;
    router.send(&alert("Other", "Error", "sh")).await;
    reload(&router, &web_api(&slack, &folder, "").replace(SLACK_CHANNEL, SLACK_CHANNEL_ID)).await;
    let all = messages(&slack, 4).await;
    assert_eq!((all.len(), &all[3].thread_ts), (4, &None));
}

#[tokio::test]
async fn a_summary_may_take_the_place_of_its_first_message_and_is_posted_where_that_is_gone() {
    let (slack, folder) = (SlackApi::start().await, tempfile::tempdir().unwrap());
    let router = with_web_api(&slack, &folder, "follow_ups = \"update\"").await;
    router.send(&alert("Shell", "Error", "sh")).await;
    slack.wait_for(1, SOON).await;
    router.send(&alert("Shell", "Error", "sh")).await;
    let first = messages(&slack, 2).await;
    assert_eq!((first.len(), first[0].updates), (1, 1));
    assert!(first[0].body["text"].as_str().unwrap().contains("Shell (1 more in"), "{:?}", first[0]);
    router.send(&alert("Other", "Error", "sh")).await;
    slack.wait_for(3, SOON).await;
    slack.with_service(SlackApiService::delete_all);
    router.send(&alert("Other", "Error", "sh")).await;
    let rest = messages(&slack, 5).await;
    assert_eq!((rest.len(), rest[0].updates), (1, 0), "{rest:?}");
    assert!(rest[0].body["text"].as_str().unwrap().contains("Other (1 more in"), "{:?}", rest[0]);
}

#[tokio::test]
async fn a_token_that_is_rotated_is_used_at_the_next_message() {
    let (slack, folder) = (SlackApi::start().await, tempfile::tempdir().unwrap());
    let router = with_web_api(&slack, &folder, "").await;
    secret(&folder, "token", "xoxb-revoked");
    router.send(&alert("First", "Error", "sh")).await;
    let metrics = router.settled().await;
    assert_eq!(metrics.of("chat", "dead_total"), 1, "{metrics}");
    secret(&folder, "token", SLACK_TOKEN);
    router.send(&alert("Second", "Error", "sh")).await;
    assert_eq!(messages(&slack, 2).await.len(), 1);
}

#[tokio::test]
async fn a_webhook_is_addressed_signed_and_authorised_as_its_settings_say() {
    let (hook, tokens, folder) = (Webhook::start().await, Webhook::start().await, tempfile::tempdir().unwrap());
    let token = json!({ "access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600 });
    tokens.answer_always(Answer::Body(200, token.to_string()));
    let routing = format!(
        "[[route]]\nname = \"all\"\nto = [\"hook\"]\ndedup = {{ window = \"0s\" }}\n\
         [destination.hook]\ntype = \"webhook\"\nconcurrency = 1\nmethod = \"PATCH\"\nform = \"cloudevents\"\n\
         url = \"{}/{{{{alert.hostname}}}}?rule={{{{alert.rule}}}}\"\nsigning_key = {}\n\
         headers = {{ x-rule = \"{{{{alert.rule}}}}\", x-route = \"{{{{route}}}}\" }}\n\
         [destination.hook.auth.oauth2]\ntoken_url = \"{}\"\nclient_id = \"me\"\nclient_secret = {}\nscopes = [\"a\", \"b\"]\n",
        hook.url(),
        secret(&folder, "signing", "0123456789abcdef"),
        tokens.url(),
        secret(&folder, "client", "s3cret"),
    );
    let router = TestRouter::start(&routing).await;
    let mut odd = alert("a/b&c\r\nx-evil: 1", "Error", "cat");
    odd["hostname"] = json!("..");
    router.send(&odd).await;
    router.send(&alert("plain", "Error", "cat")).await;
    let received = hook.wait_for(2, SOON).await;
    let [odd, plain] = &received[..] else { panic!("{received:?}") };
    assert_eq!((odd.method.as_str(), odd.path.as_str()), ("PATCH", "/hook/__?rule=a%2Fb%26c%0D%0Ax-evil%3A%201"));
    assert_eq!((odd.header("x-rule"), odd.header("x-route"), odd.header("x-evil")), ("", "all", ""));
    assert_eq!(plain.header("x-rule"), "plain");
    assert_eq!(plain.header("content-type"), "application/cloudevents+json");
    assert_eq!((&plain.json()["specversion"], &plain.json()["data"]["rule"]), (&json!("1.0"), &json!("plain")));
    assert_eq!(plain.header("authorization"), "Bearer t0ken");
    assert!(plain.header("x-tercel-signature").starts_with("t="), "{plain:?}");
    let asked = tokens.received();
    assert_eq!(asked.len(), 1, "one token serves both");
    assert_eq!(asked[0].body, "grant_type=client_credentials&scope=a+b");
    let metrics = router.settled().await;
    assert_eq!(metrics.of("hook", "render_fallbacks"), 1, "the header that was left out is counted\n{metrics}");
}

#[tokio::test]
async fn an_incident_is_resolved_once_it_was_quiet_and_repeats_that_are_held_back_keep_it_open() {
    let (pager, folder) = (PagerDuty::start().await, tempfile::tempdir().unwrap());
    let routing = format!(
        "[[route]]\nname = \"page\"\nto = [\"oncall\"]\ndedup = {{ window = \"1s\" }}\n\
         [destination.oncall]\ntype = \"pagerduty\"\nrouting_key = {}\nurl = \"{}\"\nresolve_after = \"4s\"\n",
        secret(&folder, "key", ROUTING_KEY),
        pager.url(),
    );
    let router = TestRouter::start(&routing).await;
    router.send(&alert("Shell", "Critical", "sh")).await;
    pager.wait_for(1, SOON).await;
    let last = jiff::Timestamp::now();
    router.send(&alert("Shell", "Critical", "sh")).await;
    // The alert and its summary; the timer goes on over a restart.
    pager.wait_for(2, SOON).await;
    let router = router.restart().await;
    let received = pager.wait_for(3, SOON + SOON).await;
    let events: Vec<Value> = received.iter().map(Received::json).collect();
    let actions: Vec<_> = events.iter().map(|event| event["event_action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["trigger", "trigger", "resolve"]);
    assert!(events.iter().all(|event| event["dedup_key"] == events[0]["dedup_key"]), "{events:#?}");
    let quiet = received[2].time.duration_since(last).as_secs_f64();
    assert!(quiet >= 4.0, "resolved after {quiet} s");
    router.settled().await;
    eventually("no incident is open", SOON, async || match router.metrics().await.of("oncall", "incidents") {
        0 => Ok(()),
        open => Err(format!("{open} open")),
    })
    .await;
}
