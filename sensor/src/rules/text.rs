//! Text of rule files that knows, byte by byte, where it was written.

use std::fmt;
use std::ops::{Deref, Range};

use saphyr_parser::ScalarStyle;

use super::place::{Mark, Place};

/// One YAML scalar, as text. Dereferences to it.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    value: String,
    style: ScalarStyle,
    mark: Mark,
}

impl Scalar {
    pub(crate) fn new(value: String, style: ScalarStyle, mark: Mark) -> Self {
        Self { value, style, mark }
    }

    /// Where it begins.
    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Null as YAML writes it: nothing, `~` or `null` without quotes.
    pub(crate) fn is_null(&self) -> bool {
        self.style == ScalarStyle::Plain && matches!(self.value.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// Where bytes of the text stand in the file, and that line with a caret below. As near as YAML's folding and
    /// escaping let one know: else where the scalar begins.
    pub(super) fn locate(&self, bytes: Range<usize>) -> (Place, String) {
        let length = self.value.get(bytes.clone()).map_or(1, str::len).max(1);
        let Some(offset) = self.offset(bytes.start) else {
            return self.mark.locate();
        };
        self.mark.locate_bytes(offset..offset + length)
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
        let start = self.mark.offset();
        let written = &self.mark.source().text()[start..];
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

impl Deref for Scalar {
    type Target = str;

    fn deref(&self) -> &str {
        &self.value
    }
}

/// Text made of one scalar or, after `append` and `exceptions`, of several with words between them. Dereferences to the
/// whole.
#[derive(Debug, Clone)]
pub struct Text {
    value: String,
    /// At least one, in order; the text between them stands in no file.
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
struct Piece {
    /// Byte of the whole at which it begins.
    start: usize,
    scalar: Scalar,
}

impl From<Scalar> for Text {
    fn from(scalar: Scalar) -> Self {
        Self { value: scalar.value.clone(), pieces: vec![Piece { start: 0, scalar }] }
    }
}

impl Text {
    /// The same in parentheses.
    pub(super) fn in_parentheses(&self) -> Self {
        let pieces = self.pieces.iter().map(|piece| Piece { start: piece.start + 1, scalar: piece.scalar.clone() });
        Self { value: format!("({})", self.value), pieces: pieces.collect() }
    }

    /// Adds words that stand in no file.
    pub(super) fn push_words(&mut self, words: &str) {
        self.value.push_str(words);
    }

    pub(super) fn push(&mut self, scalar: &Scalar) {
        self.pieces.push(Piece { start: self.value.len(), scalar: scalar.clone() });
        self.value.push_str(scalar);
    }

    pub(super) fn append(&mut self, other: &Self) {
        let start = self.value.len();
        self.pieces.extend(
            other.pieces.iter().map(|piece| Piece { start: start + piece.start, scalar: piece.scalar.clone() }),
        );
        self.value.push_str(&other.value);
    }

    /// Where it begins.
    pub fn place(&self) -> Place {
        self.mark().place()
    }

    /// Where bytes of the text stand in the file, and that line with a caret below. Words that stand in no file count to
    /// what is before them.
    pub fn locate(&self, bytes: Range<usize>) -> (Place, String) {
        let following = self.pieces.partition_point(|piece| piece.start <= bytes.start);
        let piece = &self.pieces[following.saturating_sub(1)];
        let length = piece.scalar.len();
        let within = |byte: usize| byte.saturating_sub(piece.start).min(length);
        piece.scalar.locate(within(bytes.start)..within(bytes.end))
    }

    /// Where its first piece begins.
    pub(super) fn mark(&self) -> &Mark {
        self.pieces[0].scalar.mark()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)
    }
}
