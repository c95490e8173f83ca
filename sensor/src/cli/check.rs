//! `tercel-sensor check` and `tercel-sensor rules`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use tercel_sensor::rules::{Problem, Severity};
use tercel_sensor::{fields, rules, run};

use super::{BAD_CONFIGURATION, Failure, RuleArguments, print};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    rules: RuleArguments,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (count, problems) = match run::load_rules(&arguments.rules.settings()?) {
        Ok((detector, warnings)) => (detector.len(), warnings),
        Err(run::Error::Rules(problems)) => (0, problems),
        Err(error) => return Err(error.into()),
    };
    let is_good = problems.iter().all(|problem| problem.severity() == Severity::Warning);
    let text = if arguments.json {
        let problems: Vec<_> = problems.iter().map(problem_json).collect();
        format!("{}\n", json!({ "ok": is_good, "rules": count, "problems": problems }))
    } else {
        let mut lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
        if is_good {
            lines.push(format!("{count} rules in force, {} warnings", problems.len()));
        }
        lines.join("\n") + "\n"
    };
    print(&text, if is_good { ExitCode::SUCCESS } else { ExitCode::from(BAD_CONFIGURATION) })
}

fn problem_json(problem: &Problem) -> serde_json::Value {
    json!({
        "file": problem.place().file.display().to_string(),
        "line": problem.place().line,
        "column": problem.place().column,
        "severity": if problem.severity() == Severity::Error { "error" } else { "warning" },
        "item": problem.item(),
        "message": problem.message,
    })
}

pub(super) fn list(arguments: &RuleArguments) -> Result<ExitCode, Failure> {
    let set = rules::load(&arguments.settings()?.rules_files, &fields::SensorCatalog).map_err(run::Error::Rules)?;
    let line = |rule: &rules::Rule| {
        let disabled = if rule.enabled { "" } else { " (disabled)" };
        let tags: Vec<_> = rule.tags.iter().map(String::as_str).collect();
        format!("{:<13} {}{disabled} [{}]\n", rule.priority, rule.name, tags.join(", "))
    };
    let lines: Vec<_> = set.rules.iter().map(line).collect();
    print(&lines.concat(), ExitCode::SUCCESS)
}
