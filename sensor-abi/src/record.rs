//! The head of every record.

/// Longest string in a record, in bytes: `PATH_MAX` on Linux. Longer ones are cut.
pub const STRING_BYTES_MAX: usize = 4096;

/// What happened.
#[repr(u16)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A process replaced its program; see [`crate::process::ExecArguments`].
    Exec = 1,
    /// An exec that failed; see [`crate::process::FailedExecArguments`].
    ExecFailed = 2,
    /// A new process (threads are not reported); see [`crate::process::ForkArguments`].
    Fork = 3,
    /// The last thread of a process ended; see [`crate::process::ExitArguments`].
    Exit = 4,
    /// open, openat, openat2, creat; see [`crate::file::OpenArguments`].
    Open = 5,
    /// connect; see [`crate::network::ConnectArguments`].
    Connect = 6,
}

impl RecordKind {
    /// Greatest discriminant + 1: the size of tables that are indexed by kind.
    pub const COUNT: usize = 7;

    pub const ALL: [Self; 6] = [Self::Exec, Self::ExecFailed, Self::Fork, Self::Exit, Self::Open, Self::Connect];

    pub const fn from_u16(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Exec),
            2 => Some(Self::ExecFailed),
            3 => Some(Self::Fork),
            4 => Some(Self::Exit),
            5 => Some(Self::Open),
            6 => Some(Self::Connect),
            _ => None,
        }
    }

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::ExecFailed => "exec_failed",
            Self::Fork => "fork",
            Self::Exit => "exit",
            Self::Open => "open",
            Self::Connect => "connect",
        }
    }
}

/// The fixed head of a record: who did it, when, and with what result.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordHeader {
    /// Bytes of the whole record, this header included.
    pub length: u32,
    /// A [`RecordKind`].
    pub kind: u16,
    /// Strings that follow.
    pub strings: u16,
    /// Counts up by one per CPU, lost records included: a gap is a loss, and its size is exact.
    pub sequence: u64,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub time_ns: u64,
    pub cpu: u32,
    /// System call number; `u32::MAX` where the record comes from the scheduler.
    pub syscall: u32,
    /// What the call returned: negative is an errno.
    pub result: i64,
    /// The process (what user space calls pid).
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
    /// Process id of the real parent.
    pub ppid: u32,
    /// `u32::MAX` where unset.
    pub loginuid: u32,
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    /// Of [`RecordHeader::PATH_CUT`] and others to come.
    pub flags: u32,
    /// When the process started, `CLOCK_BOOTTIME` nanoseconds: with `tgid` it identifies a process.
    pub start_ns: u64,
    /// Inode number of the cgroup v2 directory.
    pub cgroup_id: u64,
    /// Name of the thread, NUL-padded.
    pub comm: [u8; 16],
    /// By kind: `*Arguments` of the families.
    pub arguments: [u64; 4],
}

impl RecordHeader {
    /// The kernel's own path in this record lost its head: it has more directories, or more bytes, than are followed.
    pub const PATH_CUT: u32 = 1;
}

// No padding anywhere: every byte that user space reads was written.
const _: () = assert!(size_of::<RecordHeader>() == 136);
const _: () = assert!(align_of::<RecordHeader>() == 8);
