//! `[[test]]`: alerts that are sent to the configuration, and what is expected of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{Problem, Routing, Source, Spanned};
use crate::duration;
use crate::metrics::SUPPRESSED_NAMES;

/// Monday noon: when the first alert comes where the test does not say.
const START: &str = "2026-01-05T12:00:00Z";

/// Alerts that one test sends.
const ALERTS_MAX: u64 = 1_000_000;

/// The longest pause, and the longest time that is looked at.
const TIME_MAX: Duration = Duration::from_hours(24 * 366);

/// One `[[test]]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestTable {
    name: String,
    start: Option<Spanned<String>>,
    send: Vec<Spanned<SendTable>>,
    #[serde(rename = "for")]
    lasts: Option<Spanned<String>>,
    to: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    expect: Vec<Spanned<ExpectTable>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendTable {
    #[schemars(with = "Option<serde_json::Map<String, Json>>")]
    alert: Option<toml::Table>,
    file: Option<Spanned<PathBuf>>,
    times: Option<Spanned<u64>>,
    every: Option<Spanned<String>>,
    after: Option<Spanned<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectTable {
    to: Spanned<String>,
    route: Option<Spanned<String>>,
    alerts: Option<u64>,
    summaries: Option<Vec<u64>>,
    digests: Option<Vec<u64>>,
    #[serde(default)]
    held: BTreeMap<Spanned<String>, u64>,
    #[serde(default)]
    contains: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
}

/// A file with nothing but tests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CasesFile {
    test: Vec<Spanned<TestTable>>,
}

/// A routing file, of which only the tests are of interest.
#[derive(Deserialize)]
struct CasesOf {
    #[serde(default)]
    test: Vec<Spanned<TestTable>>,
}

/// One test, ready to be run.
pub(crate) struct Case {
    pub(crate) name: String,
    /// `file:line`, for the report.
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) start: Timestamp,
    pub(crate) sends: Vec<Send>,
    /// How long is looked at after the last alert; `None`: until nothing is held back.
    pub(crate) lasts: Option<Duration>,
    /// The destinations that get something, and no other.
    pub(crate) to: Option<Vec<usize>>,
    pub(crate) expects: Vec<Expect>,
}

pub(crate) struct Send {
    pub(crate) alerts: Alerts,
    pub(crate) times: u64,
    /// Between two of them.
    pub(crate) every: Duration,
    /// Since the one before.
    pub(crate) after: Duration,
    pub(crate) line: usize,
}

/// What is sent.
pub(crate) enum Alerts {
    /// An alert, perhaps without its time.
    Inline(Map<String, Json>),
    /// A file of alerts, which all come at once.
    File(PathBuf),
}

/// What is expected of one destination. What is `None` is not looked at.
pub(crate) struct Expect {
    pub(crate) line: usize,
    pub(crate) destination: usize,
    /// Of all that comes.
    pub(crate) route: Option<String>,
    pub(crate) alerts: Option<u64>,
    /// What each of them counts, in order.
    pub(crate) summaries: Option<Vec<u64>>,
    pub(crate) digests: Option<Vec<u64>>,
    /// Alerts that were held back, by reason.
    pub(crate) held: BTreeMap<String, u64>,
    /// Each in one of the bodies at least.
    pub(crate) contains: Vec<String>,
    /// Each in none of them.
    pub(crate) lacks: Vec<String>,
}

/// The tests in a routing file.
pub(crate) fn of_routing(path: &Path, text: &str, routing: &Routing) -> Result<Vec<Case>, Vec<Problem>> {
    let source = Source { path, text };
    let file: CasesOf = toml::from_str(text).map_err(|error| vec![source.syntax(&error)])?;
    compile(source, file.test, routing)
}

/// The tests in a file of their own.
pub(crate) fn of_file(path: &Path, text: &str, routing: &Routing) -> Result<Vec<Case>, Vec<Problem>> {
    let source = Source { path, text };
    let file: CasesFile = toml::from_str(text).map_err(|error| vec![source.syntax(&error)])?;
    compile(source, file.test, routing)
}

fn compile(source: Source<'_>, tables: Vec<Spanned<TestTable>>, routing: &Routing) -> Result<Vec<Case>, Vec<Problem>> {
    let mut compiler = Compiler { source, routing, problems: Vec::new() };
    let cases = tables.into_iter().map(|table| compiler.case(table)).collect();
    if compiler.problems.is_empty() { Ok(cases) } else { Err(compiler.problems) }
}

struct Compiler<'a> {
    source: Source<'a>,
    routing: &'a Routing,
    problems: Vec<Problem>,
}

