//! Values in a text that a terminal shows: an attacker chose them.

use std::fmt::Write;

use super::FIELD_BYTES_MAX;

/// Stands at the end of what was cut.
const CUT_MARK: &str = "…";

/// At most [`FIELD_BYTES_MAX`]; what is not UTF-8 becomes U+FFFD.
pub(super) fn bounded_text(bytes: &[u8]) -> String {
    // One byte more than fits tells that something is cut.
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(FIELD_BYTES_MAX + 1)]).into_owned();
    cut(&mut text, FIELD_BYTES_MAX);
    text
}

/// Shortens to `bytes_max` at a character's boundary, the mark included.
pub(super) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - CUT_MARK.len()));
        text.push_str(CUT_MARK);
    }
}

/// Control characters as JSON writes them, and those that turn the reading direction.
pub(crate) fn push_escaped(output: &mut String, text: &str) {
    // Nearly every text is printable ASCII.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        output.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            '\u{8}' => output.push_str("\\b"),
            '\u{c}' => output.push_str("\\f"),
            c if c.is_control() || is_invisible(c) => {
                _ = write!(output, "\\u{:04x}", u32::from(c));
            }
            c => output.push(c),
        }
    }
}

/// Line and paragraph separators, and the controls of reading direction.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
