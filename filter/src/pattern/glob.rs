//! Globs as fnmatch(3) without flags takes them: `*` and `?` match slashes and leading dots too, brackets hold sets, ranges
//! and classes, a backslash escapes. Bytewise. The crates for globs are about paths and treat a slash otherwise.

use std::ops::Range;

use memchr::memmem;

/// Brackets without an end that are looked for one; those behind them are literals at once.
const UNCLOSED_MAX: usize = 64;

/// A glob, as the operator `glob` takes them, taken apart.
#[derive(Debug, Clone, Default)]
pub struct Glob {
    tokens: Vec<Token>,
    /// What stars look for.
    literals: Vec<u8>,
    /// ASCII letters match both cases; the tokens hold lower case.
    ignore_case: bool,
}

#[derive(Debug, Clone)]
enum Token {
    Byte(u8),
    Any,
    /// With the bytes that stand right behind it, as a range of the literals.
    Star(Range<usize>),
    /// One bit for each byte.
    Set([u64; 4]),
}

impl Glob {
    pub fn new(pattern: &[u8], ignore_case: bool) -> Self {
        let mut glob = Self::default();
        glob.reset(pattern, ignore_case);
        glob
    }

    /// Becomes another glob in the room of this one.
    pub(crate) fn reset(&mut self, pattern: &[u8], ignore_case: bool) {
        self.ignore_case = ignore_case;
        self.tokens.clear();
        self.literals.clear();
        let mut rest = pattern;
        let mut unclosed = 0;
        while let Some((first, after)) = rest.split_first() {
            let (token, behind) = match first {
                b'[' if unclosed < UNCLOSED_MAX => set(after, ignore_case).map_or_else(
                    || {
                        unclosed += 1;
                        (Token::Byte(b'['), after)
                    },
                    |(bits, behind)| (Token::Set(bits), behind),
                ),
                _ => token(*first, after, ignore_case),
            };
            rest = behind;
            if !matches!((&token, self.tokens.last()), (Token::Star(_), Some(Token::Star(_)))) {
                self.tokens.push(token);
            }
        }
        for index in 0..self.tokens.len() {
            let (before, behind) = self.tokens.split_at_mut(index + 1);
            if let Some(Token::Star(literal)) = before.last_mut() {
                let start = self.literals.len();
                self.literals.extend(behind.iter().map_while(|token| match token {
                    Token::Byte(byte) => Some(*byte),
                    _ => None,
                }));
                *literal = start..self.literals.len();
            }
        }
    }

    /// Whether the whole text matches. Takes at most the product of both lengths in steps, and mostly their sum.
    pub fn matches(&self, text: &[u8]) -> bool {
        let (mut token, mut byte) = (0, 0);
        // The last star, and from which byte on it is tried again.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let from = match self.tokens.get(token) {
                Some(Token::Star(_)) => Some((token, byte)),
                Some(single) if text.get(byte).is_some_and(|byte| self.accepts(single, *byte)) => {
                    token += 1;
                    byte += 1;
                    None
                }
                None if byte == text.len() => return true,
                _ if retry.is_some() => retry,
                _ => return false,
            };
            if let Some((star, from)) = from {
                let Some(found) = self.next_place(star, text, from) else { return false };
                retry = Some((star, found + 1));
                (token, byte) = (star + 1, found);
            }
        }
    }

    /// The first byte from `from` on where what stands behind the star may begin.
    fn next_place(&self, star: usize, text: &[u8], from: usize) -> Option<usize> {
        let rest = text.get(from..)?;
        match self.tokens.get(star) {
            Some(Token::Star(literal)) if !literal.is_empty() && !self.ignore_case => {
                memmem::find(rest, &self.literals[literal.clone()]).map(|offset| from + offset)
            }
            _ => Some(from),
        }
    }

    pub(crate) fn ignores_case(&self) -> bool {
        self.ignore_case
    }

    /// Whether only the text itself matches.
    pub(crate) fn is_literal(&self) -> bool {
        self.tokens.iter().all(|token| matches!(token, Token::Byte(_)))
    }

    /// Whether the first of the literals begins every text that matches.
    pub(crate) fn begins_literally(&self) -> bool {
        matches!(self.tokens.first(), Some(Token::Byte(_)))
    }

    /// The runs of bytes that every text that matches holds, in order; where case does not count, in lower case.
    pub(crate) fn literals(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let runs = self.tokens.split(|token| !matches!(token, Token::Byte(_)));
        let bytes = |token: &Token| match token {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        };
        runs.map(move |run| run.iter().filter_map(bytes).collect()).filter(|run: &Vec<u8>| !run.is_empty())
    }

    fn accepts(&self, token: &Token, byte: u8) -> bool {
        let byte = if self.ignore_case { byte.to_ascii_lowercase() } else { byte };
        match token {
            Token::Byte(wanted) => *wanted == byte,
            Token::Any | Token::Star(_) => true,
            Token::Set(bits) => contains(bits, byte),
        }
    }
}

