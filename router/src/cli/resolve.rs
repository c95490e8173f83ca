//! `tercel-router resolve`.

use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::{Value, json};
use tercel_router::ToolError;

use super::client::ClientArguments;
use super::say;
use super::table::{second, table};

#[derive(Args)]
pub(super) struct Arguments {
    /// Which incident, as --list and the destination show it
    #[arg(value_name = "DEDUP_KEY", required_unless_present = "list")]
    dedup_key: Option<String>,
    /// Say which incidents are open
    #[arg(long, conflicts_with_all = ["dedup_key", "destination"])]
    list: bool,
    /// Only at this destination [default: wherever it is open]
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Who says that it is over
    #[arg(long, value_name = "NAME", env = "USER", required_unless_present = "list")]
    author: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
    /// Print the incidents as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, ToolError> {
    let Arguments { dedup_key, list, destination, author, client, json } = arguments;
    let client = client.client()?;
    let answer = if *list {
        client.ask(&Method::GET, "/v1/incidents", None)?
    } else {
        let body = json!({"dedup_key": dedup_key, "destination": destination, "author": author});
        client.ask(&Method::POST, "/v1/resolve", Some(&body))?
    };
    if *json {
        say(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let incidents = answer[if *list { "incidents" } else { "resolved" }].as_array().map(Vec::as_slice);
    let rows: Vec<_> = incidents.unwrap_or_default().iter().map(row).collect();
    say(&table(&["DEDUP KEY", "DESTINATION", "SINCE", "LAST", "ALERTS", "PRIORITY", "HOST", "RULE"], &rows));
    Ok(ExitCode::SUCCESS)
}

fn row(incident: &Value) -> Vec<String> {
    let text = |name: &str| incident[name].as_str().unwrap_or_default().to_owned();
    vec![
        text("dedup_key"),
        text("destination"),
        second(incident, "since"),
        second(incident, "last"),
        incident["count"].to_string(),
        text("priority"),
        text("hostname"),
        text("rule"),
    ]
}
