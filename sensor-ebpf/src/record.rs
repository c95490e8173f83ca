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
    bpf_ktime_get_boot_ns, bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user,
    bpf_probe_read_user_str, bpf_ringbuf_output, bpf_ringbuf_query,
};
use tercel_sensor_abi::{Counters, KindCounters, Program, RecordHeader, STRING_BYTES_MAX};

use crate::maps::{COUNTERS, RECORDS, SCRATCH};
use crate::syscall::Call;
use crate::task;

/// Longest record. An exec with the longest path, working directory, arguments and environment (4 KiB each) and cgroup (8
/// names of 255 bytes) needs 18.4 KiB, a rename with both its paths and their directories 16.2 KiB: no caller can make
/// a record too long.
const RECORD_BYTES_MAX: u64 = 32_768;

/// A write starts below [`RECORD_BYTES_MAX`] and is at most this long.
const WRITE_BYTES_MAX: usize = STRING_BYTES_MAX;

/// Longest name of one directory, its NUL included.
const NAME_BYTES_MAX: u32 = 256;

/// `BPF_RB_NO_WAKEUP`: the reader polls. Waking it costs seven times what the rest of a record costs.
const RING_FLAGS: u64 = 1;

/// What `bpf_ringbuf_query` tells: bytes that wait for the reader, and bytes in all.
const RING_WAITING: u64 = 0;
const RING_SIZE: u64 = 1;

/// Share of the ring that system calls leave free: a lost call is one event, a lost fork or exec makes what is said of every
/// later event of that family doubtful.
const RING_SHARE_OF_PROCESSES: u64 = 4;

/// The workplace of one program on one CPU.
#[repr(C)]
pub struct Scratch {
    /// Bytes written so far.
    position: u64,
    strings: u64,
    /// Where the next path component ends in `path`; see `path.rs`.
    pub path_start: u64,
    /// The call's arguments, its result, and nothing: what a `Capture` counts.
    values: [u64; 8],
    record: [u8; RECORD_BYTES_MAX as usize + WRITE_BYTES_MAX + 256],
    pub path: [u8; 4096 + 512],
    /// The key of `PREFIXES` {u32 bits, bytes}, and room for the rest of the path; see `open.rs`.
    prefix_key: [u64; (4 + 256 + 16) / 8 + 1],
}

/// A record that is being put together.
pub struct RecordWriter {
    pub scratch: *mut Scratch,
    counters: *mut Counters,
    /// Below `RecordKind::COUNT`.
    kind: u64,
    program: Program,
}

impl RecordWriter {
    /// The program's own scratch memory on this CPU, which nobody else uses: the kernel does not run a program again on a
    /// CPU where it is running already.
    #[inline(always)]
    pub unsafe fn begin(kind: u64, program: Program) -> Option<Self> {
        // SAFETY: takes nothing.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        let counters = COUNTERS.get_ptr_mut(cpu)?;
        let scratch = SCRATCH.get_ptr_mut(cpu * Program::COUNT as u32 + program as u32)?;
        // SAFETY: both point to map values.
        unsafe {
            write_volatile(addr_of_mut!((*scratch).position), size_of::<RecordHeader>() as u64);
            write_volatile(addr_of_mut!((*scratch).strings), 0);
            Some(Self { scratch, counters, kind: masked!(kind, "0xf"), program })
        }
    }

    /// Who, when and with what result.
    #[inline(always)]
    pub unsafe fn fill_header(&mut self, task: u64, syscall: u32, result: i64) {
        // SAFETY: the header lies at the start of the record; each member is written once.
        unsafe {
            let header = self.base() as *mut RecordHeader;
            let ids = bpf_get_current_pid_tgid();
            let users = bpf_get_current_uid_gid();
            let identity = task::identity(task);
            (*header).kind = self.kind as u16;
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
            (*header).egid = identity.egid;
            (*header).flags = 0;
            (*header).program = self.program as u32;
            (*header).start_ns = identity.start_ns;
            (*header).cgroup_id = bpf_get_current_cgroup_id();
            (*header).cap_inheritable = identity.cap_inheritable;
            (*header).cap_permitted = identity.cap_permitted;
            (*header).cap_effective = identity.cap_effective;
            bpf_get_current_comm(addr_of_mut!((*header).comm).cast(), 16);
        }
    }

