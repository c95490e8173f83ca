//! Definitions by name, in Falco's order.

use std::collections::HashMap;

/// Definitions in the order in which their names first came up. A later one of a name takes the place of the earlier.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Vec<Entry<T>>,
    positions: HashMap<String, usize>,
}

/// A definition, and when it was made. Numbers count the definitions of all kinds.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) name: String,
    pub(super) body: T,
    /// When the name was defined first: others see it from then on.
    pub(super) first: usize,
    /// When it was defined or changed last: it sees the names from before.
    pub(super) last: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), positions: HashMap::new() }
    }
}

impl<T> Table<T> {
    pub(super) fn define(&mut self, name: &str, body: T, now: usize) {
        if let Some(position) = self.positions.get(name) {
            let entry = &mut self.entries[*position];
            (entry.body, entry.last) = (body, now);
            return;
        }
        self.positions.insert(name.to_owned(), self.entries.len());
        self.entries.push(Entry { name: name.to_owned(), body, first: now, last: now });
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry<T>> {
        self.positions.get(name).map(|position| &self.entries[*position])
    }

    /// The same with its position in the order.
    pub(super) fn position(&self, name: &str) -> Option<(usize, &Entry<T>)> {
        self.positions.get(name).map(|position| (*position, &self.entries[*position]))
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Entry<T>> {
        self.positions.get(name).map(|position| &mut self.entries[*position])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<T>> {
        self.entries.iter()
    }

    pub(super) fn into_entries(self) -> Vec<Entry<T>> {
        self.entries
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
