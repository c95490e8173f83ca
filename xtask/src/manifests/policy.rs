//! checkov's policies for Kubernetes, all of them; what they find is mended, or stands here with its reason.

use std::collections::BTreeSet;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Build;
use super::python::Python;
use crate::step;

/// (policy, object, why it does not hold there).
pub(super) const EXCEPTIONS: [(&str, &str, &str); 11] = [
    ("CKV_K8S_11", "DaemonSet.tercel.tercel", "no limit for the CPU: a throttled sensor loses events"),
    ("CKV_K8S_11", "StatefulSet.tercel.tercel-router", "the same: a throttled router pages late"),
    (
        "CKV_K8S_15",
        "DaemonSet.tercel.tercel",
        "a version's image does not change; the node must start without a registry",
    ),
    ("CKV_K8S_15", "StatefulSet.tercel.tercel-router", "the same"),
    ("CKV_K8S_17", "DaemonSet.tercel.tercel", "alerts name the host's processes"),
    ("CKV_K8S_23", "DaemonSet.tercel.tercel", "the sensor reads what only root owns; its rights are its capabilities"),
    ("CKV_K8S_25", "DaemonSet.tercel.tercel", "docs/security.md says what each capability is for"),
    ("CKV_K8S_35", "StatefulSet.tercel.tercel-router", "the router takes its own token from the environment"),
    ("CKV_K8S_40", "DaemonSet.tercel.tercel", "the sensor is user 0, the router 65532"),
    ("CKV_K8S_43", "DaemonSet.tercel.tercel", "digests are the overlay's business, which knows the registry"),
    ("CKV_K8S_43", "StatefulSet.tercel.tercel-router", "the same"),
];

pub(super) fn check(python: &Python, builds: &[Build]) -> Result<()> {
    let mut checkov = python.module("checkov", "checkov.main");
    checkov.args(["--framework", "kubernetes", "--skip-download", "--compact", "--output", "json"]);
    for build in builds {
        checkov.arg("--file").arg(&build.file);
    }
    // It ends with 1 where something failed, which is for us to judge.
    let output = checkov.stderr(Stdio::inherit()).output().context("cannot start checkov")?;
    let report: Value = serde_json::from_slice(&output.stdout).context("checkov wrote no report")?;
    let findings = findings(&report)?;
    let (unknown, stale) = compare(&findings);
    ensure!(unknown.is_empty(), "checkov finds:\n  {}", unknown.join("\n  "));
    ensure!(stale.is_empty(), "exceptions that nothing needs any more:\n  {}", stale.join("\n  "));
    step::note(format!("checkov: {} policies held, {} exceptions", report["summary"]["passed"], EXCEPTIONS.len()));
    Ok(())
}

/// (policy, object, its title).
fn findings(report: &Value) -> Result<BTreeSet<(String, String, String)>> {
    let failed = report["results"]["failed_checks"].as_array().context("checkov's report has no results")?;
    ensure!(report["summary"]["passed"].as_u64() > Some(0), "checkov looked at nothing: {}", report["summary"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(failed
        .iter()
        .map(|check| (text(&check["check_id"]), text(&check["resource"]), text(&check["check_name"])))
        .collect())
}

/// Findings without an exception, and exceptions without a finding.
fn compare(findings: &BTreeSet<(String, String, String)>) -> (Vec<String>, Vec<String>) {
    let is_excepted = |policy: &str, object: &str| EXCEPTIONS.iter().any(|(p, o, _)| (*p, *o) == (policy, object));
    let unknown = findings.iter().filter(|(policy, object, _)| !is_excepted(policy, object));
    let is_found =
        |policy: &str, object: &str| findings.iter().any(|(p, o, _)| (p.as_str(), o.as_str()) == (policy, object));
    let stale = EXCEPTIONS.iter().filter(|(policy, object, _)| !is_found(policy, object));
    (
        unknown.map(|(policy, object, title)| format!("{object}: {policy} {title}")).collect(),
        stale.map(|(policy, object, _)| format!("{object}: {policy}")).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_needs_an_exception_and_an_exception_a_finding() {
        let as_found =
            |(policy, object, _): &(&str, &str, &str)| ((*policy).to_owned(), (*object).to_owned(), "title".to_owned());
        let mut findings: BTreeSet<_> = EXCEPTIONS.iter().map(as_found).collect();
        assert_eq!(compare(&findings), (Vec::new(), Vec::new()));
        findings.pop_first();
        findings.insert(as_found(&("CKV_K8S_16", "DaemonSet.tercel.tercel", "")));
        let (unknown, stale) = compare(&findings);
        assert_eq!(unknown, ["DaemonSet.tercel.tercel: CKV_K8S_16 title"]);
        assert_eq!(stale.len(), 1);
    }
}