    /// What captures of this call may ask for.
    #[inline(always)]
    pub unsafe fn set_values(&mut self, call: &Call) {
        let [first, second, third, fourth, fifth, sixth] = call.arguments;
        // SAFETY: the scratch.
        unsafe {
            (*self.scratch).values = [first, second, third, fourth, fifth, sixth, call.result as u64, 0];
        }
    }

    /// One of them, as a `Capture` counts.
    #[inline(always)]
    pub unsafe fn value(&self, index: u8) -> u64 {
        // SAFETY: masked to the array.
        unsafe {
            let at = masked!(index, "7");
            read_volatile((addr_of!((*self.scratch).values) as u64 + at * 8) as *const u64)
        }
    }

    /// Address of the key of `PREFIXES`, behind which the rest of a path has room.
    #[inline(always)]
    pub unsafe fn prefix_key(&self) -> u64 {
        // SAFETY: the scratch.
        unsafe { addr_of_mut!((*self.scratch).prefix_key) as u64 }
    }

    #[inline(always)]
    pub unsafe fn header_flags(&mut self, flags: u32) {
        // SAFETY: as `fill_header`.
        unsafe { (*(self.base() as *mut RecordHeader)).flags = flags }
    }

    #[inline(always)]
    pub unsafe fn arguments(&mut self, arguments: [u64; 6]) {
        // SAFETY: as `fill_header`.
        unsafe { (*(self.base() as *mut RecordHeader)).arguments = arguments }
    }

    /// Says that the kernel's path in this record lost its head.
    #[inline(always)]
    pub unsafe fn mark_path_cut(&mut self) {
        // SAFETY: as `fill_header`.
        unsafe { (*(self.base() as *mut RecordHeader)).flags |= RecordHeader::PATH_CUT }
    }

    /// Appends a NUL-terminated string of the caller's memory, cut at [`STRING_BYTES_MAX`]; gives its first byte, 0 where it
    /// is empty.
    #[inline(always)]
    pub unsafe fn user_string(&mut self, pointer: u64) -> u8 {
        // SAFETY: the destination is masked into the buffer, behind which a whole write has room.
        unsafe {
            let position = self.position();
            let at = masked!(position + 2, "0x7ffe");
            let read =
                bpf_probe_read_user_str((self.base() + at) as *mut _, STRING_BYTES_MAX as u32, pointer as *const _);
            let length = if read > 0 { read as u64 - 1 } else { self.count_read_fault() };
            let first = if length == 0 { 0 } else { *((self.base() + at) as *const u8) };
            self.end_string(position, length);
            first
        }
    }

    /// Appends `length` bytes of the caller's memory, cut at 4,095.
    #[inline(always)]
    pub unsafe fn user_bytes(&mut self, pointer: u64, length: u64) {
        // SAFETY: as `user_string`.
        unsafe {
            let position = self.position();
            let at = masked!(position + 2, "0x7ffe");
            let length = if length > 4095 { 4095 } else { length };
            let length = masked!(length, "0xfff");
            let failed = bpf_probe_read_user((self.base() + at) as *mut _, length as u32, pointer as *const _);
            let length = if failed == 0 { length } else { self.count_read_fault() };
            self.end_string(position, length);
        }
    }

    /// Appends `length` bytes of the kernel's memory, cut at 255.
    #[inline(always)]
    pub unsafe fn kernel_bytes(&mut self, pointer: u64, length: u64) {
        // SAFETY: as `user_string`.
        unsafe {
            let position = self.position();
            let at = masked!(position + 2, "0x7ffe");
            let length = masked!(length, "0xff");
            bpf_probe_read_kernel((self.base() + at) as *mut _, length as u32, pointer as *const _);
            self.end_string(position, length);
        }
    }

