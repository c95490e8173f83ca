//! Regular expressions: RE2's POSIX syntax, over the whole text, compiled by the regex crate.
//!
//! The crate's syntax is a superset in most places and another one in some: `[a&&b]` is an intersection there and three
//! characters here. So a pattern is translated, and on the way what POSIX syntax does not have (`\d`, `(?i)`, `*?`, `\Q…\E`)
//! is found: it is accepted all the same, and reported.

use std::fmt::Write;

use regex::{Regex, RegexBuilder};

use crate::error::shown;

/// Bytes that a compiled pattern may have: tried one after the other, so that its size is known to a step.
const SIZES: [usize; 4] = [32 * 1024, 256 * 1024, 2 * 1024 * 1024, 8 * 1024 * 1024];

/// Bytes that one pattern may remember of the texts it has seen.
const MEMORY_BYTES_MAX: usize = 512 * 1024;

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
pub(crate) fn compile(pattern: &str) -> Result<Compiled, Refused> {
    if pattern.len() > TEXT_BYTES_MAX {
        return Err(format!("it has {} bytes, at most {TEXT_BYTES_MAX} are taken", pattern.len()).into());
    }
    let translated = translate(pattern)?;
    let whole = format!("\\A(?:{})\\z", translated.text);
    let mut refused = String::new();
    for bytes in SIZES {
        let builder = &mut RegexBuilder::new(&whole);
        match builder.multi_line(true).size_limit(bytes).dfa_size_limit(MEMORY_BYTES_MAX).build() {
            Ok(regex) => return Ok(Compiled { regex, bytes }),
            Err(error @ regex::Error::CompiledTooBig(_)) => refused = reason(&error),
            Err(error) => return Err(reason(&error).into()),
        }
    }
    Err(Refused { reason: refused, is_too_large: true })
}

/// A pattern, and how many bytes it has at most.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    pub(crate) regex: Regex,
    pub(crate) bytes: usize,
}

/// Why a pattern is not compiled.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) reason: String,
    pub(crate) is_too_large: bool,
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self { reason, is_too_large: false }
    }
}

/// The crate draws the place over several lines and says what is wrong in the last.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    format!("it does not compile: {reason}")
}

pub(crate) fn translate(pattern: &str) -> Result<Translated, String> {
    let mut translation =
        Translation { rest: pattern, text: String::with_capacity(pattern.len()), widened: Vec::new(), groups: 0 };
    while !translation.rest.is_empty() {
        translation.step()?;
    }
    if translation.groups > 0 {
        return Err("a group is not closed".to_owned());
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
    /// Those that are open.
    groups: usize,
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
            // The pattern must not pair with the parentheses that are put around it: `a)|(b`.
            Some(')') => {
                self.groups = self.groups.checked_sub(1).ok_or("a group is closed that is not open")?;
                self.text.push(')');
                Ok(())
            }
            Some('{') if !begins_repetition(self.rest) => {
                push_literal(&mut self.text, '{');
                Ok(())
            }
            Some('(') => {
                self.groups += 1;
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
            '0'..='7' => return self.octal(escaped),
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

    /// `\0`, or up to three octal digits; one alone would be a reference to a group, of which RE2 has none.
    fn octal(&mut self, first: char) -> Result<(), String> {
        let more = self.rest.bytes().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
        if first != '0' && more == 0 {
            return Err(format!("there is no reference to a group: `\\{first}`"));
        }
        let digits = format!("{first}{}", &self.rest[..more]);
        self.rest = &self.rest[more..];
        let code = u32::from_str_radix(&digits, 8).unwrap_or_default();
        _ = write!(self.text, "\\x{{{code:x}}}");
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
                        return Err(format!("there is no class {}", shown(&format!("[:{name}:]"))));
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

/// Whether `{` is followed by a count: `3}`, `3,}` or `3,5}`. Else it stands for itself.
fn begins_repetition(rest: &str) -> bool {
    let Some((counts, _)) = rest.split_once('}') else { return false };
    let (least, most) = counts.split_once(',').unwrap_or((counts, ""));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number(least) && (most.is_empty() || is_number(most))
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
            ("[$]{jndi:.*", "${jndi:ldap", true),
            ("a{", "a{", true),
            ("a{b}", "a{b}", true),
            ("a{,3}", "a{,3}", true),
            (r"\101\0", "A\0", true),
            ("(/[^/]{1,255}){1,4}", "/etc/shadow", true),
            (".{0,1000}foo.{0,1000}bar", "a foo and a bar", true),
            ("é+", "éé", true),
        ] {
            let compiled = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {}", error.reason));
            assert_eq!(compiled.regex.is_match(text), expected, "{pattern} {text:?}");
        }
    }

    #[test]
    fn what_is_broken_or_too_large_is_refused() {
        for pattern in ["a)|(b", "[a", "a\\", "[[:nosuch:]]", "*", "(", "((a{1000}){1000}){1000}", r"\1", "a)"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert!(compile(&"a".repeat(TEXT_BYTES_MAX + 1)).unwrap_err().reason.contains("8192"));
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
