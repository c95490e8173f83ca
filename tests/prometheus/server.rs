//! Prometheus in a process of its own, and its API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::Value;
use tempfile::TempDir;

use super::boards::Query;
use crate::harness::{Process, eventually, free_address, http_client, workspace};

/// Where the programs are.
const VARIABLE: &str = "TERCEL_TEST_PROMETHEUS";

const READY_WITHIN: Duration = Duration::from_mins(1);

/// What a range query looks at.
const RANGE: Duration = Duration::from_mins(1);

pub(super) struct Prometheus {
    process: Process,
    pub(super) address: SocketAddr,
    client: Client,
    _folder: TempDir,
}

/// What is scraped: its job, its address, and the node that it says that it is on.
pub(super) type Target = (&'static str, SocketAddr, &'static str);

/// An alerting rule as Prometheus has it.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) query: String,
    pub(super) health: String,
    #[expect(dead_code, reason = "shown where a rule is ill")]
    error: String,
}

pub(super) fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os(VARIABLE).unwrap_or_else(|| panic!("{VARIABLE} is not set; use cargo xtask test"));
    PathBuf::from(folder).join(name)
}

impl Prometheus {
    /// With the alerting rules.
    pub(super) async fn start(targets: &[Target], interval: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (config, address) = (folder.path().join("prometheus.yaml"), free_address());
        std::fs::write(&config, configuration(targets, interval)).unwrap();
        let mut command = Command::new(program("prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let prometheus =
            Self { process: Process::start(&mut command), address, client: http_client(), _folder: folder };
        eventually("Prometheus is ready", READY_WITHIN, async || {
            match prometheus.client.get(format!("http://{address}/-/ready")).send().await {
                Ok(response) if response.status().is_success() => Ok(()),
                Ok(response) => Err(response.status().to_string()),
                Err(error) => Err(format!("{error}; it says:\n{}", prometheus.process.stderr())),
            }
        })
        .await;
        prometheus
    }

    /// Whether a panel with this query would show something: a number in some series.
    pub(super) async fn has_data(&self, query: &Query) -> bool {
        let now = jiff::Timestamp::now().as_second();
        let expression = query.expression.clone();
        let result = if query.is_instant {
            self.ask("query", &[("query", expression)]).await
        } else {
            let start = now - i64::try_from(RANGE.as_secs()).unwrap();
            let range = [("start", start.to_string()), ("end", now.to_string()), ("step", "2".to_owned())];
            self.ask("query_range", &[&[("query", expression)][..], &range].concat()).await
        };
        let series = result["result"].as_array().unwrap_or_else(|| panic!("{result}")).clone();
        series.iter().flat_map(samples).any(|sample| sample != "NaN")
    }

    /// The labels of every series that matches.
    pub(super) async fn series(&self, selector: &str) -> Vec<Value> {
        let found = self.ask("series", &[("match[]", selector.to_owned())]).await;
        found.as_array().unwrap().clone()
    }

    pub(super) async fn rules(&self) -> Vec<Rule> {
        let groups = self.ask("rules", &[]).await["groups"].as_array().unwrap().clone();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        rules
            .map(|rule| Rule {
                query: text(rule, "query"),
                health: text(rule, "health"),
                error: text(rule, "lastError"),
            })
            .collect()
    }

    async fn ask(&self, method: &str, parameters: &[(&str, String)]) -> Value {
        let url = format!("http://{}/api/v1/{method}", self.address);
        let url = Url::parse_with_params(&url, parameters).unwrap();
        let response = self.client.get(url).send().await.unwrap();
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(body["status"], "success", "{method} {parameters:?}: {body}");
        body["data"].clone()
    }
}

/// The values of one series, as texts.
fn samples(series: &Value) -> Vec<String> {
    let one = series.get("value").into_iter();
    let many = series.get("values").and_then(Value::as_array).into_iter().flatten();
    one.chain(many).map(|sample| sample[1].as_str().unwrap().to_owned()).collect()
}

/// `cluster` and `node` are target labels, as the manifests have it.
fn configuration(targets: &[Target], interval: Duration) -> String {
    let rules = workspace().join("grafana/prometheus-rules.yaml");
    let jobs = targets.iter().map(|(job, address, node)| {
        format!(
            "  - job_name: {job}\n    static_configs:\n      - targets: [\"{address}\"]\n        \
             labels: {{cluster: demo, node: {node}}}\n"
        )
    });
    let jobs: String = jobs.collect();
    format!(
        "global: {{scrape_interval: {0}s, scrape_timeout: {0}s, evaluation_interval: 5s}}\nrule_files: [\"{1}\"]\n\
         scrape_configs:\n{jobs}",
        interval.as_secs(),
        rules.display()
    )
}
