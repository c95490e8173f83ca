//! What user space tells the kernel programs while they run.

/// Processes that are not reported: the sensor's own and the router beside it.
pub const MUTED_MAX: usize = 4;

/// System calls that there is room for; x86-64 and arm64 stay below 512.
pub const SYSCALLS_MAX: usize = 512;

/// Places behind the 32-bit calls in the table that translates them: the calls inside of `socketcall`.
pub const SOCKET_CALLS_MAX: usize = 32;

/// In the table that translates 32-bit calls: there is no such call.
pub const NO_CALL: u32 = u32::MAX;

/// One bit for each system call that user space wants to hear of: bit `nr % 64` of word `nr / 64`.
pub type InterestBitmap = [u64; SYSCALLS_MAX / 64];

/// Bytes of a path that the prefixes of rules are compared with.
pub const PREFIX_BYTES_MAX: usize = 64;

/// Prefixes of paths that the kernel programs compare with at most.
pub const PREFIXES_MAX: usize = 512;

/// Longest path that the kernel programs judge by its prefix; longer ones are reported.
pub const PLAIN_PATH_BYTES_MAX: usize = 255;

/// The switches that change while the programs run.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// By 64-bit numbers, together with the numbers that the same calls have in the 32-bit table.
    pub interest: InterestBitmap,
    /// By 32-bit numbers.
    pub interest_compat: InterestBitmap,
    /// Process ids; 0 is none. The program that sees the process end strikes it out.
    pub muted: [u32; MUTED_MAX],
    /// Of [`Control::ENVIRONMENT`] and its like.
    pub flags: u32,
    /// Opens that are reported whatever their path: one bit for each access mode, as `open_bit` counts them.
    pub opens_any_path: u8,
    /// Opens that are reported where their path is not plain or has one of the prefixes.
    pub opens_by_prefix: u8,
    pub reserved: u16,
}

impl Control {
    /// The environment is taken at an exec.
    pub const ENVIRONMENT: u32 = 1;
    /// The kernel's own path of an opened file is taken.
    pub const KERNEL_PATH: u32 = 2;
    /// What is sent and received is taken.
    pub const DATA: u32 = 4;

    /// Size in 32-bit words: as such user space writes it.
    pub const WORDS: usize = size_of::<Self>() / 4;

    /// Every open is reported.
    pub const OPENS_ALL: u8 = 0xff;

    pub fn to_words(&self) -> [u32; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        let mut at = 0;
        let mut put = |word| {
            words[at] = word;
            at += 1;
        };
        for word in self.interest.iter().chain(&self.interest_compat) {
            put(*word as u32);
            put((*word >> 32) as u32);
        }
        for tgid in self.muted {
            put(tgid);
        }
        put(self.flags);
        put(u32::from(self.opens_any_path) | u32::from(self.opens_by_prefix) << 8);
        words
    }
}

/// The bit of an open in [`Control`]: its access mode (0 read, 1 write, 2 both, 3 neither), and 4 more where it failed.
#[inline(always)]
pub const fn open_bit(flags: u32, failed: bool) -> u8 {
    1 << ((flags & 3) + if failed { 4 } else { 0 })
}

const _: () = assert!(size_of::<Control>() == Control::WORDS * 4);
