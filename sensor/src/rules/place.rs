//! Where in which file something stands, down to a byte within a YAML scalar.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use saphyr::{Marker, ScalarStyle};

/// Prints as `file:line:column`; as `file` alone where it is the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<Path>,
    /// From 1; 0: the file as a whole.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 { write!(f, ":{}:{}", self.line, self.column) } else { Ok(()) }
    }
}

/// A rule file's text.
#[derive(Debug)]
pub(super) struct Source {
    file: Arc<Path>,
    text: String,
}

impl Source {
    pub(super) fn new(file: &Path, text: String) -> Self {
        Self { file: file.into(), text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn place(&self, line: usize, column: usize) -> Place {
        Place { file: Arc::clone(&self.file), line, column }
    }

    /// The place that the parser marked.
    pub(super) fn marked(&self, marker: Marker) -> Place {
        self.place(marker.line(), marker.col() + 1)
    }

    /// The place's line with a caret under `width` characters.
    pub(super) fn snippet(&self, place: &Place, width: usize) -> String {
        let line = place.line.checked_sub(1).and_then(|index| self.text.lines().nth(index));
        line.map(|line| tercel_filter::caret(line, place.column, width)).unwrap_or_default()
    }

    /// Byte offset of a place; the end where it is beyond.
    fn offset(&self, marker: Marker) -> usize {
        let mut rest = self.text.as_str();
        for _ in 1..marker.line() {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        }
        let column = rest.char_indices().nth(marker.col()).map_or(rest.len(), |(offset, _)| offset);
        self.text.len() - rest.len() + column
    }
}

/// A scalar of a rule file as text, and where it was written. Dereferences to the text.
#[derive(Debug, Clone)]
pub struct Text {
    value: String,
    style: ScalarStyle,
    start: Marker,
    source: Arc<Source>,
}

impl Text {
    pub(super) fn new(value: String, style: ScalarStyle, start: Marker, source: &Arc<Source>) -> Self {
        Self { value, style, start, source: Arc::clone(source) }
    }

    /// Where the scalar begins.
    pub fn place(&self) -> Place {
        self.source.marked(self.start)
    }

    /// Where bytes of the text stand in the file, and that line with a caret below. As near as YAML's folding and escaping
    /// let one know: else where the scalar begins.
    pub fn locate(&self, bytes: Range<usize>) -> (Place, String) {
        let width = self.value.get(bytes.clone()).map_or(1, |part| part.chars().count()).max(1);
        let Some(offset) = self.offset(bytes.start) else {
            return (self.place(), self.source.snippet(&self.place(), 1));
        };
        let (line, column) = tercel_filter::position(&self.source.text, offset);
        let place = self.source.place(line, column);
        let snippet = self.source.snippet(&place, width);
        (place, snippet)
    }

    /// Null as YAML writes it: nothing, `~` or `null` without quotes.
    pub(super) fn is_null(&self) -> bool {
        self.style == ScalarStyle::Plain && matches!(self.value.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Byte offset in the file of byte `index` of the text: folding changes only white space, so the two agree in their
    /// other characters. At the text's end: behind its last character.
    fn offset(&self, index: usize) -> Option<usize> {
        let visible = |text: &str| text.chars().filter(|character| !character.is_whitespace()).count();
        let before = visible(self.value.get(..index)?);
        let at_end = visible(&self.value) == before;
        let wanted = if at_end { before.checked_sub(1)? } else { before };
        let (offset, found) = self.written()?.nth(wanted)?;
        let same = self.value.chars().filter(|character| !character.is_whitespace()).nth(wanted) == Some(found);
        same.then_some(if at_end { offset + found.len_utf8() } else { offset })
    }

    /// The characters of the scalar as written, with their offsets, without white space. `None` where escapes stand
    /// between text and file.
    fn written(&self) -> Option<impl Iterator<Item = (usize, char)>> {
        let start = self.source.offset(self.start);
        let written = &self.source.text[start..];
        let skipped = match self.style {
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
            // The header line of a block, where the mark is on it.
            ScalarStyle::Literal | ScalarStyle::Folded if written.starts_with(['|', '>']) => written.find('\n')?,
            _ => 0,
        };
        let body = written.get(skipped..)?;
        if self.style == ScalarStyle::DoubleQuoted && body[..body.find('"')?].contains('\\') {
            return None;
        }
        let visible = body.char_indices().filter(|(_, character)| !character.is_whitespace());
        Some(visible.map(move |(offset, character)| (start + skipped + offset, character)))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.value
    }
}
