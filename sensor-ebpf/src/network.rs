//! connect.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tercel_sensor_abi::RecordKind;
use tercel_sensor_abi::network::{ConnectArguments, SOCKET_ADDRESSES_BYTES};

use crate::memory::read;
use crate::record::RecordWriter;
use crate::syscall::Call;
use crate::task;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const EINPROGRESS: i64 = 115;

/// `struct sockaddr_storage`.
const ADDRESS_BYTES_MAX: u64 = 128;

/// What the caller wrote can be exchanged by another thread; the socket's own addresses, read where the call went
/// through, cannot.
#[inline(always)]
pub unsafe fn connect(call: &Call) {
    // SAFETY: memory is read through helpers only.
    unsafe {
        let Some(mut record) = RecordWriter::begin(RecordKind::Connect, call.number, call.result) else { return };
        let [fd, address, length, _] = call.arguments;
        let went_through = call.result == 0 || call.result == -EINPROGRESS;
        let socket = if went_through { task::socket(call.task, fd) } else { 0 };
        let mut arguments = ConnectArguments { fd: fd as i32, family: 0, protocol: 0, local_port: 0, remote_port: 0 };
        if socket != 0 {
            arguments.family = read(socket, offset!(sock_family));
            arguments.protocol = read(socket, offset!(sock_protocol));
            arguments.local_port = read(socket, offset!(sock_num));
            arguments.remote_port = u16::from_be(read(socket, offset!(sock_dport)));
        }
        record.arguments(arguments.to_words());
        record.user_bytes(address, if length > ADDRESS_BYTES_MAX { ADDRESS_BYTES_MAX } else { length });
        match arguments.family {
            AF_INET => socket_addresses(&mut record, socket, offset!(sock_rcv_saddr), offset!(sock_daddr), 4),
            AF_INET6 => socket_addresses(&mut record, socket, offset!(sock_v6_rcv_saddr), offset!(sock_v6_daddr), 16),
            _ => {}
        }
        record.send();
    }
}

/// Appends local and remote address, 16 bytes each, of which an IPv4 address fills the first four.
#[inline(always)]
unsafe fn socket_addresses(record: &mut RecordWriter, socket: u64, local: u32, remote: u32, length: u32) {
    // SAFETY: the destination has room for a whole write, far more than these 32 bytes.
    unsafe {
        let bytes = record.string_bytes();
        *bytes.cast::<[u64; SOCKET_ADDRESSES_BYTES / 8]>() = [0; SOCKET_ADDRESSES_BYTES / 8];
        bpf_probe_read_kernel(bytes, length, (socket + local as u64) as *const _);
        bpf_probe_read_kernel(bytes.byte_add(16), length, (socket + remote as u64) as *const _);
        record.end_string_here(SOCKET_ADDRESSES_BYTES as u64);
    }
}
