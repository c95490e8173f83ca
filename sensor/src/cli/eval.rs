//! `tercel-sensor eval`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use tercel_filter::{Filter, Scope};
use tercel_sensor::eval::{Evaluation, evaluate};
use tercel_sensor::fields::SensorCatalog;
use tercel_sensor::rules;
use tercel_sensor::run;

use super::{Failure, print, tell};

#[derive(Args)]
pub(super) struct Arguments {
    /// The events, one per line: `{"num":1,"fields":{"evt.type":"openat","proc.aname":["bash","sshd"]}}`; `-` is
    /// standard input
    #[arg(long, value_name = "FILE")]
    fields: PathBuf,
    /// Rule files, or directories of them: every rule of theirs is asked, the disabled ones too
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    rules: Vec<PathBuf>,
    /// As in a rule; prints a line of JSON each, in order: the numbers of the events that match, or the error
    #[arg(value_name = "CONDITION", required_unless_present = "rules")]
    conditions: Vec<String>,
}

/// What is asked: a condition of the command line, or a rule.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    asked: Asked<'a>,
    #[serde(flatten)]
    found: Found,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Asked<'a> {
    Filter(&'a str),
    Rule(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Found {
    Nums(Vec<i64>),
    /// `line:column: message`
    Error(String),
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let set = load(&arguments.rules)?;
    let compile = |condition: &String| Filter::parse(condition, &Scope::default(), &SensorCatalog);
    let compiled: Vec<_> = arguments.conditions.iter().map(compile).collect();
    let filters: Vec<_> = compiled.iter().flatten().chain(set.iter().map(|rule| &rule.filter)).collect();
    let Evaluation { matches, unknown } = open(&arguments.fields)
        .and_then(|(input, name)| Ok(evaluate(input, &name, &filters)?))
        .map_err(Failure::Input)?;
    if unknown.values > 0 {
        let names: Vec<_> = unknown.names.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
        tell(&format!("warning: {} values of unknown fields were left out: {}\n", unknown.values, names.join(", ")));
    }

    let mut matches = matches.into_iter();
    let mut nums = || Found::Nums(matches.next().unwrap_or_default());
    let mut text = String::new();
    for (condition, compiled) in arguments.conditions.iter().zip(&compiled) {
        let found = compiled.as_ref().map_or_else(|error| Found::Error(placed(error, condition)), |_| nums());
        push_line(&mut text, &Answer { asked: Asked::Filter(condition), found })?;
    }
    for rule in &set {
        push_line(&mut text, &Answer { asked: Asked::Rule(&rule.name), found: nums() })?;
    }
    print(&text, ExitCode::SUCCESS)
}

fn load(files: &[PathBuf]) -> Result<Vec<rules::Rule>, Failure> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    Ok(rules::load(files, &SensorCatalog).map_err(run::Error::Rules)?.rules)
}

fn open(file: &Path) -> anyhow::Result<(Box<dyn BufRead>, String)> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), "standard input".to_owned()));
    }
    let name = file.display().to_string();
    let input = File::open(file).with_context(|| format!("cannot read {name}"))?;
    Ok((Box::new(BufReader::new(input)), name))
}

fn placed(error: &tercel_filter::Error, condition: &str) -> String {
    let (line, column) = tercel_filter::position(condition, error.span().start);
    format!("{line}:{column}: {error}")
}

fn push_line(text: &mut String, answer: &Answer<'_>) -> Result<(), Failure> {
    text.push_str(&serde_json::to_string(answer).map_err(|error| Failure::Output(error.into()))?);
    text.push('\n');
    Ok(())
}
