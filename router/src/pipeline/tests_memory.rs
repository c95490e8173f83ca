use std::path::Path;

use serde_json::json;
use tokio::time::{sleep, timeout};

use super::*;
use crate::destination::Digest;
use crate::queue::{QUEUE_ALERTS_MAX, QUEUE_BYTES_MAX};

/// Two thinned destinations and the archive, which sees everything.
const DESTINATIONS: &str = r#"
    [destination.pager]
    type = "console"
    [destination.search]
    type = "console"
    receive = "all"
"#;

struct Bench {
    pipeline: Arc<Pipeline>,
    metrics: Arc<Metrics>,
}

impl Bench {
    /// `routes`: the text of routing.toml but for the destinations. Timers run, workers do not.
    fn new(routes: &str) -> Self {
        let text = format!("{routes}\n{DESTINATIONS}");
        let mut routing =
            Routing::parse(Path::new("routing.toml"), &text).unwrap_or_else(|problems| panic!("{problems:?}"));
        let metrics = Arc::new(Metrics::new());
        let pipeline = Arc::new(Pipeline::new(&mut routing, &metrics));
        let timers = Arc::clone(&pipeline);
        tokio::spawn(async move { timers.keep_time().await });
        Self { pipeline, metrics }
    }

    fn index(&self, name: &str) -> usize {
        self.pipeline.desks.iter().position(|desk| &*desk.name == name).unwrap()
    }

    fn push(&self, alerts: &[Received]) -> Result<(), Refused> {
        self.pipeline.handle(alerts)
    }

    /// What is queued, oldest first; everything taken counts as delivered.
    async fn taken(&self, name: &str) -> Vec<Notification> {
        let index = self.index(name);
        let queue = &self.pipeline.store.queues()[index];
        let mut taken = Vec::new();
        while let Ok(Some(entry)) = timeout(Duration::ZERO, queue.next()).await {
            queue.release(&entry);
            if matches!(entry.notification.kind, NotificationKind::Alert) {
                self.pipeline.desks[index].metrics.delivered.inc();
            }
            taken.push(entry.notification);
        }
        taken
    }

    /// `alert`, `summary 99`, `digest 7` …
    async fn kinds(&self, name: &str) -> Vec<String> {
        let kind = |notification: &Notification| match &notification.kind {
            NotificationKind::Alert => "alert".to_owned(),
            NotificationKind::Summary(summary) => format!("summary {}", summary.count),
            NotificationKind::Digest(digest) => format!("digest {}", digest.count),
        };
        self.taken(name).await.iter().map(kind).collect()
    }

