//! The syntax tree. Every node knows the bytes it was written in.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// A condition or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub node: Node,
    /// Bytes of the text that [`crate::parse`] was given.
    pub span: Range<usize>,
    /// Levels below and including this one; bounded by [`crate::DEPTH_MAX`].
    pub(crate) height: usize,
    /// The macro whose condition the span is of, after [`crate::Scope::expand`]; `None`: the condition itself.
    pub(crate) origin: Option<Arc<str>>,
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
    /// Boxed, so that a tree's other nodes stay small on the stack of what walks over it.
    Check(Box<Check>),
}

impl Expr {
    /// Calls `see` for this part and every part below it, in the order of the text.
    pub fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a Self)) {
        see(self);
        match &self.node {
            Node::And(operands) | Node::Or(operands) => {
                for operand in operands {
                    operand.visit(see);
                }
            }
            Node::Not(operand) => operand.visit(see),
            Node::Macro(_) | Node::Check(_) => {}
        }
    }

    /// The names of macros in it; those within macros are not.
    pub fn macros(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        self.visit(&mut |expr| {
            if let Node::Macro(name) = &expr.node {
                names.insert(name.as_str());
            }
        });
        names
    }

    /// The fields in it, as they are written.
    pub fn fields(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.visit_checks(&mut |check| {
            names.extend(check.operands().flat_map(Operand::fields).map(ToString::to_string));
        });
        names
    }

    /// The operators in it, modifiers included: `startswith anyof`.
    pub fn operators(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.visit_checks(&mut |check| {
            names.insert(match &check.right {
                Right::Quantified(quantifier, _) => format!("{} {}", check.operator.name(), quantifier.name()),
                _ => check.operator.name().to_owned(),
            });
        });
        names
    }

    pub(crate) fn visit_checks<'a>(&'a self, see: &mut dyn FnMut(&'a Check)) {
        self.visit(&mut |expr| {
            if let Node::Check(check) = &expr.node {
                see(check);
            }
        });
    }
}

impl Check {
    /// What is compared, and what it is compared with where that has a value of its own.
    pub fn operands(&self) -> impl Iterator<Item = &Operand> {
        let right = match &self.right {
            Right::Operand(operand) => Some(operand),
            _ => None,
        };
        std::iter::once(&self.left).chain(right)
    }
}

/// One comparison: what is compared, how, and with what.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    pub left: Operand,
    pub operator: Operator,
    pub operator_span: Range<usize>,
    pub right: Right,
}

/// What has a value: a field, or a transformer around one.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Field(FieldName),
    Transformer(Transformer),
}

/// A field as written: `proc.aname[2]` has the name `proc.aname` and the argument `2`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldName {
    pub name: String,
    pub argument: Option<String>,
    pub span: Range<usize>,
}

/// `tolower(proc.name)`, `getopt((…), "ab:")[b]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Transformer {
    pub function: Function,
    pub arguments: Vec<Input>,
    /// The text in brackets behind it.
    pub index: Option<String>,
    pub span: Range<usize>,
}

/// An argument of a transformer.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Operand(Operand),
    /// A quoted text or a number.
    Literal(Literal),
    List(Vec<Input>, Range<usize>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    ToLower,
    ToUpper,
    Base64,
    BaseName,
    Length,
    Join,
    Concat,
    GetOpt,
}

/// What stands behind the operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Right {
    /// Behind `exists`.
    Nothing,
    Value(Literal),
    /// In parentheses, or the name of a list alone.
    List(Vec<Literal>),
    /// `startswith anyof (a, b)`.
    Quantified(Quantifier, Vec<Literal>),
    /// `val(field)` or a transformer.
    Operand(Operand),
}

/// How many of several comparisons must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantifier {
    OneOf,
    AnyOf,
    AllOf,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Literal {
    /// Without quotes and escapes; bytes that are not UTF-8 as U+FFFD.
    pub text: String,
    /// The bytes themselves, where they are not UTF-8: `"\xff"`.
    pub raw: Option<Box<[u8]>>,
    /// Quoted text is never the name of a list.
    pub quoted: bool,
    pub span: Range<usize>,
}

