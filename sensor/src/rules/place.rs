//! Where in which file something stands.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use saphyr_parser::Marker;

/// Prints as `file:line:column`; as `file` alone where it is the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<Path>,
    /// From 1; 0: the file as a whole.
    pub line: usize,
    /// In characters, from 1; 0: the file as a whole.
    pub column: usize,
    /// In bytes, from 0.
    pub offset: usize,
}

impl Place {
    /// The file as a whole.
    pub(crate) fn file(file: &Path) -> Self {
        Self { file: file.into(), line: 0, column: 0, offset: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 { write!(f, ":{}:{}", self.line, self.column) } else { Ok(()) }
    }
}

/// A file's text, and where its lines begin.
#[derive(Debug)]
pub(crate) struct Source {
    file: Arc<Path>,
    text: String,
    /// Byte offsets; a line ends as YAML says: `\n`, `\r\n` or `\r`.
    lines: Vec<usize>,
}

impl Source {
    pub(crate) fn new(file: &Path, text: String) -> Self {
        let bytes = text.as_bytes();
        let ends_line = |index: usize| match bytes[index] {
            b'\n' => true,
            b'\r' => bytes.get(index + 1) != Some(&b'\n'),
            _ => false,
        };
        let starts = (0..bytes.len()).filter(|index| ends_line(*index)).map(|index| index + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { file: file.into(), text, lines }
    }

    pub(crate) fn file(&self) -> &Arc<Path> {
        &self.file
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The place of a byte.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).map_or(0, |index| self.lines[index]);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Place { file: Arc::clone(&self.file), line, column, offset }
    }

    /// The place's line with a caret under `width` characters.
    pub(super) fn snippet(&self, place: &Place, width: usize) -> String {
        let Some(start) = place.line.checked_sub(1).and_then(|index| self.lines.get(index)) else {
            return String::new();
        };
        let end = self.lines.get(place.line).copied().unwrap_or(self.text.len());
        tercel_filter::caret(self.text[*start..end].trim_end_matches(['\n', '\r']), place.column, width)
    }

    /// Byte offset of what the parser marked; the end where it is beyond.
    fn offset(&self, marker: Marker) -> usize {
        let start = marker.line().checked_sub(1).and_then(|index| self.lines.get(index)).copied();
        let start = start.unwrap_or(self.text.len());
        self.text[start..].char_indices().nth(marker.col()).map_or(self.text.len(), |(offset, _)| start + offset)
    }
}

/// Where in a file a value begins. Cheap to keep: the place is worked out when it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    source: Arc<Source>,
    marker: Marker,
}

impl Mark {
    pub(crate) fn new(source: &Arc<Source>, marker: Marker) -> Self {
        Self { source: Arc::clone(source), marker }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn offset(&self) -> usize {
        self.source.offset(self.marker)
    }

    pub(crate) fn place(&self) -> Place {
        self.source.place(self.offset())
    }

    /// The place and its line with a caret.
    pub(crate) fn locate(&self) -> (Place, String) {
        let place = self.place();
        let snippet = self.source.snippet(&place, 1);
        (place, snippet)
    }

    /// The same of a range of bytes of the file.
    pub(super) fn locate_bytes(&self, bytes: Range<usize>) -> (Place, String) {
        let place = self.source.place(bytes.start);
        let width = self.source.text.get(bytes).map_or(1, |part| part.chars().count()).max(1);
        let snippet = self.source.snippet(&place, width);
        (place, snippet)
    }
}
