//! What a hostile process can do to whoever watches it. Each has a rule in `rules.yaml`, which must see it and say it right.

/// Very long, and no arguments at all.
pub(crate) mod arguments;
/// File names and program names that are no text.
pub(crate) mod names;
/// As long as the kernel allows, and longer.
pub(crate) mod paths;
/// A process number that had another owner a moment ago.
pub(crate) mod pid_reuse;
/// Threads that rename themselves or become programs, vfork, failures, long ancestries.
pub(crate) mod processes;
/// A container that is gone before anybody can ask about it.
pub(crate) mod short_container;
