//! How the tables are read, and asked.
//!
//! ```text
//! [title]                      a section: starts again from the event of `event.rs` and from no macros and lists
//! fd.name: /tmp/x              from here on the event has this value
//! list shells: sh, "two words" defines a list; `macro name: condition` a macro
//! true     proc.name = cat     holds for the event;     `false`: does not
//! error    proc.name = "a\q"   does not compile; the error is about what the carets are under, its message contains
//!                      ^^ \q   the words behind them. A caret behind the end: the condition ends too early
//! warns    …                   compiles, with a warning; below as for an error
//! quiet    …                   compiles without a warning
//! types    …                   the event types it can match, below: names, `all`, `none` or `all but` names
//! prints   …                   how it is printed, below; `expands`: with macros and lists in their places
//! # a remark
//! ```

use std::fmt::Write as _;
use std::ops::Range;

use tercel_filter::{Catalog, Error, Expr, Filter, Scope, Scratch, parse};

use crate::event::{Event, event_type};
use crate::falco::{EVENT_TYPES, Falco};

/// Where a row's condition begins.
const CONDITION: usize = "true     ".len();

/// Asks every row, and fails with all that are not as they should be.
#[track_caller]
pub(crate) fn check(file: &str, text: &str) {
    let mut table = Table::new(file);
    let lines: Vec<&str> = text.lines().collect();
    let mut rest = &lines[..];
    while let Some((line, after)) = rest.split_first() {
        let below = after.iter().take_while(|line| line.starts_with(' ')).count();
        table.number = lines.len() - after.len();
        table.line(line, &after[..below]);
        rest = &after[below..];
    }
    assert!(table.failures.is_empty(), "{}", table.failures);
}

struct Table<'a> {
    file: &'a str,
    number: usize,
    event: Event,
    scope: Scope,
    failures: String,
}

impl<'a> Table<'a> {
    fn new(file: &'a str) -> Self {
        Self { file, number: 0, event: Event::shadow(), scope: Scope::new(), failures: String::new() }
    }

    fn line(&mut self, line: &str, below: &[&str]) {
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        if line.starts_with('[') {
            self.event = Event::shadow();
            self.scope = Scope::new();
            return;
        }
        let (word, after) = line.split_once(' ').unwrap_or((line, ""));
        let condition = line.get(CONDITION..).unwrap_or_default();
        match word {
            "list" => self.list(after),
            "macro" => self.define(after),
            "true" | "false" => self.holds(condition, word == "true"),
            "error" => self.error(condition, below),
            "warns" => self.warns(condition, Some(below)),
            "quiet" => self.warns(condition, None),
            "types" => self.types(condition, below),
            "prints" => self.prints(condition, below, parse),
            "expands" => {
                let scope = self.scope.clone();
                self.prints(condition, below, |text| scope.expand(&parse(text)?));
            }
            _ => self.event.set(line),
        }
    }

    fn list(&mut self, definition: &str) {
        let (name, items) = definition.split_once(':').unwrap();
        let items = items.trim().split(", ").filter(|item| !item.is_empty()).map(str::to_owned).collect();
        self.scope.add_list(name, items).unwrap();
    }

    fn define(&mut self, definition: &str) {
        let (name, condition) = definition.split_once(':').unwrap();
        self.scope.add_macro(name, parse(condition.trim()).unwrap());
    }

    fn compile(&self, condition: &str) -> Result<Filter, Error> {
        Filter::parse(condition, &self.scope, &Falco)
    }

    fn fail(&mut self, condition: &str, what: &str) {
        writeln!(self.failures, "\n{}:{}: {condition}\n    {what}", self.file, self.number).unwrap();
    }

    fn holds(&mut self, condition: &str, expected: bool) {
        match self.compile(condition) {
            Ok(filter) if filter.matches(&self.event, &mut Scratch::new()) == expected => {}
            Ok(_) => self.fail(condition, &format!("is {}, not {expected}", !expected)),
            Err(error) => self.fail(condition, &error.render("does not compile", condition)),
        }
    }

