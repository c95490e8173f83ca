//! Records about sockets.

/// The arguments of a [`Connect`](crate::RecordKind::Connect) record. Strings: the address as the caller wrote it (a
/// `sockaddr`, at most 128 bytes); then, where the call returned 0 or `EINPROGRESS` on an IPv4 or IPv6 socket, the socket's own
/// addresses, [`SOCKET_ADDRESSES_BYTES`] long: local address, remote address (16 bytes each, IPv4 in the first four).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectArguments {
    pub fd: i32,
    /// `AF_*` of the socket; 0 where the kernel's socket was not read.
    pub family: u16,
    /// `IPPROTO_*` of the socket.
    pub protocol: u16,
    pub local_port: u16,
    pub remote_port: u16,
}

/// Bytes of the socket's own addresses in a connect record.
pub const SOCKET_ADDRESSES_BYTES: usize = 32;

impl ConnectArguments {
    pub const STRING_ADDRESS: usize = 0;
    pub const STRING_SOCKET: usize = 1;

    #[inline(always)]
    pub const fn to_words(self) -> [u64; 4] {
        [
            self.fd as u32 as u64,
            self.family as u64 | (self.protocol as u64) << 16,
            self.local_port as u64 | (self.remote_port as u64) << 16,
            0,
        ]
    }

    pub const fn from_words(words: [u64; 4]) -> Self {
        Self {
            fd: words[0] as u32 as i32,
            family: words[1] as u16,
            protocol: (words[1] >> 16) as u16,
            local_port: words[2] as u16,
            remote_port: (words[2] >> 16) as u16,
        }
    }
}
