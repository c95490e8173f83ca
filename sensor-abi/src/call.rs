//! What is taken of a system call, said by user space call by call: the kernel programs know no call by its name.

use crate::RecordKind;

/// Things taken of one call at most.
pub const CAPTURES_MAX: usize = 4;

/// Bytes of what was sent or received that are taken, as in Falco.
pub const DATA_BYTES_MAX: u64 = 80;

/// Bytes of a `sockaddr_storage`.
pub const ADDRESS_BYTES_MAX: u64 = 128;

/// How one system call is reported. All zero: not at all.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallSpec {
    /// A [`RecordKind`].
    pub kind: u16,
    /// Which argument holds the flags of an open: see [`CallSpec::FLAGS_ARE_CREATS`] and its neighbour for the others.
    pub open_flags: u8,
    /// Of [`CallSpec::FAILED_ONLY`].
    pub flags: u8,
    pub captures: [Capture; CAPTURES_MAX],
}

impl CallSpec {
    /// In `open_flags`: creat, which has none.
    pub const FLAGS_ARE_CREATS: u8 = 6;
    /// In `open_flags`: openat2, whose third argument points to them.
    pub const FLAGS_ARE_POINTED_TO: u8 = 7;
    /// In `flags`: a success is reported elsewhere, or not of interest.
    pub const FAILED_ONLY: u8 = 1;

    pub const fn new(kind: RecordKind, captures: [Capture; CAPTURES_MAX]) -> Self {
        Self { kind: kind as u16, open_flags: 0, flags: 0, captures }
    }
}

/// One thing that is taken of a call.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capture {
    /// A [`What`], as a number.
    pub what: u8,
    /// The argument that it is about, from 0; [`Capture::RESULT`] is what the call returned.
    pub argument: u8,
    /// The argument that says more: the length of bytes, the directory's descriptor of a path.
    pub with: u8,
    pub reserved: u8,
}

impl Capture {
    pub const RESULT: u8 = 6;
    /// In `with`: none.
    pub const NOTHING: u8 = 7;

    pub const fn new(what: What, argument: u8, with: u8) -> Self {
        Self { what: what as u8, argument, with, reserved: 0 }
    }
}

/// The kinds of things that are taken, and the strings that each adds to the record, always as many.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Nothing = 0,
    /// Two strings: a path as the caller wrote it; and where it is relative, the kernel's path of the directory that it
    /// starts from (descriptor `with`, or the working directory).
    Path = 1,
    /// One string: a text of the caller's.
    Text = 2,
    /// One string: a `sockaddr`, its length in argument `with`.
    Address = 3,
    /// The same, with a pointer to the length.
    AddressOut = 4,
    /// One string: the beginning of a buffer of the caller's, its length in argument `with` (or the call's result).
    Data = 5,
    /// One string: the address in a `struct msghdr`.
    MessageAddress = 6,
    /// One string: the beginning of the first buffer of a `struct msghdr`.
    MessageData = 7,
    /// Two strings: [`crate::file::DescriptorFacts`], and the kernel's path or name of what is behind a descriptor. Empty
    /// where there is none.
    Descriptor = 8,
    /// One string: the kernel's path of the working directory after the call.
    WorkingDirectory = 9,
    /// One string: [`crate::process::ProcessFacts`] after the call.
    Process = 10,
    /// One string: two descriptors, `int[2]`.
    Pair = 11,
    /// One string: the 24 bytes of a `struct open_how`.
    OpenHow = 12,
}

impl What {
    /// Strings that it adds to a record.
    pub const fn strings(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Path | Self::Descriptor => 2,
            _ => 1,
        }
    }
}

const _: () = assert!(size_of::<CallSpec>() == 20);
