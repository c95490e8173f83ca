//! Bytes from the kernel → [`Record`].

use aya::maps::{MapData, RingBuf};
use tercel_sensor_abi::{Program, RecordHeader, RecordKind};

/// CPUs whose sequence numbers are followed; a record of another CPU is delivered all the same.
const CPUS_MAX: usize = 4096;

/// The reading end of the kernel's ring buffer.
pub struct Ring {
    buffer: RingBuf<MapData>,
    sequences: Sequences,
    malformed: u64,
}

impl Ring {
    pub(crate) fn new(buffer: RingBuf<MapData>) -> Self {
        Self { buffer, sequences: Sequences::default(), malformed: 0 }
    }

    /// Hands over what is there, oldest first, at most `limit` records, and returns how many. Does not wait.
    pub fn drain(&mut self, limit: usize, mut visit: impl FnMut(Record<'_>)) -> usize {
        let mut taken = 0;
        while taken < limit {
            let Some(item) = self.buffer.next() else { break };
            taken += 1;
            match Record::parse(&item) {
                Some(record) => {
                    let is_gap = self.sequences.follow(&record.header);
                    visit(Record { is_behind_lost_process: is_gap && is_of_processes(&record.header), ..record });
                }
                None => self.malformed += 1,
            }
        }
        taken
    }

    /// Records that the kernel numbered and that never came: the sum of the gaps.
    pub fn lost(&self) -> u64 {
        self.sequences.lost
    }

    /// Records that are not what the ABI says. Not zero means that object and sensor are of different builds.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}

/// The last sequence number of each program on each CPU. A program that was interrupted while it put a record together may
/// send it after the one that interrupted it; such a late record takes its gap back.
#[derive(Default)]
struct Sequences {
    last: Vec<Option<u64>>,
    lost: u64,
}

impl Sequences {
    /// Whether records are missing in front of this one.
    fn follow(&mut self, header: &RecordHeader) -> bool {
        let (cpu, program) = (header.cpu as usize, header.program as usize);
        if cpu >= CPUS_MAX || program >= Program::COUNT {
            return false;
        }
        let place = cpu * Program::COUNT + program;
        if place >= self.last.len() {
            self.last.resize(place + 1, None);
        }
        // Each counts from 1.
        let last = self.last[place].unwrap_or(0);
        if header.sequence > last {
            self.lost += header.sequence - last - 1;
            self.last[place] = Some(header.sequence);
            header.sequence - last > 1
        } else {
            self.lost = self.lost.saturating_sub(1);
            false
        }
    }
}

/// Whether it comes from a program that tells of the lives of processes, and of nothing else.
fn is_of_processes(header: &RecordHeader) -> bool {
    [Program::Exec, Program::Fork, Program::Exit].iter().any(|program| *program as u32 == header.program)
}

/// One record, borrowed from the ring buffer. Its lengths were checked: [`Record::string`] cannot reach outside.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub header: RecordHeader,
    pub kind: RecordKind,
    /// Records of forks, execs or exits were lost in front of it: what is known of processes may be of yesterday.
    pub is_behind_lost_process: bool,
    bytes: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Record<'a> {
    /// `None` where the bytes are not one whole record of a known kind with all its strings.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, strings) = split_header(bytes)?;
        let kind = RecordKind::from_u16(header.kind)?;
        if header.length as usize != bytes.len() {
            return None;
        }
        let record = Self { header, kind, is_behind_lost_process: false, bytes, strings };
        (record.strings().count() == usize::from(header.strings)).then_some(record)
    }

    /// The whole record, as [`Record::parse`] takes it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// String number `index`, as the families in `tercel_sensor_abi` count them; empty where there is none.
    pub fn string(&self, index: usize) -> &'a [u8] {
        self.strings().nth(index).unwrap_or_default()
    }

    /// All strings in order.
    pub fn strings(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.strings;
        std::iter::from_fn(move || {
            let (string, after) = split_string(rest)?;
            rest = after;
            Some(string)
        })
    }
}

