//! Characters → names, operators, literals.
//!
//! The language depends on context: `<` begins an operator after a field and a value after an operator (`<NA>`). So the
//! parser asks the [`Cursor`] for what it expects, instead of reading a list of tokens.

use std::ops::Range;

use crate::ast::Literal;
use crate::error::{Error, shown};

/// A place in the text.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(crate) fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(is_blank).len();
    }

    /// Steps over `character` where it is next.
    pub(crate) fn eat(&mut self, character: char) -> bool {
        let found = self.rest().starts_with(character);
        if found {
            self.at += character.len_utf8();
        }
        found
    }

    /// Steps over `length` bytes that the caller has looked at in [`Cursor::rest`].
    pub(crate) fn advance(&mut self, length: usize) {
        self.at += length;
    }

    /// Steps over `and`, `or` or `not` where it is next and ends there.
    pub(crate) fn eat_keyword(&mut self, keyword: &str) -> bool {
        let found = self
            .rest()
            .strip_prefix(keyword)
            .is_some_and(|after| after.chars().next().is_none_or(|next| is_blank(next) || next == '('));
        if found {
            self.at += keyword.len();
        }
        found
    }

    /// Letters, digits and underscores, beginning with a letter; empty where none are next.
    pub(crate) fn peek_word(&self) -> &'a str {
        word(self.rest())
    }

    /// Words joined with dots; empty where none is next.
    pub(crate) fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let mut length = word(rest).len();
        while length > 0
            && let Some(after) = rest[length..].strip_prefix('.')
            && !word(after).is_empty()
        {
            length += 1 + word(after).len();
        }
        self.at += length;
        &rest[..length]
    }

    /// The text between brackets after a field's name; `None` where no bracket is next.
    pub(crate) fn argument(&mut self) -> Result<Option<String>, Error> {
        if !self.eat('[') {
            return Ok(None);
        }
        let start = self.at;
        let argument = match self.quoted()? {
            Some(Literal { raw: Some(_), span, .. }) => return Err(Error::new(span, "an argument must be UTF-8 text")),
            Some(literal) => literal.text,
            None => self.take_while(|c| !matches!(c, '[' | ']' | '"' | '\'') && !is_space(c)).to_owned(),
        };
        refuse_nul(&argument, start..self.at)?;
        if argument.is_empty() || !self.eat(']') {
            let message = format!("expected an argument and `]`, found {}", self.found());
            return Err(Error::new(start..self.at.max(start + 1).min(self.text.len()), message));
        }
        Ok(Some(argument))
    }

    /// A quoted or bare string; `None` where neither is next.
    pub(crate) fn literal(&mut self) -> Result<Option<Literal>, Error> {
        if let Some(literal) = self.quoted()? {
            return Ok(Some(literal));
        }
        let start = self.at;
        let text = self.take_while(|c| !matches!(c, '(' | ')' | '"' | '\'' | '=' | ',') && !is_space(c));
        if text.is_empty() {
            return Ok(None);
        }
        refuse_nul(text, start..self.at)?;
        Ok(Some(Literal { text: text.to_owned(), raw: None, quoted: false, span: start..self.at }))
    }

    fn quoted(&mut self) -> Result<Option<Literal>, Error> {
        let start = self.at;
        let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            return Ok(None);
        };
        let body = &self.text[start + 1..];
        // The closing quote is the first without a backslash right before it: so `\\"` does not close either.
        let Some(length) =
            body.match_indices(quote).map(|(index, _)| index).find(|index| !body[..*index].ends_with('\\'))
        else {
            return Err(Error::new(start..self.text.len(), "this quoted string has no end"));
        };
        self.at = start + length + 2;
        let bytes = unescape(&body[..length], quote, start + 1)?;
        let (text, raw) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(error.into_bytes().into())),
        };
        refuse_nul(&text, start..self.at)?;
        Ok(Some(Literal { text, raw, quoted: true, span: start..self.at }))
    }

    /// A hexadecimal or decimal number; it ends where its own grammar does: `2and` is 2, then `and`. `None`: none is next.
    pub(crate) fn number(&mut self) -> Option<Literal> {
        let start = self.at;
        let length = number_length(self.rest().as_bytes())?;
        self.at += length;
        let text = self.text[start..self.at].to_owned();
        Some(Literal { text, raw: None, quoted: false, span: start..self.at })
    }

    fn take_while(&mut self, accepts: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|character| !accepts(character)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// What stands here, for errors.
    pub(crate) fn found(&self) -> String {
        match self.next_span() {
            span if span.is_empty() => "the end".to_owned(),
            span => shown(&self.text[span]),
        }
    }

    /// The next word or character; empty at the end.
    pub(crate) fn next_span(&self) -> Range<usize> {
        let rest = self.rest();
        let bare = rest.find(|c| matches!(c, '(' | ')' | '"' | '\'' | '=' | ',') || is_blank(c)).unwrap_or(rest.len());
        let length = if bare > 0 { bare } else { rest.chars().next().map_or(0, char::len_utf8) };
        self.at..self.at + length
    }

    /// An error about what stands here.
    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        Error::new(self.next_span(), message)
    }
}