    fn error(&mut self, condition: &str, below: &[&str]) {
        let (place, words) = marked(condition, below);
        match self.compile(condition) {
            Ok(_) => self.fail(condition, "compiles, though it should not"),
            // Within a macro the span is one of the macro's text.
            Err(error)
                if (error.macro_name().is_some() || is_about(condition, &error.span(), &place))
                    && error.message().contains(words) => {}
            Err(error) => self.fail(condition, &error.render("another error than expected", condition)),
        }
    }

    fn warns(&mut self, condition: &str, expected: Option<&[&str]>) {
        let filter = match self.compile(condition) {
            Ok(filter) => filter,
            Err(error) => return self.fail(condition, &error.render("does not compile", condition)),
        };
        let warnings = filter.warnings();
        let found = expected.map_or(warnings.is_empty(), |below| {
            let (place, words) = marked(condition, below);
            warnings.iter().any(|warning| is_about(condition, &warning.span, &place) && warning.message.contains(words))
        });
        if !found {
            let messages: Vec<_> = warnings.iter().map(|warning| (&warning.message, &warning.span)).collect();
            self.fail(condition, &format!("has the warnings {messages:?}"));
        }
    }

    fn types(&mut self, condition: &str, below: &[&str]) {
        let filter = match self.compile(condition) {
            Ok(filter) => filter,
            Err(error) => return self.fail(condition, &error.render("does not compile", condition)),
        };
        let possible = filter.possible_enum_values(Falco.field("evt.type").unwrap().id);
        let found: Vec<u16> = possible.members(EVENT_TYPES.len()).collect();
        let expected = event_types(&below.join(" "));
        if found != expected {
            let names =
                |set: &[u16]| set.iter().map(|index| EVENT_TYPES[usize::from(*index)]).collect::<Vec<_>>().join(" ");
            self.fail(condition, &format!("can match {}\n    instead of {}", names(&found), names(&expected)));
        }
    }

    fn prints(&mut self, condition: &str, below: &[&str], parse: impl Fn(&str) -> Result<Expr, Error>) {
        let expected = below.first().map_or("", |line| line.trim());
        match parse(condition) {
            Ok(expr) if expr.to_string() == expected => {}
            Ok(expr) => self.fail(condition, &format!("prints as {expr}")),
            Err(error) => self.fail(condition, &error.render("does not parse", condition)),
        }
    }
}

/// The bytes of the condition above the carets, and the words behind them.
fn marked<'a>(condition: &str, below: &[&'a str]) -> (Range<usize>, &'a str) {
    let line = below.first().unwrap_or_else(|| panic!("no carets under `{condition}`"));
    let first = line.find('^').unwrap_or_else(|| panic!("no carets under `{condition}`"));
    let last = line.rfind('^').unwrap() + 1;
    let byte = |column: usize| condition.char_indices().map(|(byte, _)| byte).nth(column).unwrap_or(condition.len());
    (byte(first - CONDITION)..byte(last - CONDITION), line[last..].trim())
}

/// Whether an error lies within the place; only at the end of a condition it may have no length.
fn is_about(condition: &str, span: &Range<usize>, place: &Range<usize>) -> bool {
    place.start <= span.start && span.end <= place.end && (!span.is_empty() || span.end == condition.len())
}

fn event_types(text: &str) -> Vec<u16> {
    let every = 0..u16::try_from(EVENT_TYPES.len()).unwrap();
    let members = |names: &str| names.split_whitespace().map(event_type).collect::<Vec<_>>();
    let is_member: Box<dyn Fn(&u16) -> bool> = match (text.trim(), text.trim().strip_prefix("all but ")) {
        ("all", _) => Box::new(|_| true),
        ("none", _) => Box::new(|_| false),
        (_, Some(others)) => {
            let others = members(others);
            Box::new(move |index| !others.contains(index))
        }
        (names, None) => {
            let names = members(names);
            Box::new(move |index| names.contains(index))
        }
    };
    every.filter(is_member).collect()
}
