//! Tests of one text.

use aho_corasick::AhoCorasick;
use memchr::memmem;
use rustc_hash::FxHashSet;

use super::Order;
use crate::pattern::glob::Glob;
use crate::pattern::paths::Paths;
use crate::pattern::regex::Compiled;
use crate::scratch::Scratch;

#[derive(Debug, Clone)]
pub(crate) enum TextTest {
    Equal(Box<[u8]>),
    NotEqual(Box<[u8]>),
    In(FxHashSet<Box<[u8]>>),
    NotIn(FxHashSet<Box<[u8]>>),
    Order(Order, Box<[u8]>),
    Contains(Box<memmem::Finder<'static>>),
    /// The text in lower case.
    IContains(Box<[u8]>),
    StartsWith(Box<[u8]>),
    EndsWith(Box<[u8]>),
    Glob(Glob),
    Regex(Compiled),
    Paths(Paths),
    /// Several of the above, one of which is enough.
    AnyOf(Box<Alternatives>),
}

/// What many comparisons of one text come down to: one look-up for each kind of comparison.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alternatives {
    pub(crate) equal: FxHashSet<Box<[u8]>>,
    pub(crate) starts: Affixes,
    /// Written backwards.
    pub(crate) ends: Affixes,
    pub(crate) contains: Option<Words>,
    pub(crate) icontains: Option<Words>,
    pub(crate) others: Vec<TextTest>,
}

/// Texts that are looked for all at once.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    finder: AhoCorasick,
    /// Those that it looks for.
    texts: Box<[Box<[u8]>]>,
}

impl Words {
    /// `None`: there are none, or no automaton can be built of them.
    pub(crate) fn new(texts: &[Box<[u8]>], ignore_case: bool) -> Option<Self> {
        let finder = AhoCorasick::builder().ascii_case_insensitive(ignore_case).build(texts).ok()?;
        (!texts.is_empty()).then(|| Self { finder, texts: texts.into() })
    }

    pub(crate) fn texts(&self) -> &[Box<[u8]>] {
        &self.texts
    }

    fn is_in(&self, text: &[u8]) -> bool {
        self.finder.is_match(text)
    }
}

/// Beginnings of texts, sorted, none of which begins with another: so at most one can be a text's beginning, and it is the
/// last that is not greater than the text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Affixes(Vec<Box<[u8]>>);

impl Affixes {
    pub(crate) fn new(mut affixes: Vec<Box<[u8]>>) -> Self {
        affixes.sort_unstable();
        let mut kept: Vec<Box<[u8]>> = Vec::with_capacity(affixes.len());
        for affix in affixes {
            if !kept.last().is_some_and(|shorter| affix.starts_with(shorter)) {
                kept.push(affix);
            }
        }
        Self(kept)
    }

    pub(crate) fn texts(&self) -> &[Box<[u8]>] {
        &self.0
    }

    pub(crate) fn begin(&self, text: &[u8]) -> bool {
        let not_greater = self.0.partition_point(|affix| **affix <= *text);
        not_greater.checked_sub(1).is_some_and(|index| text.starts_with(&self.0[index]))
    }

    /// The same for affixes written backwards.
    fn end(&self, text: &[u8]) -> bool {
        let not_greater = self.0.partition_point(|affix| affix.iter().le(text.iter().rev()));
        not_greater.checked_sub(1).is_some_and(|index| {
            let affix = &self.0[index];
            affix.len() <= text.len() && affix.iter().eq(text.iter().rev().take(affix.len()))
        })
    }
}

impl TextTest {
    pub(crate) fn accepts(&self, text: &[u8], scratch: &mut Scratch) -> bool {
        match self {
            Self::Equal(other) => **other == *text,
            Self::NotEqual(other) => **other != *text,
            Self::In(texts) => texts.contains(text),
            Self::NotIn(texts) => !texts.contains(text),
            Self::Order(order, other) => order.accepts(text.cmp(other)),
            Self::Contains(finder) => finder.find(text).is_some(),
            Self::IContains(lower) => contains_ignoring_case(text, lower),
            Self::StartsWith(start) => text.starts_with(start),
            Self::EndsWith(end) => text.ends_with(end),
            Self::Glob(glob) => glob.matches(text),
            Self::Regex(pattern) => scratch.with_utf8(text, |text| pattern.regex.is_match(text)).unwrap_or(false),
            Self::Paths(paths) => paths.contain(text),
            Self::AnyOf(alternatives) => alternatives.accept(text, scratch),
        }
    }

    /// One element is enough, except for `!=`, which holds where no element is equal.
    pub(crate) fn accepts_list(&self, list: &[String], scratch: &mut Scratch) -> bool {
        match self {
            Self::NotEqual(_) | Self::NotIn(_) => list.iter().all(|element| self.accepts(element.as_bytes(), scratch)),
            _ => list.iter().any(|element| self.accepts(element.as_bytes(), scratch)),
        }
    }
}

impl Alternatives {
    fn accept(&self, text: &[u8], scratch: &mut Scratch) -> bool {
        !self.equal.is_empty() && self.equal.contains(text)
            || self.starts.begin(text)
            || self.ends.end(text)
            || self.contains.as_ref().is_some_and(|words| words.is_in(text))
            || self.icontains.as_ref().is_some_and(|words| words.is_in(text))
            || self.others.iter().any(|test| test.accepts(text, scratch))
    }
}

pub(crate) fn contains_ignoring_case(text: &[u8], lower: &[u8]) -> bool {
    lower.is_empty() || text.windows(lower.len()).any(|window| window.eq_ignore_ascii_case(lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn affixes(texts: &[&str]) -> Affixes {
        Affixes::new(texts.iter().map(|text| text.as_bytes().into()).collect())
    }

    #[test]
    fn one_of_many_beginnings_is_found() {
        let starts = affixes(&["/etc/", "/usr/bin", "/usr", "/home/", "x"]);
        for (text, expected) in [
            ("/etc/shadow", true),
            ("/etc", false),
            ("/usr/lib", true),
            ("/var", false),
            ("x", true),
            ("", false),
            ("zz", false),
        ] {
            assert_eq!(starts.begin(text.as_bytes()), expected, "{text}");
        }
        assert!(affixes(&[""]).begin(b"anything") && !affixes(&[]).begin(b"anything"));
    }

    #[test]
    fn one_of_many_ends_is_found() {
        let ends = affixes(&["mep.", "s", "zg.rat."]);
        for (text, expected) in
            [("key.pem", true), ("a.tar.gz", true), ("pem", false), ("ls", true), ("", false), ("em", false)]
        {
            assert_eq!(ends.end(text.as_bytes()), expected, "{text}");
        }
    }
}
