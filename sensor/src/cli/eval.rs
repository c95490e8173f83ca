//! `tercel-sensor eval`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use tercel_filter::{Filter, Scope};
use tercel_sensor::eval::{Evaluation, LeftOut, Unfit, evaluate};
use tercel_sensor::fields::SensorCatalog;
use tercel_sensor::rules::{self, Code, Place, Report, Rule, Severity};
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
    let rules = load(&arguments.rules)?;
    let compile = |condition: &String| Filter::parse(condition, &Scope::default(), &SensorCatalog);
    let compiled: Vec<_> = arguments.conditions.iter().map(compile).collect();
    let filters: Vec<_> = compiled.iter().flatten().chain(rules.iter().filter_map(Loaded::filter)).collect();
    let (input, name) = open(&arguments.fields).map_err(Failure::Input)?;
    let Evaluation { matches, left_out } =
        evaluate(input, &name, &filters).map_err(|error| Failure::Input(error.into()))?;
    warn_of(&left_out, &name);

    let mut matches = matches.into_iter();
    let mut nums = || Found::Nums(matches.next().unwrap_or_default());
    let mut text = String::new();
    for (condition, compiled) in arguments.conditions.iter().zip(&compiled) {
        let found = compiled.as_ref().map_or_else(|error| Found::Error(placed(error, condition)), |_| nums());
        push_line(&mut text, &Answer { asked: Asked::Filter(condition), found })?;
    }
    for rule in &rules {
        let (name, found) = match rule {
            Loaded::Sound(rule) => (&rule.name, nums()),
            Loaded::Broken { name, error } => (name, Found::Error(error.clone())),
        };
        push_line(&mut text, &Answer { asked: Asked::Rule(name), found })?;
    }
    print(&text, ExitCode::SUCCESS)
}

/// A rule of the files.
enum Loaded {
    Sound(Box<Rule>),
    Broken { name: String, error: String },
}

impl Loaded {
    fn filter(&self) -> Option<&Filter> {
        match self {
            Self::Sound(rule) => Some(&rule.filter),
            Self::Broken { .. } => None,
        }
    }
}

/// The rules in the order of the files, those that are broken too. What is wrong beside rules goes to standard error; where
/// it leaves nothing to be asked, that is bad configuration.
fn load(files: &[PathBuf]) -> Result<Vec<Loaded>, Failure> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let Report { files: reports, set, .. } = rules::check(files, &SensorCatalog);
    let order: Vec<_> = reports.iter().map(|report| Arc::clone(&report.file)).collect();
    let position = |place: &Place| (order.iter().position(|file| *file == place.file), place.line, place.column);
    let mut loaded: Vec<_> =
        set.rules.into_iter().map(|rule| (position(&rule.place), Loaded::Sound(Box::new(rule)))).collect();
    let errors = reports.into_iter().flat_map(|report| report.problems);
    let mut others = Vec::new();
    for problem in errors.filter(|problem| problem.severity() == Severity::Error) {
        if problem.code == Code::FileRead {
            return Err(Failure::Input(anyhow::anyhow!("{problem}")));
        }
        let Some(rule) = problem.locations.iter().find(|location| location.item_type == "rule") else {
            others.push(problem);
            continue;
        };
        let name = &rule.item_name;
        let is_told = |(_, known): &(_, Loaded)| matches!(known, Loaded::Broken { name: told, .. } if told == name);
        if !loaded.iter().any(is_told) {
            let Place { line, column, .. } = problem.place();
            let error = format!("{line}:{column}: {}", problem.message);
            let place = position(&rule.place);
            let at = loaded.iter().position(|(other, _)| *other > place).unwrap_or(loaded.len());
            loaded.insert(at, (place, Loaded::Broken { name: name.clone(), error }));
        }
    }
    if loaded.is_empty() && !others.is_empty() {
        return Err(run::Error::Rules(others).into());
    }
    for problem in others {
        tell(&format!("{problem}\n"));
    }
    Ok(loaded.into_iter().map(|(_, rule)| rule).collect())
}

fn open(file: &Path) -> anyhow::Result<(Box<dyn BufRead>, String)> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), "standard input".to_owned()));
    }
    let name = file.display().to_string();
    let input = File::open(file).with_context(|| format!("cannot read {name}"))?;
    Ok((Box::new(BufReader::new(input)), name))
}

/// One line for all unknown fields, and one for each field with values that it cannot have.
fn warn_of(LeftOut { unknown, unfit }: &LeftOut, file: &str) {
    if unknown.values > 0 {
        let names: Vec<_> = unknown.names.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
        tell(&format!("warning: {} values of unknown fields were left out: {}\n", unknown.values, names.join(", ")));
    }
    for (field, Unfit { values, line, message }) in unfit {
        tell(&format!("warning: {values} values of `{field}` were left out, the first at {file}:{line}: {message}\n"));
    }
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
