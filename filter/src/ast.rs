//! The syntax tree. Every node knows the bytes it was written in.

use std::ops::Range;

/// A condition or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub node: Node,
    /// Bytes of the text that [`crate::parse`] was given.
    pub span: Range<usize>,
    /// Levels below and including this one; bounded by [`crate::DEPTH_MAX`].
    pub(crate) height: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Two or more, in order.
    And(Vec<Expr>),
    /// Two or more, in order.
    Or(Vec<Expr>),
    Not(Box<Expr>),
    /// An identifier on its own: a macro.
    Macro(String),
    Check(Check),
}

/// One comparison: field, operator, literals.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    pub field: FieldName,
    pub operator: Operator,
    pub operator_span: Range<usize>,
    /// Empty for `exists`, one for operators that take one value, any number for those that take a list.
    pub literals: Vec<Literal>,
}

/// A field as written: `proc.aname[2]` has the name `proc.aname` and the argument `2`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldName {
    pub name: String,
    pub argument: Option<String>,
    pub span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Literal {
    /// Without quotes and escapes.
    pub text: String,
    /// Quoted text is never the name of a list.
    pub quoted: bool,
    pub span: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Exists,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
    IContains,
    StartsWith,
    EndsWith,
    Glob,
    IGlob,
    Regex,
    In,
    Intersects,
    PathMatch,
}

impl Operator {
    /// The operators that are words; the others are signs.
    const WORDS: [(&'static str, Self); 11] = [
        ("exists", Self::Exists),
        ("contains", Self::Contains),
        ("icontains", Self::IContains),
        ("startswith", Self::StartsWith),
        ("endswith", Self::EndsWith),
        ("glob", Self::Glob),
        ("iglob", Self::IGlob),
        ("regex", Self::Regex),
        ("in", Self::In),
        ("intersects", Self::Intersects),
        ("pmatch", Self::PathMatch),
    ];

    /// Longer signs before those they begin with.
    const SIGNS: [(&'static str, Self); 7] = [
        ("<=", Self::LessOrEqual),
        ("<", Self::Less),
        (">=", Self::GreaterOrEqual),
        (">", Self::Greater),
        ("==", Self::Equal),
        ("=", Self::Equal),
        ("!=", Self::NotEqual),
    ];

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, operator)| *operator)
    }

    /// The operator that the text begins with, and the length of its sign.
    pub(crate) fn from_sign(text: &str) -> Option<(Self, usize)> {
        Self::SIGNS.iter().find(|(sign, _)| text.starts_with(sign)).map(|(sign, operator)| (*operator, sign.len()))
    }

    /// Every operator's text, for errors.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Self::SIGNS.iter().chain(&Self::WORDS).map(|(name, _)| *name)
    }

    pub fn name(self) -> &'static str {
        // `==` stands before `=` above, `=` is what people write.
        if self == Self::Equal {
            return "=";
        }
        Self::SIGNS.iter().chain(&Self::WORDS).find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }

    /// Whether a list in parentheses (or a list's name) follows.
    pub(crate) fn takes_list(self) -> bool {
        matches!(self, Self::In | Self::Intersects | Self::PathMatch)
    }
}
