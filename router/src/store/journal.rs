//! fjall's journals, mended before fjall reads them.
//!
//! A journal is a row of batches: a start (tag 1, count of items, sequence number), items (tag 2, or 4 for a table that
//! was cleared), an end (tag 3, xxh3 of the items, four magic bytes), and zeros up to the length that was set aside.
//! fjall cuts a journal at the first byte that makes no sense, in silence and with every good batch behind it, and
//! does not open at all if only a checksum is wrong. Here the damaged stretch alone is cut out.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// Ends every batch.
const MAGIC: [u8; 4] = *b"FJL\x03";
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// Changes of one batch, far above what a commit has.
const ITEMS_MAX: u32 = 10_000_000;
/// How far sequence numbers of neighbouring batches may lie apart.
const SEQUENCE_STEP_MAX: u64 = 1 << 40;
/// Bytes of a value that are read at once.
const CHUNK_BYTES: u64 = 64 * 1024;

/// A stretch that was cut out of a journal.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) file: PathBuf,
    /// Where it was.
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
    /// Nothing that makes sense came after it: a batch that was being written when the process or the machine died.
    pub(super) is_tail: bool,
}

/// One change of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) keyspace: u64,
    pub(super) key: Vec<u8>,
    /// `None`: removed.
    pub(super) value: Option<Vec<u8>>,
}

/// A batch without its changes where nobody asked for them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    sequence: u64,
    pub(super) changes: Vec<Change>,
}

/// All journals of a folder, oldest first.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Cuts what is damaged out of all journals of a folder, durably. Those without damage are left alone, unless `anew`.
pub(super) fn mend(folder: &Path, anew: bool) -> io::Result<Vec<Cut>> {
    let mut cuts = Vec::new();
    for path in files(folder)? {
        if anew || !is_whole(&path)? {
            cuts.extend(mend_file(&path)?);
        }
    }
    Ok(cuts)
}

/// The batches of a journal that has been mended, or those in front of the damage.
pub(super) fn batches(path: &Path) -> io::Result<impl Iterator<Item = Batch>> {
    let mut reader = Reader::new(BufReader::new(File::open(path)?), true);
    Ok(std::iter::from_fn(move || reader.batch().ok().flatten()))
}

fn is_whole(path: &Path) -> io::Result<bool> {
    let mut reader = Reader::new(BufReader::with_capacity(64 * 1024, File::open(path)?), false);
    loop {
        match reader.batch() {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(Fault::Io(error)) => return Err(error),
            Err(Fault::Nonsense) => return Ok(false),
        }
    }
}

fn mend_file(path: &Path) -> io::Result<Vec<Cut>> {
    let bytes = std::fs::read(path)?;
    let (good, cuts) = separate(&bytes);
    let mended = path.with_extension("mended");
    let mut file = File::create(&mended)?;
    for range in good {
        file.write_all(&bytes[range])?;
    }
    file.sync_all()?;
    std::fs::rename(&mended, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    let cut = |(range, is_tail): (std::ops::Range<usize>, bool)| Cut {
        file: path.to_owned(),
        offset: range.start,
        bytes: bytes[range].to_vec(),
        is_tail,
    };
    Ok(cuts.into_iter().map(cut).collect())
}

type Range = std::ops::Range<usize>;

/// Which stretches of a journal are batches and which are damaged, with whether the latter is the tail.
fn separate(bytes: &[u8]) -> (Vec<Range>, Vec<(Range, bool)>) {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let (mut good, mut cuts) = (Vec::new(), Vec::new());
    let (mut at, mut sequence) = (0, None);
    while at < end {
        if let Some((next, number)) = batch_at(bytes, at, sequence) {
            good.push(at..next);
            (at, sequence) = (next, Some(number));
        } else {
            let next = (at + 1..end).find(|next| batch_at(bytes, *next, sequence).is_some());
            cuts.push((at..next.unwrap_or(end), next.is_none()));
            at = next.unwrap_or(end);
        }
    }
    (good, cuts)
}

/// Where a batch that begins here ends, and its sequence number.
fn batch_at(bytes: &[u8], at: usize, after: Option<u64>) -> Option<(usize, u64)> {
    if bytes[at] != START {
        return None;
    }
    let mut reader = Reader { input: io::Cursor::new(&bytes[at..]), after, keep: false };
    let batch = reader.batch().ok().flatten()?;
    Some((at + usize::try_from(reader.input.position()).ok()?, batch.sequence))
}

#[derive(Debug)]
enum Fault {
    Nonsense,
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Nonsense,
            _ => Self::Io(error),
        }
    }
}

