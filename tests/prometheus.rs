//! A real Prometheus beside both programs, while they are kept busy and some destinations fail: whatever a dashboard or an
//! alerting rule names is there, and every panel shows something. The lane `prometheus` fetches it and asks for these tests.

mod boards;
mod load;
mod pictures;
mod scene;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::Duration;

use boards::{Panel, Query, metrics_in};
use load::Load;
use server::{Prometheus, program};

use crate::harness::eventually;

/// For rates of everything that happens now and then.
const WITHIN: Duration = Duration::from_mins(3);

/// Not ours: kube-state-metrics has it where there is a cluster.
const FOREIGN_METRICS: [&str; 2] = ["kube_node_info", "kube_statefulset_replicas"];

/// Queries that show faults only, and this load brings none of them about: (dashboard, panel, a part of the query).
const EMPTY_WITHOUT_FAULTS: [(&str, &str, &str); 3] = [
    // The kernel's ring was never full.
    ("sensor", "Lost", "tercel_sensor_dropped_total"),
    // The kernel skipped no program of the sensor's.
    ("sensor", "Lost", "tercel_sensor_recursion_misses_total"),
    // The store took everything.
    ("router", "Dead letters, moved and given up", "tercel_router_dropped_total"),
];

#[tokio::test]
#[ignore = "needs Prometheus; cargo xtask test fetches it"]
async fn prometheus_finds_all_that_dashboards_and_rules_name_and_fills_every_panel() {
    let Some(Load { scene, .. }) = &Load::start().await else { return };
    let prometheus = Prometheus::start(&scene.targets(), Duration::from_secs(1)).await;
    every_panel_has_data(&prometheus).await;
    every_rule_is_evaluated(&prometheus).await;
    every_label_is_there(&prometheus).await;
    every_variable_has_values(&prometheus).await;
    for (program, address) in [("tercel-router", scene.router), ("tercel-sensor", scene.sensor)] {
        let scrape = crate::harness::scrape(address).await;
        promtool_accepts(program, &scrape.to_string());
    }
}

async fn every_panel_has_data(prometheus: &Prometheus) {
    let is_excused = |panel: &Panel, query: &Query| {
        EMPTY_WITHOUT_FAULTS.iter().any(|(board, title, part)| {
            panel.board == *board && panel.title == *title && query.expression.contains(part)
        })
    };
    eventually("every panel has data", WITHIN, async || {
        let mut empty = Vec::new();
        for panel in boards::panels() {
            for query in panel.queries.iter().filter(|query| !is_excused(&panel, query)) {
                if !prometheus.has_data(query).await {
                    empty.push(format!("{}, {}: {}", panel.board, panel.title, query.expression));
                }
            }
        }
        if empty.is_empty() { Ok(()) } else { Err(format!("nothing for\n{}", empty.join("\n"))) }
    })
    .await;
}

async fn every_rule_is_evaluated(prometheus: &Prometheus) {
    eventually("every rule was evaluated", WITHIN, async || {
        let rules = prometheus.rules().await;
        assert!(rules.len() >= 8, "{rules:?}");
        let ill: Vec<_> = rules.iter().filter(|rule| rule.health != "ok").collect();
        if ill.is_empty() { Ok(()) } else { Err(format!("{ill:?}")) }
    })
    .await;
}

/// Each label that stands beside a metric, in a query or a legend, is on some series of it.
async fn every_label_is_there(prometheus: &Prometheus) {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let rules = prometheus.rules().await.into_iter().map(|rule| rule.query);
    let queries = boards::panels().into_iter().flat_map(|panel| panel.queries);
    let expressions = queries.map(|query| format!("{} {}", query.expression, query.legend)).chain(rules);
    for expression in expressions.chain(boards::annotations()) {
        for (metric, labels) in metrics_in(&expression) {
            wanted.entry(metric).or_default().extend(labels);
        }
    }
    assert!(wanted.len() > 40, "only {} metrics", wanted.len());
    let mut missing = Vec::new();
    for (metric, labels) in wanted.iter().filter(|(metric, _)| !FOREIGN_METRICS.contains(&metric.as_str())) {
        let series = prometheus.series(metric).await;
        if series.is_empty() {
            missing.push(metric.clone());
        }
        let is_nowhere = |label: &&String| !series.iter().any(|series| series.get(*label).is_some());
        missing.extend(labels.iter().filter(is_nowhere).map(|label| format!("{metric}{{{label}}}")));
    }
    assert!(missing.is_empty(), "nobody exports {missing:?}");
}

async fn every_variable_has_values(prometheus: &Prometheus) {
    let variables = boards::variables();
    assert!(variables.len() >= 8, "{variables:?}");
    for variable in variables {
        let series = prometheus.series(&variable.selector).await;
        let has_values = series.iter().any(|series| series.get(&variable.label).is_some());
        assert!(has_values, "{}: no value for {variable:?}", variable.board);
    }
}

fn promtool_accepts(what: &str, scrape: &str) {
    let mut child = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), scrape.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool check metrics, {what}: {}: {said}", output.status);
}
