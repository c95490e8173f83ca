//! The condition language against its reference: what each condition is for one event, or where its mistake is.
//!
//! The rows stand in `tables/`, one file for each topic; [`table`] says how they are written and [`event`] which event they
//! are asked about. They are written from what Falco does, not from our code. What a text file cannot hold (blanks,
//! values of many kilobytes) is in [`bounds`].

#![allow(clippy::unwrap_used, reason = "the whole crate is a test, its helpers too")]

mod bounds;
mod event;
mod falco;
mod generate;
mod properties;
mod table;

macro_rules! tables {
    ($($topic:ident),* $(,)?) => {
        $(
            #[test]
            fn $topic() {
                table::check(concat!(stringify!($topic), ".table"), include_str!(concat!("tables/", stringify!($topic), ".table")));
            }
        )*
    };
}

tables!(
    addresses,
    arguments,
    bare_words,
    connectives,
    event_types,
    getopt,
    globs,
    lists,
    macros,
    missing,
    modifiers,
    numbers,
    observed,
    operators,
    paths,
    ports,
    print,
    quotes,
    regexes,
    right_hand,
    several_values,
    text,
    transformers,
    warnings,
);
