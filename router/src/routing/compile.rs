//! Tables of routing.toml → [`Routing`]. Goes on after a problem, so that all of them are shown at once.

mod suppress;

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::SignedDuration;
use tercel_alert::Priority;
use tercel_filter::{Filter, Scope};

use super::{
    ARCHIVE, DedupTable, DestinationConfig, FileTable, LimitSettings, LimitTable, NamedDestination, Place, Problem,
    RouteTable, Routing, Source, Spanned, Written, fallback,
};
use crate::condition::AlertCatalog;
use crate::duration;
use crate::fingerprint::KeyField;
use crate::route::{Route, RouteParts, Target};
use crate::schedule::Schedule;
use suppress::{Configs, Window};

/// The window where neither the route nor `[defaults]` says one.
const WINDOW_DEFAULT: Duration = Duration::from_mins(5);

/// The longest window: its summary should still interest somebody.
const WINDOW_MAX: Duration = Duration::from_hours(168);

/// What makes alerts equal where nothing else is said.
const BY_DEFAULT: [&str; 5] = ["rule", "hostname", "container.id", "proc.exepath", "user.name"];

/// What a limit counts by where nothing else is said.
const LIMIT_BY_DEFAULT: &str = "rule";

/// The rate that switches an inherited limit off.
const RATE_NONE: &str = "none";

/// How often a digest tells what a limit held back, where nothing else is said, and what may be said.
const DIGEST_INTERVAL_DEFAULT: Duration = Duration::from_mins(1);
const DIGEST_INTERVAL_MIN: Duration = Duration::from_secs(1);
const DIGEST_INTERVAL_MAX: Duration = Duration::from_hours(24);

/// Destinations in one file.
const DESTINATIONS_MAX: usize = 256;

/// Routes in one file.
const ROUTES_MAX: usize = 1_000;

/// What a route has from its parent, or from `[defaults]`.
#[derive(Clone)]
struct Inherited {
    to: Vec<usize>,
    window: Duration,
    by: Vec<KeyField>,
    limit: Option<LimitSettings>,
    schedule: Schedule,
}

struct Compiler<'a> {
    source: Source<'a>,
    catalog: AlertCatalog,
    destinations: Vec<NamedDestination>,
    used: HashSet<usize>,
    limits: Vec<LimitSettings>,
    schedules: Vec<Schedule>,
    /// By name.
    windows: BTreeMap<String, Window>,
    names: HashSet<String>,
    routes: usize,
    problems: Vec<Problem>,
}

pub(super) fn compile(source: Source<'_>, file: FileTable) -> Result<Routing, Vec<Problem>> {
    let mut compiler = Compiler {
        source,
        catalog: AlertCatalog::default(),
        destinations: Vec::new(),
        used: HashSet::new(),
        limits: Vec::new(),
        schedules: Vec::new(),
        windows: BTreeMap::new(),
        names: HashSet::new(),
        routes: 0,
        problems: Vec::new(),
    };
    compiler.windows(file.time_window);
    let (configs, schedules) = suppress::split(file.destination);
    compiler.destinations(configs);
    let archive = compiler.archive();
    compiler.fallbacks();
    let destination_schedules = compiler.destination_schedules(&schedules);
    let inhibitions = compiler.inhibitions(file.inhibit);
    let has_rest = file.route.iter().any(|route| route.get_ref().when.is_none());
    let defaults = compiler.defaults(&file.defaults.dedup, file.defaults.limit.as_ref());
    let routes = compiler.routes(file.route, &defaults, "");
    let enrich = file.enrich.compile(source, &mut compiler.problems);
    if !compiler.problems.is_empty() {
        return Err(compiler.problems);
    }
    let warnings = compiler.warnings(has_rest, archive);
    Ok(Routing {
        path: source.path.to_owned(),
        routes,
        catalog: compiler.catalog,
        destinations: compiler.destinations,
        limits: compiler.limits,
        enrich,
        schedules: compiler.schedules,
        destination_schedules,
        inhibitions,
        archive,
        warnings,
        routes_count: compiler.routes,
    })
}

