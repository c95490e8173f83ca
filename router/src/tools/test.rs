//! `[[test]]`s are run: each on a decider of its own, with a clock of its own.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::{ToolError, alerts};
use crate::RoutingError;
use crate::destination::{Destination, Notification, NotificationKind};
use crate::normalise::Enrich;
use crate::pipeline::{Received, Rehearsal};
use crate::routing::cases::{self, Alerts, Case, Expect, Send};
use crate::routing::{Routing, read_text};

/// How long is looked at where a test does not say: the longest window, and a week more.
const SETTLE_MAX: SignedDuration = SignedDuration::from_hours(24 * 14);

/// Bodies that a failure shows, and the characters of each.
const BODIES_SHOWN: usize = 3;
const BODY_CHARS_SHOWN: usize = 600;

/// How one test ended.
#[derive(Debug, Serialize)]
pub struct TestOutcome {
    pub name: String,
    pub file: PathBuf,
    pub line: usize,
    pub passed: bool,
    /// What was expected and what came instead.
    pub failures: Vec<String>,
    /// What each destination got that got anything, or from which something was held back.
    pub got: BTreeMap<String, Got>,
}

/// What one destination got.
#[derive(Debug, Default, Serialize)]
pub struct Got {
    pub alerts: u64,
    /// What each of them counts, in order.
    pub summaries: Vec<u64>,
    pub digests: Vec<u64>,
    /// Incidents whose end it was told of.
    pub resolves: u64,
    /// Alerts that were held back, by reason.
    pub held: BTreeMap<String, u64>,
    /// By which routes it came.
    pub routes: Vec<String>,
}

/// Runs the tests in a routing file, or those in `files`.
///
/// # Errors
/// The routing file, or a test, cannot be used.
pub fn test(routing: &Path, files: &[PathBuf]) -> Result<Vec<TestOutcome>, ToolError> {
    let text = read_text(routing)?;
    let parse = || Routing::parse(routing, &text).map_err(RoutingError::Problems);
    let first = parse()?;
    let destinations = (0..first.destinations.len()).map(|index| first.build_without_secrets(index));
    let destinations = destinations.collect::<Result<Vec<_>, _>>()?;
    let mut outcomes = Vec::new();
    for case in read_cases(routing, &text, files, &first)? {
        outcomes.push(run(&case, parse()?, &destinations)?);
    }
    Ok(outcomes)
}

fn read_cases(path: &Path, text: &str, files: &[PathBuf], routing: &Routing) -> Result<Vec<Case>, RoutingError> {
    if files.is_empty() {
        return cases::of_routing(path, text, routing).map_err(RoutingError::Problems);
    }
    let mut all = Vec::new();
    for file in files {
        all.extend(cases::of_file(file, &read_text(file)?, routing).map_err(RoutingError::Problems)?);
    }
    Ok(all)
}

fn run(case: &Case, mut routing: Routing, destinations: &[Destination]) -> Result<TestOutcome, ToolError> {
    let folder = tempfile::tempdir().map_err(|error| ToolError::Failed(format!("no temporary folder: {error}")))?;
    let enrich = std::mem::replace(&mut routing.enrich, Enrich::new());
    let rehearsal = Rehearsal::start(&mut routing, folder.path(), case.start);
    let mut rehearsal = rehearsal.map_err(|error| ToolError::Failed(error.to_string()))?;
    let mut now = case.start;
    for send in &case.sends {
        now = perform(case, send, &enrich, now, &mut rehearsal)?;
    }
    match case.lasts {
        Some(lasts) => rehearsal.advance(later(now, lasts)),
        None => rehearsal.settle(now.saturating_add(SETTLE_MAX).unwrap_or(now)),
    }
    Ok(judge(case, destinations, &rehearsal))
}

