//! Rule files → [`RuleSet`].
//!
//! ```text
//! paths ─► files ─► yaml: nodes with places ─► item ─► collect: definitions ─► compile: filters ─► RuleSet
//!                                                                               └─► report, describe, select
//! ```
//!
//! Files are read in the order given, a directory's in the order of their names, and become one set: a rule sees every
//! macro and list of every file, a later definition of a name replaces the earlier one. Reading goes on after an error, so
//! that one run shows all there is to mend.

mod collect;
mod compile;
mod describe;
mod exceptions;
pub(crate) mod file;
mod item;
mod keys;
pub(crate) mod place;
mod problem;
mod report;
mod select;
mod table;
pub(crate) mod text;
mod version;
pub(crate) mod yaml;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tercel_alert::Priority;
use tercel_filter::{Catalog, Expr, Filter, Scope};

use problem::Problems;
use yaml::Budget;

pub use describe::{describe, describe_text};
pub use place::Place;
pub use problem::{Code, Location, Problem, Severity};
pub use report::{Counts, FileReport, Report};
pub use select::{Selection, Selector};
pub use text::Text;
pub use version::{PluginRequirement, Version};

/// Lists, macros, rules and requirements of one rule set. Upstream has 530.
const ITEMS_MAX: usize = 20_000;

/// Values of all lists together, before lists are put into lists.
const LIST_ITEMS_MAX: usize = 200_000;

/// Comparisons, connectives and list items of all conditions together, with macros and lists in their places: a few
/// hundred megabytes. Upstream has 25,000.
const PARTS_MAX: usize = 2_000_000;

/// The event source that rules are about.
const SYSCALL: &str = "syscall";

/// What the sensor matches events against, and what the rules are made of.
#[derive(Debug, Clone)]
pub struct RuleSet {
    /// In the order of their first definition, the disabled ones too.
    pub rules: Vec<Rule>,
    /// In the order of their first definition.
    pub macros: Vec<Macro>,
    /// In the order of their first definition.
    pub lists: Vec<List>,
    /// The highest version that a file asks for; 0.0.0 where none does.
    pub required_engine_version: Version,
    pub required_plugin_versions: Vec<PluginRequirement>,
    /// What is odd but does not keep the set from working.
    pub warnings: Vec<Problem>,
    /// The macros and lists as conditions see them.
    pub(crate) scope: Scope,
}

/// One rule, its condition compiled.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub description: String,
    pub priority: Priority,
    /// As written, without its exceptions.
    pub condition: Text,
    /// The same as a tree.
    pub written: Expr,
    /// With its exceptions, macros and lists by name.
    pub expr: Expr,
    /// The output as written, with its `%field`s; knows its place for errors.
    pub output: Text,
    pub source: String,
    pub tags: BTreeSet<String>,
    pub exceptions: Vec<Exception>,
    pub filter: Filter,
    pub enabled: bool,
    pub place: Place,
    context: problem::Context,
}

/// The fields that an exception of a rule compares, each with its operator.
#[derive(Debug, Clone)]
pub struct Exception {
    pub name: String,
    pub fields: Vec<String>,
    pub operators: Vec<String>,
    /// Whether it holds anything back.
    pub has_values: bool,
}

/// A part of conditions that has a name.
#[derive(Debug, Clone)]
pub struct Macro {
    pub name: String,
    /// As written.
    pub condition: Text,
    pub expr: Expr,
    /// By a rule or another macro.
    pub used: bool,
}

/// Values that have a name.
#[derive(Debug, Clone)]
pub struct List {
    pub name: String,
    /// As written, among them the names of other lists.
    pub items: Vec<String>,
    /// By a rule, a macro or another list.
    pub used: bool,
}

impl Rule {
    /// Something wrong with bytes of the rule's output.
    pub fn output_problem(&self, bytes: std::ops::Range<usize>, message: String) -> Problem {
        self.context.problem_within(Code::CompileOutput, ("rule output", &self.output, bytes), message)
    }
}

/// Reads and compiles the rules of these files; of a directory, its `*.yaml` and `*.yml` in the order of their names.
///
/// # Errors
///
/// Everything that is wrong, warnings too, in the order of the files. A set with an error is not usable in part.
pub fn load(paths: &[PathBuf], catalog: &dyn Catalog) -> Result<RuleSet, Vec<Problem>> {
    read(paths, catalog).into_result()
}

/// The same of texts that are there already, each with the name of its file.
///
/// # Errors
///
/// Those of [`load`].
pub fn load_text(texts: &[(&str, &[u8])], catalog: &dyn Catalog) -> Result<RuleSet, Vec<Problem>> {
    let mut loading = Loading::default();
    for (name, bytes) in texts {
        loading.bytes(Path::new(name), bytes.to_vec());
    }
    loading.finish(catalog).into_result()
}

/// Reads and compiles these files like [`load`], for people to read what is wrong with each.
pub fn check(paths: &[PathBuf], catalog: &dyn Catalog) -> Report {
    Report::new(read(paths, catalog))
}

fn read(paths: &[PathBuf], catalog: &dyn Catalog) -> Loaded {
    let mut loading = Loading::default();
    for path in file::expand(paths, &mut loading.problems) {
        match file::bytes(&path) {
            Ok(bytes) => loading.bytes(&path, bytes),
            Err(message) => loading.refuse(Problem::file(Code::FileRead, &path, message)),
        }
    }
    loading.finish(catalog)
}

/// The files on their way into a set.
#[derive(Default)]
struct Loading {
    /// Each once, in order.
    files: Vec<Arc<Path>>,
    items: Vec<item::Item>,
    budget: Budget,
    problems: Problems,
}

/// What came of the files.
struct Loaded {
    files: Vec<Arc<Path>>,
    /// What could be loaded of them.
    set: RuleSet,
    problems: Vec<Problem>,
}

impl Loading {
    fn bytes(&mut self, path: &Path, bytes: Vec<u8>) {
        match file::source(path, bytes, &mut self.budget) {
            Ok(source) => {
                self.files.push(Arc::clone(source.file()));
                self.items.extend(item::items(&Arc::new(source), &mut self.budget, &mut self.problems));
            }
            Err(message) => self.refuse(Problem::file(Code::YamlParse, path, message)),
        }
    }

    fn refuse(&mut self, problem: Problem) {
        self.files.push(Arc::clone(&problem.place().file));
        self.problems.add(problem);
    }

    fn finish(self, catalog: &dyn Catalog) -> Loaded {
        let Self { files, items, mut problems, .. } = self;
        let definitions = collect::collect(items, catalog, &mut problems);
        let set = compile::compile(definitions, catalog, &mut problems);
        Loaded { problems: problems.into_sorted(&files), files, set }
    }
}

impl Loaded {
    fn into_result(self) -> Result<RuleSet, Vec<Problem>> {
        if self.problems.iter().any(|problem| problem.severity() == Severity::Error) {
            return Err(self.problems);
        }
        Ok(RuleSet { warnings: self.problems, ..self.set })
    }
}

#[cfg(test)]
mod shipped;
#[cfg(test)]
mod tests;
