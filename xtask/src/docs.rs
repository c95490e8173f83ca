//! Files that the programs print about themselves, and one that Kubernetes needs in another form.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step;

/// A file, and what it is made of.
const GENERATED: [(&str, &[Part]); 4] = [
    ("docs/fields.md", &[Part::Printed("tercel-sensor", "fields")]),
    ("docs/routing.schema.json", &[Part::Printed("tercel-router", "schema")]),
    (
        "docs/metrics.md",
        &[
            Part::Text(METRICS),
            Part::Text("\n## tercel-router\n\n"),
            Part::Text(METRICS_TABLE),
            Part::Printed("tercel-router", "metrics"),
            Part::Text("\n## tercel-sensor\n\n"),
            Part::Text(METRICS_TABLE),
            Part::Printed("tercel-sensor", "metrics"),
        ],
    ),
    (
        "deploy/kustomize/components/prometheus-operator/prometheus-rule.yaml",
        &[Part::Text(PROMETHEUS_RULE), Part::Indented("grafana/prometheus-rules.yaml")],
    ),
];

const PROMETHEUS_RULE: &str = "\
# Written by `cargo xtask docs` from grafana/prometheus-rules.yaml: Kustomize cannot put a file into an object.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: tercel
  labels:
    app.kubernetes.io/name: tercel
spec:
";

const METRICS: &str = "\
# Metrics

Written by `cargo xtask docs` from the programs themselves. The router has them at `/metrics` of its admin address, the sensor
at that of its own. Labels are enums, or names out of the configuration; the label `rule` has 256 values at most, and then
`other`. A histogram has `_bucket`, `_sum` and `_count` behind its name.
";
const METRICS_TABLE: &str = "| Name | Type | Unit | Labels | Meaning |\n|---|---|---|---|---|\n";

/// A piece of a document.
enum Part {
    Text(&'static str),
    /// What this command of this program prints.
    Printed(&'static str, &'static str),
    /// This file, below a key.
    Indented(&'static str),
}

/// Builds the programs and writes every generated document.
pub(crate) fn write() -> Result<()> {
    step::run(&mut step::cargo(&["build", "--package", "tercel-router", "--package", "tercel-sensor"]))?;
    for (name, parts) in GENERATED {
        let file = file(name);
        let text = text(parts)?;
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        step::note(name);
    }
    Ok(())
}

/// Needs the debug build.
///
/// # Errors
/// If a document is not what its program prints.
pub(crate) fn check() -> Result<()> {
    for (name, parts) in GENERATED {
        let found = std::fs::read_to_string(file(name)).unwrap_or_default();
        ensure!(found == text(parts)?, "{name} is out of date; `cargo xtask docs` writes it");
    }
    Ok(())
}

fn file(name: &str) -> PathBuf {
    step::workspace().join(name)
}

/// Programs of the debug build print their parts.
fn text(parts: &[Part]) -> Result<String> {
    let text = |part: &Part| match part {
        Part::Text(text) => Ok((*text).to_owned()),
        Part::Printed(program, command) => {
            step::read(Command::new(step::target().join("debug").join(program)).arg(command))
        }
        Part::Indented(name) => {
            let text = std::fs::read_to_string(file(name)).with_context(|| format!("cannot read {name}"))?;
            let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
            Ok(text.lines().map(line).collect())
        }
    };
    parts.iter().map(text).collect()
}
