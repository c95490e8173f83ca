//! The Tercel sensor: what the kernel reports, enriched and matched against rules of the Falco language.
//!
//! ```text
//! kernel ──► ring ──► enrich ──► event ──► detect ──► output ──► emit ──► a router, or standard output
//!            └──────────────── watch ────────────────┘           └─ its own tasks, behind a bounded queue
//! ```
//!
//! 1. [`kernel`] loads and attaches the programs; [`ring`] reads their records.
//! 2. [`enrich`] keeps what records leave behind: processes and their ancestors, containers, users.
//! 3. [`event`] is a record together with that; [`fields`] are its values by name.
//! 4. [`detect`] finds the first of the [`rules`] whose condition holds, or all of them.
//! 5. [`output`] fills the rule's output in; [`emit`] hands the alert over.
//!
//! What no rule can match need not leave the kernel: [`prefilter`] derives from the rules which opens are of use.
//!
//! Rules are tried without a kernel, too: a [`field_map`] is an event written down; [`eval`] asks conditions about such
//! events, [`rule_test`] runs the unit tests of rules. What [`record`] writes into a [`recording`], [`mod@replay`] evaluates
//! anywhere.
//!
//! [`watch`] is the one thread that does 1 to 5, [`run`] starts and stops it, [`supervise`] looks after the kernel side
//! meanwhile, [`mute`] knows who takes the alerts and is not reported, [`losses`] tells what never arrived, [`config`] says how, [`metrics`] counts, and [`doctor`] tells what a
//! machine lacks.

mod capability;
mod clock;
pub mod config;
pub mod control;
pub mod detect;
pub mod doctor;
pub mod emit;
pub mod enrich;
pub mod eval;
pub mod event;
pub mod field_map;
pub mod fields;
pub mod kernel;
pub mod losses;
pub mod metrics;
pub mod mute;
pub mod output;
pub mod prefilter;
pub mod record;
pub mod recording;
pub mod replay;
pub mod ring;
pub mod rule_test;
pub mod rules;
pub mod run;
pub mod supervise;
pub mod watch;

#[cfg(test)]
mod testing;