    fn value(&self, series: &str) -> i64 {
        let text = self.metrics.text();
        let line =
            text.lines().find_map(|line| line.strip_prefix(&format!("tercel_router_{series} ")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
    }

    #[track_caller]
    fn assert_conserved(&self) {
        for desk in &self.pipeline.desks {
            let name = &desk.name;
            let received = self.value(&format!("deliveries_received_total{{destination=\"{name}\"}}"));
            let suppressed: i64 = ["dedup", "limit"]
                .iter()
                .map(|reason| self.value(&format!("suppressed_total{{destination=\"{name}\",reason=\"{reason}\"}}")))
                .sum();
            let delivered = self.value(&format!("delivered_total{{destination=\"{name}\"}}"));
            let queued = self.value(&format!("queued{{destination=\"{name}\"}}"));
            assert_eq!(received, delivered + suppressed + queued, "{name}");
        }
    }
}

fn alert(rule: &str, priority: &str, fields: &serde_json::Value) -> Received {
    let value = json!({"time": "2026-01-01T00:00:00Z", "rule": rule, "priority": priority, "hostname": "h",
                       "output": "o", "output_fields": fields, "uuid": Uuid::now_v7()});
    Received { alert: Arc::new(serde_json::from_value(value).unwrap()), weight: 1_000, sent: None }
}

fn specific(rule: &str) -> Received {
    alert(rule, "critical", &json!({"proc.exepath": "/bin/cat"}))
}

fn repeated(rule: &str, times: usize) -> Vec<Received> {
    (0..times).map(|_| specific(rule)).collect()
}

const ALL: &str = "[[route]]\nname = \"all\"\nto = [\"pager\", \"search\"]\n";

#[tokio::test(start_paused = true)]
async fn a_hundred_repeats_are_one_alert_and_one_summary_and_all_of_history() {
    let bench = Bench::new(&format!("[defaults]\ndedup = {{ window = \"2s\" }}\n{ALL}"));
    for alert in repeated("r", 100) {
        bench.push(&[alert]).unwrap();
    }
    assert_eq!(bench.kinds("pager").await, ["alert"]);
    assert_eq!(bench.kinds("search").await.len(), 100);
    sleep(Duration::from_millis(2_005)).await;
    assert_eq!(bench.kinds("pager").await, ["summary 99"]);
    assert_eq!(bench.value(r#"suppressed_total{destination="pager",reason="dedup"}"#), 99);
    bench.assert_conserved();
}

#[tokio::test(start_paused = true)]
async fn repeats_within_one_request_are_repeats_too() {
    let bench = Bench::new(ALL);
    bench.push(&repeated("r", 50)).unwrap();
    assert_eq!(bench.kinds("pager").await, ["alert"]);
    bench.pipeline.close();
    assert_eq!(bench.kinds("pager").await, ["summary 49"]);
    bench.assert_conserved();
}

#[tokio::test(start_paused = true)]
async fn an_alert_and_its_summary_share_key_and_route_and_have_ids_of_their_own() {
    let bench = Bench::new(ALL);
    bench.push(&repeated("r", 2)).unwrap();
    bench.pipeline.close();
    let taken = bench.taken("pager").await;
    assert_eq!(taken[0].id, taken[0].alert.uuid.unwrap());
    assert_ne!(taken[0].id, taken[1].id);
    assert_eq!(taken[0].dedup_key, taken[1].dedup_key);
    assert_eq!(taken[0].dedup_key.as_ref().unwrap().len(), 64);
    assert_eq!((&*taken[1].route, taken[1].alert.uuid), ("all", taken[0].alert.uuid));
}

#[tokio::test(start_paused = true)]
async fn an_alert_without_key_fields_is_never_held_back() {
    let bench = Bench::new(ALL);
    bench.push(&[alert("r", "error", &json!({})), alert("r", "error", &json!({"user.name": null}))]).unwrap();
    assert_eq!(bench.kinds("pager").await, ["alert", "alert"]);
    assert_eq!(bench.value(r#"dedup_no_key_total{destination="pager"}"#), 2);
}

#[tokio::test(start_paused = true)]
async fn a_window_of_zero_holds_nothing_back() {
    let bench = Bench::new(&format!("{ALL}dedup = {{ window = \"0s\" }}\n"));
    bench.push(&repeated("r", 3)).unwrap();
    assert_eq!(bench.kinds("pager").await.len(), 3);
    assert_eq!(bench.value(r#"dedup_no_key_total{destination="pager"}"#), 0);
}

#[tokio::test(start_paused = true)]
async fn above_a_limit_one_digest_a_minute_says_how_many() {
    let limit = r#"limit = { rate = "1/hour", burst = 2, over = "digest" }"#;
    let bench = Bench::new(&format!("{ALL}dedup = {{ window = \"0s\" }}\n{limit}\n"));
    bench.push(&repeated("r", 10)).unwrap();
    assert_eq!(bench.kinds("pager").await, ["alert", "alert"]);
    sleep(DIGEST_PERIOD + Duration::from_millis(5)).await;
    assert_eq!(bench.kinds("pager").await, ["digest 8"]);
    sleep(DIGEST_PERIOD * 2).await;
    assert!(bench.kinds("pager").await.is_empty());
    assert_eq!(bench.kinds("search").await.len(), 10);
    bench.assert_conserved();
}

#[tokio::test(start_paused = true)]
async fn what_a_limit_holds_back_opens_no_window_and_its_repeats_are_in_the_digest() {
    let bench = Bench::new(&format!("{ALL}limit = {{ rate = \"1/hour\", burst = 1, by = [\"hostname\"] }}\n"));
    bench.push(&[specific("a"), specific("b"), specific("b")]).unwrap();
    bench.push(&[specific("b")]).unwrap();
    bench.pipeline.close();
    assert_eq!(bench.kinds("pager").await, ["alert", "digest 3"]);
    assert_eq!(bench.value(r#"suppressed_total{destination="pager",reason="limit"}"#), 3);
    bench.assert_conserved();
}

#[tokio::test(start_paused = true)]
async fn a_destination_reached_twice_gets_the_alert_once_from_the_first_route() {
    let bench = Bench::new(&format!("[[route]]\nname = \"first\"\nto = [\"search\"]\ncontinue = true\n{ALL}"));
    bench.push(&[specific("r")]).unwrap();
    let taken = bench.taken("search").await;
    assert_eq!((taken.len(), &*taken[0].route), (1, "first"));
    assert_eq!(bench.kinds("pager").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_no_route_wants_is_archived_and_counted() {
    let bench = Bench::new("[[route]]\nwhen = \"priority = debug\"\nto = [\"pager\"]\n");
    bench.push(&repeated("r", 3)).unwrap();
    assert_eq!(bench.kinds("archive").await.len(), 3);
    assert_eq!(bench.value("unrouted_total"), 3);
    assert!(bench.kinds("pager").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_leaves_no_trace() {
    let bench = Bench::new(&format!("{ALL}limit = {{ rate = \"1/hour\", burst = 1 }}\n"));
    let filler = alert("filler", "critical", &json!({}));
    for _ in 0..QUEUE_ALERTS_MAX {
        let queue = &bench.pipeline.store.queues()[bench.index("search")];
        let notification = Notification {
            id: Uuid::now_v7(),
            alert: Arc::clone(&filler.alert),
            route: "filler".into(),
            dedup_key: None,
            kind: NotificationKind::Alert,
            repeats: 0,
        };
        queue.commit(Entry { notification, weight: 1, accepted: Instant::now() });
    }
    let search = bench.index("search");
    assert_eq!(bench.push(&repeated("r", 2)), Err(Refused::Full { destination: search }));
    assert_eq!(bench.value(r#"deliveries_received_total{destination="pager"}"#), 0);
    assert!(bench.kinds("pager").await.is_empty());
    bench.taken("search").await;
    bench.push(&repeated("r", 2)).unwrap();
    assert_eq!(bench.kinds("pager").await, ["alert"], "neither the window nor the limit knew of the refused request");
    bench.pipeline.close();
    assert_eq!(bench.kinds("pager").await, ["summary 1"]);
}

#[tokio::test(start_paused = true)]
async fn equal_alerts_at_the_same_time_have_one_first() {
    let bench = Bench::new(ALL);
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _entered = runtime.enter();
                (0..25).for_each(|_| bench.push(&repeated("r", 1)).unwrap());
            });
        }
    });
    bench.pipeline.close();
    assert_eq!(bench.kinds("pager").await, ["alert", "summary 99"]);
    bench.assert_conserved();
}

#[tokio::test(start_paused = true)]
async fn what_comes_when_the_queues_are_closed_is_refused_or_counted_as_lost() {
    let bench = Bench::new(ALL);
    bench.push(&repeated("r", 2)).unwrap();
    bench.pipeline.close();
    assert_eq!(bench.push(&repeated("r", 2)), Err(Refused::Closed));
    assert_eq!(bench.value(r#"deliveries_received_total{destination="pager"}"#), 2);
    assert_eq!(bench.kinds("pager").await, ["alert", "summary 1"], "what was taken before is still there");
    bench.assert_conserved();

    let (pager, late) = (bench.index("pager"), specific("r").alert);
    let digest = Digest { count: 1, since: late.time, until: late.time, rules: Vec::new(), time_window: None };
    bench.pipeline.notify(pager, late, "all".into(), None, NotificationKind::Digest(digest));
    assert_eq!(bench.value(r#"notifications_lost_total{destination="pager",kind="digest"}"#), 1);
    assert!(bench.kinds("pager").await.is_empty());
}

/// Two routes to one destination, of which the first has a limit.
const PAGE_AND_REST: &str = r#"
    [[route]]
    name = "page"
    when = "priority = critical"
    to = ["pager"]
    limit = { rate = "1/hour", burst = 1, by = ["hostname"] }
    [[route]]
    name = "rest"
    to = ["pager"]
    dedup = { window = "2s" }
"#;

/// Equal for deduplication, whatever the priority.
fn same(priority: &str) -> Received {
    alert("r", priority, &json!({"proc.exepath": "/bin/cat"}))
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_one_route_holds_back_nothing_of_another() {
    let bench = Bench::new(PAGE_AND_REST);
    bench.push(&[specific("spends the limit")]).unwrap();
    assert_eq!(bench.kinds("pager").await, ["alert"]);

    bench.push(&[same("critical"), same("error"), same("critical")]).unwrap();
    let taken = bench.taken("pager").await;
    assert_eq!(taken.len(), 1);
    assert_eq!((&*taken[0].route, taken[0].alert.priority.name()), ("rest", "Error"));
    assert_eq!(bench.value(r#"suppressed_total{destination="pager",reason="limit"}"#), 1);
    sleep(Duration::from_millis(2_005)).await;
    let told = bench.taken("pager").await;
    assert_eq!((told.len(), &*told[0].route), (1, "rest"), "the window is that of the alert that passed");
    assert_eq!(told[0].alert.uuid, taken[0].alert.uuid);
    bench.assert_conserved();
}

#[tokio::test(start_paused = true)]
async fn a_repeat_that_may_turn_out_to_be_the_first_needs_room_too() {
    let bench = Bench::new(PAGE_AND_REST);
    bench.push(&[specific("spends the limit")]).unwrap();
    let mut large = same("error");
    large.weight = QUEUE_BYTES_MAX;
    let pager = bench.index("pager");
    assert_eq!(bench.push(&[same("critical"), large]), Err(Refused::Full { destination: pager }));
}
