//! Bytes → items. What is read may be anything.

use std::io::{ErrorKind, Read};

use tercel_sensor_abi::ABI_VERSION;

use super::bytes::Bytes;
use super::{Error, FORMAT_VERSION, ITEM_BYTES_MAX, Item, MAGIC, Problem};

/// Bytes in front of the items, and in front of what an item holds.
const HEAD_BYTES: usize = MAGIC.len() + 8;
const ITEM_HEAD_BYTES: usize = 8;

/// Reads a recording item by item.
pub struct Reader<R> {
    input: R,
    file: String,
    buffer: Vec<u8>,
    /// Of the item that was read last, from 1, and the byte at which it begins.
    number: u64,
    offset: u64,
    next_offset: u64,
    has_machine: bool,
    has_clock: bool,
    has_end: bool,
}

impl<R: Read> Reader<R> {
    /// `file`: stands in errors.
    pub fn open(mut input: R, file: &str) -> Result<Self, Error> {
        let mut head = [0; HEAD_BYTES];
        let length = fill(&mut input, &mut head).map_err(|source| read_error(file, source))?;
        let mut head = Bytes(&head[..length]);
        let magic = head.0.split_off(..MAGIC.len().min(length));
        let versions = (head.u32(), head.u32());
        let (true, (Some(format), Some(abi))) = (magic == Some(&MAGIC[..]), versions) else {
            return Err(Error::NoRecording { file: file.to_owned() });
        };
        let version = |what, found, own| Err(Error::Version { file: file.to_owned(), what, found, own });
        match (format, abi) {
            (FORMAT_VERSION, ABI_VERSION) => {}
            (FORMAT_VERSION, _) => return version("it has records of ABI version", abi, ABI_VERSION),
            _ => return version("it has the format", format, FORMAT_VERSION),
        }
        let file = file.to_owned();
        let (buffer, next_offset) = (Vec::new(), HEAD_BYTES as u64);
        let [has_machine, has_clock, has_end] = [false; 3];
        Ok(Self { input, file, buffer, number: 0, offset: 0, next_offset, has_machine, has_clock, has_end })
    }

    /// `None` behind the end.
    pub fn read(&mut self) -> Result<Option<Item<'_>>, Error> {
        (self.number, self.offset) = (self.number + 1, self.next_offset);
        let mut head = [0; ITEM_HEAD_BYTES];
        match self.fill(&mut head)? {
            0 if self.has_end => return Ok(None),
            _ if self.has_end => return Err(self.problem(Problem::AfterEnd)),
            ITEM_HEAD_BYTES => {}
            _ => return Err(self.problem(Problem::CutOff)),
        }
        let [kind, length] = [&head[..4], &head[4..]].map(|word| Bytes(word).u32().unwrap_or_default());
        self.read_bytes(length)?;
        self.keep_order(kind)?;
        match Item::read(kind, &self.buffer) {
            Ok(Item::Machine(machine)) if machine.architecture != std::env::consts::ARCH => Err(Error::Architecture {
                file: self.file.clone(),
                found: machine.architecture,
                own: std::env::consts::ARCH,
            }),
            Ok(item) => Ok(Some(item)),
            Err(problem) => Err(self.problem(problem)),
        }
    }

    /// The error of the item that was read last.
    pub fn problem(&self, problem: Problem) -> Error {
        Error::Item { file: self.file.clone(), number: self.number, offset: self.offset, problem }
    }

    /// No memory is taken for more than an item may have.
    fn read_bytes(&mut self, length: u32) -> Result<(), Error> {
        let bytes = usize::try_from(length).ok().filter(|bytes| *bytes <= ITEM_BYTES_MAX);
        let bytes = bytes.ok_or_else(|| self.problem(Problem::TooLong(length)))?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(bytes, 0);
        let read = self.fill(&mut buffer)?;
        self.buffer = buffer;
        self.next_offset = self.offset + (ITEM_HEAD_BYTES + bytes) as u64;
        if read == bytes { Ok(()) } else { Err(self.problem(Problem::CutOff)) }
    }

    /// The machine comes first, and a record needs a clock.
    fn keep_order(&mut self, kind: u32) -> Result<(), Error> {
        let problem = match (kind, self.has_machine, self.has_clock) {
            (super::item::MACHINE, false, _) => None,
            (super::item::MACHINE, true, _) => Some(Problem::Malformed("the only machine")),
            (super::item::RECORD, _, false) => Some(Problem::OutOfOrder("a record")),
            (_, false, _) => Some(Problem::OutOfOrder("an item")),
            _ => None,
        };
        self.has_machine = true;
        self.has_clock |= kind == super::item::CLOCK;
        self.has_end |= kind == super::item::END;
        problem.map_or(Ok(()), |problem| Err(self.problem(problem)))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        fill(&mut self.input, buffer).map_err(|source| read_error(&self.file, source))
    }
}

fn read_error(file: &str, source: std::io::Error) -> Error {
    Error::Read { file: file.to_owned(), source }
}

/// Reads until the buffer is full or the input is at its end; how much.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
