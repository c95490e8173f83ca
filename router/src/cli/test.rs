//! `tercel-router test`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use tercel_router::{EXIT_FAILURE, ToolError};

use super::{RoutingArguments, say};

#[derive(Args)]
pub(super) struct Arguments {
    /// Files of [[test]] tables [default: those in the routing file]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    routing: RoutingArguments,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, ToolError> {
    let settings = arguments.routing.settings()?;
    let outcomes = tercel_router::test(&settings.routing, &arguments.files)?;
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    if arguments.json {
        say(&json!({"tests": outcomes, "passed": outcomes.len() - failed, "failed": failed}));
    } else {
        for outcome in &outcomes {
            say(outcome);
        }
        say(&format!("{} tests, {failed} failed", outcomes.len()));
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}
