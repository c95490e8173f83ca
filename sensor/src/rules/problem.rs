//! What is wrong with rule files: Falco's codes, our sentences.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::place::{Mark, Place, Source};
use super::text::Text;

/// Errors, and as many warnings, that are kept for one file. What goes beyond is counted.
const PROBLEMS_PER_FILE_MAX: usize = 200;

/// Characters of a name that a problem repeats.
const NAME_CHARS_MAX: usize = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
}

/// Falco's codes, as far as they can occur here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    FileRead,
    YamlParse,
    YamlValidate,
    CompileCondition,
    CompileOutput,
    Validate,
    UnknownSource,
    NoEventType,
    UnknownFilter,
    UnusedMacro,
    UnusedList,
    UnknownItem,
    DeprecatedItem,
    /// Falco's code for extensions of it; plugins are.
    ExtensionWarning,
    AppendNoValues,
    ExceptionNameNotUnique,
    InvalidMacroName,
    InvalidListName,
    ConditionWarning,
    UnknownKey,
}

impl Code {
    /// Each with its name and its description in Falco's JSON.
    const TABLE: [(Self, &'static str, &'static str); 20] = [
        (Self::FileRead, "LOAD_ERR_FILE_READ", "File read error"),
        (Self::YamlParse, "LOAD_ERR_YAML_PARSE", "YAML parse error"),
        (Self::YamlValidate, "LOAD_ERR_YAML_VALIDATE", "Error validating internal structure of YAML file"),
        (Self::CompileCondition, "LOAD_ERR_COMPILE_CONDITION", "Error compiling condition"),
        (Self::CompileOutput, "LOAD_ERR_COMPILE_OUTPUT", "Error compiling output"),
        (Self::Validate, "LOAD_ERR_VALIDATE", "Error validating rule/macro/list/exception objects"),
        (Self::UnknownSource, "LOAD_UNKNOWN_SOURCE", "Unknown event source"),
        (Self::NoEventType, "LOAD_NO_EVTTYPE", "Condition has no event-type restriction"),
        (Self::UnknownFilter, "LOAD_UNKNOWN_FILTER", "Unknown field or event-type in condition or output"),
        (Self::UnusedMacro, "LOAD_UNUSED_MACRO", "Unused macro"),
        (Self::UnusedList, "LOAD_UNUSED_LIST", "Unused list"),
        (Self::UnknownItem, "LOAD_UNKNOWN_ITEM", "Unknown rules file item"),
        (Self::DeprecatedItem, "LOAD_DEPRECATED_ITEM", "Used deprecated item"),
        (Self::ExtensionWarning, "LOAD_WARNING_EXTENSION", "Warning in extension item"),
        (Self::AppendNoValues, "LOAD_APPEND_NO_VALUES", "Overriding/appending with no values"),
        (
            Self::ExceptionNameNotUnique,
            "LOAD_EXCEPTION_NAME_NOT_UNIQUE",
            "Multiple exceptions defined with the same name",
        ),
        (Self::InvalidMacroName, "LOAD_INVALID_MACRO_NAME", "Invalid macro name"),
        (Self::InvalidListName, "LOAD_INVALID_LIST_NAME", "Invalid list name"),
        (Self::ConditionWarning, "LOAD_COMPILE_CONDITION", "Warning in rule condition"),
        (Self::UnknownKey, "LOAD_UNKNOWN_KEY", "Unknown key in item definition"),
    ];

    pub fn severity(self) -> Severity {
        if self <= Self::Validate { Severity::Error } else { Severity::Warning }
    }

    /// Falco's name, as `LOAD_ERR_VALIDATE`.
    pub fn name(self) -> &'static str {
        Self::TABLE[self as usize].1
    }

    /// The words that stand beside it in Falco's JSON.
    pub fn description(self) -> &'static str {
        Self::TABLE[self as usize].2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A step on the way from the file to what a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// In Falco's words: `rules content`, `rule`, `rule condition`, `value for`, ….
    pub item_type: &'static str,
    /// Empty where it has none.
    pub item_name: String,
    pub place: Place,
}

