//! `tercel-router send-test`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tercel_alert::Priority;
use tercel_router::{EXIT_FAILURE, ToolError};

use super::{RoutingArguments, say};

#[derive(Args)]
pub(super) struct Arguments {
    /// Its name in the routing file
    destination: String,
    /// Of the test alert
    #[arg(long, default_value = "informational")]
    priority: Priority,
    #[command(flatten)]
    routing: RoutingArguments,
    /// The folder of the router's state, in which an archive without a path lies [default: tercel-state]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, ToolError> {
    let settings = arguments.routing.settings_in(arguments.state.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| ToolError::Failed(format!("cannot start: {error}")))?;
    let Arguments { destination, priority, json, .. } = arguments;
    let sent =
        runtime.block_on(tercel_router::send_test(&settings.routing, &settings.state, destination, *priority))?;
    if *json {
        say(&serde_json::json!(sent));
    } else {
        say(&sent);
    }
    Ok(if sent.delivered { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}
