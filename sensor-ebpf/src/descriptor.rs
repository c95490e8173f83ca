//! What is behind a descriptor.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tercel_sensor_abi::file::{DescriptorFacts, LAYER_LOWER, LAYER_NONE, LAYER_UPPER};
use tercel_sensor_abi::{CallSpec, Control, RecordKind, What};

use crate::memory::{read, zero};
use crate::path::Place;
use crate::record::RecordWriter;
use crate::syscall::Call;
use crate::task;

/// `S_IFMT` and `S_IFSOCK` of `<linux/stat.h>`.
const FILE_TYPE_MASK: u32 = 0o170_000;
const FILE_TYPE_SOCKET: u32 = 0o140_000;

/// `OVERLAYFS_SUPER_MAGIC` of `<linux/magic.h>`.
const OVERLAY: u64 = 0x794c_7630;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Bytes of `sun_path`.
const UNIX_PATH_BYTES_MAX: u64 = 108;

/// Appends the facts; the name too where it is no path. Where it is one, gives the place whose path is to be appended.
#[inline(always)]
pub unsafe fn facts(
    record: &mut RecordWriter,
    descriptor: u64,
    control: *const Control,
    spec: *const CallSpec,
    call: &Call,
) -> Option<Place> {
    // SAFETY: kernel memory is read through helpers, which take any address; `facts` has room for the structure.
    unsafe {
        let file = if (descriptor as i32) < 0 { 0 } else { task::file(call.task, descriptor & 0xffff_ffff) };
        if file == 0 {
            record.empty_string();
            record.empty_string();
            return None;
        }
        let bytes = record.string_bytes();
        zero::<{ DescriptorFacts::BYTES / 8 }>(bytes);
        let facts = bytes.cast::<DescriptorFacts>();
        let inode = read::<u64>(file, offset!(file_inode));
        let super_block = read::<u64>(inode, offset!(inode_super));
        let file_system = read::<u64>(super_block, offset!(super_magic));
        let mode = read::<u16>(inode, offset!(inode_mode)) as u32;
        (*facts).inode = read::<u64>(inode, offset!(inode_number));
        (*facts).file_system = file_system;
        (*facts).device = read::<u32>(super_block, offset!(super_device));
        (*facts).flags = read::<u32>(file, offset!(file_flags));
        (*facts).mode = mode;
        (*facts).layer = layer_in(inode, file_system);
        if mode & FILE_TYPE_MASK != FILE_TYPE_SOCKET {
            record.end_string_here(DescriptorFacts::BYTES as u64);
            // What was opened by a name has one; the kernel's is taken where somebody asks for it.
            let has_name = read_volatile(addr_of!((*spec).kind)) == RecordKind::Open as u16
                && read_volatile(addr_of!((*spec).captures[0])).what == What::Path as u8;
            let wanted = read_volatile(addr_of!((*control).flags)) & Control::KERNEL_PATH != 0;
            return Some(if has_name && !wanted { Place::NOWHERE } else { Place::of_file(file) });
        }
        let socket = read::<u64>(file, offset!(file_private_data));
        let sock = read::<u64>(socket, offset!(socket_sk));
        let family = read::<u16>(sock, offset!(sock_family));
        (*facts).family = family;
        (*facts).socket_type = read::<u16>(socket, offset!(socket_type));
        (*facts).protocol = read::<u16>(sock, offset!(sock_protocol));
        (*facts).state = read::<u8>(sock, offset!(sock_state)) as u16;
        if family == AF_INET || family == AF_INET6 {
            (*facts).local_port = read::<u16>(sock, offset!(sock_num));
            (*facts).remote_port = u16::from_be(read::<u16>(sock, offset!(sock_dport)));
        }
        let local = core::ptr::addr_of_mut!((*facts).local);
        let remote = core::ptr::addr_of_mut!((*facts).remote);
        if family == AF_INET {
            bpf_probe_read_kernel(local.cast(), 4, (sock + offset!(sock_rcv_saddr) as u64) as *const _);
            bpf_probe_read_kernel(remote.cast(), 4, (sock + offset!(sock_daddr) as u64) as *const _);
        } else if family == AF_INET6 {
            bpf_probe_read_kernel(local.cast(), 16, (sock + offset!(sock_v6_rcv_saddr) as u64) as *const _);
            bpf_probe_read_kernel(remote.cast(), 16, (sock + offset!(sock_v6_daddr) as u64) as *const _);
        }
        record.end_string_here(DescriptorFacts::BYTES as u64);
        if family == AF_UNIX {
            unix_name(record, sock);
        } else {
            record.empty_string();
        }
        None
    }
}

/// Its own name, or the one of the other end where it has none. An abstract one begins with a NUL.
#[inline(always)]
unsafe fn unix_name(record: &mut RecordWriter, sock: u64) {
    // SAFETY: as `facts`.
    unsafe {
        let mut address = read::<u64>(sock, offset!(unix_address));
        if address == 0 {
            let peer = read::<u64>(sock, offset!(unix_peer));
            address = if peer == 0 { 0 } else { read::<u64>(peer, offset!(unix_address)) };
        }
        if address == 0 {
            record.empty_string();
            return;
        }
        // `sockaddr_un`: the family, two bytes, then the path.
        let bytes = (read::<u32>(address, offset!(unix_address_len)) as u64).wrapping_sub(2);
        let bytes = if bytes > UNIX_PATH_BYTES_MAX { UNIX_PATH_BYTES_MAX } else { bytes };
        record.kernel_bytes(address + offset!(unix_address_name) as u64 + 2, bytes);
    }
}

/// Which layer of an overlay file system a file lies in.
#[inline(always)]
pub unsafe fn layer(inode: u64) -> u32 {
    // SAFETY: as `facts`.
    unsafe {
        let super_block = read::<u64>(inode, offset!(inode_super));
        layer_in(inode, read::<u64>(super_block, offset!(super_magic)))
    }
}

/// An overlay file system keeps the dentry of the upper layer right behind the inode that everybody knows.
#[inline(always)]
unsafe fn layer_in(inode: u64, file_system: u64) -> u32 {
    // SAFETY: as `facts`.
    unsafe {
        if file_system != OVERLAY {
            LAYER_NONE
        } else if read::<u64>(inode, offset!(inode_bytes)) != 0 {
            LAYER_UPPER
        } else {
            LAYER_LOWER
        }
    }
}