/// Something wrong in a rule file. Prints as `file:line:column: error CODE: item: message` and, below, the line with a
/// caret.
#[derive(Debug, Clone)]
pub struct Problem {
    pub code: Code,
    /// From the file inwards; the last is the place itself.
    pub locations: Vec<Location>,
    pub message: String,
    /// The field that it advises against.
    pub deprecated_field: Option<&'static str>,
    /// The line of the file and, below it, a caret under the place; empty where there is no line to show.
    pub snippet: String,
}

impl Problem {
    /// About a file as a whole.
    pub(crate) fn file(code: Code, path: &Path, message: String) -> Self {
        let location = Location { item_type: ROOT, item_name: String::new(), place: Place::file(path) };
        Self { code, locations: vec![location], message, deprecated_field: None, snippet: String::new() }
    }

    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    pub fn place(&self) -> &Place {
        &self.locations[self.locations.len() - 1].place
    }

    /// The list, macro or rule it is about, as in ``rule `x` ``; absent where it is about the file.
    pub fn item(&self) -> Option<String> {
        let named = |location: &&Location| ITEMS.contains(&location.item_type) && !location.item_name.is_empty();
        let item = self.locations.iter().find(named)?;
        Some(format!("{} {}", item.item_type, quoted(&item.item_name)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity() == Severity::Error { "error" } else { "warning" };
        write!(f, "{}: {severity} {}: ", self.place(), self.code)?;
        if let Some(item) = self.item() {
            write!(f, "{item}: ")?;
        }
        f.write_str(&self.message)?;
        if self.snippet.is_empty() { Ok(()) } else { write!(f, "\n{}", self.snippet) }
    }
}

/// A name as problems show it: in backquotes, escaped and cut.
pub(super) fn quoted(name: &str) -> String {
    let mut shown = String::from("`");
    for character in name.chars().take(NAME_CHARS_MAX) {
        match character {
            '\'' | '"' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown + if name.chars().nth(NAME_CHARS_MAX).is_some() { "…`" } else { "`" }
}

/// What the outermost location is called.
const ROOT: &str = "rules content";

/// The locations that are items of their own.
const ITEMS: [&str; 3] = ["list", "macro", "rule"];

/// The way from the file to a place, for the problems there.
#[derive(Debug, Clone)]
pub(super) struct Context {
    file: Arc<Path>,
    /// Below the file.
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
struct Step {
    item_type: &'static str,
    item_name: String,
    mark: Mark,
}

impl Context {
    pub(super) fn new(source: &Source) -> Self {
        Self { file: Arc::clone(source.file()), steps: Vec::new() }
    }

    /// One step further in.
    pub(super) fn within(&self, item_type: &'static str, item_name: &str, mark: &Mark) -> Self {
        let mut context = self.clone();
        context.steps.push(Step { item_type, item_name: item_name.to_owned(), mark: mark.clone() });
        context
    }

    fn locations(&self) -> Vec<Location> {
        let place = Place { line: 1, column: 1, ..Place::file(&self.file) };
        let root = Location { item_type: ROOT, item_name: String::new(), place };
        let steps = self.steps.iter().map(|step| Location {
            item_type: step.item_type,
            item_name: step.item_name.clone(),
            place: step.mark.place(),
        });
        std::iter::once(root).chain(steps).collect()
    }

    /// The innermost place.
    pub(super) fn place(&self) -> Place {
        self.steps.last().map_or_else(|| Place::file(&self.file), |step| step.mark.place())
    }

    /// A problem with what the context stands for.
    fn problem(&self, code: Code, message: String) -> Problem {
        let snippet = self.steps.last().map(|step| step.mark.locate().1).unwrap_or_default();
        Problem { code, locations: self.locations(), message, deprecated_field: None, snippet }
    }

    /// A problem with some bytes of a text, which may stand in another file than its context.
    pub(super) fn problem_within(
        &self,
        code: Code,
        (item_type, text, bytes): (&'static str, &Text, Range<usize>),
        message: String,
    ) -> Problem {
        let (place, snippet) = text.locate(bytes);
        let expression = if item_type == "rule output" { "rule output expression" } else { "condition expression" };
        let steps = [(item_type, text.mark().place()), (expression, place)];
        let mut locations = self.locations();
        locations.extend(steps.map(|(item_type, place)| Location { item_type, item_name: String::new(), place }));
        Problem { code, locations, message, deprecated_field: None, snippet }
    }
}

/// Collects problems, a bounded number of each file.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    /// How many there were, of each file and severity.
    counts: HashMap<(Arc<Path>, Severity), usize>,
}

impl Problems {
    pub(super) fn add(&mut self, problem: Problem) {
        if self.has_room(&Arc::clone(&problem.place().file), problem.severity()) {
            self.list.push(problem);
        }
    }

    /// A problem with what the context stands for.
    pub(super) fn have_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity() == Severity::Error)
    }

    pub(super) fn report(&mut self, code: Code, context: &Context, message: impl Into<String>) {
        if self.has_room(&context.file, code.severity()) {
            self.list.push(context.problem(code, message.into()));
        }
    }

    /// A problem with some bytes of a text.
    pub(super) fn report_within(
        &mut self,
        code: Code,
        context: &Context,
        place: (&'static str, &Text, Range<usize>),
        message: impl Into<String>,
    ) {
        if self.has_room(place.1.mark().source().file(), code.severity()) {
            self.list.push(context.problem_within(code, place, message.into()));
        }
    }

    /// A warning about a field in some bytes of a text.
    pub(super) fn report_deprecated(
        &mut self,
        field: &'static str,
        context: &Context,
        place: (&'static str, &Text, Range<usize>),
        message: String,
    ) {
        if self.has_room(place.1.mark().source().file(), Severity::Warning) {
            let problem = context.problem_within(Code::DeprecatedItem, place, message);
            self.list.push(Problem { deprecated_field: Some(field), ..problem });
        }
    }

    /// Whether one more of this file is kept; it is counted either way.
    fn has_room(&mut self, file: &Arc<Path>, severity: Severity) -> bool {
        let count = self.counts.entry((Arc::clone(file), severity)).or_default();
        *count += 1;
        *count <= PROBLEMS_PER_FILE_MAX
    }

    /// All of them, in the order of the files and of the places in them.
    pub(super) fn into_sorted(mut self, files: &[Arc<Path>]) -> Vec<Problem> {
        for ((file, severity), count) in std::mem::take(&mut self.counts) {
            if count > PROBLEMS_PER_FILE_MAX {
                let (code, kind) = match severity {
                    Severity::Error => (Code::Validate, "errors"),
                    Severity::Warning => (Code::UnknownItem, "warnings"),
                };
                let message = format!("{} more {kind} in this file are not shown", count - PROBLEMS_PER_FILE_MAX);
                self.list.push(Problem::file(code, &file, message));
            }
        }
        let position: HashMap<&Path, usize> = files.iter().enumerate().map(|(index, file)| (&**file, index)).collect();
        self.list.sort_by_cached_key(|problem| {
            let place = problem.place();
            // What is about the file as a whole, in line 0, stands last.
            (position.get(&*place.file).copied(), place.line.wrapping_sub(1), place.column, problem.code)
        });
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_at_its_place_in_the_table() {
        for (index, (code, name, _)) in Code::TABLE.iter().enumerate() {
            assert_eq!(*code as usize, index);
            assert_eq!(name.starts_with("LOAD_ERR_"), code.severity() == Severity::Error, "{name}");
        }
    }
}
