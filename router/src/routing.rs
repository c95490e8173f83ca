//! routing.toml: what was written (the tables below) becomes what is run ([`Routing`]), or a list of what is wrong with
//! it, each with line and column.

pub(crate) mod cases;
mod compile;
mod enrich;
mod fallback;
mod schema;
mod spanned;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use tercel_alert::Priority;
use tercel_filter::{caret, position};

use crate::condition::AlertCatalog;
use crate::destination::{BuildError, DeliverySettings, Destination, DestinationConfig, Receive, TemplatePlace};
use crate::fingerprint::KeyField;
use crate::inhibit::Inhibition;
use crate::normalise::Enrich;
use crate::route::Route;
use crate::schedule::Schedule;
pub(crate) use schema::schema;
use spanned::Spanned;
pub(crate) use written::Written;

/// Name of the built-in destination: what matches no route goes there.
pub(crate) const ARCHIVE: &str = "archive";

/// The largest routing file that is read.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A routing file, checked and compiled.
pub(crate) struct Routing {
    path: PathBuf,
    pub(crate) routes: Vec<Route>,
    pub(crate) catalog: AlertCatalog,
    pub(crate) destinations: Vec<NamedDestination>,
    /// One for every route × destination that has a limit.
    pub(crate) limits: Vec<LimitSettings>,
    /// What is added to every alert.
    pub(crate) enrich: Enrich,
    /// One for every route × destination that has a schedule.
    pub(crate) schedules: Vec<Schedule>,
    /// One for every destination, in their order.
    pub(crate) destination_schedules: Vec<Option<Schedule>>,
    /// In the order of the file; they hold at every destination.
    pub(crate) inhibitions: Arc<[Inhibition]>,
    /// Index of the built-in archive in `destinations`.
    pub(crate) archive: usize,
    /// What is allowed and probably not meant.
    pub(crate) warnings: Vec<Problem>,
    pub(crate) routes_count: usize,
}

pub(crate) struct NamedDestination {
    pub(crate) name: String,
    pub(crate) config: DestinationConfig,
    pub(crate) written: Written,
    pub(crate) receive: Receive,
    pub(crate) delivery: DeliverySettings,
    /// Index of the destination that takes over what this one does not take.
    pub(crate) fallback: Option<usize>,
    place: Place,
}

/// `rate` alerts in `per`, and `burst` at once after a quiet time, for every combination of `by`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitSettings {
    pub(crate) rate: NonZeroU32,
    pub(crate) per: Duration,
    pub(crate) burst: NonZeroU32,
    pub(crate) by: Vec<KeyField>,
    pub(crate) over: Over,
    /// At and above it the limit does not apply.
    pub(crate) exempt: Option<Priority>,
    /// How long alerts above the limit are counted before a digest tells of them.
    pub(crate) digest_interval: Duration,
}

/// What happens to alerts above a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Over {
    /// Counted, and said once an interval.
    #[default]
    Digest,
    /// Counted.
    Drop,
}

/// A line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Place {
    line: usize,
    column: usize,
}

/// One thing that is wrong with the file. Prints as `file:line:column: message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    file: PathBuf,
    #[serde(flatten)]
    place: Place,
    message: String,
    /// The line and a caret under the place.
    #[serde(skip)]
    excerpt: Option<String>,
}

/// A routing file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    #[error("{path}: cannot read the routing file: {source}; name another with --routing", path = path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}", ProblemList(.0))]
    Problems(Vec<Problem>),
}

/// Prints problems line by line.
struct ProblemList<'a>(&'a [Problem]);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileTable {
    #[serde(default)]
    defaults: DefaultsTable,
    #[serde(default)]
    enrich: enrich::EnrichTable,
    #[serde(default)]
    route: Vec<Spanned<RouteTable>>,
    #[serde(default)]
    destination: BTreeMap<Spanned<String>, DestinationTable>,
    #[serde(default)]
    time_window: BTreeMap<Spanned<String>, TimeWindowTable>,
    #[serde(default)]
    inhibit: Vec<Spanned<InhibitTable>>,
    /// What this configuration is expected to do; `tercel-router test` runs them.
    // A router that runs asks for no more than their shape: see `cases`.
    #[serde(default, rename = "test")]
    _test: Vec<Spanned<cases::TestTable>>,
}