impl Compiler<'_> {
    fn case(&mut self, table: Spanned<TestTable>) -> Case {
        let span = table.span();
        let TestTable { name, start, send, lasts, to, expect } = table.into_inner();
        if send.is_empty() {
            self.complain(&span, format!("test `{name}` sends nothing; add a `send`"));
        }
        if to.is_none() && expect.is_empty() {
            self.complain(&span, format!("test `{name}` expects nothing; add `to` or `expect`"));
        }
        let case = Case {
            file: self.source.path.to_owned(),
            line: self.line(&span),
            start: self.start(start.as_ref()),
            lasts: lasts.as_ref().map(|lasts| self.duration("for", lasts)),
            to: to.map(|to| to.iter().filter_map(|name| self.destination(name)).collect()),
            sends: send.into_iter().map(|send| self.send(send)).collect(),
            expects: expect.into_iter().filter_map(|expect| self.expect(expect)).collect(),
            name,
        };
        if case.sends.iter().map(|send| send.times).sum::<u64>() > ALERTS_MAX {
            self.complain(&span, format!("test `{}` sends more than {ALERTS_MAX} alerts", case.name));
        }
        case
    }

    fn send(&mut self, table: Spanned<SendTable>) -> Send {
        let span = table.span();
        let SendTable { alert, file, times, every, after } = table.into_inner();
        let alerts = match (alert, file) {
            (Some(alert), None) => Alerts::Inline(alert.into_iter().map(|(key, value)| (key, json(value))).collect()),
            (None, Some(file)) => Alerts::File(self.folder().join(file.into_inner())),
            _ => {
                self.complain(&span, "a `send` has either an `alert` or a `file`".to_owned());
                Alerts::Inline(Map::new())
            }
        };
        let times = times.map_or(1, |times| {
            let (span, times) = (times.span(), times.into_inner());
            if !(1..=ALERTS_MAX).contains(&times) {
                self.complain(&span, format!("times = {times} is out of bounds; 1 to {ALERTS_MAX}"));
            }
            times.min(ALERTS_MAX)
        });
        let mut duration =
            |key, text: Option<&Spanned<String>>| text.map_or(Duration::ZERO, |text| self.duration(key, text));
        let (every, after) = (duration("every", every.as_ref()), duration("after", after.as_ref()));
        Send { alerts, times, every, after, line: self.line(&span) }
    }

    fn expect(&mut self, table: Spanned<ExpectTable>) -> Option<Expect> {
        let span = table.span();
        let ExpectTable { to, route, alerts, summaries, digests, held, contains, lacks } = table.into_inner();
        for (reason, _) in held.iter().filter(|(reason, _)| !SUPPRESSED_NAMES.contains(&reason.get_ref().as_str())) {
            let message =
                format!("held: unknown reason `{}`; there are {}", reason.get_ref(), SUPPRESSED_NAMES.join(", "));
            self.complain(&reason.span(), message);
        }
        if let Some(route) = route.as_ref().filter(|route| !self.routing.has_route(route.get_ref())) {
            self.complain(&route.span(), format!("there is no route `{}`", route.get_ref()));
        }
        Some(Expect {
            line: self.line(&span),
            destination: self.destination(&to)?,
            route: route.map(Spanned::into_inner),
            alerts,
            summaries,
            digests,
            held: held.into_iter().map(|(reason, count)| (reason.into_inner(), count)).collect(),
            contains,
            lacks,
        })
    }

    fn start(&mut self, text: Option<&Spanned<String>>) -> Timestamp {
        let written = text.map_or(START, |text| text.get_ref());
        written.parse().unwrap_or_else(|_| {
            let span = text.map(Spanned::span).unwrap_or_default();
            self.complain(&span, format!("start = \"{written}\" is no time; write {START}"));
            Timestamp::UNIX_EPOCH
        })
    }

    fn duration(&mut self, key: &str, text: &Spanned<String>) -> Duration {
        match duration::parse(text.get_ref()) {
            Some(duration) if duration <= TIME_MAX => duration,
            _ => {
                let message =
                    format!("{key} = \"{}\" is no duration up to a year; write 30s, 5m or 2d", text.get_ref());
                self.complain(&text.span(), message);
                Duration::ZERO
            }
        }
    }

    fn destination(&mut self, name: &Spanned<String>) -> Option<usize> {
        let destinations = &self.routing.destinations;
        let position = destinations.iter().position(|destination| destination.name == *name.get_ref());
        if position.is_none() {
            let known: Vec<_> = destinations.iter().map(|destination| destination.name.as_str()).collect();
            let message =
                format!("there is no destination `{}`; known destinations: {}", name.get_ref(), known.join(", "));
            self.complain(&name.span(), message);
        }
        position
    }

    fn folder(&self) -> &Path {
        self.source.path.parent().unwrap_or(Path::new(""))
    }

    fn line(&self, span: &std::ops::Range<usize>) -> usize {
        self.source.place(span.start).line
    }

    fn complain(&mut self, span: &std::ops::Range<usize>, message: String) {
        self.problems.push(self.source.problem(span, message));
    }
}

/// A date or time becomes text.
fn json(value: toml::Value) -> Json {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect::<Vec<_>>().into(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(key, value)| (key, json(value))).collect::<Map<_, _>>().into()
        }
    }
}
