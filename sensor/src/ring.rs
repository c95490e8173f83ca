//! Bytes from the kernel → [`Record`].

use tercel_sensor_abi::{RecordHeader, RecordKind};

/// One record, borrowed from the ring buffer. Its lengths were checked: [`Record::string`] cannot reach outside.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub header: RecordHeader,
    pub kind: RecordKind,
    strings: &'a [u8],
}

impl<'a> Record<'a> {
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

/// The first string and what follows it; `None` at the end or where the length points outside.
fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_ne_bytes(*length));
    let string = rest.get(..length)?;
    Some((string, rest.get(length.next_multiple_of(2)..).unwrap_or_default()))
}
