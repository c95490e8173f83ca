//! Room for what an evaluation makes on its way: results of transformers, text made UTF-8.

use std::io::Write as _;
use std::ops::Range;

use crate::eval::Made;
use crate::pattern::glob::Glob;

/// Bytes that one comparison may write. A value beyond it counts as missing.
pub const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// Elements of the lists that one comparison may make.
const ITEMS_MAX: usize = 4_096;

/// Bytes of the longest number.
const NUMBER_BYTES_MAX: usize = 20;

/// Buffers that are written over and over: one for each thread that evaluates. Nothing is allocated once they are as
/// large as they get.
#[derive(Debug, Default)]
pub struct Scratch {
    rooms: Vec<Room>,
    utf8: String,
    /// Of a [`crate::FilterSet`], for the values that are being asked about.
    answers: Vec<Option<bool>>,
    overflows: u64,
}

/// What one side of a comparison writes into.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) bytes: Vec<u8>,
    /// The elements of lists, as ranges of `bytes`.
    pub(crate) items: Vec<Range<usize>>,
    /// Elements of lists that are not complete: they become items side by side.
    pending: Vec<Range<usize>>,
    /// A glob that is only known with the value.
    pub(crate) glob: Glob,
    overflowed: bool,
}

impl Scratch {
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values were larger than [`SCRATCH_BYTES_MAX`] and so counted as missing.
    pub fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Forgets the answers about other values, and makes place for so many.
    pub(crate) fn begin_answers(&mut self, places: usize) {
        self.answers.clear();
        self.answers.resize(places, None);
    }

    pub(crate) fn answer(&self, place: usize) -> Option<bool> {
        self.answers.get(place).copied().flatten()
    }

    pub(crate) fn keep_answer(&mut self, place: usize, answer: bool) {
        if let Some(kept) = self.answers.get_mut(place) {
            *kept = Some(answer);
        }
    }

    /// An empty room, to be given back.
    pub(crate) fn take(&mut self) -> Room {
        self.rooms.pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&mut self, mut room: Room) {
        self.overflows += u64::from(room.overflowed);
        room.bytes.clear();
        room.items.clear();
        room.pending.clear();
        room.overflowed = false;
        self.rooms.push(room);
    }

    /// Shows bytes as text, what is not UTF-8 as U+FFFD. `None`: too large.
    pub(crate) fn with_utf8<T>(&mut self, bytes: &[u8], show: impl FnOnce(&str) -> T) -> Option<T> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Some(show(text));
        }
        self.utf8.clear();
        for chunk in bytes.utf8_chunks() {
            self.utf8.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.utf8.push(char::REPLACEMENT_CHARACTER);
            }
            if self.utf8.len() > SCRATCH_BYTES_MAX {
                self.overflows += 1;
                return None;
            }
        }
        Some(show(&self.utf8))
    }
}

impl Room {
    /// Appends bytes; `None`: there is no room.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Range<usize>> {
        let start = self.bytes.len();
        self.reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Some(start..self.bytes.len())
    }

    /// Appends bytes that stand in the room already.
    pub(crate) fn repeat(&mut self, range: Range<usize>) -> Option<()> {
        self.reserve(range.len())?;
        self.bytes.extend_from_within(range);
        Some(())
    }

    /// Whether so many bytes may be appended.
    pub(crate) fn reserve(&mut self, bytes: usize) -> Option<()> {
        if self.bytes.len() + bytes > SCRATCH_BYTES_MAX {
            self.overflowed = true;
            return None;
        }
        Some(())
    }

    /// Appends a list's elements as `(a,b)`.
    pub(crate) fn list_as_text(&mut self, items: Range<usize>) -> Option<Range<usize>> {
        let start = self.push(b"(")?.start;
        for index in items.clone() {
            if index > items.start {
                self.push(b",")?;
            }
            let item = self.items[index].clone();
            self.repeat(item)?;
        }
        self.push(b")").map(|end| start..end.end)
    }

    pub(crate) fn push_item(&mut self, item: Range<usize>) -> Option<()> {
        self.reserve_items(1)?;
        self.items.push(item);
        Some(())
    }

    /// Where a list begins whose elements are pushed until [`Room::end_list`]; lists may be made in between.
    pub(crate) fn begin_list(&self) -> usize {
        self.pending.len()
    }

    /// A text, a number as text, or all elements of a list.
    pub(crate) fn push_element(&mut self, made: Made) -> Option<()> {
        match made {
            Made::Text(text) => {
                self.reserve_items(1)?;
                self.pending.push(text);
            }
            Made::Number(number) => {
                self.reserve_items(1)?;
                self.reserve(NUMBER_BYTES_MAX)?;
                let start = self.bytes.len();
                // Writing into a vector does not fail.
                write!(self.bytes, "{number}").ok()?;
                self.pending.push(start..self.bytes.len());
            }
            Made::List(items) => {
                self.reserve_items(items.len())?;
                self.pending.extend_from_slice(&self.items[items]);
            }
        }
        Some(())
    }

    pub(crate) fn end_list(&mut self, begun: usize) -> Range<usize> {
        let start = self.items.len();
        self.items.extend(self.pending.drain(begun..));
        start..self.items.len()
    }

    fn reserve_items(&mut self, items: usize) -> Option<()> {
        if self.items.len() + self.pending.len() + items > ITEMS_MAX {
            self.overflowed = true;
            return None;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_counted() {
        let mut scratch = Scratch::new();
        let mut room = scratch.take();
        assert_eq!(room.push(&vec![b'x'; SCRATCH_BYTES_MAX]), Some(0..SCRATCH_BYTES_MAX));
        assert_eq!(room.push(b"x"), None);
        scratch.give_back(room);
        assert_eq!(scratch.overflows(), 1);
        assert_eq!(scratch.with_utf8(&vec![0xff; SCRATCH_BYTES_MAX], str::len), None);
        assert_eq!(scratch.overflows(), 2);
        assert_eq!(scratch.with_utf8(b"a\xffb", str::len), Some(5));
        assert_eq!(scratch.take().push(b"x"), Some(0..1));
    }
}
