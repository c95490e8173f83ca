//! The head of every record.

/// Longest string in a record, in bytes: `PATH_MAX` on Linux. Longer ones are cut.
pub const STRING_BYTES_MAX: usize = 4096;

/// What happened.
#[repr(u16)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A process replaced its program; see [`crate::process::ExecArguments`].
    Exec = 1,
    /// An exec that failed, or would have replaced the program of a vfork child that shares its parent's memory.
    ExecFailed = 2,
    /// A new process (threads are not reported); see [`crate::process::ForkArguments`].
    Fork = 3,
    /// The last thread of a process ended; see [`crate::process::ExitArguments`].
    Exit = 4,
    /// A call that opens a file by its name.
    Open = 5,
    /// A call about a socket.
    Network = 6,
    /// A call about paths: rename, link, chmod and their like.
    Path = 7,
    /// A call about descriptors: dup, fcntl, pipe and their like.
    Descriptor = 8,
    /// Any other call.
    Other = 9,
}

impl RecordKind {
    /// Size of tables that are indexed by kind: a power of two, so that the kernel side can mask an index.
    pub const COUNT: usize = 16;

    pub const ALL: [Self; 9] = [
        Self::Exec,
        Self::ExecFailed,
        Self::Fork,
        Self::Exit,
        Self::Open,
        Self::Network,
        Self::Path,
        Self::Descriptor,
        Self::Other,
    ];

    pub const fn from_u16(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Exec),
            2 => Some(Self::ExecFailed),
            3 => Some(Self::Fork),
            4 => Some(Self::Exit),
            5 => Some(Self::Open),
            6 => Some(Self::Network),
            7 => Some(Self::Path),
            8 => Some(Self::Descriptor),
            9 => Some(Self::Other),
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
            Self::Network => "network",
            Self::Path => "path",
            Self::Descriptor => "descriptor",
            Self::Other => "other",
        }
    }
}

/// The kernel programs that write records. Each has scratch memory and a count of its own: the kernel does not run one
/// program twice at once on one CPU, so that none ever finds its memory in use.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    SystemCall = 0,
    Exec = 1,
    Fork = 2,
    Exit = 3,
}

impl Program {
    pub const COUNT: usize = 4;
}

/// The fixed head of a record: who did it, when, with what rights, and with what result.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordHeader {
    /// Bytes of the whole record, this header included.
    pub length: u32,
    /// A [`RecordKind`].
    pub kind: u16,
    /// Strings that follow.
    pub strings: u16,
    /// Counts up by one per CPU and program, lost records included: a gap is a loss, and its size is exact.
    pub sequence: u64,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub time_ns: u64,
    pub cpu: u32,
    /// System call number of the 64-bit table; `u32::MAX` where the record comes from the scheduler.
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
    pub egid: u32,
    /// Of [`RecordHeader::PATH_CUT`] and its like.
    pub flags: u32,
    /// The [`Program`] that wrote it.
    pub program: u32,
    /// When the process started, `CLOCK_BOOTTIME` nanoseconds: with `tgid` it identifies a process.
    pub start_ns: u64,
    /// Inode number of the cgroup v2 directory.
    pub cgroup_id: u64,
    /// The thread's capabilities: bit n is capability number n.
    pub cap_inheritable: u64,
    pub cap_permitted: u64,
    pub cap_effective: u64,
    /// Name of the thread, NUL-padded.
    pub comm: [u8; 16],
    /// Of a system call its six arguments as they were passed; of the others what `*Arguments` of the kind says.
    pub arguments: [u64; 6],
}

impl RecordHeader {
    /// A path of the kernel in this record lost its head: it has more directories, or more bytes, than are followed. It is
    /// the one that does not begin with a slash.
    pub const PATH_CUT: u32 = 1;
    /// A call through the 32-bit entry; number and arguments are translated.
    pub const COMPAT: u32 = 2;

    /// The lower half of an argument, which is all that the kernel takes of an `int`; 0 where there is no such argument.
    pub const fn argument_u32(&self, place: usize) -> u32 {
        if place < self.arguments.len() { self.arguments[place] as u32 } else { 0 }
    }
}

// No padding anywhere: every byte that user space reads was written.
const _: () = assert!(size_of::<RecordHeader>() == 184);
const _: () = assert!(align_of::<RecordHeader>() == 8);