struct Reader<R> {
    input: R,
    /// Sequence number of the batch before.
    after: Option<u64>,
    /// Whether changes are kept.
    keep: bool,
}

impl<R: Read + Seek> Reader<R> {
    fn new(input: R, keep: bool) -> Self {
        Self { input, after: None, keep }
    }

    /// The next batch; `None` at the end, behind which are zeros only.
    fn batch(&mut self) -> Result<Option<Batch>, Fault> {
        let mut tag = [0];
        if self.input.read(&mut tag)? == 0 {
            return Ok(None);
        }
        match tag[0] {
            START => self.body().map(Some),
            0 => self.zeros().map(|()| None),
            _ => Err(Fault::Nonsense),
        }
    }

    fn body(&mut self) -> Result<Batch, Fault> {
        let count = u32::from_le_bytes(self.array()?);
        let sequence = u64::from_le_bytes(self.array()?);
        let is_next = self.after.is_none_or(|after| sequence > after && sequence - after < SEQUENCE_STEP_MAX);
        if count > ITEMS_MAX || !is_next || sequence >> 63 != 0 {
            return Err(Fault::Nonsense);
        }
        let (mut sum, mut batch) = (Xxh3::new(), Batch { sequence, changes: Vec::new() });
        for _ in 0..count {
            let change = self.change(&mut sum)?;
            batch.changes.extend(change);
        }
        let [tag, sum_and_magic @ ..] = self.array::<13>()?;
        let (wanted, magic) = sum_and_magic.split_at(8);
        if tag != END || wanted != sum.digest().to_le_bytes() || magic != MAGIC {
            return Err(Fault::Nonsense);
        }
        self.after = Some(sequence);
        Ok(batch)
    }

    /// A change, or what is like one and none of ours.
    fn change(&mut self, sum: &mut Xxh3) -> Result<Option<Change>, Fault> {
        let [tag] = self.array()?;
        sum.update(&[tag]);
        if tag == CLEAR {
            sum.update(&self.array::<8>()?);
            return Ok(None);
        }
        // Kind of value, compression, keyspace, lengths of key, value, and value as written.
        let head = self.array::<20>()?;
        sum.update(&head);
        let [kind, compression, rest @ ..] = head;
        let (keyspace, lengths) = rest.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let (key_bytes, value_bytes) = (number(&lengths[..2]), number(&lengths[2..6]));
        if tag != ITEM || compression != 0 || number(&lengths[6..]) != value_bytes {
            return Err(Fault::Nonsense);
        }
        let key = self.bytes(key_bytes, sum)?;
        let value = self.bytes(value_bytes, sum)?;
        let value = (kind == 0).then_some(value);
        Ok(self.keep.then(|| Change { keyspace: number(keyspace), key, value }))
    }

    /// So many bytes, kept only where wanted. A length that lies costs no memory.
    fn bytes(&mut self, count: u64, sum: &mut Xxh3) -> Result<Vec<u8>, Fault> {
        let (mut left, mut chunk, mut kept) = (count, Vec::new(), Vec::new());
        while left > 0 {
            chunk.clear();
            let read = (&mut self.input).take(left.min(CHUNK_BYTES)).read_to_end(&mut chunk)?;
            if read == 0 {
                return Err(Fault::Nonsense);
            }
            sum.update(&chunk);
            left -= read as u64;
            if self.keep {
                kept.extend_from_slice(&chunk);
            }
        }
        Ok(kept)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn zeros(&mut self) -> Result<(), Fault> {
        let mut chunk = [0; 8 * 1024];
        loop {
            match self.input.read(&mut chunk)? {
                0 => return Ok(()),
                read if chunk[..read].iter().all(|byte| *byte == 0) => {}
                _ => return Err(Fault::Nonsense),
            }
        }
    }
}
