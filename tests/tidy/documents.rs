//! What is written about the programs elsewhere is what they do: the reference of fields, the dashboards, the rules.

use std::collections::BTreeSet;

use e2e::receivers::Webhook;
use tercel_sensor::detect::Detector;
use tercel_sensor::fields::{SensorCatalog, markdown};
use tercel_sensor::kernel::EntryPoint;
use tercel_sensor::metrics::Metrics as SensorMetrics;
use tercel_sensor::watch::HoldCounts;

use crate::harness::{Metrics, TestRouter, alert, all_to, files_below, read, workspace};

const FIELDS: &str = "docs/fields.md";
const METRICS: &str = "docs/metrics.md";
const RUNBOOKS: &str = "docs/runbooks";

/// What Prometheus adds to a histogram's name.
const HISTOGRAM_SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

#[test]
fn every_shipped_rule_compiles_without_a_warning() {
    let rules = tercel_sensor::rules::load(&[workspace().join("rules")], &SensorCatalog);
    let rules = rules.unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(rules.warnings.is_empty(), "{:#?}", rules.warnings);
    assert!(rules.rules.iter().all(|rule| rule.enabled && !rule.description.is_empty() && !rule.tags.is_empty()));
    let detector = Detector::new(rules).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(detector.len() >= 8, "{} rules", detector.len());
}

#[test]
fn the_reference_of_fields_is_what_the_sensor_prints() {
    if std::env::var("UPDATE_DOCS").as_deref() == Ok("1") {
        std::fs::write(workspace().join(FIELDS), markdown()).unwrap();
    }
    assert!(
        read(FIELDS) == markdown(),
        "{FIELDS} is out of date; UPDATE_DOCS=1 in the environment of this test writes it"
    );
}

#[test]
fn the_reference_of_metrics_has_every_one_of_both_programs() {
    let reference = read(METRICS);
    for row in format!("{}{}", tercel_router::metrics_reference(), tercel_sensor::metrics::reference()).lines() {
        assert!(reference.contains(row), "{METRICS} has no `{row}`; `cargo xtask docs` writes it");
    }
}

#[tokio::test]
async fn every_metric_on_a_dashboard_is_exported() {
    let hook = Webhook::start().await;
    let router = TestRouter::start_with(&all_to(&hook, ""), |settings| settings.namespace_label = true).await;
    // What is counted by rule, namespace or reason is there from the first of its kind on.
    hook.fail_next(400, 1);
    let mut first = alert("Rule", "Error", "cat");
    first["output_fields"]["k8s.ns.name"] = "payments".into();
    router.send(&first).await;
    router.post("/", "no json").await;
    let router = router.settled().await;
    let sensor = SensorMetrics::new().unwrap();
    sensor.count_match("Rule");
    sensor.set_kernel(&tercel_sensor_abi::Counters::default());
    sensor.set_held(HoldCounts::default());
    sensor.set_entry(EntryPoint::Classic);
    sensor.set_processes(0, tercel_sensor::enrich::process::Counts::default());
    let sensor = Metrics::new(String::from_utf8(sensor.render()).unwrap());
    let exported: BTreeSet<_> = router.names().union(&sensor.names()).map(|name| (*name).to_owned()).collect();
    let mut files = files_below("grafana");
    // Kustomize's own, about the others.
    files.retain(|file| !file.ends_with("Kustomization"));
    assert!(!files.is_empty());
    for file in files {
        let text = read(&file);
        let named: BTreeSet<_> = metrics_in(&text).collect();
        assert!(!named.is_empty(), "{}: names no metric of Tercel", file.display());
        let missing: Vec<_> = named.iter().filter(|name| !exported.contains(family(name, &exported))).collect();
        assert!(missing.is_empty(), "{}: nobody exports {missing:?}", file.display());
    }
}

fn metrics_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("tercel_sensor_") || word.starts_with("tercel_router_"))
}

/// The name of a histogram's series without what Prometheus adds; any other as it is.
fn family<'a>(name: &'a str, exported: &BTreeSet<String>) -> &'a str {
    let stripped = HISTOGRAM_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    stripped.filter(|stripped| exported.contains(*stripped)).unwrap_or(name)
}

#[test]
fn every_alerting_rule_has_a_runbook_and_every_runbook_a_rule() {
    let rules = read("grafana/prometheus-rules.yaml");
    let named: BTreeSet<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    let named: BTreeSet<_> = named.iter().filter_map(|url| url.rsplit('/').next()).map(str::to_owned).collect();
    let pages = files_below(RUNBOOKS).into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let pages: BTreeSet<_> = pages.filter(|page| page != "README.md").collect();
    assert_eq!(named, pages);
    let alerts: BTreeSet<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let index = read(format!("{RUNBOOKS}/README.md"));
    let missing: Vec<_> = alerts.iter().filter(|alert| !index.contains(&format!("`{alert}`"))).collect();
    assert!(alerts.len() >= 8 && missing.is_empty(), "{missing:?} are not in {RUNBOOKS}/README.md");
}
