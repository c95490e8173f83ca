//! Tercel seen from outside, as one test binary: `cargo test --package e2e`.

/// What the tests stand on: the router in process, alerts to send, metrics to read, waits that say what they saw.
mod harness;
/// What holds across files and crates, and no compiler checks.
mod tidy;
