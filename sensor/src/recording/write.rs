//! Items → bytes.

use std::io::{self, Write};

use tercel_sensor_abi::ABI_VERSION;

use super::bytes::put_u32;
use super::{FORMAT_VERSION, ITEM_BYTES_MAX, Item, MAGIC};

/// Writes a recording.
pub struct Writer<W> {
    output: W,
    buffer: Vec<u8>,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Writes what stands in front of the items.
    pub fn start(output: W) -> io::Result<Self> {
        let mut writer = Self { output, buffer: MAGIC.to_vec(), bytes: 0 };
        put_u32(&mut writer.buffer, FORMAT_VERSION);
        put_u32(&mut writer.buffer, ABI_VERSION);
        writer.put()?;
        Ok(writer)
    }

    /// `InvalidData`: it is longer than an item may be, and was not written.
    pub fn write(&mut self, item: &Item<'_>) -> io::Result<()> {
        const HEAD_BYTES: usize = 8;
        self.buffer.clear();
        self.buffer.resize(HEAD_BYTES, 0);
        item.write(&mut self.buffer);
        let length = self.buffer.len() - HEAD_BYTES;
        let stated = u32::try_from(length).ok().filter(|_| length <= ITEM_BYTES_MAX);
        let stated = stated.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the item is too long"))?;
        self.buffer[..4].copy_from_slice(&item.kind().to_le_bytes());
        self.buffer[4..HEAD_BYTES].copy_from_slice(&stated.to_le_bytes());
        self.put()
    }

    /// Written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives the output back, with everything in it.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }

    fn put(&mut self) -> io::Result<()> {
        self.bytes += self.buffer.len() as u64;
        self.output.write_all(&self.buffer)
    }
}