/// When the last of them came.
fn perform(
    case: &Case,
    send: &Send,
    enrich: &Enrich,
    last: Timestamp,
    rehearsal: &mut Rehearsal,
) -> Result<Timestamp, ToolError> {
    let place = |message: String| {
        ToolError::Input(format!("{}:{}: test `{}`: {message}", case.file.display(), send.line, case.name))
    };
    let mut now = later(last, send.after);
    let texts = read(&send.alerts).map_err(place)?;
    for number in 0..send.times {
        if number > 0 {
            now = later(now, send.every);
        }
        rehearsal.advance(now);
        for text in &texts {
            let received = alerts::one(&timed(text, now), enrich).map_err(place)?;
            // An id that comes again within minutes is an alert that was sent twice; tests send equal ones.
            let result = rehearsal.send(Received { sent: None, ..received });
            result.map_err(|refused| place(format!("the alert is refused: {refused:?}")))?;
        }
    }
    Ok(now)
}

fn read(alerts: &Alerts) -> Result<Vec<Json>, String> {
    match alerts {
        Alerts::Inline(alert) => Ok(vec![alert.clone().into()]),
        Alerts::File(path) => {
            let place = path.display();
            let json = std::fs::read(path).map_err(|error| format!("cannot read {place}: {error}"))?;
            let items = alerts::items(&json).map_err(|error| format!("{place}: {error}"))?;
            items.iter().map(|item| serde_json::from_str(item).map_err(|error| format!("{place}: {error}"))).collect()
        }
    }
}

/// An alert without a time happens when it is sent.
fn timed(alert: &Json, now: Timestamp) -> String {
    match alert {
        Json::Object(alert) if !alert.contains_key("time") => {
            let mut timed: Map<_, _> = alert.clone();
            timed.insert("time".to_owned(), now.to_string().into());
            Json::from(timed).to_string()
        }
        other => other.to_string(),
    }
}

