//! What a record says of descriptors.

/// Whether a file lies in an overlay file system, and in which of its layers.
pub const LAYER_NONE: u32 = 0;
pub const LAYER_LOWER: u32 = 1;
pub const LAYER_UPPER: u32 = 2;

/// What the kernel has behind a descriptor.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DescriptorFacts {
    pub inode: u64,
    /// `s_magic` of its file system.
    pub file_system: u64,
    /// `i_mode`: type and permissions.
    pub mode: u32,
    /// The kernel's own encoding: major number in bits 20 and up, minor number below.
    pub device: u32,
    /// One of the `LAYER_`s.
    pub layer: u32,
    /// `f_flags`.
    pub flags: u32,
    /// `AF_*` of a socket; 0 where it is none.
    pub family: u16,
    /// `SOCK_*`.
    pub socket_type: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// `TCP_*` state: 1 is established, 10 is listening.
    pub state: u16,
    pub local_port: u16,
    pub remote_port: u16,
    pub reserved: u32,
    /// An IPv4 address fills the first four bytes.
    pub local: [u8; 16],
    pub remote: [u8; 16],
}

impl DescriptorFacts {
    pub const BYTES: usize = size_of::<Self>();

    /// `None` where the bytes are not those of one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut words = Fields(bytes);
        let facts = Self {
            inode: words.u64()?,
            file_system: words.u64()?,
            mode: words.u32()?,
            device: words.u32()?,
            layer: words.u32()?,
            flags: words.u32()?,
            family: words.u16()?,
            socket_type: words.u16()?,
            protocol: words.u16()?,
            state: words.u16()?,
            local_port: words.u16()?,
            remote_port: words.u16()?,
            reserved: words.u32()?,
            local: words.array()?,
            remote: words.array()?,
        };
        words.0.is_empty().then_some(facts)
    }
}

/// Members of a structure in the order of its declaration, without padding.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }
}

const _: () = assert!(DescriptorFacts::BYTES == 80);
