//! Judges alerts by what was done.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::act::Act;
use crate::table;

/// For each act a line with `technique`, `ok` and `why`.
pub(crate) fn check(acts: &Path, alerts: &Path, skip: &[String]) -> anyhow::Result<ExitCode> {
    let acts: Vec<Act> = read_lines(acts)?;
    let alerts: Vec<Value> = read_lines(alerts)?;
    let mut all_ok = !acts.is_empty();
    let mut out = io::stdout().lock();
    for act in acts.iter().filter(|act| !skip.contains(&act.technique)) {
        let (ok, why) = match judge(act, &alerts) {
            Ok(why) => (true, why),
            Err(why) => (false, why),
        };
        writeln!(out, "{}", json!({ "technique": act.technique, "ok": ok, "why": why }))?;
        all_ok &= ok;
    }
    Ok(if all_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn judge(act: &Act, alerts: &[Value]) -> Result<String, String> {
    if let Some(reason) = &act.not_done {
        return Err(format!("not done: {reason}"));
    }
    let about: Vec<_> = alerts.iter().filter(|alert| alert["output_fields"]["proc.pid"] == act.pid).collect();
    match (&act.rule, &act.near_miss_of) {
        (Some(rule), _) => judge_seen(act, rule, &about),
        (None, Some(rule)) => match about.iter().find(|alert| alert["rule"] == **rule) {
            None => Ok(format!("`{rule}` left it alone")),
            Some(alert) => Err(format!("`{rule}` fired: {alert}")),
        },
        (None, None) => Err("the act names no rule".to_owned()),
    }
}

fn judge_seen(act: &Act, rule: &str, about: &[&Value]) -> Result<String, String> {
    let fired: Vec<_> = about.iter().filter(|alert| alert["rule"] == rule).collect();
    let wanted = |alert: &&&&Value| act.fields.iter().all(|(name, value)| &alert["output_fields"][name] == value);
    match (fired.iter().find(wanted), table::waits_for(&act.technique)) {
        (Some(_), None) => Ok(format!("`{rule}` fired")),
        (Some(_), Some(reason)) => {
            Err(format!("`{rule}` fired, though it waits for {reason}: take it out of that table"))
        }
        (None, Some(reason)) => Ok(format!("waits for {reason}")),
        (None, None) if fired.is_empty() => {
            let others: Vec<_> = about.iter().map(|alert| alert["rule"].to_string()).collect();
            Err(format!("`{rule}` did not fire about process {}; others: [{}]", act.pid, others.join(", ")))
        }
        (None, None) => {
            let differing = act.fields.iter().filter(|(name, value)| &fired[0]["output_fields"][name] != *value);
            let differing = differing
                .map(|(name, value)| format!("{name}: {} instead of {value}", fired[0]["output_fields"][name]));
            Err(format!("`{rule}` fired with {}", differing.collect::<Vec<_>>().join(", ")))
        }
    }
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let numbered = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let parse = |(number, line): (i32, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}:{number}: not the JSON wanted here", path.display()))
    };
    numbered.map(parse).collect()
}
