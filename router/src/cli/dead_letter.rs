//! `tercel-router dead-letter`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tercel_router::{EXIT_FAILURE, ToolError};

use super::client::{Client, ClientArguments};
use super::table::{second, table};
use super::{complain, say};

const PATH: &str = "/v1/dead-letters";

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print notifications that were given up, oldest first
    List(List),
    /// Send them again, each in place of its letter
    Replay(Replay),
    /// Take them away for good
    Purge(Order),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    client: ClientArguments,
    /// As a line of JSON each, with the whole alert
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Order {
    #[command(flatten)]
    selection: Selection,
    /// All of them
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    client: ClientArguments,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Replay {
    /// To this destination in place of each letter's own, which may have another name by now
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    #[command(flatten)]
    order: Order,
}

/// Which letters: those that all of these want.
#[derive(Args)]
struct Selection {
    /// Those to this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Those given up for this reason: `max_age`, `client_error`, …
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Those given up at this time or later: 2026-01-05T22:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Those given up before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// The one with this number
    #[arg(long)]
    number: Option<u64>,
    /// Those of alerts that match: a condition as in routes
    #[arg(long, value_name = "CONDITION")]
    when: Option<String>,
}

impl Selection {
    fn parts(&self) -> Map<String, Value> {
        let Self { destination, reason, since, until, number, when } = self;
        let all = json!({"destination": destination, "reason": reason, "since": since, "until": until, "number": number, "when": when});
        let Value::Object(parts) = all else { return Map::new() };
        parts.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, ToolError> {
    match &arguments.command {
        Command::List(arguments) => list(arguments),
        Command::Replay(Replay { to, order: arguments }) => order(arguments, &replay_path(to.as_deref())?),
        Command::Purge(arguments) => order(arguments, "purge"),
    }
}

fn list(arguments: &List) -> Result<ExitCode, ToolError> {
    let client = arguments.client.client()?;
    let query = serde_urlencoded::to_string(arguments.selection.parts());
    let query = query.map_err(|error| ToolError::Input(error.to_string()))?;
    let mut next = Some(format!("{PATH}?{query}"));
    while let Some(path) = next {
        let page = client.page(&path)?;
        next = page.next;
        if arguments.json {
            if !page.lines.is_empty() {
                say(&page.lines.trim_end());
            }
            continue;
        }
        let letters: Vec<Value> = page.lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let rows: Vec<_> = letters.iter().map(row).collect();
        say(&table(&["NUMBER", "GIVEN UP", "DESTINATION", "REASON", "TRIES", "PRIORITY", "RULE", "DETAIL"], &rows));
    }
    Ok(ExitCode::SUCCESS)
}

fn replay_path(to: Option<&str>) -> Result<String, ToolError> {
    let Some(to) = to else { return Ok("replay".to_owned()) };
    let query = serde_urlencoded::to_string([("to", to)]).map_err(|error| ToolError::Input(error.to_string()))?;
    Ok(format!("replay?{query}"))
}

fn order(arguments: &Order, what: &str) -> Result<ExitCode, ToolError> {
    let client = arguments.client.client()?;
    let mut body = Value::Object(arguments.selection.parts());
    if arguments.all {
        body["all"] = true.into();
    }
    let counts = carry_out(&client, &format!("{PATH}/{what}"), body)?;
    if arguments.json {
        say(&Value::Object(counts.clone()));
    } else {
        let counts: Vec<_> =
            counts.iter().map(|(name, count)| format!("{}: {count}", name.replace('_', " "))).collect();
        say(&counts.join(", "));
    }
    let left = ["no_destination", "no_room"].iter().filter_map(|name| counts.get(*name)?.as_u64()).sum::<u64>();
    if left > 0 {
        complain(&format!("{left} letters stay: there is no destination of this name, or it has no room for them now"));
        return Ok(ExitCode::from(EXIT_FAILURE));
    }
    Ok(ExitCode::SUCCESS)
}

/// Part by part, as the router says how to go on; the sums of what it did.
fn carry_out(client: &Client, path: &str, mut body: Value) -> Result<Map<String, Value>, ToolError> {
    let mut sums = Map::new();
    loop {
        let mut done = client.ask(&Method::POST, path, Some(&body))?;
        for (name, count) in done["letters"].as_object().into_iter().flatten() {
            let before = sums.get(name).and_then(Value::as_u64).unwrap_or(0);
            sums.insert(name.clone(), (before + count.as_u64().unwrap_or(0)).into());
        }
        body = done["next"].take();
        if body.is_null() {
            return Ok(sums);
        }
    }
}

fn row(letter: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    vec![
        letter["number"].to_string(),
        second(letter, "died"),
        text(&letter["destination"]),
        text(&letter["reason"]),
        letter["attempts"].to_string(),
        text(&letter["alert"]["priority"]),
        text(&letter["alert"]["rule"]),
        text(&letter["detail"]),
    ]
}
