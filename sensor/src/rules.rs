//! Rule files → [`RuleSet`].
//!
//! ```text
//! path ─► read: YAML → items with places ─► resolve: lists, macros, rules → compiled filters
//! ```
//!
//! Files are read in the order given, a directory's in the order of their names, and become one set: a rule sees every
//! macro and list of every file, a later definition of a name replaces the earlier one. Reading goes on after an error, so
//! that one run shows all there is to mend.

mod place;
mod read;
mod resolve;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tercel_alert::Priority;
use tercel_filter::{Catalog, Filter};

use place::Source;
pub use place::{Place, Text};

/// Bytes of one rule file. Upstream's largest is below 200 KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Files of one rule set.
const FILES_MAX: usize = 1_000;

/// Rules of one rule set. Upstream has 93.
const RULES_MAX: usize = 10_000;

/// What the sensor matches events against.
#[derive(Debug, Clone)]
pub struct RuleSet {
    /// In the order of their first definition, the disabled ones too.
    pub rules: Vec<Rule>,
    /// What is odd but does not keep the set from working.
    pub warnings: Vec<Problem>,
}

/// One rule, its condition compiled.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub description: String,
    pub priority: Priority,
    /// The output as written, with its `%field`s; knows its place for errors.
    pub output: Text,
    pub tags: BTreeSet<String>,
    pub filter: Filter,
    pub enabled: bool,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// Something wrong in a rule file. Prints as `file:line:column: message` and, below, the line with a caret.
#[derive(Debug, Clone)]
pub struct Problem {
    pub severity: Severity,
    pub place: Place,
    /// The item it is about, as in ``rule `x` ``; absent where it is about the file.
    pub item: Option<String>,
    pub message: String,
    /// The line of the file and, below it, a caret under the place; empty where there is no line to show.
    pub snippet: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = if self.severity == Severity::Warning { "warning: " } else { "" };
        write!(f, "{}: {warning}", self.place)?;
        if let Some(item) = &self.item {
            write!(f, "{item}: ")?;
        }
        f.write_str(&self.message)?;
        if self.snippet.is_empty() { Ok(()) } else { write!(f, "\n{}", self.snippet) }
    }
}

impl Problem {
    /// Whether both say the same of the same place, each perhaps for another item.
    fn is_same(&self, other: &Self) -> bool {
        self.place == other.place && self.message == other.message
    }

    /// About a file as a whole.
    fn file(path: &Path, message: String) -> Self {
        let place = Place { file: path.into(), line: 0, column: 0 };
        Self { severity: Severity::Error, place, item: None, message, snippet: String::new() }
    }
}

/// Reads and compiles the rules of these files; of a directory, its `*.yaml` and `*.yml` in the order of their names.
///
/// # Errors
///
/// Everything that is wrong, warnings too, in the order of the files. A set with an error is not usable in part.
pub fn load(paths: &[PathBuf], catalog: &dyn Catalog) -> Result<RuleSet, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut items = Vec::new();
    let files = expand(paths, &mut problems);
    if files.len() > FILES_MAX {
        let message = format!("{} rule files, at most {FILES_MAX} are read", files.len());
        problems.push(Problem::file(&files[FILES_MAX], message));
    }
    for path in files.iter().take(FILES_MAX) {
        match read_file(path) {
            Ok(source) => items.extend(read::items(&Arc::new(source), &mut problems)),
            Err(message) => problems.push(Problem::file(path, message)),
        }
    }
    let rules = resolve::rules(items, catalog, &mut problems);
    problems.sort_by_cached_key(|problem| {
        let file = files.iter().position(|file| *file == *problem.place.file);
        (file, problem.place.line, problem.place.column)
    });
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    Ok(RuleSet { rules, warnings: problems })
}

/// Directories replaced by their rule files. Not recursive, as in Falco.
fn expand(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match directory(path) {
            Ok(found) if found.is_empty() => {
                problems.push(Problem::file(path, "the directory holds no *.yaml or *.yml file".to_owned()));
            }
            Ok(found) => files.extend(found),
            Err(error) => problems.push(Problem::file(path, format!("cannot list the directory: {error}"))),
        }
    }
    files
}

fn directory(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<Source, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read the rule file: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the rule file is larger than {FILE_BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| format!("the rule file is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))?;
    Ok(Source::new(path, text))
}

#[cfg(test)]
mod shipped;
#[cfg(test)]
mod tests;
