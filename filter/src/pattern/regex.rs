//! Regular expressions: RE2's POSIX syntax, over the whole text, compiled by the regex crate.
//!
//! The crate's syntax is a superset in most places and another one in some: `[a&&b]` is an intersection there and three
//! characters here. So a pattern is translated, and on the way what POSIX syntax does not have (`\d`, `(?i)`, `*?`, `\Q…\E`)
//! is found: it is accepted all the same, and reported.

use std::fmt::Write;

use regex::{Regex, RegexBuilder};

/// Bytes of one compiled pattern.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one pattern's text.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// The names that stand between `[:` and `:]`.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// A pattern in the regex crate's syntax.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Translated {
    pub(crate) text: String,
    /// The parts that are not in POSIX syntax, each once.
    pub(crate) widened: Vec<String>,
}

/// A regular expression that must match the whole text. Lines count for `^` and `$`, as in RE2's POSIX syntax.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > TEXT_BYTES_MAX {
        return Err(format!("it has {} bytes, at most {TEXT_BYTES_MAX} are taken", pattern.len()));
    }
    let translated = translate(pattern)?;
    // Compiled alone first: `a)|(b` must not pair with the parentheses that are put around it.
    build(&translated.text)?;
    build(&format!("\\A(?:{})\\z", translated.text))
}

fn build(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression).multi_line(true).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| {
        // The crate draws the place over several lines and says what is wrong in the last.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("it does not compile: {reason}")
    })
}

pub(crate) fn translate(pattern: &str) -> Result<Translated, String> {
    let mut translation =
        Translation { rest: pattern, text: String::with_capacity(pattern.len()), widened: Vec::new() };
    while !translation.rest.is_empty() {
        translation.step()?;
    }
    Ok(Translated { text: translation.text, widened: translation.widened })
}

/// What the pattern comes down to, where one of the simpler operators does the same (or nearly: `.+` wants a character).
pub(crate) fn simpler(pattern: &str) -> Option<String> {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let pattern = pattern.strip_suffix('$').unwrap_or(pattern);
    let behind = pattern.strip_prefix(".*").or_else(|| pattern.strip_prefix(".+"));
    let rest = behind.unwrap_or(pattern);
    let before = rest.strip_suffix(".*").or_else(|| rest.strip_suffix(".+"));
    let plain = before.unwrap_or(rest);
    let operator = match (behind.is_some(), before.is_some()) {
        (false, false) => "=",
        (false, true) => "startswith",
        (true, false) => "endswith",
        (true, true) => "contains",
    };
    let is_plain = !plain.is_empty() && !plain.contains(|c: char| r"\.+*?()|[]{}^$".contains(c));
    is_plain.then(|| format!("{operator} {plain}"))
}

struct Translation<'a> {
    rest: &'a str,
    text: String,
    widened: Vec<String>,
}

