//! The exit of a system call: which ones matter, and to which family they go.

use core::ptr::read_volatile;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use tercel_sensor_abi::SYSCALLS_MAX;
use tercel_sensor_abi::syscall::x86_64::{CONNECT, CREAT, EXECVE, EXECVEAT, OPEN, OPENAT, OPENAT2};

use crate::maps::{COUNTERS, INTEREST};
use crate::memory::load;
use crate::{file, network, process, task};

/// `struct pt_regs` of x86-64: byte offsets, part of the kernel's user ABI.
mod registers {
    pub const R10: u32 = 56;
    pub const DX: u32 = 96;
    pub const SI: u32 = 104;
    pub const DI: u32 = 112;
    pub const ORIG_AX: u32 = 120;
}

/// `__X32_SYSCALL_BIT`: 64-bit calls with 32-bit pointers, which are counted like those of 32-bit programs.
const X32_CALL: u64 = 0x4000_0000;

/// One returned system call.
pub struct Call {
    pub task: u64,
    pub number: u32,
    pub result: i64,
    pub arguments: [u64; 4],
}

/// `registers` is a BTF pointer to `struct pt_regs`.
#[inline(always)]
pub unsafe fn returned(registers: u64, result: i64) {
    // SAFETY: as said; the number is checked before it indexes anything.
    unsafe {
        let number = load::<u64>(registers, registers::ORIG_AX);
        if is_interesting(number) {
            dispatch(registers, number, result);
        }
    }
}

/// `record` is the classic tracepoint's: {u64 common, i64 id, i64 ret}.
#[inline(always)]
pub unsafe fn returned_classic(record: u64) {
    // SAFETY: the context's own memory; bpf_task_pt_regs returns a BTF pointer.
    unsafe {
        let number = load::<u64>(record, 8);
        if is_interesting(number) {
            let registers = bpf_task_pt_regs(task::current() as *mut _) as u64;
            dispatch(registers, number, load::<i64>(record, 16));
        }
    }
}

/// First of all tests, for it stands in the way of every system call of the machine.
#[inline(always)]
unsafe fn is_interesting(number: u64) -> bool {
    if number >= SYSCALLS_MAX as u64 {
        if number & X32_CALL != 0 && number < X32_CALL + SYSCALLS_MAX as u64 {
            // SAFETY: as its own.
            unsafe { count_compat_call() };
        }
        return false;
    }
    let Some(bitmap) = INTEREST.get(0) else { return false };
    let word = masked!(number >> 6, "7");
    // SAFETY: `word` is below 8.
    let word = unsafe { read_volatile((bitmap.as_ptr() as u64 + word * 8) as *const u64) };
    (word >> (number & 63)) & 1 != 0
}

#[inline(always)]
unsafe fn dispatch(registers: u64, number: u64, result: i64) {
    // SAFETY: `registers` is a BTF pointer, `task` the current one.
    unsafe {
        if (bpf_get_current_pid_tgid() >> 32) as u32 == setting!(own_tgid) {
            return;
        }
        let task = task::current();
        if task::in_compat_call(task) {
            count_compat_call();
            return;
        }
        let call = Call {
            task,
            number: number as u32,
            result,
            arguments: [
                load(registers, registers::DI),
                load(registers, registers::SI),
                load(registers, registers::DX),
                load(registers, registers::R10),
            ],
        };
        match call.number {
            OPEN | OPENAT | OPENAT2 | CREAT => file::open(&call),
            CONNECT => network::connect(&call),
            // A successful exec is reported by the scheduler's tracepoint: here the caller's memory is gone.
            EXECVE | EXECVEAT if result < 0 => process::exec_failed(&call),
            _ => {}
        }
    }
}

#[inline(always)]
unsafe fn count_compat_call() {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: this CPU's counters.
        unsafe { (*counters).compat_calls += 1 };
    }
}
