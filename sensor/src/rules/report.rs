//! What is wrong with rule files, for people and in Falco's JSON.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::problem::{Location, Problem, Severity};
use super::{Loaded, RuleSet};

/// How rule files fared. Prints a line for each file with its problems below, and a line that counts.
#[derive(Debug)]
pub struct Report {
    pub files: Vec<FileReport>,
    pub counts: Counts,
    /// The set; what was wrong is not in it.
    pub set: RuleSet,
}

/// How one file fared.
#[derive(Debug)]
pub struct FileReport {
    pub file: Arc<Path>,
    /// In the order of their places.
    pub problems: Vec<Problem>,
}

/// What the files define together; names that are defined twice count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub rules: usize,
    pub macros: usize,
    pub lists: usize,
}

impl Report {
    pub(super) fn new(loaded: Loaded) -> Self {
        let Loaded { files, set, problems } = loaded;
        let counts = Counts { rules: set.rules.len(), macros: set.macros.len(), lists: set.lists.len() };
        let mut reports: Vec<FileReport> = Vec::with_capacity(files.len());
        for file in files {
            if !reports.iter().any(|report| report.file == file) {
                reports.push(FileReport { file, problems: Vec::new() });
            }
        }
        for problem in problems {
            let file = Arc::clone(&problem.place().file);
            match reports.iter_mut().find(|report| report.file == file) {
                Some(report) => report.problems.push(problem),
                // A directory has problems, but is no file.
                None => reports.push(FileReport { file, problems: vec![problem] }),
            }
        }
        Self { files: reports, counts, set }
    }

    /// Whether no file has an error.
    pub fn is_valid(&self) -> bool {
        self.files.iter().all(FileReport::is_valid)
    }

    pub fn has_warnings(&self) -> bool {
        self.files.iter().any(FileReport::has_warnings)
    }

    /// As `falco -V` prints it with `json_output`. Lines, columns and offsets count from 0 there.
    pub fn to_json(&self) -> Value {
        json!({ "falco_load_results": self.files.iter().map(FileReport::to_json).collect::<Vec<_>>() })
    }
}

impl FileReport {
    pub fn is_valid(&self) -> bool {
        self.of(Severity::Error).next().is_none()
    }

    pub fn has_warnings(&self) -> bool {
        self.of(Severity::Warning).next().is_some()
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(move |problem| problem.severity() == severity)
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.file.display().to_string(),
            "successful": self.is_valid(),
            "errors": self.of(Severity::Error).map(problem_json).collect::<Vec<_>>(),
            "warnings": self.of(Severity::Warning).map(problem_json).collect::<Vec<_>>(),
        })
    }
}

fn problem_json(problem: &Problem) -> Value {
    let mut object = json!({
        "code": problem.code.name(),
        "codedesc": problem.code.description(),
        "message": problem.message,
        "context": {
            "locations": problem.locations.iter().map(location_json).collect::<Vec<_>>(),
            "snippet": problem.snippet,
        },
    });
    if let Some(field) = problem.deprecated_field {
        object["deprecated_field"] = field.into();
    }
    object
}

fn location_json(location: &Location) -> Value {
    let place = &location.place;
    json!({
        "item_type": location.item_type,
        "item_name": location.item_name,
        "position": {
            "name": place.file.display().to_string(),
            "line": place.line.saturating_sub(1),
            "column": place.column.saturating_sub(1),
            "offset": place.offset,
        },
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            write!(f, "{file}")?;
        }
        let count = |severity| self.files.iter().flat_map(|file| file.of(severity)).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        writeln!(f, "{}; {errors} errors, {warnings} warnings", self.counts)
    }
}

impl fmt::Display for FileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.is_valid(), self.has_warnings()) {
            (true, false) => "Ok",
            (true, true) => "Ok, with warnings",
            (false, _) => "Invalid",
        };
        writeln!(f, "{}: {verdict}", self.file.display())?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rules, {} macros, {} lists", self.rules, self.macros, self.lists)
    }
}