/// What each `[destination.NAME]` has in common, and what is particular to its type.
struct DestinationTable {
    config: DestinationConfig,
    written: Written,
    mute: Option<Vec<String>>,
    active: Option<Vec<String>>,
    break_through: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TimeWindowTable {
    #[serde(default)]
    times: Vec<Spanned<TimesTable>>,
    #[serde(default)]
    weekdays: Vec<Spanned<String>>,
    #[serde(default)]
    days_of_month: Vec<Spanned<i64>>,
    #[serde(default)]
    months: Vec<Spanned<String>>,
    time_zone: Option<Spanned<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TimesTable {
    from: Spanned<String>,
    to: Spanned<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InhibitTable {
    name: Spanned<String>,
    source: Spanned<String>,
    target: Spanned<String>,
    #[serde(default)]
    equal: Vec<Spanned<String>>,
    #[serde(rename = "for")]
    lasts: Option<Spanned<String>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DefaultsTable {
    #[serde(default)]
    dedup: DedupTable,
    limit: Option<LimitTable>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    name: Option<Spanned<String>>,
    when: Option<Spanned<String>>,
    to: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    dedup: DedupTable,
    limit: Option<LimitTable>,
    mute: Option<Vec<Spanned<String>>>,
    active: Option<Vec<Spanned<String>>>,
    break_through: Option<Spanned<String>>,
    #[serde(default, rename = "continue")]
    goes_on: bool,
    #[serde(default)]
    route: Vec<Spanned<RouteTable>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DedupTable {
    window: Option<Spanned<String>>,
    by: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LimitTable {
    rate: Spanned<String>,
    burst: Option<Spanned<u32>>,
    by: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    over: Over,
    exempt: Option<Spanned<String>>,
    digest_interval: Option<Spanned<String>>,
}

/// A file's text and name, to say where something is.
#[derive(Clone, Copy)]
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Routing {
    /// # Errors
    /// The file cannot be read, or something in it is wrong; then all that is wrong is listed.
    pub(crate) fn read(path: &Path) -> Result<Self, RoutingError> {
        Self::parse(path, &read_text(path)?).map_err(RoutingError::Problems)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let source = Source { path, text };
        let file = toml::from_str::<FileTable>(text).map_err(|error| vec![source.syntax(&error)])?;
        compile::compile(source, file)
    }

    /// The folder of the file: where the relative paths in it start.
    pub(crate) fn base(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Whether a route at any depth is called so.
    pub(crate) fn has_route(&self, name: &str) -> bool {
        self.routes.iter().flat_map(Route::with_children).any(|route| &*route.name == name)
    }

    /// Resolves every secret and compiles every template. `state`: the router's own folder.
    ///
    /// # Errors
    /// All destinations that cannot be built.
    pub(crate) fn build_destinations(&self, state: &Path) -> Result<Vec<Arc<Destination>>, RoutingError> {
        let mut problems = Vec::new();
        let mut built = Vec::new();
        for index in 0..self.destinations.len() {
            match self.build_one(index, &self.destinations[index].config, state) {
                Ok(destination) => built.push(Arc::new(destination)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(built) } else { Err(RoutingError::Problems(problems)) }
    }

    /// Output fields that templates read, and neither the sensor nor `[enrich]` gives.
    pub(crate) fn unknown_fields(&self, destinations: &[Arc<Destination>]) -> Vec<Problem> {
        let fields = destinations.iter().flat_map(|destination| destination.unknown_fields());
        let unknown = fields.filter(|field| !self.enrich.adds(&field.name));
        unknown.map(|field| unknown_field(&field.name, &field.place)).collect()
    }

    /// One destination, as [`Routing::build_destinations`].
    pub(crate) fn build(&self, index: usize, state: &Path) -> Result<Destination, RoutingError> {
        let config = &self.destinations[index].config;
        self.build_one(index, config, state).map_err(|problem| RoutingError::Problems(vec![problem]))
    }

    /// One destination that only shows what it would send.
    pub(crate) fn build_without_secrets(&self, index: usize) -> Result<Destination, RoutingError> {
        let config = self.destinations[index].config.without_secrets();
        self.build_one(index, &config, Path::new("")).map_err(|problem| RoutingError::Problems(vec![problem]))
    }

    fn build_one(&self, index: usize, config: &DestinationConfig, state: &Path) -> Result<Destination, Problem> {
        let NamedDestination { name, place, .. } = &self.destinations[index];
        Destination::build(name, config, self.base(), state).map_err(|error| self.unbuilt(&error, *place))
    }

    /// Where it is a template that is wrong, its own place goes first.
    fn unbuilt(&self, error: &BuildError, place: Place) -> Problem {
        let Place { line, column } = place;
        match error.template() {
            None => Problem { file: self.path.clone(), place, message: error.to_string(), excerpt: None },
            Some(template) => Problem {
                file: template.path.clone(),
                place: Place { line: template.line, column: template.column },
                message: format!("{error} (used at {}:{line}:{column})", self.path.display()),
                excerpt: None,
            },
        }
    }
}

fn unknown_field(name: &str, place: &TemplatePlace) -> Problem {
    let message = format!(
        "the template reads field `{}`, which is not in docs/fields.md; it stays empty unless another sender has it",
        name.escape_debug()
    );
    let TemplatePlace { path, line, column } = place;
    Problem { file: path.clone(), place: Place { line: *line, column: *column }, message, excerpt: None }
}

impl RoutingError {
    /// As `check --json` prints them.
    pub fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Problems(problems) => problems.clone(),
            Self::Read { path, source } => vec![Problem {
                file: path.clone(),
                place: Place { line: 1, column: 1 },
                message: format!("cannot read the routing file: {source}"),
                excerpt: None,
            }],
        }
    }
}

impl Source<'_> {
    fn place(self, offset: usize) -> Place {
        let (line, column) = position(self.text, offset);
        Place { line, column }
    }

    fn problem(self, span: &Range<usize>, message: impl Into<String>) -> Problem {
        let place = self.place(span.start);
        Problem { file: self.path.to_owned(), place, message: message.into(), excerpt: None }
    }

    /// As [`Self::problem`], with the line and a caret below it.
    fn problem_shown(self, span: &Range<usize>, message: impl Into<String>) -> Problem {
        let problem = self.problem(span, message);
        let width =
            self.text.get(span.clone()).map_or(1, |text| text.lines().next().unwrap_or_default().chars().count());
        let line = self.text.lines().nth(problem.place.line - 1).unwrap_or_default();
        Problem { excerpt: Some(caret(line, problem.place.column, width)), ..problem }
    }

    fn syntax(self, error: &toml::de::Error) -> Problem {
        let message = error.message().replace('\n', ", ");
        self.problem(&error.span().unwrap_or(0..0), message)
    }
}

impl<'de> Deserialize<'de> for DestinationTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn take<T: DeserializeOwned, E: Error>(table: &mut toml::Table, key: &str) -> Result<Option<T>, E> {
            let value = table.remove(key).map(T::deserialize).transpose();
            value.map_err(|error| E::custom(format!("{key}: {}", error.message())))
        }
        let mut table = toml::Table::deserialize(deserializer)?;
        let (mute, active) = (take(&mut table, "mute")?, take(&mut table, "active")?);
        let break_through = take(&mut table, "break_through")?;
        let written = Written::of(&table);
        let config = DestinationConfig::deserialize(table).map_err(|error| D::Error::custom(error.message()))?;
        Ok(Self { config, written, mute, active, break_through })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place: Place { line, column }, message, excerpt } = self;
        write!(f, "{}:{line}:{column}: {message}", file.display())?;
        excerpt.iter().try_for_each(|excerpt| write!(f, "\n{excerpt}"))
    }
}

impl fmt::Display for ProblemList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if number == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// The text of a routing file, or of one with tests.
pub(crate) fn read_text(path: &Path) -> Result<String, RoutingError> {
    read_bounded(path).map_err(|source| RoutingError::Read { path: path.to_owned(), source })
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
