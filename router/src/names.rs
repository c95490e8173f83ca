//! Names that senders choose, where each new one costs something: the first so many, and no more.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// What stands in the place of a name that came too late.
pub(crate) const OTHER: &str = "other";

pub(crate) struct Names {
    max: usize,
    seen: Mutex<HashSet<Box<str>>>,
}

impl Names {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, seen: Mutex::default() }
    }

    /// Whether it is one of the first.
    pub(crate) fn admits(&self, name: &str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.contains(name) || (seen.len() < self.max && seen.insert(name.into()))
    }
}