/// Bytes of a value that count as much as a part more: a long one is copied wherever its macro is named.
const BYTES_PER_PART: usize = 64;

/// How many parts a value counts as, against [`crate::NODES_MAX`].
pub fn weight(text: &str) -> usize {
    1 + text.len() / BYTES_PER_PART
}

impl Literal {
    pub fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }
}

impl Right {
    /// The values written out, in order.
    pub fn literals(&self) -> &[Literal] {
        match self {
            Self::Value(literal) => std::slice::from_ref(literal),
            Self::List(literals) | Self::Quantified(_, literals) => literals,
            Self::Nothing | Self::Operand(_) => &[],
        }
    }
}

impl Operand {
    pub fn span(&self) -> &Range<usize> {
        match self {
            Self::Field(field) => &field.span,
            Self::Transformer(transformer) => &transformer.span,
        }
    }

    /// The fields it reads, in the order in which they are written.
    pub fn fields(&self) -> Vec<&FieldName> {
        match self {
            Self::Field(field) => vec![field],
            Self::Transformer(transformer) => transformer.arguments.iter().flat_map(Input::fields).collect(),
        }
    }
}

impl Input {
    pub fn span(&self) -> &Range<usize> {
        match self {
            Self::Operand(operand) => operand.span(),
            Self::Literal(literal) => &literal.span,
            Self::List(_, span) => span,
        }
    }

    fn fields(&self) -> Vec<&FieldName> {
        match self {
            Self::Operand(operand) => operand.fields(),
            Self::Literal(_) => Vec::new(),
            Self::List(inputs, _) => inputs.iter().flat_map(Self::fields).collect(),
        }
    }
}

impl Function {
    const NAMES: [(&'static str, Self); 8] = [
        ("tolower", Self::ToLower),
        ("toupper", Self::ToUpper),
        ("b64", Self::Base64),
        ("basename", Self::BaseName),
        ("len", Self::Length),
        ("join", Self::Join),
        ("concat", Self::Concat),
        ("getopt", Self::GetOpt),
    ];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }

    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().map(|(name, _)| *name)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, function)| *function == self).map_or("", |(name, _)| name)
    }
}

impl Quantifier {
    const NAMES: [(&'static str, Self); 3] = [("oneof", Self::OneOf), ("anyof", Self::AnyOf), ("allof", Self::AllOf)];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, quantifier)| *quantifier)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, quantifier)| *quantifier == self).map_or("", |(name, _)| name)
    }
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
    /// With a hexadecimal literal.
    BContains,
    StartsWith,
    /// With a hexadecimal literal.
    BStartsWith,
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
    const WORDS: [(&'static str, Self); 13] = [
        ("exists", Self::Exists),
        ("contains", Self::Contains),
        ("icontains", Self::IContains),
        ("bcontains", Self::BContains),
        ("startswith", Self::StartsWith),
        ("bstartswith", Self::BStartsWith),
        ("endswith", Self::EndsWith),
        ("glob", Self::Glob),
        ("iglob", Self::IGlob),
        ("regex", Self::Regex),
        ("intersects", Self::Intersects),
        ("in", Self::In),
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

    /// The operator that a word is; or begins with, for those that need no blank behind them: `in(…)`, `existsand`.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let begins = |(name, operator): &(&str, Self)| {
            let needs_blank = !operator.takes_list() && *operator != Self::Exists;
            if needs_blank { *name == word } else { word.starts_with(name) }
        };
        let whole = Self::WORDS.iter().find(|(name, _)| *name == word);
        whole.or_else(|| Self::WORDS.iter().find(|entry| begins(entry))).map(|(_, operator)| *operator)
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
    pub fn takes_list(self) -> bool {
        matches!(self, Self::In | Self::Intersects | Self::PathMatch)
    }

    /// Whether it asks which is greater.
    pub fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }

    /// Whether `oneof`, `anyof` or `allof` may follow.
    pub fn takes_quantifier(self) -> bool {
        !self.takes_list() && !self.is_order() && self != Self::Exists
    }
}
