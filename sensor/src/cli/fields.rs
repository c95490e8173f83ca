//! `tercel-sensor fields`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value as Json, json};
use tercel_filter::{Filter, Scope};
use tercel_sensor::fields::{self, SensorCatalog};

use super::{Failure, print};

#[derive(Args)]
pub(super) struct Arguments {
    /// The fields to describe [default: all of them, as Markdown]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let text = match (arguments.json, arguments.names.as_slice()) {
        (false, []) => fields::markdown(),
        (true, []) => format!("{}\n", fields::json()),
        (false, names) => select(names)?.iter().map(describe).collect(),
        (true, names) => format!("{}\n", json!({ "fields": select(names)? })),
    };
    print(&text, ExitCode::SUCCESS)
}

/// The fields of these names, as in [`fields::json`].
fn select(names: &[String]) -> Result<Vec<Json>, Failure> {
    let all = fields::json();
    let find = |name: &String| {
        let mut fields = all["fields"].as_array().into_iter().flatten();
        fields.find(|field| field["name"] == *name).cloned().ok_or_else(|| Failure::Input(unknown(name)))
    };
    names.iter().map(find).collect()
}

/// What the compiler says of it, which knows what was perhaps meant.
fn unknown(name: &str) -> anyhow::Error {
    match Filter::parse(&format!("{name} exists"), &Scope::default(), &SensorCatalog) {
        Err(error) => anyhow!("{error}"),
        Ok(_) => anyhow!("`{name}` is not the name of a field alone; leave the argument out"),
    }
}

/// A few lines for people.
fn describe(field: &Json) -> String {
    let texts = |key: &str| {
        let elements = field[key].as_array().into_iter().flatten();
        elements.filter_map(Json::as_str).collect::<Vec<_>>().join(", ")
    };
    let text = |key: &str| field[key].as_str().unwrap_or_default();
    let mut lines = format!("{}\n  {}\n  type: {}\n", texts("forms"), text("doc"), text("type"));
    let list = if field["list"] == true { "list" } else { "" };
    let absent = if field["gathered"] == false { "not gathered yet" } else { "" };
    let flags = texts("flags");
    let notes: Vec<_> = [&flags, list, absent].into_iter().filter(|note| !note.is_empty()).collect();
    if !notes.is_empty() {
        _ = writeln!(lines, "  notes: {}", notes.join(", "));
    }
    lines
}
