//! What the dashboards ask Prometheus for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::harness::read;

const BOARDS: [&str; 3] = ["alerts", "router", "sensor"];

/// What Grafana puts in place of its own variables, for a scrape a second.
const INTERVALS: [(&str, &str); 3] = [("$__rate_interval", "10s"), ("$__range", "1m"), ("$__interval", "5s")];

/// What a variable stands for that is not narrowed down.
const ALL: &str = ".*";

pub(super) struct Panel {
    pub(super) board: &'static str,
    pub(super) title: String,
    pub(super) queries: Vec<Query>,
}

pub(super) struct Query {
    /// With values for variables.
    pub(super) expression: String,
    pub(super) legend: String,
    /// Shows the last value only.
    pub(super) is_instant: bool,
}

/// A variable whose values are those that a label has.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) board: &'static str,
    pub(super) selector: String,
    pub(super) label: String,
}

pub(super) fn panels() -> Vec<Panel> {
    let panels = boards().flat_map(|(board, json)| {
        let panels = array(&json["panels"]);
        panels.into_iter().map(move |panel| {
            let queries = array(&panel["targets"]).iter().map(query).collect();
            Panel { board, title: text(&panel["title"]), queries }
        })
    });
    panels.filter(|panel| !panel.queries.is_empty()).collect()
}

/// The queries of what is marked on the time axis.
pub(super) fn annotations() -> Vec<String> {
    let all = boards().flat_map(|(_, json)| array(&json["annotations"]["list"]));
    all.filter_map(|annotation| annotation["expr"].as_str().map(filled)).collect()
}

pub(super) fn variables() -> Vec<Variable> {
    static LABEL_VALUES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^label_values\((.+), (\w+)\)$").unwrap());
    let variables = boards().flat_map(|(board, json)| {
        let all = array(&json["templating"]["list"]).into_iter();
        all.filter(|variable| variable["type"] == "query").map(move |variable| {
            let query = filled(variable["definition"].as_str().unwrap());
            let parts = LABEL_VALUES.captures(&query).unwrap_or_else(|| panic!("{board}: {query}"));
            Variable { board, selector: parts[1].to_owned(), label: parts[2].to_owned() }
        })
    });
    variables.collect()
}

/// The metrics in a query and its legend, with the labels that each must have: those in its braces, and those behind `by` and
/// `on` and in the legend.
pub(super) fn metrics_in(expression: &str) -> BTreeMap<String, BTreeSet<String>> {
    static METRIC: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b((?:tercel|kube)_\w+)(\{[^}]*\})?").unwrap());
    static MATCHER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"(\w+)(?:=~|!=|!~|=)""#).unwrap());
    static GROUPING: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(?:by|on) \(([^)]*)\)").unwrap());
    static LEGEND: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{(\w+)\}\}").unwrap());
    let firsts =
        |regex: &Regex, text: &str| -> Vec<_> { regex.captures_iter(text).map(|found| found[1].to_owned()).collect() };
    let grouped = GROUPING
        .captures_iter(expression)
        .flat_map(|found| found[1].split(',').map(|label| label.trim().to_owned()).collect::<Vec<_>>());
    let shared: Vec<String> = grouped.chain(firsts(&LEGEND, expression)).collect();
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for found in METRIC.captures_iter(expression) {
        let own = firsts(&MATCHER, found.get(2).map_or("", |braces| braces.as_str()));
        metrics.entry(found[1].to_owned()).or_default().extend(own.into_iter().chain(shared.clone()));
    }
    metrics
}

fn boards() -> impl Iterator<Item = (&'static str, Value)> {
    BOARDS.into_iter().map(|board| (board, serde_json::from_str(&read(format!("grafana/{board}.json"))).unwrap()))
}

fn query(target: &Value) -> Query {
    let (expression, legend) = (filled(target["expr"].as_str().unwrap()), text(&target["legendFormat"]));
    Query { expression, legend, is_instant: target["instant"] == true }
}

/// With values for Grafana's variables and the dashboard's own.
fn filled(expression: &str) -> String {
    static VARIABLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\w+").unwrap());
    let filled = INTERVALS.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    VARIABLE.replace_all(&filled, ALL).into_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn array(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

#[test]
fn metrics_and_labels_of_a_query_are_found() {
    let query = "sum by (a, le) (rate(tercel_router_x_bucket{b=~\"$b\", c!=\"x\"}[5m])) + on (d) kube_y {{e}}";
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let expected = [
        ("tercel_router_x_bucket".to_owned(), set(&["a", "le", "b", "c", "d", "e"])),
        ("kube_y".to_owned(), set(&["a", "le", "d", "e"])),
    ];
    assert_eq!(metrics_in(query), BTreeMap::from(expected));
    assert_eq!(filled("x{a=~\"$a\"}[$__rate_interval]"), "x{a=~\".*\"}[10s]");
}
