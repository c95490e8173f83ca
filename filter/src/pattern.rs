//! Patterns: fnmatch's globs, whole-text regular expressions, path prefixes.

use regex::{Regex, RegexBuilder, bytes};

/// Bytes of one compiled pattern.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// A glob as fnmatch(3) without flags takes it: `*` and `?` match slashes too, brackets hold sets, ranges and classes, a
/// backslash escapes. Bytewise.
pub(crate) fn glob(pattern: &str, ignore_case: bool) -> Result<bytes::Regex, String> {
    let expression = format!("\\A{}\\z", glob_to_regex(pattern.as_bytes()));
    bytes::RegexBuilder::new(&expression)
        .unicode(false)
        .dot_matches_new_line(true)
        .case_insensitive(ignore_case)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| format!("this glob does not compile: {}", last_line(&error)))
}

/// A regular expression over the whole text.
pub(crate) fn regex(pattern: &str) -> Result<Regex, String> {
    // Compiled alone first: `a)|(b` must not pair with the parentheses that are put around it.
    let build = |expression: &str| {
        RegexBuilder::new(expression)
            .size_limit(PATTERN_BYTES_MAX)
            .build()
            .map_err(|error| format!("this regular expression does not compile: {}", last_line(&error)))
    };
    build(pattern)?;
    build(&format!("\\A(?:{pattern})\\z"))
}

/// The regex crate draws the place over several lines and says what is wrong in the last.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn glob_to_regex(pattern: &[u8]) -> String {
    let mut result = String::new();
    let mut rest = pattern;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'*' => result.push_str(".*"),
            b'?' => result.push('.'),
            b'[' => match bracket(after) {
                Some((set, behind)) => {
                    result.push_str(&set);
                    rest = behind;
                }
                None => push_byte(&mut result, b'['),
            },
            b'\\' => {
                let (escaped, behind) = after.split_first().unwrap_or((&b'\\', &[]));
                push_byte(&mut result, *escaped);
                rest = behind;
            }
            other => push_byte(&mut result, *other),
        }
    }
    result
}

/// The set that begins behind a `[` and what follows it; `None` where the bracket is never closed and so is a literal.
fn bracket(mut rest: &[u8]) -> Option<(String, &[u8])> {
    let mut set = String::from("[");
    if let Some(after) = rest.strip_prefix(b"!").or_else(|| rest.strip_prefix(b"^")) {
        set.push('^');
        rest = after;
    }
    let mut first = true;
    loop {
        if !first && let Some(behind) = rest.strip_prefix(b"]") {
            set.push(']');
            return Some((set, behind));
        }
        first = false;
        if let Some((class, behind)) = class(rest) {
            set.push_str(class);
            rest = behind;
            continue;
        }
        let (low, behind) = set_byte(rest)?;
        rest = behind;
        push_byte(&mut set, low);
        if let Some(after) = rest.strip_prefix(b"-")
            && !after.starts_with(b"]")
        {
            let (high, behind) = set_byte(after)?;
            rest = behind;
            set.push('-');
            push_byte(&mut set, high.max(low));
        }
    }
}

/// One byte of a set, escaped or not.
fn set_byte(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (byte, behind) = rest.split_first()?;
    if *byte == b'\\' {
        let (escaped, behind) = behind.split_first()?;
        return Some((*escaped, behind));
    }
    Some((*byte, behind))
}

/// A class such as `[:digit:]`; the regex crate knows the same names.
fn class(rest: &[u8]) -> Option<(&'static str, &[u8])> {
    const CLASSES: [&str; 12] = [
        "[:alnum:]",
        "[:alpha:]",
        "[:blank:]",
        "[:cntrl:]",
        "[:digit:]",
        "[:graph:]",
        "[:lower:]",
        "[:print:]",
        "[:punct:]",
        "[:space:]",
        "[:upper:]",
        "[:xdigit:]",
    ];
    CLASSES.iter().find_map(|class| Some((*class, rest.strip_prefix(class.as_bytes())?)))
}

/// A byte that means itself, whatever it is.
fn push_byte(result: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() {
        result.push(char::from(byte));
    } else {
        const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        result.extend(['\\', 'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Paths, one of which must be the value or a directory above it. A component with `?`, `*` or `[` is a glob of its own.
#[derive(Debug, Clone)]
pub(crate) struct Paths(Vec<Vec<Component>>);

#[derive(Debug, Clone)]
enum Component {
    Name(Box<[u8]>),
    Glob(bytes::Regex),
}

impl Paths {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, path: &str) -> Result<(), String> {
        let components = path.split('/').filter(|component| !component.is_empty());
        let component = |component: &str| {
            if component.contains(['?', '*', '[']) {
                return glob(component, false).map(Component::Glob);
            }
            Ok(Component::Name(component.as_bytes().into()))
        };
        self.0.push(components.map(component).collect::<Result<_, _>>()?);
        Ok(())
    }

    pub(crate) fn contain(&self, value: &[u8]) -> bool {
        self.0.iter().any(|path| is_below(path, value))
    }
}

fn is_below(path: &[Component], value: &[u8]) -> bool {
    let mut components = value.split(|byte| *byte == b'/').filter(|component| !component.is_empty());
    path.iter().all(|wanted| {
        components.next().is_some_and(|component| match wanted {
            Component::Name(name) => **name == *component,
            Component::Glob(glob) => glob.is_match(component),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        glob(pattern, false).unwrap().is_match(text.as_bytes())
    }

    #[test]
    fn a_glob_is_fnmatch_without_flags() {
        for (pattern, text, expected) in [
            ("/etc/*", "/etc/a/b", true),
            ("/etc/*", "/etcx", false),
            ("*.pem", "a\nb.pem", true),
            ("p[a-p]thon?", "python3", false),
            ("p[!a-p]thon?", "python3", true),
            ("[[:digit:]]", "7", true),
            ("[]x]", "]", true),
            ("[x", "[x", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a+(b)", "a+(b)", true),
            ("é?", "éx", true),
            ("[z-a]", "z", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_regex_covers_the_whole_text() {
        assert!(!regex("pyth").unwrap().is_match("python"));
        assert!(regex("a|ab").unwrap().is_match("ab"));
        assert!(regex("(cat|ls)").unwrap().is_match("ls"));
        assert!(regex("a)|(b").is_err());
    }

    #[test]
    fn a_path_prefix_ends_at_a_slash() {
        for (path, value, expected) in [
            ("/etc", "/etc/shadow", true),
            ("/etc/", "/etc", true),
            ("/et", "/etc", false),
            ("/tmp/*/a.txt", "/tmp/x/a.txt", true),
            ("/", "/anything", true),
        ] {
            let mut paths = Paths::new();
            paths.push(path).unwrap();
            assert_eq!(paths.contain(value.as_bytes()), expected, "{path} {value}");
        }
    }
}