#[expect(unsafe_code, reason = "reads the header in one go; every bit pattern of its bytes is a valid one")]
fn split_header(bytes: &[u8]) -> Option<(RecordHeader, &[u8])> {
    let (header, rest) = bytes.split_at_checked(size_of::<RecordHeader>())?;
    // SAFETY: the slice is exactly as long as the header, which consists of integers and has no padding (asserted where
    // it is defined); `read_unaligned` asks for no alignment.
    let header = unsafe { header.as_ptr().cast::<RecordHeader>().read_unaligned() };
    Some((header, rest))
}

/// The first string and what follows it; `None` at the end or where the length points outside.
fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_ne_bytes(*length));
    let string = rest.get(..length)?;
    Some((string, rest.get(length.next_multiple_of(2)..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(kind: u16, strings: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<RecordHeader>()];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&u16::try_from(strings.len()).unwrap().to_ne_bytes());
        for string in strings {
            bytes.extend(u16::try_from(string.len()).unwrap().to_ne_bytes());
            bytes.extend_from_slice(string);
            bytes.resize(bytes.len().next_multiple_of(2), 0);
        }
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }

    #[test]
    fn strings_of_even_and_odd_length_come_back() {
        let bytes = bytes(RecordKind::Open as u16, &[b"abc", b"", b"/etc/shadow", b"de"]);
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(record.kind, RecordKind::Open);
        assert_eq!(record.strings().collect::<Vec<_>>(), [&b"abc"[..], b"", b"/etc/shadow", b"de"]);
        assert_eq!((record.string(2), record.string(9)), (&b"/etc/shadow"[..], &b""[..]));
    }

    #[test]
    fn a_record_cut_anywhere_or_of_an_unknown_kind_is_refused() {
        let whole = bytes(RecordKind::Exec as u16, &[b"/bin/cat", b"cat\0/etc/shadow\0"]);
        for length in 0..whole.len() {
            assert!(Record::parse(&whole[..length]).is_none(), "{length} bytes");
        }
        assert!(Record::parse(&bytes(99, &[])).is_none());
    }

    #[test]
    fn a_string_length_that_points_outside_is_refused() {
        let mut whole = bytes(RecordKind::Open as u16, &[b"abcd"]);
        let at = size_of::<RecordHeader>();
        whole[at..at + 2].copy_from_slice(&u16::MAX.to_ne_bytes());
        assert!(Record::parse(&whole).is_none());
    }

    #[test]
    fn a_gap_is_told_with_the_record_behind_it_and_counts_for_processes_where_it_is_of_them() {
        let mut sequences = Sequences::default();
        let header =
            |program: Program, sequence| RecordHeader { program: program as u32, sequence, ..RecordHeader::default() };
        let mut is_gap = |sequence| sequences.follow(&header(Program::Fork, sequence));
        assert_eq!([1, 2, 5, 6, 4].map(&mut is_gap), [false, false, true, false, false]);
        let of_processes = [Program::SystemCall, Program::Exec, Program::Fork, Program::Exit];
        assert_eq!(of_processes.map(|program| is_of_processes(&header(program, 1))), [false, true, true, true]);
    }

    #[test]
    fn gaps_are_losses_and_a_late_record_is_not_one() {
        let mut sequences = Sequences::default();
        let mut follow_of = |program: Program, cpu, sequence| {
            sequences.follow(&RecordHeader { cpu, program: program as u32, sequence, ..RecordHeader::default() });
            sequences.lost
        };
        assert_eq!(follow_of(Program::Exec, 0, 1), 0);
        let mut follow = |cpu, sequence| follow_of(Program::SystemCall, cpu, sequence);
        assert_eq!(follow(0, 1), 0);
        assert_eq!(follow(0, 2), 0);
        assert_eq!(follow(1, 3), 2);
        assert_eq!(follow(0, 6), 5);
        assert_eq!(follow(0, 4), 4);
    }
}
