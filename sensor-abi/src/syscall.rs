//! Numbers of the system calls that both sides name.

/// x86-64, the 64-bit entry.
pub mod x86_64 {
    pub const OPEN: u32 = 2;
    pub const CONNECT: u32 = 42;
    pub const EXECVE: u32 = 59;
    pub const CREAT: u32 = 85;
    pub const OPENAT: u32 = 257;
    pub const EXECVEAT: u32 = 322;
    pub const OPENAT2: u32 = 437;
}
