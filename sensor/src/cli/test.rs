//! `tercel-sensor test`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value as Json, json};
use tercel_sensor::fields::SensorCatalog;
use tercel_sensor::rule_test::{self, Outcome, Suite};
use tercel_sensor::rules::{self, RuleSet};
use tercel_sensor::run;

use super::{FAILED, Failure, print};

#[derive(Args)]
pub(super) struct Arguments {
    /// A folder of rules, with their tests in its folder `tests`
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// The tests of one folder and its rules.
struct Folder {
    rules: RuleSet,
    suite: Suite,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let folders = arguments.folders.iter().map(|folder| load(folder)).collect::<Result<Vec<_>, _>>()?;
    let outcomes: Vec<_> = folders.iter().flat_map(|folder| folder.suite.run(&folder.rules)).collect();
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let text = if arguments.json {
        let tests: Vec<_> = outcomes.iter().map(outcome_json).collect();
        format!("{}\n", json!({ "tests": tests, "passed": outcomes.len() - failed, "failed": failed }))
    } else {
        let lines: String = outcomes.iter().map(Outcome::to_string).collect();
        format!("{lines}{} tests, {failed} failed\n", outcomes.len())
    };
    print(&text, if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn load(folder: &Path) -> Result<Folder, Failure> {
    let rules = rules::load(&[folder.to_owned()], &SensorCatalog).map_err(run::Error::Rules)?;
    let suite = rule_test::load(folder).map_err(Failure::Tests)?;
    Ok(Folder { rules, suite })
}

fn outcome_json(outcome: &Outcome<'_>) -> Json {
    let place = &outcome.test.place;
    let failures: Vec<_> = outcome.failures.iter().map(ToString::to_string).collect();
    json!({
        "name": outcome.test.name,
        "file": place.file.display().to_string(),
        "line": place.line,
        "passed": outcome.passed(),
        "matched": outcome.matched,
        "failures": failures,
    })
}
