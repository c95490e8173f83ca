//! `tercel-sensor check`.

use std::process::ExitCode;

use clap::Args;
use tercel_sensor::fields::SensorCatalog;
use tercel_sensor::rules;

use super::{BAD_CONFIGURATION, Failure, RuleArguments, print};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    rules: RuleArguments,
    /// As one JSON object, in the shape that `falco -V` prints.
    #[arg(long)]
    json: bool,
    /// A warning is as bad as an error.
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let report = rules::check(&arguments.rules.settings()?.rules_files, &SensorCatalog);
    let is_good = report.is_valid() && !(arguments.strict && report.has_warnings());
    let text = if arguments.json { format!("{}\n", report.to_json()) } else { report.to_string() };
    print(&text, if is_good { ExitCode::SUCCESS } else { ExitCode::from(BAD_CONFIGURATION) })
}