fn later(time: Timestamp, by: std::time::Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| time.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

fn judge(case: &Case, destinations: &[Destination], rehearsal: &Rehearsal) -> TestOutcome {
    let all: Vec<_> = (0..destinations.len()).map(|index| got(index, rehearsal)).collect();
    let mut failures = Vec::new();
    if let Some(to) = &case.to {
        let names = |wanted: &dyn Fn(usize) -> bool| {
            let names: Vec<_> = (0..destinations.len()).filter(|index| wanted(*index)).collect();
            names.into_iter().map(|index| destinations[index].name()).collect::<Vec<_>>().join(", ")
        };
        let (wanted, reached) = (names(&|index| to.contains(&index)), names(&|index| all[index].any()));
        if wanted != reached {
            failures.push(different("to", &wanted, &reached));
        }
    }
    for expect in &case.expects {
        let destination = &destinations[expect.destination];
        let place = format!("line {}: {}", expect.line, destination.name());
        let mut found = compare(expect, &all[expect.destination]);
        found.extend(compare_bodies(expect, destination, rehearsal));
        failures.extend(found.into_iter().map(|failure| format!("{place}: {failure}")));
    }
    let told = all.into_iter().enumerate().filter(|(_, got)| got.any() || !got.held.is_empty());
    TestOutcome {
        name: case.name.clone(),
        file: case.file.clone(),
        line: case.line,
        passed: failures.is_empty(),
        failures,
        got: told.map(|(index, got)| (destinations[index].name().to_owned(), got)).collect(),
    }
}

fn got(destination: usize, rehearsal: &Rehearsal) -> Got {
    let mut got = Got::default();
    for performed in rehearsal.performed().iter().filter(|performed| performed.destination == destination) {
        let Notification { kind, route, .. } = &*performed.notification;
        match kind {
            NotificationKind::Alert => got.alerts += 1,
            NotificationKind::Summary(summary) => got.summaries.push(summary.count),
            NotificationKind::Digest(digest) => got.digests.push(digest.count),
            NotificationKind::Resolve(_) => got.resolves += 1,
        }
        if !got.routes.iter().any(|known| **known == **route) {
            got.routes.push(route.to_string());
        }
    }
    let held = rehearsal.suppressed(destination).filter(|(_, count)| *count > 0);
    got.held = held.map(|(reason, count)| (reason.to_owned(), count)).collect();
    got
}

fn compare(expect: &Expect, got: &Got) -> Vec<String> {
    let mut failures = Vec::new();
    let mut check = |what: &str, expected: Option<String>, came: String| {
        if let Some(expected) = expected.filter(|expected| *expected != came) {
            failures.push(different(what, &expected, &came));
        }
    };
    check("alerts", expect.alerts.map(|count| count.to_string()), got.alerts.to_string());
    check("summaries", expect.summaries.as_ref().map(|counts| format!("{counts:?}")), format!("{:?}", got.summaries));
    check("digests", expect.digests.as_ref().map(|counts| format!("{counts:?}")), format!("{:?}", got.digests));
    for (reason, count) in &expect.held {
        let came = got.held.get(reason).copied().unwrap_or_default();
        check(&format!("held by {reason}"), Some(count.to_string()), came.to_string());
    }
    check("route", expect.route.clone(), got.routes.join(", "));
    if expect.asks_nothing() && !got.any() {
        failures.push(different("something", "to come", "nothing"));
    }
    failures
}

fn compare_bodies(expect: &Expect, destination: &Destination, rehearsal: &Rehearsal) -> Vec<String> {
    if expect.contains.is_empty() && expect.lacks.is_empty() {
        return Vec::new();
    }
    let mine = rehearsal.performed().iter().filter(|performed| performed.destination == expect.destination);
    let fell_back = destination.render_fallbacks();
    let body =
        |notification: &Notification| destination.preview(notification).unwrap_or_else(|error| error.to_string());
    let bodies: Vec<_> = mine.map(|performed| body(&performed.notification)).collect();
    let mut failures = Vec::new();
    for text in expect.contains.iter().filter(|text| !bodies.iter().any(|body| body.contains(*text))) {
        failures.push(different("contains", &format!("{text:?} in a body"), &shown(&bodies)));
    }
    for text in expect.lacks.iter().filter(|text| bodies.iter().any(|body| body.contains(*text))) {
        failures.push(different("lacks", &format!("{text:?} in no body"), &shown(&bodies)));
    }
    if destination.render_fallbacks() > fell_back {
        failures.push(
            "its template failed, and the built-in body was sent in its place; see `tercel-router render`".to_owned(),
        );
    }
    failures
}

fn different(what: &str, expected: &str, got: &str) -> String {
    let word = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
    format!("{what}: expected {}, got {}", word(expected), word(got))
}

fn shown(bodies: &[String]) -> String {
    let cut = |body: &String| body.chars().take(BODY_CHARS_SHOWN).collect::<String>();
    let mut shown: Vec<_> = bodies.iter().take(BODIES_SHOWN).map(cut).collect();
    if bodies.len() > BODIES_SHOWN {
        shown.push(format!("and {} more", bodies.len() - BODIES_SHOWN));
    }
    shown.join("\n      ")
}

impl Expect {
    /// Only that something comes.
    fn asks_nothing(&self) -> bool {
        let Self { route, alerts, summaries, digests, held, contains, lacks, .. } = self;
        let counts = alerts.is_none() && summaries.is_none() && digests.is_none() && held.is_empty();
        counts && route.is_none() && contains.is_empty() && lacks.is_empty()
    }
}

impl Got {
    fn any(&self) -> bool {
        self.alerts > 0 || !self.summaries.is_empty() || !self.digests.is_empty() || self.resolves > 0
    }
}

impl Display for TestOutcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = if self.passed { "ok    " } else { "FAILED" };
        write!(f, "{word} {}:{}: {}", self.file.display(), self.line, self.name)?;
        if self.passed {
            return Ok(());
        }
        self.failures.iter().try_for_each(|failure| write!(f, "\n    {failure}"))?;
        write!(f, "\n  got:")?;
        if self.got.is_empty() {
            write!(f, " nothing")?;
        }
        self.got.iter().try_for_each(|(destination, got)| write!(f, "\n    {destination}: {got}"))
    }
}

impl Display for Got {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { alerts, summaries, digests, resolves, held, routes } = self;
        write!(f, "alerts {alerts}, summaries {summaries:?}, digests {digests:?}")?;
        if *resolves > 0 {
            write!(f, ", resolves {resolves}")?;
        }
        held.iter().try_for_each(|(reason, count)| write!(f, ", held by {reason} {count}"))?;
        if routes.is_empty() { Ok(()) } else { write!(f, ", route {}", routes.join(", ")) }
    }
}
