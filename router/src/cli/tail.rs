//! `tercel-router tail`.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use tercel_router::ToolError;

use super::client::ClientArguments;
use super::say;
use super::table::printable;

const PATH: &str = "/v1/tail";

/// Characters of an alert's text; a command line may have 100,000.
const OUTPUT_CHARS_MAX: usize = 300;

#[derive(Args)]
pub(super) struct Arguments {
    /// Only alerts that match: a condition as in routes
    #[arg(long, value_name = "CONDITION")]
    when: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
    /// As lines of JSON, with the whole alert
    #[arg(long)]
    json: bool,
}

/// Until the router stops, or somebody stops this.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, ToolError> {
    let query = arguments.when.as_ref().map(|when| serde_urlencoded::to_string([("when", when)])).transpose();
    let query = query.map_err(|error| ToolError::Input(error.to_string()))?.unwrap_or_default();
    let tell = |line: &str| if arguments.json { say(&line) } else { say(&describe(line)) };
    arguments.client.client()?.follow(&format!("{PATH}?{query}"), tell)?;
    Ok(ExitCode::SUCCESS)
}

fn describe(line: &str) -> String {
    let Ok(told) = serde_json::from_str::<Value>(line) else { return printable(line, OUTPUT_CHARS_MAX) };
    if let Some(missed) = told["missed"].as_u64() {
        return format!("… {missed} alerts went by unseen: this reader is too slow");
    }
    let text = |value: &Value| printable(value.as_str().unwrap_or_default(), OUTPUT_CHARS_MAX);
    let alert = &told["alert"];
    let fates = told["deliveries"].as_array().into_iter().flatten();
    let fates: Vec<_> =
        fates.map(|fate| format!("{} {}", text(&fate["destination"]), text(&fate["decision"]))).collect();
    format!(
        "{} {} [{}] {} → {}",
        text(&alert["time"]),
        text(&alert["priority"]),
        text(&alert["rule"]),
        text(&alert["output"]),
        fates.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_one_line_that_says_where_it_went() {
        let line = serde_json::json!({
            "alert": {"time": "2026-01-01T00:00:00Z", "priority": "Error", "rule": "R", "output": "a\nb\u{1b}[0m"},
            "deliveries": [{"destination": "hook", "decision": "queued"}, {"destination": "page", "decision": "dedup"}],
        });
        let expected = "2026-01-01T00:00:00Z Error [R] a\\nb\\u{1b}[0m → hook queued, page dedup";
        assert_eq!(describe(&line.to_string()), expected);
        assert_eq!(describe("{\"missed\":3}"), "… 3 alerts went by unseen: this reader is too slow");
    }
}
