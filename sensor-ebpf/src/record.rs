//! Putting a record together in per-CPU memory and sending it.
//!
//! The write cursor lives in map memory, not in a register. Each load of it is a fresh unknown number to the verifier,
//! so that states from different branches compare equal and are pruned; with the cursor in a register a 40-step path walk
//! needs more than the million instructions that the verifier grants. Every access is masked to the buffer right
//! before it is made, and [`RecordWriter::send`] refuses what ran over.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_uid_gid, bpf_get_smp_processor_id,
    bpf_ktime_get_boot_ns, bpf_probe_read_kernel_str, bpf_probe_read_user, bpf_probe_read_user_str, bpf_ringbuf_output,
};
use tercel_sensor_abi::{Counters, RecordHeader, RecordKind, STRING_BYTES_MAX};

use crate::maps::{COUNTERS, RECORDS, SCRATCH};
use crate::task;

/// Longest record. An exec with the longest path (4 KiB), arguments (4 KiB) and cgroup (8 names of 255 bytes) needs
/// 10.4 KiB: no caller can make a record too long.
const RECORD_BYTES_MAX: u64 = 16_384;

/// A write starts below [`RECORD_BYTES_MAX`] and is at most this long.
const WRITE_BYTES_MAX: usize = STRING_BYTES_MAX;

/// Longest name of one directory, its NUL included.
const NAME_BYTES_MAX: u32 = 256;

/// `BPF_RB_NO_WAKEUP`: the reader polls. Waking it costs seven times what the rest of a record costs.
const RING_FLAGS: u64 = 1;

/// One CPU's workplace.
#[repr(C)]
pub struct Scratch {
    /// 1 while a record is being put together: a program that interrupts another one finds it set, and counts a loss.
    claimed: u64,
    /// Bytes written so far.
    position: u64,
    strings: u64,
    /// Where the next path component ends in `path`; see `path.rs`.
    pub path_start: u64,
    record: [u8; RECORD_BYTES_MAX as usize + WRITE_BYTES_MAX + 256],
    pub path: [u8; 4096 + 512],
}

/// A record that is being put together; it holds this CPU's scratch memory until [`RecordWriter::send`].
pub struct RecordWriter {
    pub scratch: *mut Scratch,
    counters: *mut Counters,
    kind: RecordKind,
}

impl RecordWriter {
    /// Claims the scratch memory and fills the header. `None`: the scratch is in use (counted).
    #[inline(always)]
    pub unsafe fn begin(kind: RecordKind, syscall: u32, result: i64) -> Option<Self> {
        let counters = COUNTERS.get_ptr_mut(0)?;
        let scratch = SCRATCH.get_ptr_mut(0)?;
        // SAFETY: both point to this CPU's map values; programs of one CPU do not run at once, only nested, which
        // `claimed` finds.
        unsafe {
            (*counters).kinds[kind as usize].seen += 1;
            (*counters).sequence += 1;
            if read_volatile(addr_of!((*scratch).claimed)) != 0 {
                (*counters).kinds[kind as usize].dropped_nested += 1;
                return None;
            }
            write_volatile(addr_of_mut!((*scratch).claimed), 1);
            write_volatile(addr_of_mut!((*scratch).position), size_of::<RecordHeader>() as u64);
            write_volatile(addr_of_mut!((*scratch).strings), 0);
            let mut writer = Self { scratch, counters, kind };
            writer.fill_header(syscall, result);
            Some(writer)
        }
    }

    #[inline(always)]
    unsafe fn fill_header(&mut self, syscall: u32, result: i64) {
        // SAFETY: the header lies at the start of the claimed scratch; each member is written once.
        unsafe {
            let header = self.base() as *mut RecordHeader;
            let ids = bpf_get_current_pid_tgid();
            let users = bpf_get_current_uid_gid();
            let identity = task::identity(task::current());
            (*header).kind = self.kind as u16;
            (*header).sequence = (*self.counters).sequence;
            (*header).time_ns = bpf_ktime_get_boot_ns();
            (*header).cpu = bpf_get_smp_processor_id();
            (*header).syscall = syscall;
            (*header).result = result;
            (*header).tgid = (ids >> 32) as u32;
            (*header).tid = ids as u32;
            (*header).ppid = identity.ppid;
            (*header).loginuid = identity.loginuid;
            (*header).uid = users as u32;
            (*header).gid = (users >> 32) as u32;
            (*header).euid = identity.euid;
            (*header).flags = 0;
            (*header).start_ns = identity.start_ns;
            (*header).cgroup_id = bpf_get_current_cgroup_id();
            bpf_get_current_comm(addr_of_mut!((*header).comm).cast(), 16);
            (*header).arguments = [0; 4];
        }
    }

    #[inline(always)]
    pub unsafe fn arguments(&mut self, arguments: [u64; 4]) {
        // SAFETY: as `fill_header`.
        unsafe { (*(self.base() as *mut RecordHeader)).arguments = arguments }
    }

