//! `tercel-router elasticsearch setup`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tercel_router::ToolError;
use tercel_router::destination::SetupOptions;

use super::{RoutingArguments, say};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the index template, and a policy that deletes what is old where the server has such policies
    Setup(Setup),
}

#[derive(Args)]
struct Setup {
    /// Its name in the routing file
    destination: String,
    /// Days that documents are kept; 0: for ever
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(..=36_500))]
    retention_days: u32,
    /// Primary shards of each index
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    shards: u32,
    /// Ask the server what it is, print what would be sent, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    routing: RoutingArguments,
}

pub(super) fn run(Arguments { command: Command::Setup(arguments) }: &Arguments) -> Result<ExitCode, ToolError> {
    let settings = arguments.routing.settings()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| ToolError::Failed(format!("cannot start: {error}")))?;
    let Setup { destination, retention_days, shards, dry_run, .. } = arguments;
    let (shards, dry_run) = (*shards, *dry_run);
    let options = SetupOptions { retention_days: (*retention_days > 0).then_some(*retention_days), shards, dry_run };
    let setup = tercel_router::elasticsearch_setup(&settings.routing, &settings.state, destination, &options);
    let report = runtime.block_on(setup)?;
    say(&report);
    if dry_run {
        for (path, body) in &report.sent {
            say(&format!("\nPUT {path}\n{body:#}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
