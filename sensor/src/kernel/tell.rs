//! What the kernel programs are told, before and while they run.

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, LpmTrie, MapData};
use tercel_sensor_abi::control::{PREFIX_BYTES_MAX, SOCKET_CALLS_MAX};
use tercel_sensor_abi::{CallSpec, Control, SYSCALLS_MAX};

use super::{Error, Kernel, Maps, map_error};

/// Bytes of a [`CallSpec`].
const SPEC_BYTES: usize = size_of::<CallSpec>();

/// The maps that user space writes.
pub(super) struct Told {
    control: Array<MapData, [u32; Control::WORDS]>,
    specs: Array<MapData, [u8; SPEC_BYTES]>,
    compat: Array<MapData, u32>,
    prefixes: LpmTrie<MapData, [u8; PREFIX_BYTES_MAX], u8>,
}

impl Told {
    pub(super) fn new(maps: &mut Maps) -> Result<Self, Error> {
        Ok(Self {
            control: maps.take("CONTROL")?,
            specs: maps.take("SPECS")?,
            compat: maps.take("COMPAT")?,
            prefixes: maps.take("PREFIXES")?,
        })
    }

    /// Whether the kernel lets this thread at maps, as it is now.
    pub(super) fn can_be_told(&self) -> bool {
        self.control.get(&0, 0).is_ok()
    }
}

impl Kernel {
    /// What is taken of each call, by its number. To be said before [`Self::set_control`].
    pub fn set_calls(&mut self, specs: &[(u32, CallSpec)]) -> Result<(), Error> {
        for (number, spec) in specs {
            self.told.specs.set(*number, spec_bytes(spec), 0).map_err(map_error("SPECS"))?;
        }
        Ok(())
    }

    /// Which number of the 64-bit table stands for each place of the 32-bit one and of `socketcall`.
    pub fn set_compat(&mut self, numbers: &[u32; SYSCALLS_MAX + SOCKET_CALLS_MAX]) -> Result<(), Error> {
        for (place, number) in (0..).zip(numbers) {
            self.told.compat.set(place, number, 0).map_err(map_error("COMPAT"))?;
        }
        Ok(())
    }

    /// Beginnings of paths with the opens that they are of interest to.
    pub fn set_prefixes(&mut self, prefixes: &[(Box<[u8]>, u8)]) -> Result<(), Error> {
        for (prefix, opens) in prefixes {
            let mut bytes = [0; PREFIX_BYTES_MAX];
            let length = prefix.len().min(PREFIX_BYTES_MAX);
            bytes[..length].copy_from_slice(&prefix[..length]);
            let bits = u32::try_from(length * 8).unwrap_or(0);
            self.told.prefixes.insert(&Key::new(bits, bytes), opens, 0).map_err(map_error("PREFIXES"))?;
        }
        Ok(())
    }

    /// What is reported, from now on.
    pub fn set_control(&mut self, control: &Control) -> Result<(), Error> {
        self.told.control.set(0, control.to_words(), 0).map_err(map_error("CONTROL"))
    }
}

/// Field by field: there is no padding in it.
fn spec_bytes(spec: &CallSpec) -> [u8; SPEC_BYTES] {
    let [kind_low, kind_high] = spec.kind.to_ne_bytes();
    let mut bytes = [0; SPEC_BYTES];
    bytes[..4].copy_from_slice(&[kind_low, kind_high, spec.open_flags, spec.flags]);
    for (bytes, capture) in bytes[4..].chunks_exact_mut(4).zip(&spec.captures) {
        bytes.copy_from_slice(&[capture.what, capture.argument, capture.with, capture.reserved]);
    }
    bytes
}