    /// Says that the kernel's path in this record lost its head.
    #[inline(always)]
    pub unsafe fn mark_path_cut(&mut self) {
        // SAFETY: as `fill_header`.
        unsafe { (*(self.base() as *mut RecordHeader)).flags |= RecordHeader::PATH_CUT }
    }

    /// Appends a NUL-terminated string of the caller's memory, cut at [`STRING_BYTES_MAX`].
    #[inline(always)]
    pub unsafe fn user_string(&mut self, pointer: u64) {
        // SAFETY: the destination is masked into the buffer, behind which a whole write has room.
        unsafe {
            let position = self.position();
            let at = masked!(position + 2, "0x3ffe");
            let read =
                bpf_probe_read_user_str((self.base() + at) as *mut _, STRING_BYTES_MAX as u32, pointer as *const _);
            let length = if read > 0 { read as u64 - 1 } else { self.count_read_fault() };
            self.end_string(position, length);
        }
    }

    /// Appends `length` bytes of the caller's memory, cut at 4,095.
    #[inline(always)]
    pub unsafe fn user_bytes(&mut self, pointer: u64, length: u64) {
        // SAFETY: as `user_string`.
        unsafe {
            let position = self.position();
            let at = masked!(position + 2, "0x3ffe");
            let length = if length > 4095 { 4095 } else { length };
            let length = masked!(length, "0xfff");
            let failed = bpf_probe_read_user((self.base() + at) as *mut _, length as u32, pointer as *const _);
            let length = if failed == 0 { length } else { self.count_read_fault() };
            self.end_string(position, length);
        }
    }

    /// Appends a NUL-terminated string of the kernel's memory, cut at 255 bytes.
    #[inline(always)]
    pub unsafe fn kernel_name(&mut self, pointer: u64) {
        // SAFETY: as `user_string`.
        unsafe {
            let position = self.position();
            let at = masked!(position + 2, "0x3ffe");
            let read = bpf_probe_read_kernel_str((self.base() + at) as *mut _, NAME_BYTES_MAX, pointer as *const _);
            self.end_string(position, if read > 0 { read as u64 - 1 } else { 0 });
        }
    }

    /// Where the next string's bytes go: an address with room for a whole write.
    #[inline(always)]
    pub unsafe fn string_bytes(&mut self) -> *mut core::ffi::c_void {
        // SAFETY: as `user_string`.
        unsafe { (self.base() + masked!(self.position() + 2, "0x3ffe")) as *mut _ }
    }

    /// Ends a string whose bytes were written to [`Self::string_bytes`].
    #[inline(always)]
    pub unsafe fn end_string_here(&mut self, length: u64) {
        // SAFETY: as `end_string`.
        unsafe { self.end_string(self.position(), length) }
    }

    /// Hands the record to the ring buffer and releases the scratch memory. A full ring or a record that ran over is
    /// counted.
    #[inline(always)]
    pub unsafe fn send(self) {
        // SAFETY: the length is checked against the buffer's.
        unsafe {
            let length = self.position();
            let header = self.base() as *mut RecordHeader;
            (*header).length = length as u32;
            (*header).strings = read_volatile(addr_of!((*self.scratch).strings)) as u16;
            let counters = addr_of_mut!((*self.counters).kinds[self.kind as usize]);
            if length > RECORD_BYTES_MAX {
                (*counters).dropped_long += 1;
            } else if bpf_ringbuf_output(addr_of!(RECORDS) as *mut _, header.cast(), length, RING_FLAGS) == 0 {
                (*counters).sent += 1;
            } else {
                (*counters).dropped_full += 1;
            }
            write_volatile(addr_of_mut!((*self.scratch).claimed), 0);
        }
    }

    /// Writes the length before the bytes at `position` and moves on. Strings start at even offsets: the length is a
    /// natural 16-bit store.
    #[inline(always)]
    unsafe fn end_string(&mut self, position: u64, length: u64) {
        // SAFETY: masked into the buffer.
        unsafe {
            let at = masked!(position, "0x3ffe");
            *((self.base() + at) as *mut u16) = length as u16;
            write_volatile(addr_of_mut!((*self.scratch).position), position + 2 + ((length + 1) & !1));
            let strings = read_volatile(addr_of!((*self.scratch).strings));
            write_volatile(addr_of_mut!((*self.scratch).strings), strings + 1);
        }
    }

    /// The length of a string that could not be read.
    #[inline(always)]
    unsafe fn count_read_fault(&mut self) -> u64 {
        // SAFETY: this CPU's counters.
        unsafe { (*self.counters).read_faults += 1 };
        0
    }

    #[inline(always)]
    unsafe fn position(&self) -> u64 {
        // SAFETY: the claimed scratch.
        unsafe { read_volatile(addr_of!((*self.scratch).position)) }
    }

    #[inline(always)]
    unsafe fn base(&self) -> u64 {
        // SAFETY: the claimed scratch.
        unsafe { addr_of_mut!((*self.scratch).record) as u64 }
    }
}
