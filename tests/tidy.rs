//! Truths across files: each test names one, and what to do when it no longer holds.

/// Who may depend on whom, and which libraries do which job.
mod crates;
/// Each type of destination has a template and its keys in the shipped routing file.
mod destinations;
/// Rules, dashboards and references say what the programs do.
mod documents;
/// The repository's files as such: no machine's paths in them, the kernel object as its checksum says.
mod tree;