    #[inline(always)]
    pub unsafe fn empty_string(&mut self) {
        // SAFETY: as `end_string`.
        unsafe { self.end_string(self.position(), 0) }
    }

    /// Appends a NUL-terminated string of the kernel's memory, cut at 255 bytes.
    #[inline(always)]
    pub unsafe fn kernel_name(&mut self, pointer: u64) {
        // SAFETY: as `user_string`.
        unsafe {
            let position = self.position();
            let at = masked!(position + 2, "0x7ffe");
            let read = bpf_probe_read_kernel_str((self.base() + at) as *mut _, NAME_BYTES_MAX, pointer as *const _);
            self.end_string(position, if read > 0 { read as u64 - 1 } else { 0 });
        }
    }

    /// Where the next string's bytes go: an address with room for a whole write.
    #[inline(always)]
    pub unsafe fn string_bytes(&mut self) -> *mut core::ffi::c_void {
        // SAFETY: as `user_string`.
        unsafe { (self.base() + masked!(self.position() + 2, "0x7ffe")) as *mut _ }
    }

    /// Ends a string whose bytes were written to [`Self::string_bytes`].
    #[inline(always)]
    pub unsafe fn end_string_here(&mut self, length: u64) {
        // SAFETY: as `end_string`.
        unsafe { self.end_string(self.position(), length) }
    }

    /// Hands the record to the ring buffer. A full ring or a record that ran over is counted.
    #[inline(always)]
    pub unsafe fn send(self) {
        // SAFETY: the length is checked against the buffer's.
        unsafe {
            let length = self.position();
            let header = self.base() as *mut RecordHeader;
            let sequence = addr_of_mut!((*self.counters).sequence[self.program as usize]);
            *sequence += 1;
            (*header).sequence = *sequence;
            (*header).length = length as u32;
            (*header).strings = read_volatile(addr_of!((*self.scratch).strings)) as u16;
            let counters = (addr_of_mut!((*self.counters).kinds) as u64
                + masked!(self.kind, "0xf") * size_of::<KindCounters>() as u64)
                as *mut KindCounters;
            (*counters).seen += 1;
            if length > RECORD_BYTES_MAX {
                (*counters).dropped_long += 1;
            } else if self.may_use_ring()
                && bpf_ringbuf_output(addr_of!(RECORDS) as *mut _, header.cast(), length, RING_FLAGS) == 0
            {
                (*counters).sent += 1;
            } else {
                (*counters).dropped_full += 1;
            }
        }
    }

    /// Whether there is room for a record of this program, beside what is kept for others.
    #[inline(always)]
    unsafe fn may_use_ring(&self) -> bool {
        if self.program != Program::SystemCall {
            return true;
        }
        // SAFETY: the helper only reads two positions of the ring.
        let [waiting, size] =
            [RING_WAITING, RING_SIZE].map(|what| unsafe { bpf_ringbuf_query(addr_of!(RECORDS) as *mut _, what) });
        waiting < size - size / RING_SHARE_OF_PROCESSES
    }

    /// Writes the length before the bytes at `position` and moves on. Strings start at even offsets: the length is a
    /// natural 16-bit store.
    #[inline(always)]
    unsafe fn end_string(&mut self, position: u64, length: u64) {
        // SAFETY: masked into the buffer.
        unsafe {
            let at = masked!(position, "0x7ffe");
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
        unsafe { (*self.counters).read_faults[self.program as usize] += 1 };
        0
    }

    #[inline(always)]
    unsafe fn position(&self) -> u64 {
        // SAFETY: the scratch.
        unsafe { read_volatile(addr_of!((*self.scratch).position)) }
    }

    #[inline(always)]
    unsafe fn base(&self) -> u64 {
        // SAFETY: the scratch.
        unsafe { addr_of_mut!((*self.scratch).record) as u64 }
    }
}
