//! What is wrong with a condition, and where.

use std::ops::Range;

use crate::ast::Expr;

/// Characters of a name or value that an error repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// Names that are looked at for a suggestion.
const CANDIDATES_MAX: usize = 500;

/// Characters of a line that an error shows before and after the place it points at.
const CONTEXT_CHARS: usize = 50;

/// A condition that does not parse or compile. Prints as its message alone; [`Error::render`] adds the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Details>);

/// Boxed, so that results stay small on the stack of the compiler's recursion.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Details {
    kind: ErrorKind,
    message: String,
    span: Range<usize>,
    macro_name: Option<String>,
}

/// What an error is about, for callers that tell one from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is not grammatical, or goes beyond a bound.
    Syntax,
    UnknownField,
    /// A name that is none of an enum field's: an unknown event type.
    UnknownName,
    UnknownMacro,
    /// An operator, a value, an argument that does not fit.
    Type,
    /// A regular expression that is too large, alone or together with those before it.
    TooLarge,
}

impl Error {
    /// A [`ErrorKind::Syntax`] error.
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Syntax, span, message)
    }

    /// A [`ErrorKind::Type`] error.
    pub(crate) fn mismatch(span: Range<usize>, message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Type, span, message)
    }

    pub(crate) fn of(kind: ErrorKind, span: Range<usize>, message: impl Into<String>) -> Self {
        Self(Box::new(Details { kind, message: message.into(), span, macro_name: None }))
    }

    /// The same error, found in the body of a macro. The innermost macro wins.
    pub(crate) fn inside_macro(mut self, name: &str) -> Self {
        self.0.macro_name.get_or_insert_with(|| name.to_owned());
        self
    }

    /// The same error, found in a part of an expanded condition.
    pub(crate) fn inside(self, part: &Expr) -> Self {
        match &part.origin {
            Some(name) => self.inside_macro(name),
            None => self,
        }
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Bytes of the text that was parsed: of the macro's condition where [`Error::macro_name`] names one.
    pub fn span(&self) -> Range<usize> {
        self.0.span.clone()
    }

    /// The macro whose body the error is in; `None`: in the condition itself.
    pub fn macro_name(&self) -> Option<&str> {
        self.0.macro_name.as_deref()
    }

    /// `place:line:column: message`, then the line with a caret under the place. `text` is what was parsed. Lines and
    /// columns count from 1, columns in characters.
    pub fn render(&self, place: &str, text: &str) -> String {
        let (line, column) = position(text, self.0.span.start);
        let width = text.get(self.0.span.clone()).map_or(1, |span| span.chars().count());
        let shown = caret(text.lines().nth(line - 1).unwrap_or_default(), column, width);
        format!("{place}:{line}:{column}: {}\n{shown}", self.0.message)
    }
}

/// Line and column, both from 1, of a byte offset; the end of the text where the offset is beyond it.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The line and, below it, carets under `width` characters from `column` (from 1) on. Long lines are cut around the
/// place and control characters are shown as spaces, so the result is always two short lines.
pub fn caret(line: &str, column: usize, width: usize) -> String {
    let start = column.saturating_sub(1);
    let first = start.saturating_sub(CONTEXT_CHARS);
    let shown: String = line
        .chars()
        .skip(first)
        .take(2 * CONTEXT_CHARS)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    let width = width.min(shown.chars().count().saturating_sub(start - first)).max(1);
    format!("  {shown}\n  {}{}", " ".repeat(start - first), "^".repeat(width))
}

/// A name or value as errors show it: in backquotes, escaped and cut.
pub(crate) fn shown(text: &str) -> String {
    let mut result = String::from("`");
    for character in text.chars().take(SHOWN_CHARS_MAX) {
        match character {
            '\'' | '"' => result.push(character),
            other => result.extend(other.escape_debug()),
        }
    }
    result.push_str(if text.chars().nth(SHOWN_CHARS_MAX).is_some() { "…`" } else { "`" });
    result
}

/// `; did you mean `x`?` where a candidate is close enough, else nothing.
pub(crate) fn suggestion<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    const CLOSE: f64 = 0.8;
    let name = &name[..name.floor_char_boundary(SHOWN_CHARS_MAX)];
    candidates
        .take(CANDIDATES_MAX)
        .filter(|candidate| candidate.len() <= SHOWN_CHARS_MAX)
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= CLOSE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!("; did you mean {}?", shown(candidate)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_place() {
        let error = Error::new(9..13, "unknown thing");
        assert_eq!(error.render("a.yaml", "one and\nxé two"), "a.yaml:2:2: unknown thing\n  xé two\n   ^^^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = "x".repeat(1_000);
        let rendered = caret(&line, 500, 400);
        assert!(rendered.lines().all(|line| line.chars().count() <= 2 * CONTEXT_CHARS + 2), "{rendered}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert!(!caret("a\u{1b}[31mb", 1, 1).contains('\u{1b}'));
        assert_eq!(shown("a\u{1b}\n"), "`a\\u{1b}\\n`");
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let names = ["proc.name", "proc.pname", "fd.sip"];
        assert_eq!(suggestion("proc.nam", names.into_iter()), "; did you mean `proc.name`?");
        assert_eq!(suggestion("zzz", names.into_iter()), "");
    }
}
