//! Fields and transformers outside of conditions.

use tercel_filter::{Extractor, Scratch, Value};

use crate::sample::{Sample, record};

/// What stands for the beginning of the text, and the rest of it.
fn shown(text: &str) -> (String, &str) {
    let (extractor, length) = Extractor::parse_prefix(text, &Sample).unwrap();
    let value = extractor.with(&record(), &mut Scratch::new(), |value| match value {
        Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        Some(Value::Number(number)) => number.to_string(),
        None => "missing".to_owned(),
        Some(other) => format!("{other:?}"),
    });
    (value, &text[length..])
}

#[test]
fn the_longest_beginning_that_is_a_field_counts() {
    for (text, value, rest) in [
        ("proc.name", "bash", ""),
        ("proc.name.", "bash", "."),
        ("proc.names are", "bash", "s are"),
        ("proc.name.x=", "bash", ".x="),
        ("proc.aname[2]]", "systemd", "]"),
        ("proc.env[HOME] x", "/root", " x"),
        ("container.name,", "missing", ","),
        ("fd.num)", "-2", ")"),
        ("toupper(proc.name) x", "BASH", " x"),
        ("len(concat(proc.name, \"-\", proc.name))!", "9", "!"),
        ("tolower(container.name)", "missing", ""),
    ] {
        assert_eq!(shown(text), (value.to_owned(), rest), "{text}");
    }
}

#[test]
fn what_is_neither_field_nor_transformer_is_refused() {
    for (text, message) in [
        ("nosuch.field", "unknown field `nosuch.field`"),
        ("proc.nam", "did you mean `proc.name`?"),
        ("proc.env", "needs an argument"),
        ("toupper(fd.num)", "not supported by the transformer"),
        ("toupper(proc.name", "this `(` is never closed"),
        (" x", "unknown field"),
    ] {
        let error = Extractor::parse_prefix(text, &Sample).unwrap_err();
        assert!(error.message().contains(message), "{text}: {error}");
    }
}
