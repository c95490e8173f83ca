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

    /// Where bytes of the text stand in the file, and that line with a caret below. Where they stand in no file as they
    /// are: where the scalar begins.
    pub(super) fn locate(&self, bytes: Range<usize>) -> (Place, String) {
        match self.in_file(bytes) {
            Some(bytes) => self.mark.locate_bytes(bytes),
            None => self.mark.locate(),
        }
    }

    /// The bytes of the file that stand for these of the text: folding changes only white space, so the two agree in
    /// their other characters once escapes are read. At the text's end: behind its last character.
    fn in_file(&self, bytes: Range<usize>) -> Option<Range<usize>> {
        let visible = |text: &str| text.chars().filter(|character| !character.is_whitespace()).count();
        let before = visible(self.value.get(..bytes.start)?);
        let at_end = visible(&self.value) == before;
        let first = if at_end { before.checked_sub(1)? } else { before };
        let more = visible(self.value.get(bytes).unwrap_or_default()).saturating_sub(1);
        let mut written = self.written()?.skip(first);
        let (start, found) = written.next()?;
        if self.value.chars().filter(|character| !character.is_whitespace()).nth(first) != Some(found) {
            return None;
        }
        if at_end {
            return Some(start.end..start.end);
        }
        let end = if more == 0 { start.end } else { written.nth(more - 1)?.0.end };
        Some(start.start..end)
    }

    /// The characters of the text without white space, each with the bytes of the file that it is written as.
    fn written(&self) -> Option<impl Iterator<Item = (Range<usize>, char)>> {
        let style = self.style;
        let text = self.mark.source().text();
        let written = without_properties(&text[self.mark.offset()..]);
        let start = text.len() - written.len();
        let skipped = match style {
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
            // The header line of a block, where the mark is on it.
            ScalarStyle::Literal | ScalarStyle::Folded if written.starts_with(['|', '>']) => written.find('\n')?,
            _ => 0,
        };
        let mut rest = written.get(skipped..)?;
        let mut offset = start + skipped;
        let characters = std::iter::from_fn(move || {
            let (character, length) = first_character(rest, style)?;
            rest = rest.get(length..)?;
            offset += length;
            Some((offset - length..offset, character))
        });
        Some(characters.filter(|(_, character)| !character.is_whitespace()))
    }
}

/// What is written behind the anchor and the tag of a value.
fn without_properties(mut written: &str) -> &str {
    while written.starts_with(['&', '!']) {
        written = written.trim_start_matches(|character: char| !character.is_whitespace()).trim_start();
    }
    written
}

/// The first character of a text that is written like this, and how many bytes it takes as written.
fn first_character(written: &str, style: ScalarStyle) -> Option<(char, usize)> {
    match style {
        ScalarStyle::SingleQuoted if written.starts_with("''") => Some(('\'', 2)),
        ScalarStyle::DoubleQuoted if written.starts_with('\\') => {
            escaped(&written[1..]).map(|(character, length)| (character, length + 1))
        }
        _ => written.chars().next().map(|character| (character, character.len_utf8())),
    }
}

/// The character that stands behind the backslash of a YAML text in double quotes, and how many bytes it takes.
fn escaped(written: &str) -> Option<(char, usize)> {
    let letter = written.chars().next()?;
    let character = match letter {
        'x' => return numbered(written, 2),
        'u' => return numbered(written, 4),
        'U' => return numbered(written, 8),
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'e' => '\u{1b}',
        // White space of one kind or the other.
        't' | 'n' | 'v' | 'f' | 'r' | 'N' | '_' | 'L' | 'P' => ' ',
        // Itself: a quote, a backslash, a slash, a blank, or the end of a line that goes on.
        other => other,
    };
    Some((character, letter.len_utf8()))
}

/// The character whose number stands behind a letter, in so many hexadecimal digits.
fn numbered(written: &str, digits: usize) -> Option<(char, usize)> {
    let number = u32::from_str_radix(written.get(1..=digits)?, 16).ok()?;
    Some((char::from_u32(number)?, digits + 1))
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
