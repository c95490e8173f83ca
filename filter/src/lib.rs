//! The Falco condition language: text → syntax tree → compiled filter.
//!
//! ```text
//! condition   ::= and ('or' and)*
//! and         ::= not ('and' not)*
//! not         ::= 'not'* (check | '(' condition ')')
//! check       ::= macro | operand 'exists' | operand sign (value | right) | operand word blank (value | right)
//!               | operand (sign | word blank) ('oneof' | 'anyof' | 'allof') list | operand set (list | right)
//! operand     ::= field | transformer
//! right       ::= 'val(' field ')' | transformer
//! transformer ::= name '(' input (',' input)* ')' ('[' argument ']')?
//! input       ::= operand | quoted | number | '(' (input (',' input)*)? ')'
//! sign        ::= '=' | '==' | '!=' | '<' | '<=' | '>' | '>='
//! word        ::= 'contains' | 'icontains' | 'bcontains' | 'startswith' | 'bstartswith' | 'endswith' | 'glob' | 'iglob'
//!               | 'regex'
//! set         ::= 'in' | 'intersects' | 'pmatch'
//! list        ::= '(' (value (',' value)*)? ')' | value
//! field       ::= name ('.' name)* ('[' argument ']')?
//! macro       ::= name
//! name        ::= [a-zA-Z][a-zA-Z0-9_]*
//! value       ::= quoted | [^()"'\s=,]+
//! quoted      ::= '"' … '"' | "'" … "'"
//! ```
//!
//! `not` binds tighter than `and`, `and` tighter than `or`. A blank or a parenthesis ends `and`, `or` and `not`. Inside
//! quotes `\b \f \n \r \t \\ \/ \xHH` and the quote itself are escaped with a backslash; any other escape is an error.
//!
//! **Names.** An identifier alone is a macro. A name followed by an operator is a field, with or without a dot: the
//! [`Catalog`] decides which fields there are. An unquoted value may be the name of a list, whose items then stand in its
//! place; where one value is taken the list must have one item. Macros and lists come with a [`Scope`].
//!
//! **Values.** What a value may look like depends on the field's [`Kind`], as do the operators. `glob` is fnmatch's (the star
//! crosses slashes), `regex` covers the whole text, `pmatch` is true below a path. Behind `<` and its like stands a number
//! (or the name of a value of an ordered enum). A [`Kind::Dynamic`] field is compared by its value's own type; where that
//! is a list, one element that satisfies the comparison is enough (`!=`: no element may be equal).
//!
//! **Several values.** What a comparison asks of a field that has more than one is in [`Values`].
//!
//! **Missing values.** Every comparison with a missing value is false, `!=` too; so `not (field = x)` is true.
//!
//! **Wider than Falco**, with a [`Warning`] where it could surprise: hexadecimal numbers everywhere; Perl's syntax in `regex`;
//! names of services in a fixed table rather than the machine's own.
//!
//! A compiled [`Filter`] cannot fail and does not allocate while it is evaluated: transformers and `regex` write into a
//! [`Scratch`].

mod ast;
mod catalog;
mod compile;
mod enum_set;
mod error;
mod eval;
mod extract;
mod lexer;
mod necessary;
mod parser;
mod pattern;
mod print;
mod scope;
mod scratch;
mod texts;

pub use ast::{
    Check, Expr, FieldName, Function, Input, Literal, Node, Operand, Operator, Quantifier, Right, Transformer, weight,
};
pub use catalog::{Argument, Catalog, Field, FieldId, Fields, Kind, Value, Values};
pub use compile::{Warning, WarningKind};
pub use enum_set::EnumSet;
pub use error::{Error, ErrorKind, caret, position};
pub use eval::{Filter, FilterSet};
pub use extract::Extractor;
pub use necessary::{Beginnings, Condition, Known, Question};
pub use parser::{parse, parse_up_to};
pub use pattern::glob::Glob;
pub use scope::Scope;
pub use scratch::{SCRATCH_BYTES_MAX, Scratch};

/// Bytes of one condition. Upstream's longest is below 4 KiB.
pub const CONDITION_BYTES_MAX: usize = 64 * 1024;

/// Levels of `and`, `or`, `not` and parentheses, macros included. Falco's bound.
pub const DEPTH_MAX: usize = 1_000;

/// Transformers in one another.
pub const TRANSFORMERS_MAX: usize = 32;

/// Comparisons, connectives and list items of one filter after macros and lists were put in their places.
pub const NODES_MAX: usize = 500_000;

/// Bytes of one condition's regular expressions, compiled.
pub const REGEX_BYTES_MAX: usize = 16 * 1024 * 1024;
