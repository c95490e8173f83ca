//! Texts of an event that nobody has until something asks for them: put together once, kept until the event is over.

use std::cell::{Cell, OnceCell};

use super::Scratch;

/// Parameters of one event at most; Falco's execve has 31.
const PARAMETERS_MAX: usize = 32;

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    Time,
    TimeSeconds,
    TimeIso8601,
    DateTime,
    DateTimeSeconds,
    Arguments,
    ExeLine,
    Environment,
    EnvironmentLine,
    ThreadName,
    DescriptorId,
    ContainerFile,
    ContainerDirectory,
    ClientPort,
    ServerPort,
    LocalPort,
    RemotePort,
    RawName,
    FirstPath,
    SecondPath,
    Capabilities,
    PermittedCapabilities,
    InheritableCapabilities,
    User,
    Home,
    Shell,
    Group,
    Cgroups,
}

const NAMED: usize = Text::Cgroups as usize + 1;

/// The texts of one event, in memory that it borrows when the first of them is asked for.
pub(super) struct Texts<'a> {
    scratch: &'a Scratch,
    shelf: OnceCell<Box<Shelf>>,
}

/// One place for each text, and the buffers that are empty.
pub(super) struct Shelf {
    slots: [OnceCell<Vec<u8>>; NAMED + PARAMETERS_MAX],
    spare: Cell<Vec<Vec<u8>>>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| OnceCell::new()), spare: Cell::default() }
    }
}

impl<'a> Texts<'a> {
    pub(super) fn new(scratch: &'a Scratch) -> Self {
        Self { scratch, shelf: OnceCell::new() }
    }

    /// The text; `write` appends it to an empty buffer when it is asked for the first time.
    pub(super) fn get(&self, text: Text, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.at(text as usize, write)
    }

    /// The same for a parameter of the event, by its place among them.
    pub(super) fn parameter(&self, place: usize, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.at(NAMED + place.min(PARAMETERS_MAX - 1), write)
    }

    fn at(&self, place: usize, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let lent = self.shelf.get_or_init(|| self.scratch.shelf.take().unwrap_or_default());
        lent.slots[place].get_or_init(|| {
            let mut buffer = lent.take_spare();
            write(&mut buffer);
            buffer
        })
    }
}

impl Drop for Texts<'_> {
    fn drop(&mut self) {
        if let Some(mut lent) = self.shelf.take() {
            lent.clear();
            self.scratch.shelf.set(Some(lent));
        }
    }
}

impl Shelf {
    fn take_spare(&self) -> Vec<u8> {
        let mut spare = self.spare.take();
        let buffer = spare.pop().unwrap_or_default();
        self.spare.set(spare);
        buffer
    }

    fn clear(&mut self) {
        let spare = self.spare.get_mut();
        for mut buffer in self.slots.iter_mut().filter_map(OnceCell::take) {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_once_and_its_memory_used_again() {
        let scratch = Scratch::default();
        let texts = Texts::new(&scratch);
        assert_eq!(texts.get(Text::ExeLine, |buffer| buffer.extend(b"a long line")), b"a long line");
        assert_eq!(texts.get(Text::ExeLine, |_| panic!("written already")), b"a long line");
        assert_eq!(texts.parameter(31, |buffer| buffer.extend(b"x")), b"x");
        drop(texts);
        let texts = Texts::new(&scratch);
        let mut capacities = Vec::new();
        assert!(texts.get(Text::Time, |buffer| capacities.push(buffer.capacity())).is_empty());
        assert!(texts.parameter(0, |buffer| capacities.push(buffer.capacity())).is_empty());
        assert!(capacities.iter().any(|capacity| *capacity >= 11) && !capacities.contains(&0), "{capacities:?}");
    }
}