impl Translation<'_> {
    fn take(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn widen(&mut self, part: &str) {
        if !self.widened.iter().any(|known| known == part) {
            self.widened.push(part.to_owned());
        }
    }

    /// One character, escape, set or repetition.
    fn step(&mut self) -> Result<(), String> {
        match self.take() {
            Some('\\') => self.escape(),
            Some('[') => self.set(),
            Some('(') => {
                self.text.push('(');
                if self.rest.starts_with('?') {
                    let end = self.rest.find([':', ')', '>']).map_or(self.rest.len(), |end| end + 1);
                    let part = format!("({}", &self.rest[..end]);
                    self.widen(&part);
                }
                Ok(())
            }
            Some(repetition @ ('*' | '+' | '?' | '}')) => {
                self.text.push(repetition);
                if self.rest.starts_with('?') && self.text.len() > 1 && !self.text.ends_with("(?") {
                    let part = format!("{repetition}?");
                    self.widen(&part);
                }
                Ok(())
            }
            Some(other) => {
                self.text.push(other);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What follows a backslash outside of brackets.
    fn escape(&mut self) -> Result<(), String> {
        let Some(escaped) = self.take() else {
            return Err("it ends with a backslash".to_owned());
        };
        match escaped {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                self.widen(&format!("\\{escaped}"));
                self.text.push_str(perl_class(escaped));
            }
            'b' | 'B' => {
                self.widen(&format!("\\{escaped}"));
                _ = write!(self.text, "(?-u:\\{escaped})");
            }
            'A' | 'z' | 'p' | 'P' => {
                self.widen(&format!("\\{escaped}"));
                self.text.push('\\');
                self.text.push(escaped);
            }
            'Q' => {
                self.widen("\\Q");
                let (quoted, after) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                self.text.push_str(&regex::escape(quoted));
                self.rest = after;
            }
            other => self.character(other),
        }
        Ok(())
    }

    /// An escaped character that stands for one character, in brackets or not.
    fn character(&mut self, escaped: char) {
        if escaped.is_ascii_punctuation() {
            // A backslash makes some of these an operator of the crate's (`\<`).
            push_literal(&mut self.text, escaped);
        } else {
            self.text.push('\\');
            self.text.push(escaped);
        }
    }

    /// What follows an opening bracket.
    fn set(&mut self) -> Result<(), String> {
        self.text.push('[');
        if let Some(after) = self.rest.strip_prefix('^') {
            self.text.push('^');
            self.rest = after;
        }
        let mut first = true;
        loop {
            let Some(next) = self.take() else {
                return Err("a `[` is never closed".to_owned());
            };
            match next {
                ']' if !first => {
                    self.text.push(']');
                    return Ok(());
                }
                '[' if self.rest.starts_with(':') => {
                    let end = self.rest.find(":]").ok_or("a `[:` is never closed")?;
                    let name = &self.rest[1..end.max(1)];
                    if !CLASSES.contains(&name.trim_start_matches('^')) {
                        return Err(format!("there is no class `[:{name}:]`"));
                    }
                    _ = write!(self.text, "[:{name}:]");
                    self.rest = &self.rest[end + 2..];
                }
                '\\' => self.escape_in_set()?,
                // Between two characters a range, else itself: the crate agrees, except for two in a row.
                '-' if !self.rest.starts_with('-') => self.text.push('-'),
                other if other.is_ascii_punctuation() => push_literal(&mut self.text, other),
                other => self.text.push(other),
            }
            first = false;
        }
    }

    fn escape_in_set(&mut self) -> Result<(), String> {
        match self.take() {
            Some(class @ ('d' | 'D' | 's' | 'S' | 'w' | 'W')) => {
                self.widen(&format!("\\{class}"));
                self.text.push_str(perl_class(class));
            }
            Some(property @ ('p' | 'P')) => {
                self.widen(&format!("\\{property}"));
                self.text.push('\\');
                self.text.push(property);
            }
            Some(other) => self.character(other),
            None => return Err("it ends with a backslash".to_owned()),
        }
        Ok(())
    }
}

/// The ASCII class of `\d` and its like, as a set of its own.
fn perl_class(letter: char) -> &'static str {
    match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'w' => "[0-9A-Za-z_]",
        _ => "[^0-9A-Za-z_]",
    }
}

fn push_literal(text: &mut String, character: char) {
    _ = write!(text, "\\x{:02x}", u32::from(character));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regex_covers_the_whole_text() {
        for (pattern, text, expected) in [
            ("pyth", "python", false),
            ("a|ab", "ab", true),
            ("(cat|ls)", "ls", true),
            ("[a&&b]+", "&ab", true),
            ("[[a]+", "[a", true),
            ("[a~~b--]+", "~-", true),
            ("[]a]+", "]a", true),
            (r"[a\]]+", "a]", true),
            (r"\<\>\-\_", "<>-_", true),
            ("[[:alpha:]_]+", "a_", true),
            ("a$\n^b", "a\nb", true),
            (".", "\n", false),
            (r"\d+", "12", true),
            (r"\d+", "٣", false),
            (r"[\w-]+", "a-b", true),
            (r"[^\D]", "7", true),
            (r"\Qa.b\E+", "a.bb", true),
            ("(?i)ABC", "abc", true),
            ("a.*?b", "axxb", true),
            ("x{2,3}", "xxx", true),
            ("é+", "éé", true),
        ] {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), expected, "{pattern} {text:?}");
        }
    }

    #[test]
    fn what_is_broken_or_too_large_is_refused() {
        for pattern in ["a)|(b", "[a", "a\\", "[[:nosuch:]]", "*", "(", "((a{1000}){1000}){1000}"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert!(compile(&"a".repeat(TEXT_BYTES_MAX + 1)).unwrap_err().contains("8192"));
    }

    #[test]
    fn what_falco_would_refuse_is_reported() {
        for (pattern, expected) in [
            ("[a-z]+(x|y)?", &[][..]),
            (r"\d\d", &[r"\d"]),
            ("(?i)a", &["(?i)"]),
            ("(?:a)", &["(?:"]),
            ("a*?", &["*?"]),
            (r"\Qa\E\b", &[r"\Q", r"\b"]),
            (r"[\s]", &[r"\s"]),
            (r"\.\x41\n", &[]),
        ] {
            assert_eq!(translate(pattern).unwrap().widened, expected, "{pattern}");
        }
    }

    #[test]
    fn a_simpler_operator_is_named() {
        assert_eq!(simpler("cat").unwrap(), "= cat");
        assert_eq!(simpler("cat.*").unwrap(), "startswith cat");
        assert_eq!(simpler(".*cat").unwrap(), "endswith cat");
        assert_eq!(simpler(".*cat.*").unwrap(), "contains cat");
        assert_eq!(simpler("c.t"), None);
        assert_eq!(simpler(".*"), None);
    }
}