/// `0x` and hexadecimal digits; or a sign, digits, a point, digits, an exponent with a sign.
fn number_length(text: &[u8]) -> Option<usize> {
    let run = |from: usize, accepts: fn(&u8) -> bool| text[from..].iter().take_while(|byte| accepts(byte)).count();
    if text.starts_with(b"0x") || text.starts_with(b"0X") {
        let digits = run(2, u8::is_ascii_hexdigit);
        if digits > 0 {
            return Some(2 + digits);
        }
    }
    let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let digits = run(sign, u8::is_ascii_digit);
    if digits == 0 {
        return None;
    }
    let mut length = sign + digits;
    if text.get(length) == Some(&b'.') {
        length += 1;
        length += run(length, u8::is_ascii_digit);
    }
    if matches!(text.get(length), Some(b'e' | b'E')) && matches!(text.get(length + 1), Some(b'+' | b'-')) {
        let exponent = run(length + 2, u8::is_ascii_digit);
        if exponent > 0 {
            length += 2 + exponent;
        }
    }
    Some(length)
}

/// Whether text can stand without quotes and mean itself.
pub(crate) fn is_bare(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| matches!(c, '(' | ')' | '"' | '\'' | '=' | ',') || is_space(c))
}

/// What ends a bare string.
fn is_space(character: char) -> bool {
    is_blank(character) || matches!(character, '\u{b}' | '\u{c}')
}

/// The language's white space; the backspace is Falco's.
pub(crate) fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{8}' | '\r' | '\n')
}

fn word(text: &str) -> &str {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return "";
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn refuse_nul(text: &str, span: Range<usize>) -> Result<(), Error> {
    if text.contains('\0') {
        return Err(Error::new(span, "a value cannot contain a NUL byte"));
    }
    Ok(())
}

/// Resolves the escapes of a quoted string that starts at byte `offset`.
fn unescape(body: &str, quote: char, offset: usize) -> Result<Vec<u8>, Error> {
    let mut result = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(index) = rest.find('\\') {
        result.extend_from_slice(&rest.as_bytes()[..index]);
        let at = offset + body.len() - rest.len() + index;
        let (value, length) = escape(&rest[index..], quote, at)?;
        result.push(value);
        rest = &rest[index + length..];
    }
    result.extend_from_slice(rest.as_bytes());
    Ok(result)
}

/// The byte that an escape at byte `offset` stands for, and the escape's length.
fn escape(text: &str, quote: char, offset: usize) -> Result<(u8, usize), Error> {
    let value = match text.chars().nth(1) {
        Some('b') => b'\x08',
        Some('f') => b'\x0c',
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('t') => b'\t',
        // A backslash before a blank is a backslash alone, as in Falco.
        Some(' ' | '\\') => b'\\',
        Some('/') => b'/',
        Some('x') => return Ok((hex_byte(&text[2..], offset)?, 4)),
        Some('"') if quote == '"' => b'"',
        Some('\'') if quote == '\'' => b'\'',
        _ => return Err(bad_escape(text, offset)),
    };
    Ok((value, 2))
}

/// The byte of `\xHH`.
fn hex_byte(digits: &str, offset: usize) -> Result<u8, Error> {
    digits
        .get(..2)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        .ok_or_else(|| Error::new(offset..offset + 2, "`\\x` takes two hexadecimal digits"))
}

fn bad_escape(text: &str, offset: usize) -> Error {
    let sequence: String = text.chars().take(2).collect();
    let span = offset..offset + sequence.len();
    let escaped: String = sequence.chars().skip(1).flat_map(char::escape_debug).collect();
    Error::new(span, format!("unsupported escape `\\{escaped}`; a backslash itself is written `\\\\`"))
}
