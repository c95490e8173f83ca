//! Records about files.

/// The arguments of an [`Open`](crate::RecordKind::Open) record. Strings: the path as the caller wrote it, read when the
/// call returned; then, where the call succeeded, the kernel's own absolute path of the opened file (empty otherwise, and
/// where there is none, as for an anonymous inode).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenArguments {
    /// Descriptor of the directory that a relative path starts from; `AT_FDCWD` (-100) is the working directory.
    pub dirfd: i32,
    /// `O_*` as the caller passed them.
    pub flags: u32,
    /// Permission bits for a file that is created.
    pub mode: u32,
}

impl OpenArguments {
    pub const STRING_NAME: usize = 0;
    pub const STRING_KERNEL_PATH: usize = 1;

    #[inline(always)]
    pub const fn to_words(self) -> [u64; 4] {
        [self.dirfd as u32 as u64, self.flags as u64, self.mode as u64, 0]
    }

    pub const fn from_words(words: [u64; 4]) -> Self {
        Self { dirfd: words[0] as u32 as i32, flags: words[1] as u32, mode: words[2] as u32 }
    }
}
