//! `tercel-router search`.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;
use tercel_router::{ToolError, duration};

use super::client::ClientArguments;
use super::table::{printable, table};
use super::{complain, say};

const PATH: &str = "/v1/search";

/// Characters of an alert's text; the table cuts them further.
const OUTPUT_CHARS_MAX: usize = 300;

#[derive(Args)]
pub(super) struct Arguments {
    /// Which alerts: a condition as in routes [default: all]
    #[arg(value_name = "CONDITION")]
    when: Option<String>,
    /// From this time on: 2026-01-05T22:00:00Z, or 2h for the last two hours
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// At most so many, the newest; up to 1000
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// The archive's name in the routing file [default: the built-in one]
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
    /// As lines of JSON, with the whole alert
    #[arg(long)]
    json: bool,
}

/// A time, or how long ago it was.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = duration::parse(text).ok_or_else(|| format!("`{text}` is neither a time nor a duration"))?;
    Timestamp::now().checked_sub(ago).map_err(|error| error.to_string())
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, ToolError> {
    let Arguments { when, since, until, count, destination, client, json } = arguments;
    let parts = [
        ("when", when.clone()),
        ("since", since.map(|time| time.to_string())),
        ("until", until.map(|time| time.to_string())),
        ("count", Some(count.to_string())),
        ("destination", destination.clone()),
    ];
    let parts: Vec<_> = parts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let query = serde_urlencoded::to_string(parts).map_err(|error| ToolError::Input(error.to_string()))?;
    let page = client.client()?.page(&format!("{PATH}?{query}"))?;
    if *json {
        if !page.lines.is_empty() {
            say(&page.lines.trim_end());
        }
    } else {
        let alerts = page.lines.lines().filter_map(|line| serde_json::from_str(line).ok());
        let rows: Vec<_> = alerts.map(|alert| row(&alert)).collect();
        say(&table(&["TIME", "PRIORITY", "HOST", "RULE", "OUTPUT"], &rows));
    }
    if page.has_more {
        complain(&"older alerts may match too; narrow the time, or raise --count");
    }
    Ok(ExitCode::SUCCESS)
}

fn row(alert: &Value) -> Vec<String> {
    let text = |name: &str| printable(alert[name].as_str().unwrap_or_default(), OUTPUT_CHARS_MAX);
    ["time", "priority", "hostname", "rule", "output"].map(text).into()
}