fn contains(bits: &[u64; 4], byte: u8) -> bool {
    bits[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
}

fn insert(bits: &mut [u64; 4], byte: u8) {
    bits[usize::from(byte / 64)] |= 1 << (byte % 64);
}

/// The token that begins with `first`, and what follows it. A bracket is here one that is never closed.
fn token(first: u8, after: &[u8], ignore_case: bool) -> (Token, &[u8]) {
    let byte = |byte: u8| Token::Byte(if ignore_case { byte.to_ascii_lowercase() } else { byte });
    match first {
        b'*' => (Token::Star(0..0), after),
        b'?' => (Token::Any, after),
        b'\\' => match after.split_first() {
            Some((escaped, behind)) => (byte(*escaped), behind),
            None => (Token::Byte(b'\\'), after),
        },
        other => (byte(other), after),
    }
}

/// The set that begins behind a `[`; `None` where it is never closed.
fn set(mut rest: &[u8], ignore_case: bool) -> Option<([u64; 4], &[u8])> {
    let mut bits = [0; 4];
    let mut add = |byte: u8| insert(&mut bits, if ignore_case { byte.to_ascii_lowercase() } else { byte });
    let negated = rest.strip_prefix(b"!").or_else(|| rest.strip_prefix(b"^"));
    rest = negated.unwrap_or(rest);
    let mut first = true;
    loop {
        if !first && let Some(behind) = rest.strip_prefix(b"]") {
            return Some((if negated.is_some() { bits.map(|word| !word) } else { bits }, behind));
        }
        first = false;
        if let Some((is_in, behind)) = class(rest) {
            (0..=u8::MAX).filter(is_in).for_each(&mut add);
            rest = behind;
            continue;
        }
        let (low, behind) = set_byte(rest)?;
        rest = behind;
        let mut high = low;
        if let Some(after) = rest.strip_prefix(b"-")
            && !after.starts_with(b"]")
        {
            (high, rest) = set_byte(after)?;
        }
        // A range that runs backwards holds nothing.
        (low..=high).for_each(&mut add);
    }
}

/// One byte of a set, escaped or not.
fn set_byte(rest: &[u8]) -> Option<(u8, &[u8])> {
    match rest.split_first()? {
        (b'\\', behind) => behind.split_first().map(|(escaped, behind)| (*escaped, behind)),
        (byte, behind) => Some((*byte, behind)),
    }
}

type IsIn = fn(&u8) -> bool;

/// A class such as `[:digit:]`.
fn class(rest: &[u8]) -> Option<(IsIn, &[u8])> {
    const CLASSES: [(&str, IsIn); 12] = [
        ("[:alnum:]", u8::is_ascii_alphanumeric),
        ("[:alpha:]", u8::is_ascii_alphabetic),
        ("[:blank:]", |byte| matches!(byte, b' ' | b'\t')),
        ("[:cntrl:]", u8::is_ascii_control),
        ("[:digit:]", u8::is_ascii_digit),
        ("[:graph:]", u8::is_ascii_graphic),
        ("[:lower:]", u8::is_ascii_lowercase),
        ("[:print:]", |byte| matches!(byte, b' '..=b'~')),
        ("[:punct:]", u8::is_ascii_punctuation),
        ("[:space:]", |byte| matches!(byte, b'\t'..=b'\r' | b' ')),
        ("[:upper:]", u8::is_ascii_uppercase),
        ("[:xdigit:]", u8::is_ascii_hexdigit),
    ];
    CLASSES.iter().find_map(|(name, is_in)| Some((*is_in, rest.strip_prefix(name.as_bytes())?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_fnmatch_without_flags() {
        for (pattern, text, expected) in [
            ("/etc/*", "/etc/a/b", true),
            ("/etc/*", "/etcx", false),
            ("*.pem", "a\nb.pem", true),
            ("*a*b*c", "xxaxxbxxbxxc", true),
            ("*a*b*c", "xxaxxbxxbxx", false),
            ("p[a-p]thon?", "python3", false),
            ("p[!a-p]thon?", "python3", true),
            ("[[:digit:]]", "7", true),
            ("[[:digit:]x]", "x", true),
            ("[]x]", "]", true),
            ("[!]]", "]", false),
            ("[x", "[x", true),
            ("[a-]", "-", true),
            ("[\\]]", "]", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\", "a\\", true),
            ("a+(b)", "a+(b)", true),
            ("é?", "éx", true),
            ("[z-a]", "z", false),
            ("", "", true),
            ("", "x", false),
            ("*", "", true),
        ] {
            assert_eq!(Glob::new(pattern.as_bytes(), false).matches(text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn case_may_not_count() {
        for (pattern, text, expected) in
            [("ABC*", "abcd", true), ("[A-C]x", "bX", true), ("[!a]", "A", false), ("É", "é", false)]
        {
            assert_eq!(Glob::new(pattern.as_bytes(), true).matches(text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let glob = Glob::new("*a".repeat(50).as_bytes(), false);
        assert!(!glob.matches(&[b'a'; 49]) && glob.matches(&[b'a'; 5_000]));
    }

    #[test]
    fn many_open_brackets_take_no_quadratic_time() {
        let brackets = [b"[".repeat(1 << 16), b"\\]".to_vec()].concat();
        assert!(Glob::new(&brackets, false).matches(&[b"[".repeat(1 << 16), b"]".to_vec()].concat()));
    }
}
