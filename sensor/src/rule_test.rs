//! Unit tests for rules: events given as fields, the rules that must match them and those that must not.
//!
//! Rules lie in a folder, their tests in its folder `tests`, as YAML:
//!
//! ```yaml
//! - event: a shell reads              # tests may be like it; it is none itself
//!   fields: { evt.type: openat, evt.is_open_read: true, fd.name: /etc/hosts, proc.name: bash, proc.aname: [bash, sshd] }
//! - test: reading the shadow file is an alert
//!   like: a shell reads               # an event or test before this one
//!   fields: { fd.name: /etc/shadow, user.name: ~ }   # added or replaced; null takes away
//!   match: [Sensitive file read]      # these rules must match
//!   no_match: "*"                     # these must not; "*" is every other enabled rule
//!   output: bash read /etc/shadow     # what the first rule under `match` says
//! - test: what the package manager did on Monday is none
//!   record: { file: monday.ndjson, num: 17 }         # one of recorded events, as `eval` takes them
//!   no_match: "*"
//! ```
//!
//! Each rule is asked on its own, disabled ones too: which rule comes first does not matter here. What fields may be says
//! [`crate::field_map`].

mod explain;
mod read;

use std::fmt;
use std::path::Path;

use tercel_filter::Scratch;

use crate::eval::Question;
use crate::field_map::FieldMap;
use crate::output::{Template, push_escaped};
use crate::rules::{Place, Rule, RuleSet};

/// The tests of a folder, in the order of its files.
#[derive(Debug)]
pub struct Suite {
    pub tests: Vec<Test>,
}

/// One event and what is expected of it.
#[derive(Debug)]
pub struct Test {
    pub name: String,
    pub place: Place,
    /// The event or test that it starts from.
    pub like: Option<String>,
    /// The rules that must match.
    pub matches: Vec<String>,
    pub no_match: NoMatch,
    /// What the first of them says, without time and priority.
    pub output: Option<String>,
    event: FieldMap,
}

/// The rules that must not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMatch {
    Rules(Vec<String>),
    /// Every enabled rule that is not among those that must match.
    Others,
}

/// What came of one test.
#[derive(Debug)]
pub struct Outcome<'a> {
    pub test: &'a Test,
    /// The enabled rules that match, in their order.
    pub matched: Vec<&'a str>,
    /// What is not as expected; none: the test passed.
    pub failures: Vec<Failure>,
}

/// Something that is not as expected. Prints as one line, an output as four.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    UnknownRule {
        rule: String,
    },
    /// `why`: the part of its condition that is false.
    NotMatched {
        rule: String,
        why: String,
    },
    Matched {
        rule: String,
    },
    Output {
        rule: String,
        expected: String,
        found: String,
    },
}

/// A file of tests cannot be used. Prints as `file:line:column: message` and, below, the line with a caret.
#[derive(Debug, Clone)]
pub struct Problem {
    pub place: Place,
    pub message: String,
    /// Empty where there is no line to show.
    pub snippet: String,
}

/// The tests beside the rules of a folder.
///
/// # Errors
///
/// All that is wrong with them; there are none; one expects nothing.
pub fn load(folder: &Path) -> Result<Suite, Vec<Problem>> {
    read::suite(folder)
}

impl Suite {
    /// Asks every rule about every test's event.
    pub fn run<'a>(&'a self, set: &'a RuleSet) -> Vec<Outcome<'a>> {
        let questions: Vec<_> = set.rules.iter().map(|rule| (rule, Question::new(&rule.filter))).collect();
        let mut scratch = Scratch::new();
        self.tests.iter().map(|test| test.run(set, &questions, &mut scratch)).collect()
    }
}

impl Outcome<'_> {
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// A line, and the failures below it.
impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, place) = (if self.passed() { "ok    " } else { "FAILED" }, &self.test.place);
        writeln!(f, "{word} {}:{} {}", place.file.display(), place.line, one_line(&self.test.name))?;
        for failure in &self.failures {
            failure.to_string().lines().try_for_each(|line| writeln!(f, "         {line}"))?;
        }
        Ok(())
    }
}

impl Test {
    fn run<'a>(
        &'a self,
        set: &'a RuleSet,
        questions: &[(&'a Rule, Question<'a>)],
        scratch: &mut Scratch,
    ) -> Outcome<'a> {
        let mut matching = Vec::new();
        for (rule, question) in questions {
            if question.holds_for(&self.event, scratch) {
                matching.push(*rule);
            }
        }
        let mut failures: Vec<_> = self.matches.iter().filter_map(|name| self.missed(name, set, &matching)).collect();
        failures.extend(self.unwanted(set, &matching));
        failures.extend(self.wrong_output(&matching));
        let matched = matching.iter().filter(|rule| rule.enabled).map(|rule| rule.name.as_str()).collect();
        Outcome { test: self, matched, failures }
    }

    /// A rule that must match and does not.
    fn missed(&self, name: &str, set: &RuleSet, matching: &[&Rule]) -> Option<Failure> {
        if matching.iter().any(|rule| rule.name == name) {
            return None;
        }
        let rule = name.to_owned();
        Some(match set.rules.iter().find(|rule| rule.name == name) {
            Some(known) => Failure::NotMatched { rule, why: explain::first_false(known, set, &self.event) },
            None => Failure::UnknownRule { rule },
        })
    }

    /// The rules that must not match and do.
    fn unwanted(&self, set: &RuleSet, matching: &[&Rule]) -> Vec<Failure> {
        let is_expected = |rule: &Rule| self.matches.contains(&rule.name);
        match &self.no_match {
            NoMatch::Others => {
                let others = matching.iter().filter(|rule| rule.enabled && !is_expected(rule));
                others.map(|rule| Failure::Matched { rule: rule.name.clone() }).collect()
            }
            NoMatch::Rules(names) => names
                .iter()
                .filter_map(|name| {
                    let rule = name.clone();
                    if !set.rules.iter().any(|rule| rule.name == *name) {
                        return Some(Failure::UnknownRule { rule });
                    }
                    matching.iter().any(|rule| rule.name == *name).then_some(Failure::Matched { rule })
                })
                .collect(),
        }
    }

    fn wrong_output(&self, matching: &[&Rule]) -> Option<Failure> {
        let (written, name) = (self.output.as_ref()?, self.matches.first()?);
        let rule = matching.iter().find(|rule| rule.name == *name)?;
        let found = match Template::compile(&rule.output) {
            Ok(template) => template.text(&self.event),
            Err(error) => format!("(no output: {error})"),
        };
        // As outputs are: a line break in it may be written as one, or as `\n`.
        let mut expected = String::with_capacity(written.len());
        push_escaped(&mut expected, written);
        (found != expected).then(|| Failure::Output { rule: name.clone(), expected, found })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRule { rule } => write!(f, "there is no rule `{}`", one_line(rule)),
            Self::NotMatched { rule, why } => write!(f, "`{rule}` must match and does not: {why}"),
            Self::Matched { rule } => write!(f, "`{rule}` must not match and does"),
            Self::Output { rule, expected, found } => {
                let same = expected.chars().zip(found.chars()).take_while(|(left, right)| left == right).count();
                write!(f, "`{rule}` says something else\n  expected: {}\n", one_line(expected))?;
                write!(f, "  found:    {}\n            {}^", one_line(found), " ".repeat(same))
            }
        }
    }
}

/// Of the same number of characters, so that the caret below stands right.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if self.snippet.is_empty() { Ok(()) } else { write!(f, "\n{}", self.snippet) }
    }
}

#[cfg(test)]
mod tests;
