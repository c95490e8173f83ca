//! `tercel-router silence`.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use tercel_router::{ToolError, duration};
use uuid::Uuid;

use super::client::ClientArguments;
use super::say;
use super::table::{second, table};

const PATH: &str = "/v1/silences";

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Hold back what matches for a while; it is counted, and in the history all the same
    Add(Add),
    /// Say which silences there are, and what they held back
    List(List),
    /// End a silence now
    Expire(Expire),
}

#[derive(Args)]
struct Add {
    /// Which alerts: a condition as in routes, "k8s.ns.name = dev and priority < critical"
    #[arg(value_name = "CONDITION")]
    matcher: String,
    /// For how long: 90m, 2h, 3d; at most 90 days
    #[arg(long, value_name = "TIME", value_parser = length, required_unless_present = "until", conflicts_with = "until")]
    duration: Option<String>,
    /// Until when: 2026-01-05T22:00:00Z
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// From when on [default: now]
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Who asks for it
    #[arg(long, value_name = "NAME", env = "USER")]
    author: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only at this destination; may be given more than once [default: at all]
    #[arg(long = "destination", value_name = "NAME")]
    destinations: Vec<String>,
    #[command(flatten)]
    client: ClientArguments,
    /// Print the silence as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct List {
    /// Only those in this state [default: all, those of the last five days included]
    #[arg(long)]
    state: Option<State>,
    #[command(flatten)]
    client: ClientArguments,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Expire {
    /// As `silence list` shows it
    id: Uuid,
    #[command(flatten)]
    client: ClientArguments,
    /// Print the silence as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Pending,
    Active,
    Expired,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, ToolError> {
    match &arguments.command {
        Command::Add(arguments) => add(arguments)?,
        Command::List(arguments) => list(arguments)?,
        Command::Expire(arguments) => expire(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn add(arguments: &Add) -> Result<(), ToolError> {
    let Add { matcher, duration, until, from, author, reason, destinations, client, json } = arguments;
    let mut body = json!({"matcher": matcher, "author": author, "reason": reason, "destinations": destinations});
    let times = [("duration", duration.clone()), ("ends_at", until.map(text)), ("starts_at", from.map(text))];
    for (name, value) in times {
        if let Some(value) = value {
            body[name] = value.into();
        }
    }
    let silence = client.client()?.ask(&Method::POST, PATH, Some(&body))?;
    tell(&silence, *json, "added");
    Ok(())
}

fn list(arguments: &List) -> Result<(), ToolError> {
    let query = arguments.state.map(|state| format!("?state={}", format!("{state:?}").to_lowercase()));
    let path = format!("{PATH}{}", query.unwrap_or_default());
    let answer = arguments.client.client()?.ask(&Method::GET, &path, None)?;
    if arguments.json {
        say(&answer);
        return Ok(());
    }
    let silences = answer["silences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = silences.iter().map(row).collect();
    say(&table(&["ID", "STATE", "FROM", "UNTIL", "HITS", "DESTINATIONS", "AUTHOR", "CONDITION", "REASON"], &rows));
    Ok(())
}

fn expire(arguments: &Expire) -> Result<(), ToolError> {
    let path = format!("{PATH}/{}", arguments.id);
    let silence = arguments.client.client()?.ask(&Method::DELETE, &path, None)?;
    tell(&silence, arguments.json, "ended");
    Ok(())
}

fn row(silence: &Value) -> Vec<String> {
    let text = |name: &str| silence[name].as_str().unwrap_or_default().to_owned();
    let destinations = silence["destinations"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let destinations: Vec<_> = destinations.collect();
    let destinations = if destinations.is_empty() { "all".to_owned() } else { destinations.join(",") };
    vec![
        text("id"),
        text("state"),
        second(silence, "starts_at"),
        second(silence, "ends_at"),
        silence["hits"].to_string(),
        destinations,
        text("author"),
        text("matcher"),
        text("reason"),
    ]
}

fn tell(silence: &Value, as_json: bool, what: &str) {
    if as_json {
        say(silence);
        return;
    }
    let text = |name: &str| silence[name].as_str().unwrap_or_default();
    say(&format!("silence {} {what}: {} until {}", text("id"), text("state"), text("ends_at")));
}

/// As it is written: the router reads it in the same way.
fn length(text: &str) -> Result<String, String> {
    duration::parse(text).map(|_| text.to_owned()).ok_or_else(|| "no duration; write 90m, 2h or 3d".to_owned())
}

fn text(time: Timestamp) -> String {
    time.to_string()
}