impl Compiler<'_> {
    fn destinations(&mut self, tables: Configs) {
        if tables.len() > DESTINATIONS_MAX {
            let message = format!("more than {DESTINATIONS_MAX} destinations");
            self.problems.push(self.source.problem(&(0..0), message));
        }
        for (name, (config, written)) in tables {
            let span = name.span();
            let name = name.into_inner();
            if name == ARCHIVE && config.type_name() != "archive" {
                let message = format!(
                    "destination `{ARCHIVE}` takes what matches no route and must be of type archive, not {}; choose another name",
                    config.type_name()
                );
                self.problems.push(self.source.problem(&span, message));
            }
            self.destinations.push(NamedDestination::new(name, config, written, self.source.place(span.start)));
        }
    }

    /// Index of the built-in archive, which is added where the file has none.
    fn archive(&mut self) -> usize {
        if let Some(position) = self.destinations.iter().position(|destination| destination.name == ARCHIVE) {
            return position;
        }
        let config = DestinationConfig::builtin_archive();
        let place = Place { line: 1, column: 1 };
        self.destinations.push(NamedDestination::new(ARCHIVE.to_owned(), config, Written::default(), place));
        self.destinations.len() - 1
    }

    fn fallbacks(&mut self) {
        let problems = fallback::resolve(&mut self.destinations);
        self.used.extend(self.destinations.iter().filter_map(|destination| destination.fallback));
        let file = self.source.path;
        self.problems.extend(problems.into_iter().map(|(place, message)| Problem {
            file: file.to_owned(),
            place,
            message,
            excerpt: None,
        }));
    }

    fn defaults(&mut self, dedup: &DedupTable, limit: Option<&LimitTable>) -> Inherited {
        let by = BY_DEFAULT.iter().filter_map(|name| KeyField::parse(name).ok()).collect();
        let schedule = Schedule { mute: Vec::new(), active: Vec::new(), break_through: None };
        let built_in = Inherited { to: Vec::new(), window: WINDOW_DEFAULT, by, limit: None, schedule };
        self.inherit(&built_in, dedup, limit)
    }

    fn routes(&mut self, tables: Vec<Spanned<RouteTable>>, parent: &Inherited, prefix: &str) -> Vec<Route> {
        tables
            .into_iter()
            .enumerate()
            .map(|(index, table)| {
                let span = table.span();
                self.route(table.into_inner(), &span, parent, &format!("{prefix}{}", index + 1))
            })
            .collect()
    }

    /// `number`: `2.1` for the first child of the second route.
    fn route(&mut self, table: RouteTable, span: &std::ops::Range<usize>, parent: &Inherited, number: &str) -> Route {
        self.routes += 1;
        if self.routes == ROUTES_MAX + 1 {
            self.problems.push(self.source.problem(span, format!("more than {ROUTES_MAX} routes")));
        }
        let name = self.name(table.name.clone(), number);
        let when = table.when.as_ref().and_then(|when| self.condition(&name, when));
        let mut own = self.inherit(parent, &table.dedup, table.limit.as_ref());
        own.schedule = self.route_schedule(&name, &table, &parent.schedule);
        if let Some(to) = &table.to {
            own.to = self.targets(&name, to);
        } else if parent.to.is_empty() {
            let message =
                format!("route `{name}` does not say where to; add `to = [\"{ARCHIVE}\"]` or another destination");
            self.problems.push(self.source.problem(span, message));
        }
        let children = self.routes(table.route, &own, &format!("{number}."));
        let targets = own.to.iter().map(|&destination| self.target(destination, &own)).collect();
        self.check_quiet(&name, &own, span);
        let Inherited { window, by, .. } = own;
        let condition = table.when.map(|when| when.into_inner().into());
        let (name, goes_on) = (name.into(), table.goes_on);
        Route::new(RouteParts { name, when, condition, targets, by, window, goes_on, children })
    }

    /// A summary that comes after its incident was resolved would open it again.
    fn check_quiet(&mut self, name: &str, own: &Inherited, span: &std::ops::Range<usize>) {
        for destination in own.to.iter().map(|&index| &self.destinations[index]) {
            let quiet = destination.config.incidents().and_then(|terms| terms.quiet);
            if let Some(quiet) = quiet.filter(|quiet| *quiet <= own.window) {
                let message = format!(
                    "route `{name}` counts repeats for {}s, and destination `{}` resolves after {}s: the summary would open \
                     the incident again; `resolve_after` must be longer than the window",
                    own.window.as_secs(),
                    destination.name,
                    quiet.as_secs(),
                );
                self.problems.push(self.source.problem(span, message));
            }
        }
    }

    fn name(&mut self, written: Option<Spanned<String>>, number: &str) -> String {
        let Some(written) = written else { return format!("route-{number}") };
        let span = written.span();
        let name = written.into_inner();
        if name.is_empty() || name.chars().any(char::is_control) {
            self.problems
                .push(self.source.problem(&span, "a route's name is a word or a few on one line, or left out"));
        }
        if !self.names.insert(name.clone()) {
            let message = format!("a second route is called `{name}`; give each its own name");
            self.problems.push(self.source.problem(&span, message));
        }
        name
    }

    fn condition(&mut self, route: &str, when: &Spanned<String>) -> Option<Filter> {
        let filter = Filter::parse(when.get_ref(), &Scope::default(), &self.catalog);
        filter.map_err(|error| self.bad_condition(&format!("route `{route}`"), when, &error)).ok()
    }

    /// `what`: for the message.
    fn bad_condition(&mut self, what: &str, condition: &Spanned<String>, error: &tercel_filter::Error) {
        let span = self.within(condition, error.span());
        self.problems.push(self.source.problem_shown(&span, format!("{what}: {}", error.message())));
    }

    /// Where a part of a string stands in the file; the whole string where it is written with escapes.
    fn within(&self, string: &Spanned<String>, part: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let span = string.span();
        let raw = self.source.text.get(span.clone()).unwrap_or_default();
        match raw.find(string.get_ref().as_str()) {
            Some(start) => span.start + start + part.start..span.start + start + part.end,
            None => span,
        }
    }

    fn targets(&mut self, route: &str, to: &Spanned<Vec<Spanned<String>>>) -> Vec<usize> {
        if to.get_ref().is_empty() {
            let message = format!(
                "route `{route}` has an empty `to`, its alerts would vanish; `to = [\"{ARCHIVE}\"]` keeps them"
            );
            self.problems.push(self.source.problem(&to.span(), message));
        }
        to.get_ref().iter().filter_map(|name| self.destination(route, name)).collect()
    }

    fn destination(&mut self, route: &str, name: &Spanned<String>) -> Option<usize> {
        let position = self.destinations.iter().position(|destination| destination.name == *name.get_ref());
        if let Some(position) = position {
            self.used.insert(position);
        } else {
            let known: Vec<_> = self.destinations.iter().map(|destination| destination.name.as_str()).collect();
            let message =
                format!("route `{route}` sends to `{}`; known destinations: {}", name.get_ref(), known.join(", "));
            self.problems.push(self.source.problem(&name.span(), message));
        }
        position
    }

    fn target(&mut self, destination: usize, route: &Inherited) -> Target {
        let limit = route.limit.as_ref().map(|settings| {
            self.limits.push(settings.clone());
            self.limits.len() - 1
        });
        let schedule = route.schedule.mutes().then(|| {
            self.schedules.push(route.schedule.clone());
            self.schedules.len() - 1
        });
        Target { destination, limit, schedule }
    }

    fn inherit(&mut self, parent: &Inherited, dedup: &DedupTable, limit: Option<&LimitTable>) -> Inherited {
        Inherited {
            to: parent.to.clone(),
            window: dedup.window.as_ref().map_or(parent.window, |window| self.window(window)),
            by: dedup.by.as_ref().map_or_else(|| parent.by.clone(), |by| self.keys(by)),
            limit: limit.map_or_else(|| parent.limit.clone(), |limit| self.limit(limit)),
            schedule: parent.schedule.clone(),
        }
    }

    fn window(&mut self, text: &Spanned<String>) -> Duration {
        let problem = match duration::parse(text.get_ref()) {
            Some(window) if window <= WINDOW_MAX => return window,
            Some(_) => format!("window = \"{}\" is too long: 7 days at most", text.get_ref()),
            None => format!("window = \"{}\" is no duration; write 30s, 5m or 1h30m, or 0s for none", text.get_ref()),
        };
        self.problems.push(self.source.problem(&text.span(), problem));
        Duration::ZERO
    }

    fn keys(&mut self, names: &[Spanned<String>]) -> Vec<KeyField> {
        self.keys_of("by", names, KeyField::parse)
    }

    /// `key`: for the message.
    fn keys_of(
        &mut self,
        key: &str,
        names: &[Spanned<String>],
        parse: impl Fn(&str) -> Result<KeyField, String>,
    ) -> Vec<KeyField> {
        let mut keys = Vec::new();
        for name in names {
            match parse(name.get_ref()) {
                Ok(field) => keys.push(field),
                Err(message) => self.problems.push(self.source.problem(&name.span(), format!("{key}: {message}"))),
            }
        }
        keys
    }

    fn limit(&mut self, table: &LimitTable) -> Option<LimitSettings> {
        if table.rate.get_ref() == RATE_NONE {
            return None;
        }
        let Some((rate, per)) = parse_rate(table.rate.get_ref()) else {
            let message = format!(
                "rate = \"{}\" is no rate; write 30/min, 5/s or 100/hour, or {RATE_NONE}",
                table.rate.get_ref()
            );
            self.problems.push(self.source.problem(&table.rate.span(), message));
            return None;
        };
        let burst = match &table.burst {
            None => rate,
            Some(burst) => NonZeroU32::new(*burst.get_ref()).unwrap_or_else(|| {
                self.problems
                    .push(self.source.problem(&burst.span(), "burst = 0 would let nothing through; 1 is the least"));
                NonZeroU32::MIN
            }),
        };
        let by = match &table.by {
            Some(by) => self.keys(by),
            None => KeyField::parse(LIMIT_BY_DEFAULT).into_iter().collect(),
        };
        let exempt = table.exempt.as_ref().and_then(|exempt| self.priority("exempt", exempt));
        let digest_interval = table.digest_interval.as_ref().map_or(DIGEST_INTERVAL_DEFAULT, |interval| {
            self.duration("digest_interval", interval, DIGEST_INTERVAL_MIN..=DIGEST_INTERVAL_MAX)
        });
        Some(LimitSettings { rate, per, burst, by, over: table.over, exempt, digest_interval })
    }

    /// `key`: for the message.
    fn priority(&mut self, key: &str, text: &Spanned<String>) -> Option<Priority> {
        match text.get_ref().parse() {
            Ok(priority) => Some(priority),
            Err(error) => {
                self.problems.push(self.source.problem(&text.span(), format!("{key}: {error}")));
                None
            }
        }
    }

    /// `key`: for the message. The least that is allowed where it is wrong.
    fn duration(&mut self, key: &str, text: &Spanned<String>, allowed: RangeInclusive<Duration>) -> Duration {
        let written = text.get_ref();
        let problem = match duration::parse(written) {
            Some(duration) if allowed.contains(&duration) => return duration,
            Some(_) => {
                let (least, most) =
                    (SignedDuration::try_from(*allowed.start()), SignedDuration::try_from(*allowed.end()));
                let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
                format!("{key} = \"{written}\" is out of bounds; {least:#} to {most:#}")
            }
            None => format!("{key} = \"{written}\" is no duration; write 30s, 5m or 2d"),
        };
        self.problems.push(self.source.problem(&text.span(), problem));
        *allowed.start()
    }

    fn warnings(&self, has_rest: bool, archive: usize) -> Vec<Problem> {
        let mut warnings = self.unused_windows();
        if !has_rest {
            let message = format!(
                "every route has a condition: alerts that match none go to the built-in `{ARCHIVE}` only, counted as unrouted; a last route without `when` takes them"
            );
            warnings.push(self.source.problem(&(0..0), message));
        }
        for (index, destination) in self.destinations.iter().enumerate() {
            if index != archive && !self.used.contains(&index) {
                warnings.push(Problem {
                    file: self.source.path.to_owned(),
                    place: destination.place,
                    message: format!("no route sends to destination `{}`", destination.name),
                    excerpt: None,
                });
            }
        }
        warnings
    }
}

/// `30/min` → 30 in a minute.
fn parse_rate(text: &str) -> Option<(NonZeroU32, Duration)> {
    let (count, unit) = text.split_once('/')?;
    let seconds = match unit.trim() {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hour" => 3_600,
        "d" | "day" => 86_400,
        _ => return None,
    };
    Some((count.trim().parse().ok()?, Duration::from_secs(seconds)))
}
