//! Patterns: fnmatch's globs, whole-text regular expressions, path prefixes.

pub(crate) mod glob;
pub(crate) mod paths;
pub(crate) mod regex;
