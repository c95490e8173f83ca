//! Numbers and texts as bytes, and back.

pub(crate) fn put_u32(buffer: &mut Vec<u8>, number: u32) {
    buffer.extend(number.to_le_bytes());
}

pub(crate) fn put_u64(buffer: &mut Vec<u8>, number: u64) {
    buffer.extend(number.to_le_bytes());
}

/// One after the other.
pub(crate) fn put_u32s(buffer: &mut Vec<u8>, numbers: &[u32]) {
    buffer.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

/// The same.
pub(crate) fn put_u64s(buffer: &mut Vec<u8>, numbers: &[u64]) {
    buffer.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

/// Its length, then it; what is beyond the longest length is cut.
pub(crate) fn put_text(buffer: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    put_u32(buffer, length);
    buffer.extend_from_slice(&text[..length as usize]);
}

/// What is left to be read. Every method gives `None` where there is less left than it takes.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    pub(crate) fn utf8(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.text()?).ok()
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }
}
