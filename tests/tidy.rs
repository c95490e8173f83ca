//! Truths across files: each test names one, and what to do when it no longer holds.

/// Who may depend on whom, and which libraries do which job.
mod crates;
/// The repository's files as such: no machine's paths in them, the kernel object as its checksum says.
mod tree;
