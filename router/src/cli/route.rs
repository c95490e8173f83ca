//! `tercel-router route`.

use std::process::ExitCode;

use clap::Args;
use http::Method;
use jiff::Timestamp;
use tercel_router::ToolError;

use super::client::ClientArguments;
use super::{AlertArguments, RoutingArguments, say};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    alert: AlertArguments,
    #[command(flatten)]
    routing: RoutingArguments,
    /// When the alert comes, for time windows: 2026-01-05T22:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Ask a running router, which also knows its silences, windows and inhibitions
    #[arg(long, conflicts_with_all = ["routing", "at"])]
    running: bool,
    #[command(flatten)]
    client: ClientArguments,
    /// As a line of JSON for each alert
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, ToolError> {
    if arguments.running {
        return ask(arguments);
    }
    let settings = arguments.routing.settings()?;
    let (name, json) = arguments.alert.read()?;
    let at = arguments.at.unwrap_or_else(Timestamp::now);
    for (number, explanation) in tercel_router::explain(&settings.routing, &name, &json, at)?.iter().enumerate() {
        if arguments.json {
            let line = serde_json::to_string(explanation).map_err(|error| ToolError::Failed(error.to_string()))?;
            say(&line);
        } else {
            say(&format!("{}{}", if number == 0 { "" } else { "\n" }, explanation.to_string().trim_end()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(arguments: &Arguments) -> Result<ExitCode, ToolError> {
    let (name, json) = arguments.alert.read()?;
    let path = if arguments.json { "/v1/explain" } else { "/v1/explain?format=text" };
    let explained = arguments.client.client()?.ask_text(&Method::POST, path, json.into());
    let explained = explained.map_err(|error| match error {
        ToolError::Input(message) => ToolError::Input(format!("{name}: {message}")),
        other => other,
    })?;
    say(&explained.trim_end());
    Ok(ExitCode::SUCCESS)
}
