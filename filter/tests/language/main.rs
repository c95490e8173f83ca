//! What the tables of `conformance` do not ask: conditions over alerts, whose fields need no dot and have ordered names and
//! types of their own; what errors say; scopes; fields outside of conditions.

#![allow(clippy::unwrap_used, reason = "the whole crate is a test, its helpers too")]

mod aliases;
mod conditions;
mod errors;
mod extract;
mod inference;
mod sample;
mod set;
