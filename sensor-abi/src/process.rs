//! What records say of processes.

use crate::file::Fields;

/// Names of cgroup directories in a record at most; Kubernetes needs four to six.
pub const CGROUP_LEVELS_MAX: usize = 8;

/// What the kernel knows of a process beyond the header.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// The program's file.
    pub exe_inode: u64,
    /// When the inode changed last, and when the file was written last: nanoseconds since 1970.
    pub exe_ctime_ns: u64,
    pub exe_mtime_ns: u64,
    /// When the first process of its pid namespace started, `CLOCK_BOOTTIME` nanoseconds.
    pub pid_namespace_start_ns: u64,
    /// Descriptors that it may have open.
    pub descriptors_max: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    pub exe_mode: u32,
    pub exe_uid: u32,
    pub exe_gid: u32,
    /// One of the `LAYER_`s.
    pub exe_layer: u32,
    /// Device number of the controlling terminal as in `/proc/<pid>/stat`; 0 is none.
    pub tty: u32,
    /// Session and process group, as the first pid namespace numbers their leaders.
    pub sid: u32,
    pub pgid: u32,
    /// Process, thread and group as the process's own pid namespace numbers them.
    pub vpid: u32,
    pub vtid: u32,
    pub vpgid: u32,
    /// Inode number of its pid namespace.
    pub pid_namespace: u32,
    pub reserved: u32,
}

impl ProcessFacts {
    pub const BYTES: usize = size_of::<Self>();

    /// `None` where the bytes are not those of one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut words = Fields(bytes);
        let facts = Self {
            exe_inode: words.u64()?,
            exe_ctime_ns: words.u64()?,
            exe_mtime_ns: words.u64()?,
            pid_namespace_start_ns: words.u64()?,
            descriptors_max: words.u64()?,
            minor_faults: words.u64()?,
            major_faults: words.u64()?,
            exe_mode: words.u32()?,
            exe_uid: words.u32()?,
            exe_gid: words.u32()?,
            exe_layer: words.u32()?,
            tty: words.u32()?,
            sid: words.u32()?,
            pgid: words.u32()?,
            vpid: words.u32()?,
            vtid: words.u32()?,
            vpgid: words.u32()?,
            pid_namespace: words.u32()?,
            reserved: words.u32()?,
        };
        words.0.is_empty().then_some(facts)
    }
}

/// The arguments of an [`Exec`](crate::RecordKind::Exec) record. Strings: the kernel's own path of the program
/// (`memfd:NAME` where it is no file of a file system); the arguments, each ended by a NUL (cut at 4,095 bytes); the
/// environment in the same form, where it was asked for; the working directory; [`ProcessFacts`]; then the names of the
/// cgroup v2 directories, leaf first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecArguments {
    /// Bytes of the arguments before any cut.
    pub argv_bytes: u64,
    /// Bytes of the environment before any cut.
    pub environment_bytes: u64,
    /// Number of the thread that called exec: it becomes the main one.
    pub old_tid: u32,
}

impl ExecArguments {
    pub const STRING_EXE_PATH: usize = 0;
    pub const STRING_ARGV: usize = 1;
    pub const STRING_ENVIRONMENT: usize = 2;
    pub const STRING_WORKING_DIRECTORY: usize = 3;
    pub const STRING_FACTS: usize = 4;
    /// This and all that follow.
    pub const STRING_CGROUP: usize = 5;

    #[inline(always)]
    pub const fn to_words(self) -> [u64; 6] {
        [self.argv_bytes, self.environment_bytes, self.old_tid as u64, 0, 0, 0]
    }

    pub const fn from_words(words: [u64; 6]) -> Self {
        Self { argv_bytes: words[0], environment_bytes: words[1], old_tid: words[2] as u32 }
    }
}

/// The arguments of a [`Fork`](crate::RecordKind::Fork) record, whose header speaks of the parent. Strings: the child's
/// [`ProcessFacts`]; the parent's working directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkArguments {
    pub child_tgid: u32,
    /// When the child started, `CLOCK_BOOTTIME` nanoseconds.
    pub child_start_ns: u64,
    /// The call that made it, in the 64-bit table; `u32::MAX` where the kernel does not tell.
    pub syscall: u32,
    /// `CLONE_*`, as far as the caller's registers tell.
    pub flags: u64,
}

impl ForkArguments {
    pub const STRING_FACTS: usize = 0;
    pub const STRING_WORKING_DIRECTORY: usize = 1;

    #[inline(always)]
    pub const fn to_words(self) -> [u64; 6] {
        [self.child_tgid as u64, self.child_start_ns, self.syscall as u64, self.flags, 0, 0]
    }

    pub const fn from_words(words: [u64; 6]) -> Self {
        Self { child_tgid: words[0] as u32, child_start_ns: words[1], syscall: words[2] as u32, flags: words[3] }
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
    pub const fn to_words(self) -> [u64; 6] {
        [self.status as u64, 0, 0, 0, 0, 0]
    }

    pub const fn from_words(words: [u64; 6]) -> Self {
        Self { status: words[0] as u32 }
    }
}

const _: () = assert!(ProcessFacts::BYTES == 104);
