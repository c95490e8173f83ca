//! Records about processes.

/// The arguments of an [`Exec`](crate::RecordKind::Exec) record. Strings: the kernel's own path of the program
/// (`memfd:NAME` where it is no file of a file system); the arguments, each ended by a NUL (cut at 4,095 bytes); then the names of the cgroup v2 directories, leaf first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecArguments {
    /// Device number of the controlling terminal as in `/proc/<pid>/stat`; 0 is none.
    pub tty: u32,
    /// Session leader.
    pub sid: u32,
    /// Bytes of the arguments before any cut.
    pub argv_bytes: u64,
}

/// Names of cgroup directories in an exec record at most; Kubernetes needs four to six.
pub const CGROUP_LEVELS_MAX: usize = 8;

impl ExecArguments {
    pub const STRING_EXE_PATH: usize = 0;
    pub const STRING_ARGV: usize = 1;
    /// This and all that follow.
    pub const STRING_CGROUP: usize = 2;

    #[inline(always)]
    pub const fn to_words(self) -> [u64; 4] {
        [self.tty as u64, self.sid as u64, self.argv_bytes, 0]
    }

    pub const fn from_words(words: [u64; 4]) -> Self {
        Self { tty: words[0] as u32, sid: words[1] as u32, argv_bytes: words[2] }
    }
}

/// An [`ExecFailed`](crate::RecordKind::ExecFailed) record has no arguments. Strings: the path of the program that was
/// asked for. `result` says why.
pub struct FailedExecArguments;

impl FailedExecArguments {
    pub const STRING_NAME: usize = 0;
}

/// The arguments of a [`Fork`](crate::RecordKind::Fork) record, whose header speaks of the parent. No strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkArguments {
    pub child_tgid: u32,
    /// When the child started, `CLOCK_BOOTTIME` nanoseconds.
    pub child_start_ns: u64,
}

impl ForkArguments {
    #[inline(always)]
    pub const fn to_words(self) -> [u64; 4] {
        [self.child_tgid as u64, self.child_start_ns, 0, 0]
    }

    pub const fn from_words(words: [u64; 4]) -> Self {
        Self { child_tgid: words[0] as u32, child_start_ns: words[1] }
    }
}

/// The arguments of an [`Exit`](crate::RecordKind::Exit) record. No strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitArguments {
    /// As `wait` reports it: exit status in bits 8 to 15, signal in bits 0 to 6.
    pub status: u32,
}

impl ExitArguments {
    #[inline(always)]
    pub const fn to_words(self) -> [u64; 4] {
        [self.status as u64, 0, 0, 0]
    }

    pub const fn from_words(words: [u64; 4]) -> Self {
        Self { status: words[0] as u32 }
    }
}
