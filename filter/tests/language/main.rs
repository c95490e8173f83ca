//! The condition language seen from outside: what holds, what is refused and where, what always is true of it.

#![allow(clippy::unwrap_used, reason = "the whole crate is a test, its helpers too")]

mod conditions;
mod errors;
mod extract;
mod inference;
mod properties;
mod sample;
